//! [`Tx`], a transaction on whichever database it is, and the way from a driver's error to ours.
//!
//! Rules of the SQL: all numbers are `bigint`, parameters are `$1`, no function that only one database has, no `sum`
//! without a cast, `on conflict` with the index's predicate. A statement that fails ends a transaction on PostgreSQL:
//! after a unique violation it is dropped and another one begun. PostgreSQL keeps its plans, which it often makes while
//! few rows are in an index of some rows: a row that is found by its id has no words of such an index beside it, and
//! others are found in the order of the one that is meant. SQLite has one writer at a time; what PostgreSQL needs in its
//! place is in `locks.rs`.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use sqlx::{Postgres, Transaction};

use super::{Pools, Store, connections::Begun, crash, signals::Signal, standby::Standby};
use crate::{
    Error,
    records::{Direction, SyncId, SyncRun},
};

/// The connection of a transaction.
pub(super) enum On {
    Sqlite(Begun),
    Postgres(Transaction<'static, Postgres>),
}

/// A transaction. Dropped without [`Tx::commit`] it changes nothing.
pub(super) struct Tx {
    pub(super) on: On,
    pub(super) statements: u64,
    pub(super) standby: Standby,
    store: Store,
    after: After,
}

/// The effects of a transaction outside of the database, once it is committed.
#[derive(Default)]
struct After {
    ended: Vec<Ended>,
    host_waits: u64,
    to_stop: Vec<SyncId>,
    queue: Wake,
    deliveries: bool,
}

impl After {
    fn signals(self) -> impl Iterator<Item = Signal> {
        let ended = self.ended.into_iter().map(|ended| Signal::Ended(ended.id));
        let to_stop = self.to_stop.into_iter().map(Signal::Stop);
        let queue = (self.queue != Wake::None).then_some(Signal::Queue(self.queue));
        let deliveries = self.deliveries.then_some(Signal::Deliveries);
        ended.chain(to_stop).chain(queue).chain(deliveries)
    }
}

/// A run that has ended, with the code of its failure.
struct Ended {
    id: SyncId,
    direction: Direction,
    error_code: Option<String>,
}

/// The workers to wake. After each transition that leaves runs in the queue one idle worker has to look: it finds a
/// run, or the time of the next one. All have to hear of another time.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Wake {
    #[default]
    None,
    /// A run is due now, or may be since another one has started or ended.
    One,
    /// A run is due at a later time.
    All,
}

/// Runs one expression in a transaction: the driver's types are inferred in each arm.
macro_rules! on {
    ($tx:expr, $c:ident => $e:expr) => {{
        $tx.statements += 1;
        crate::store::crash::point();
        match &mut $tx.on {
            crate::store::tx::On::Sqlite(tx) => {
                let $c = tx.connection();
                $e.await
            }
            crate::store::tx::On::Postgres(tx) => {
                let $c = &mut **tx;
                let done = crate::store::tx::in_time($e).await;
                done.inspect_err(|err| $tx.standby.see(err))
            }
        }
    }};
}

/// Runs one statement in a transaction; the number of rows that it has changed.
macro_rules! execute {
    ($tx:expr, $e:expr) => {{
        $tx.statements += 1;
        crate::store::crash::point();
        // The two results have no trait in common.
        match &mut $tx.on {
            crate::store::tx::On::Sqlite(tx) => {
                let done = $e.execute(tx.connection()).await;
                done.map(|done| done.rows_affected())
            }
            crate::store::tx::On::Postgres(tx) => {
                let done = crate::store::tx::in_time($e.execute(&mut **tx)).await;
                let done = done.inspect_err(|err| $tx.standby.see(err));
                done.map(|done| done.rows_affected())
            }
        }
    }};
}

