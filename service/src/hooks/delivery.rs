//! [`Courier`], which makes the deliveries that are due, many at a time.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use tokio::task::{JoinError, JoinHandle, JoinSet};
use tokio_util::sync::CancellationToken;

use super::{
    TargetUrl,
    client::{Answer, Client, Message},
    signature,
};
use crate::{
    Error,
    metrics::Metrics,
    records::{TargetId, Time, next_delivery},
    secrets::{Sealer, webhook_secret},
    store::{Attempted, DueDelivery, Store},
    tasks,
};

/// The number of deliveries that are made at once.
const PLACES: usize = 64;

/// The number of deliveries to one target that are made at once, so that a slow one leaves places for the others.
const PLACES_PER_TARGET: usize = 4;

/// The time after which a delivery is due again whose process died: longer than any attempt takes.
const LEASE: Duration = Duration::from_secs(30);

/// The longest time between two looks at the database, for what no notice was given of.
const LONGEST_SLEEP: Duration = Duration::from_secs(5);

/// The time that a failing target is kept for.
const PATIENCE: Duration = Duration::from_secs(3 * 24 * 3600);

/// The source of time. Tests bring their own.
pub type Clock = Arc<dyn Fn() -> Time + Send + Sync>;

/// The maker of deliveries.
#[derive(Clone)]
pub struct Courier {
    /// The database.
    pub store: Store,
    /// The sealer of the secrets of targets.
    pub sealer: Arc<Sealer>,
    /// The client.
    pub client: Client,
    /// The numbers for `/metrics`.
    pub metrics: Metrics,
    /// The name of this node.
    pub node: String,
    /// The clock.
    pub clock: Clock,
}

impl Courier {
    /// Makes deliveries until it is asked to stop, and ends those that are under way then. What it is not given the
    /// time to end is made again after its lease.
    pub async fn run(self, stop: CancellationToken) {
        let now = (self.clock)();
        if let Err(err) = self.store.end_delivery_leases(&self.node, now).await {
            // They are due after their leases.
            tracing::warn!(
                error = cause(&err),
                "deliveries of the process before can't be resumed"
            );
        }
        let changed = self.store.deliveries_changed();
        let busy = Busy::default();
        let mut under_way = JoinSet::new();
        while !stop.is_cancelled() {
            let notice = changed.notified();
            tokio::pin!(notice);
            // Before the look at the database: what is committed after it gives notice.
            notice.as_mut().enable();
            let sleep = match self.start_due(&mut under_way, &busy).await {
                Ok(sleep) => sleep,
                Err(err) => {
                    tracing::warn!(error = cause(&err), "deliveries can't be read");
                    LONGEST_SLEEP
                }
            };
            tokio::select! {
                () = stop.cancelled() => break,
                () = notice => {}
                Some(ended) = under_way.join_next() => self.ended(ended),
                () = tokio::time::sleep(sleep) => {}
            }
        }
        while let Some(ended) = under_way.join_next().await {
            self.ended(ended);
        }
    }

    fn end_some(&self, under_way: &mut JoinSet<()>) {
        while let Some(ended) = under_way.try_join_next() {
            self.ended(ended);
        }
    }

    /// One that has panicked is due again after its lease.
    fn ended(&self, ended: Result<(), JoinError>) {
        if let Err(err) = ended {
            tasks::panicked("delivery", &self.metrics, &err);
        }
    }

    /// Starts what is due while there is room, and returns the time until more will be.
    async fn start_due(&self, under_way: &mut JoinSet<()>, busy: &Busy) -> Result<Duration, Error> {
        loop {
            self.end_some(under_way);
            let free = PLACES - under_way.len();
            if free == 0 {
                return Ok(LONGEST_SLEEP);
            }
            let now = (self.clock)();
            let full = busy.full();
            let due = self
                .store
                .due_deliveries(&self.node, now, now.plus(LEASE), free, &full)
                .await?;
            if due.is_empty() {
                let next = self.store.next_due_delivery(now).await?;
                let millis = next.map_or(i64::MAX, |next| next.0.saturating_sub(now.0));
                let until = Duration::from_millis(u64::try_from(millis).unwrap_or(0));
                return Ok(until.min(LONGEST_SLEEP));
            }
            for due in due {
                let place = busy.take(&due.target.id);
                let courier = self.clone();
                under_way.spawn(async move {
                    courier.deliver(&due).await;
                    drop(place);
                });
            }
        }
    }

    /// Makes one attempt and records its end.
    async fn deliver(&self, due: &DueDelivery) {
        let answer = match self.message(due) {
            Ok((url, message)) => self.client.post(&url, &message).await,
            Err(fault) => Err(fault),
        };
        self.metrics
            .delivery(answer.as_ref().is_ok_and(Answer::is_accepted));
        if let Err(err) = self.record(due, answer).await {
            // The delivery is due again after its lease: a target may get an event twice, never not at all.
            tracing::warn!(delivery = %due.id, error = cause(&err), "the end of a delivery is not recorded");
        }
    }

