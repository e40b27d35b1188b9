//! [`Workers`], the tasks that carry runs through.

use std::{future::Future, io, sync::Arc, time::Duration};

use tokio::{
    sync::{Mutex, watch},
    task::{JoinHandle, JoinSet},
    time::{Instant, sleep},
};

use super::{
    Engine, Refsync, RepoLock,
    attempt::attempt,
    lease::LeaseWatch,
    maintenance::{self, Maintenance},
    upkeep,
};
use crate::{
    Service, clock,
    records::Time,
    store::{Claimed, Claimer},
    tasks,
};

/// The wait after a failure of the database.
const AFTER_FAILURE: Duration = Duration::from_secs(1);

/// The parts that the tasks share.
#[derive(Clone)]
pub(super) struct Shared {
    pub(super) service: Service,
    pub(super) engine: Arc<dyn Engine>,
    pub(super) stop: watch::Receiver<bool>,
    pub(super) maintenance: Maintenance,
}

impl Shared {
    /// Waits for `time`, or until the service stops.
    pub(super) async fn pause(&self, time: Duration) {
        tokio::select! {
            () = sleep(time) => {}
            () = self.stopped() => {}
        }
    }

    /// Waits until the service stops.
    pub(super) async fn stopped(&self) {
        // Workers that were dropped without a word stop, too.
        self.stop.clone().wait_for(|stop| *stop).await.ok();
    }

    /// Lets a task run, with these parts, until it ends by itself.
    async fn keep<F>(self, part: &'static str, task: impl Fn(Shared) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        tasks::kept(part, &self.service.metrics, || task(self.clone())).await;
    }

    pub(super) fn is_stopping(&self) -> bool {
        *self.stop.borrow()
    }
}

/// The lock of a claimed repository, or the reason why it has none: that run fails, and the queue goes on.
pub(super) enum Guard {
    Held(RepoLock),
    Broken(io::Error),
}

/// The running workers of a process.
#[derive(Debug)]
pub struct Workers {
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
    drain: Duration,
}

/// Starts the workers of this node: runs that an earlier process of it has left are due at once.
pub fn start(service: Service) -> Workers {
    let engine = Refsync {
        folders: service.repos.clone(),
        limits: service.config.limits.clone(),
        network: service.config.network.clone(),
    };
    start_with(service, Arc::new(engine))
}

/// Starts workers with another engine.
pub fn start_with(service: Service, engine: Arc<dyn Engine>) -> Workers {
    let (sender, stop) = watch::channel(false);
    let drain = service.config.drain;
    let (maintenance, asked) = maintenance::channel();
    let shared = Shared {
        service,
        engine,
        stop,
        maintenance,
    };
    let task = tokio::spawn(async move {
        shared.clone().keep("start", upkeep::end_own_leases).await;
        let mut tasks = JoinSet::new();
        tasks.spawn(shared.clone().keep("reaper", upkeep::reap));
        tasks.spawn(shared.clone().keep("schedules", upkeep::schedule));
        tasks.spawn(shared.clone().keep("tidying", upkeep::tidy));
        let asked = Arc::new(Mutex::new(asked));
        let maintain = move |shared| maintenance::maintain(shared, Arc::clone(&asked));
        tasks.spawn(shared.clone().keep("maintenance", maintain));
        for number in 1..=shared.service.config.workers {
            let worker = move |shared| work(shared, number);
            tasks.spawn(shared.clone().keep("worker", worker));
        }
        while tasks.join_next().await.is_some() {}
    });
    Workers {
        stop: sender,
        task,
        drain,
    }
}

impl Workers {
    /// Stops: no more run is claimed, running ones are asked to stop and are given back. Whatever has not ended within
    /// the drain's limit is left to the next start.
    pub async fn stop(self) {
        self.stop.send_replace(true);
        let abort = self.task.abort_handle();
        if tokio::time::timeout(self.drain, self.task).await.is_err() {
            tracing::warn!("runs are still under way; the next start takes them up");
            abort.abort();
        }
    }
}

/// One worker: it claims runs and carries them through, one at a time.
async fn work(shared: Shared, number: usize) {
    let config = &shared.service.config;
    let claimer = Claimer {
        node: config.node.clone(),
        worker: format!("{}-{number}", config.node),
        per_host: config.queue.running_per_host.into(),
    };
    let queue = shared.service.store.queue_changed();
    let changed = queue.notified();
    tokio::pin!(changed);
    // Runs may be waiting already.
    let mut idle = Duration::ZERO;
    loop {
        tokio::select! {
            () = changed.as_mut() => {}
            () = shared.pause(idle) => {}
        }
        if shared.is_stopping() {
            return;
        }
        // Listens before it looks, so that neither a change of the queue nor a cancel falls in between.
        changed.set(queue.notified());
        changed.as_mut().enable();
        let cancels = shared.service.store.cancels();
        // The lease lasts from here at least, however long the database takes.
        let asked = Instant::now();
        idle = match claim(&shared, &claimer).await {
            Ok(Claimed::Run(job, guard)) => {
                // Whoever is busy does not listen: changes are for the idle. Each claim and each end that leaves
                // something in the queue is a change, so there is no need to look again without one.
                changed.set(queue.notified());
                let watch = LeaseWatch::new(asked);
                attempt(&shared, *job, guard, watch, cancels).await;
                config.poll
            }
            Ok(Claimed::Nothing { next_at }) => idle_time(next_at, clock::now(), config.poll),
            Err(err) => {
                tracing::error!(err = upkeep::text(&err), "no run could be claimed");
                AFTER_FAILURE
            }
        };
    }
}

async fn claim(shared: &Shared, claimer: &Claimer) -> Result<Claimed<Guard>, crate::Error> {
    let now = clock::now();
    let until = now.plus(shared.service.config.lease);
    let repos = &shared.service.repos;
    let claimed = shared.service.store.claim(claimer, now, until, |id| {
        Ok(match repos.lock(id) {
            Ok(lock) => lock.map(Guard::Held),
            Err(err) => Some(Guard::Broken(err)),
        })
    });
    claimed.await
}

/// The sleep of an idle worker: until the next run is due, and not longer than the poll.
fn idle_time(next_at: Option<Time>, now: Time, poll: Duration) -> Duration {
    let Some(next_at) = next_at else {
        return poll;
    };
    let millis = next_at.0.saturating_sub(now.0).max(1);
    poll.min(Duration::from_millis(millis.unsigned_abs()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_idle_worker_sleeps_until_a_run_is_due() {
        let (second, poll) = (Duration::from_secs(1), Duration::from_secs(5));
        for (next_at, expected) in [
            (None, poll),
            (Some(Time(2_000)), second),
            (Some(Time(1_000_000)), poll),
            (Some(Time(1_000)), Duration::from_millis(1)),
            (Some(Time(0)), Duration::from_millis(1)),
            (Some(Time(i64::MAX)), poll),
        ] {
            assert_eq!(
                idle_time(next_at, Time(1_000), poll),
                expected,
                "{next_at:?}"
            );
        }
    }
}