/// Runs one expression outside of a transaction; it must not write.
macro_rules! read {
    ($store:expr, $c:ident => $e:expr) => {{
        let inner = &$store.inner;
        inner
            .reads
            .fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        match &inner.pools {
            crate::store::Pools::Sqlite { readers, .. } => match readers.read().await {
                Ok(mut reading) => {
                    let $c = reading.connection();
                    let done = $e.await;
                    if done.is_ok() {
                        reading.give_back();
                    }
                    done
                }
                Err(err) => Err(err),
            },
            crate::store::Pools::Postgres(pool) => {
                let $c = pool;
                crate::store::tx::in_time($e).await
            }
        }
    }};
}

pub(super) use {execute, on, read};

/// The time after which a server counts as gone that has said nothing: longer than the limits that it has itself.
const SILENCE: Duration = Duration::from_secs(75);

/// The answer of a server, or an error where it has vanished without closing its connections and would never answer.
pub(super) async fn in_time<T>(
    answer: impl Future<Output = Result<T, sqlx::Error>>,
) -> Result<T, sqlx::Error> {
    let gone = |_| Err(sqlx::Error::Io(std::io::ErrorKind::TimedOut.into()));
    tokio::time::timeout(SILENCE, answer)
        .await
        .unwrap_or_else(gone)
}

impl Store {
    /// Begins a transaction that will write.
    pub(super) async fn begin(&self) -> Result<Tx, Error> {
        let on = match &self.inner.pools {
            Pools::Sqlite { writer, .. } => On::Sqlite(writer.begin().await?),
            // Each statement sees what was committed before it. An operator may have another default.
            Pools::Postgres(pool) => {
                let begin = "begin isolation level read committed";
                On::Postgres(in_time(pool.begin_with(begin)).await?)
            }
        };
        self.inner.begun.fetch_add(1, Ordering::Relaxed);
        Ok(Tx {
            on,
            statements: 0,
            standby: self.inner.standby.clone(),
            store: self.clone(),
            after: After::default(),
        })
    }
}

impl Tx {
    /// The one whose changes these are, if the store was told.
    pub(super) fn actor(&self) -> Option<Arc<str>> {
        self.store.actor.clone()
    }

    /// The refusals in a row after which an upstream is parked.
    pub(super) fn park_after(&self) -> i64 {
        self.store.inner.park_after
    }

    /// Says that a run will have ended, as it is now.
    pub(super) fn run_ends(&mut self, run: &SyncRun) {
        self.after.ended.push(Ended {
            id: run.id.clone(),
            direction: run.direction,
            error_code: run.error_code.clone(),
        });
    }

    /// Says that a run's worker will be asked to stop.
    pub(super) fn run_is_to_stop(&mut self, id: &SyncId) {
        self.after.to_stop.push(id.clone());
    }

    /// Says that a host will have been heard that wants to wait.
    pub(super) fn host_waits(&mut self) {
        self.after.host_waits += 1;
    }

    /// Says that there will be something to claim.
    pub(super) fn wake(&mut self, workers: Wake) {
        self.after.queue = self.after.queue.max(workers);
    }

    /// Says that there will be something to deliver.
    pub(super) fn deliveries_change(&mut self) {
        self.after.deliveries = true;
    }

    /// Commits, and only then tells others.
    pub(super) async fn commit(self) -> Result<(), Error> {
        crash::point();
        match self.on {
            On::Sqlite(tx) => tx.commit().await?,
            On::Postgres(tx) => in_time(tx.commit()).await?,
        }
        crash::point();
        let inner = &self.store.inner;
        inner.commits.fetch_add(1, Ordering::Relaxed);
        inner
            .statements
            .fetch_add(self.statements, Ordering::Relaxed);
        inner.metrics.hosts_wait(self.after.host_waits);
        for ended in &self.after.ended {
            let code = ended.error_code.as_deref();
            inner.metrics.run_ended(ended.direction, code);
        }
        for signal in self.after.signals() {
            inner.local.tell(&signal);
            if let Some(remote) = &inner.remote {
                remote.tell(signal);
            }
        }
        Ok(())
    }
}

/// Whether a statement would have made two rows equal that a unique index keeps apart.
pub(super) fn is_unique_violation(err: &sqlx::Error) -> bool {
    err.as_database_error()
        .is_some_and(|err| err.is_unique_violation())
}