    /// The address and the signed message. The signatures are those of now: they are made anew for each attempt.
    fn message(&self, due: &DueDelivery) -> Result<(TargetUrl, Message), String> {
        let url = TargetUrl::parse(&due.target.url)?;
        let open = |sealed: &String| webhook_secret::open(&self.sealer, &due.target.id, sealed);
        let secrets: Result<Vec<_>, _> = due.secrets.iter().map(open).collect();
        let secrets = secrets.map_err(|err| err.to_string())?;
        let newest = secrets.first().ok_or("the target has no secret")?;
        let seconds = (self.clock)().0 / 1000;
        let (id, body) = (due.event_id.as_str(), due.body.as_bytes());
        let all = secrets.iter().map(|secret| secret.as_str());
        let headers = vec![
            (
                signature::MESA_SIGNATURE,
                signature::mesa(newest, seconds, body),
            ),
            (signature::WEBHOOK_ID, id.to_owned()),
            (signature::WEBHOOK_TIMESTAMP, seconds.to_string()),
            (
                signature::WEBHOOK_SIGNATURE,
                signature::standard(all, id, seconds, body),
            ),
        ];
        let body = due.body.clone().into();
        Ok((url, Message { body, headers }))
    }

    async fn record(&self, due: &DueDelivery, answer: Result<Answer, String>) -> Result<(), Error> {
        let now = (self.clock)();
        let (answer, error) = match answer {
            Ok(answer) if answer.is_accepted() => {
                let status = i64::from(answer.status);
                return self
                    .store
                    .delivered(&due.id, status, &answer.body, now)
                    .await;
            }
            Ok(answer) => {
                let error = format!("the target answered with status {}", answer.status);
                (Some(answer), error)
            }
            Err(error) => (None, error),
        };
        let is_gone = answer.as_ref().is_some_and(Answer::is_gone);
        let next = next_delivery(due.attempt, now, crate::clock::random());
        let attempted = Attempted {
            status: answer.as_ref().map(|answer| i64::from(answer.status)),
            error,
            body: answer.map(|answer| answer.body),
        };
        let next = next.filter(|_| !is_gone);
        let failing_since = self
            .store
            .delivery_failed(&due.id, attempted, next, now)
            .await?;
        let reason = if is_gone {
            "the target answered with status 410"
        } else if failing_since.is_some_and(|since| since.plus(PATIENCE) <= now) {
            "no delivery has succeeded for three days"
        } else {
            return Ok(());
        };
        let target = &due.target;
        self.store
            .disable_target(&target.id, &target.url, reason, now)
            .await
    }
}

/// The deliveries of this process, until they are stopped.
#[derive(Debug)]
pub struct Deliveries {
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Deliveries {
    /// Starts to make deliveries, first those that a process before had under way.
    pub fn start(courier: Courier) -> Self {
        let stop = CancellationToken::new();
        let token = stop.clone();
        let task = tokio::spawn(async move {
            let run = || courier.clone().run(token.clone());
            tasks::kept("deliveries", &courier.metrics, run).await;
        });
        Deliveries { stop, task }
    }

    /// Starts no further delivery and waits for those that are under way, which takes at most the time of an attempt.
    pub async fn stop(self) {
        self.stop.cancel();
        if let Err(err) = self.task.await {
            tracing::error!(error = cause(&err), "the deliveries have ended before");
        }
    }
}

fn cause<'a>(err: &'a (dyn std::error::Error + 'static)) -> &'a (dyn std::error::Error + 'static) {
    err
}

/// The number of deliveries under way for each target.
#[derive(Default, Clone)]
struct Busy(Arc<Mutex<HashMap<TargetId, usize>>>);

impl Busy {
    fn counts(&self) -> MutexGuard<'_, HashMap<TargetId, usize>> {
        self.0
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// The targets without a free place.
    fn full(&self) -> Vec<TargetId> {
        let counts = self.counts();
        let full = counts
            .iter()
            .filter(|(_, count)| **count >= PLACES_PER_TARGET);
        full.map(|(target, _)| target.clone()).collect()
    }

    fn take(&self, target: &TargetId) -> Place {
        *self.counts().entry(target.clone()).or_default() += 1;
        Place {
            busy: self.clone(),
            target: target.clone(),
        }
    }
}

/// A place that is taken until this is dropped.
struct Place {
    busy: Busy,
    target: TargetId,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut counts = self.busy.counts();
        if let Some(count) = counts.get_mut(&self.target) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.target);
            }
        }
    }
}
