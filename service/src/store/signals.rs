//! Signals between the processes that share a database of PostgreSQL: what one has committed wakes the others. They
//! only spare polling, so one that is lost costs time and nothing else.
//!
//! They are sent after the commit: a transaction with NOTIFY would wait for all others that have one.

use std::{
    collections::BTreeSet,
    hash::{BuildHasher as _, BuildHasherDefault, DefaultHasher},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use sqlx::{PgPool, postgres::PgListener};
use tokio::{
    sync::{Notify, broadcast, mpsc},
    task::JoinSet,
};

use super::tx::Wake;
use crate::{Error, ids, records::SyncId};

/// The wait before a lost connection for signals is made again.
const AGAIN: Duration = Duration::from_secs(1);

/// The most signals of one notification, whose text has at most 8,000 bytes.
const AT_ONCE: usize = 100;

/// The number of channels for the ends of runs, and of the ends that a slow receiver of one may be behind.
const CHANNELS: usize = 64;
const ENDS_KEPT: usize = 64;

/// The ends of runs. Each id has its channel: whoever waits for a run is woken by all ends on the channel.
#[derive(Clone)]
pub(super) struct Ends(Arc<[broadcast::Sender<SyncId>]>);

impl Ends {
    pub(super) fn of(&self, id: &SyncId) -> &broadcast::Sender<SyncId> {
        let hash = BuildHasherDefault::<DefaultHasher>::default().hash_one(id.as_str());
        &self.0[hash as usize % CHANNELS]
    }
}

impl Default for Ends {
    fn default() -> Self {
        let channel = |_| broadcast::Sender::new(ENDS_KEPT);
        Ends((0..CHANNELS).map(channel).collect())
    }
}

/// The receivers of signals in this process.
#[derive(Clone)]
pub(super) struct Local {
    pub(super) ended: Ends,
    pub(super) to_stop: broadcast::Sender<SyncId>,
    pub(super) queue: Arc<Notify>,
    pub(super) deliveries: Arc<Notify>,
}

/// A signal.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Signal {
    /// There may be something to claim.
    Queue(Wake),
    /// There may be something to deliver.
    Deliveries,
    /// A run has ended.
    Ended(SyncId),
    /// The worker of a run is asked to stop.
    Stop(SyncId),
}

impl Signal {
    fn to_text(&self) -> String {
        match self {
            Signal::Queue(Wake::All) => "queue all".into(),
            Signal::Queue(_) => "queue".into(),
            Signal::Deliveries => "deliveries".into(),
            Signal::Ended(id) => format!("ended {id}"),
            Signal::Stop(id) => format!("stop {id}"),
        }
    }

    /// The signal of a text; none of one that another version of the program has sent.
    fn of_text(text: &str) -> Option<Self> {
        match text.split_once(' ') {
            None if text == "queue" => Some(Signal::Queue(Wake::One)),
            None if text == "deliveries" => Some(Signal::Deliveries),
            Some(("queue", "all")) => Some(Signal::Queue(Wake::All)),
            Some(("ended", id)) => Some(Signal::Ended(id.parse().ok()?)),
            Some(("stop", id)) => Some(Signal::Stop(id.parse().ok()?)),
            _ => None,
        }
    }
}

impl Local {
    /// Tells this process.
    pub(super) fn tell(&self, signal: &Signal) {
        match signal {
            // Nobody may be waiting.
            Signal::Ended(id) => drop(self.ended.of(id).send(id.clone())),
            Signal::Stop(id) => drop(self.to_stop.send(id.clone())),
            Signal::Deliveries => self.deliveries.notify_one(),
            Signal::Queue(Wake::None) => {}
            Signal::Queue(Wake::One) => self.queue.notify_one(),
            Signal::Queue(Wake::All) => {
                self.queue.notify_waiters();
                self.queue.notify_one();
            }
        }
    }
}

/// The way to the other processes.
pub(super) struct Remote {
    sender: mpsc::UnboundedSender<Signal>,
    tasks: Mutex<JoinSet<()>>,
}

impl Remote {
    /// Begins to listen to the others.
    pub(super) async fn start(pool: &PgPool, local: Local) -> Result<Self, Error> {
        let schema: Option<String> = sqlx::query_scalar("select current_schema()")
            .fetch_one(pool)
            .await?;
        let mut channel = format!("refsyncd {}", schema.unwrap_or_default());
        // Names have at most 63 bytes.
        while channel.len() > 63 {
            channel.pop();
        }
        let process = ids::new::<SyncId>().to_string();
        let (sender, signals) = mpsc::unbounded_channel();
        let mut tasks = JoinSet::new();
        tasks.spawn(send(
            pool.clone(),
            channel.clone(),
            process.clone(),
            signals,
        ));
        tasks.spawn(listen(pool.clone(), channel, process, local));
        Ok(Remote {
            sender,
            tasks: Mutex::new(tasks),
        })
    }

    /// Tells the other processes, at some time.
    pub(super) fn tell(&self, signal: Signal) {
        self.sender.send(signal).ok();
    }

    /// Frees the connections.
    pub(super) async fn stop(&self) {
        let tasks = std::mem::take(&mut *self.tasks.lock().unwrap_or_else(PoisonError::into_inner));
        { tasks }.shutdown().await;
    }
}

async fn send(
    pool: PgPool,
    channel: String,
    process: String,
    mut signals: mpsc::UnboundedReceiver<Signal>,
) {
    let mut some = Vec::new();
    while signals.recv_many(&mut some, AT_ONCE).await > 0 {
        let texts: BTreeSet<String> = some.drain(..).map(|signal| signal.to_text()).collect();
        let lines = texts
            .into_iter()
            .fold(process.clone(), |lines, text| lines + "\n" + &text);
        let query = sqlx::query("select pg_notify($1, $2)").bind(&channel);
        if let Err(err) = query.bind(lines).execute(&pool).await {
            let err = Error::from(err);
            tracing::debug!(err = crate::chain(&err), "other nodes were not told");
        }
    }
}

async fn listen(pool: PgPool, channel: String, process: String, local: Local) {
    loop {
        let Err(err) = hear(&pool, &channel, &process, &local).await;
        let err = Error::from(err);
        tracing::debug!(err = crate::chain(&err), "other nodes are not heard");
        tokio::time::sleep(AGAIN).await;
    }
}

async fn hear(
    pool: &PgPool,
    channel: &str,
    process: &str,
    local: &Local,
) -> Result<std::convert::Infallible, sqlx::Error> {
    let mut listener = PgListener::connect_with(pool).await?;
    listener.listen(channel).await?;
    loop {
        // What was told before it listened, or while the connection was away, was missed.
        local.tell(&Signal::Queue(Wake::All));
        local.tell(&Signal::Deliveries);
        while let Some(notification) = listener.try_recv().await? {
            let mut lines = notification.payload().lines();
            if lines.next() == Some(process) {
                continue;
            }
            for signal in lines.filter_map(Signal::of_text) {
                local.tell(&signal);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_are_read_as_they_were_sent() {
        let id: SyncId = ids::new();
        for signal in [
            Signal::Queue(Wake::One),
            Signal::Queue(Wake::All),
            Signal::Deliveries,
            Signal::Ended(id.clone()),
            Signal::Stop(id),
        ] {
            assert_eq!(Signal::of_text(&signal.to_text()), Some(signal));
        }
        for text in ["", "queue one", "ended", "ended x", "more"] {
            assert_eq!(Signal::of_text(text), None, "{text}");
        }
    }
}
