//! The database: organizations, keys, repositories, runs, events and deliveries. `sync_runs` is the queue, and each
//! transition of a run is one transaction with its events and deliveries.
//!
//! The SQL is one text for SQLite and for PostgreSQL (see `tx.rs` and `locks.rs`); no type of a driver is public.

mod address;
mod audit;
mod backlog;
mod cells;
mod change_repo;
mod clock_steps;
mod connections;
mod crash;
mod db;
mod deliveries;
mod doctor;
mod events;
mod failure;
#[cfg(test)]
mod full_disk;
mod keys;
mod locks;
mod migrate;
mod nodes;
mod orgs;
mod page;
#[cfg(test)]
mod plans;
mod repos;
mod reseal;
mod retention;
mod schedules;
mod signals;
mod standby;
mod sync_runs;
mod targets;
mod test_event;
mod tx;
mod upstream_hooks;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use sqlx::{
    PgPool,
    postgres::PgPoolOptions,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous},
};
use tokio::sync::{Notify, broadcast};

use crate::{Error, metrics::Metrics, records::SyncId};
use connections::Connections;
use signals::{Local, Remote};
use standby::Standby;
use tx::Tx;

pub use address::{AddressText, DatabaseAddress, InvalidAddress, PostgresUrl};
pub use audit::Audited;
pub use backlog::Backlog;
pub use change_repo::{Changed, MOST_TAGS, RepoChange};
pub use clock_steps::LongestWaits;
pub use deliveries::{Attempted, DueDelivery};
pub use doctor::{Miscounted, StuckRun, Version};
pub use keys::{NewKey, Proof};
pub use nodes::{NewNode, Released, SILENT};
pub use page::{Page, Rows};
pub use repos::{NewRepo, NewUpstream, Sealed, Taken};
pub use schedules::Scheduled;
pub use sync_runs::{
    Cancel, Claimed, Claimer, Completed, Failure, Fence, Job, Lease, NewRun, QueueLength, Refused,
    RunLimits, StatsJson, StoredUpstream,
};
pub use targets::{NewTarget, TargetChange};
pub use upstream_hooks::{CalledHook, NewHook};

/// The database. Clones share its connections.
#[derive(Clone)]
pub struct Store {
    inner: Arc<Inner>,
    /// The one whose changes are made with it, for the audit.
    actor: Option<Arc<str>>,
}

/// The connections.
enum Pools {
    Sqlite {
        /// One connection: SQLite has one writer, and waiting for it here is fair.
        writer: Connections,
        readers: Connections,
    },
    Postgres(PgPool),
}

struct Inner {
    pools: Pools,
    public_url: String,
    park_after: i64,
    local: Local,
    /// The other processes, if the database can have some.
    remote: Option<Remote>,
    standby: Standby,
    /// Held by the worker that claims.
    claims: tokio::sync::Mutex<()>,
    begun: AtomicU64,
    commits: AtomicU64,
    statements: AtomicU64,
    reads: AtomicU64,
    metrics: Metrics,
}

/// The numbers of what a [`Store`] has done since it was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counters {
    /// Transactions that were begun.
    pub begun: u64,
    /// Transactions that were committed.
    pub commits: u64,
    /// Statements in committed transactions.
    pub statements: u64,
    /// Statements outside of transactions.
    pub reads: u64,
}

/// The number of connections that read from SQLite.
const READERS: u32 = 4;

/// The number of connections of a process to PostgreSQL, whose servers allow 100 by default.
const CONNECTIONS: u32 = 16;

/// The time that a connection waits for another process that writes to SQLite.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

/// The time that a statement waits for a free connection. PostgreSQL may be away, which should not look like a hang.
const SQLITE_WAIT: Duration = Duration::from_secs(30);
const POSTGRES_WAIT: Duration = Duration::from_secs(10);

/// The idle time after which a connection to PostgreSQL is tried before it is used: the server may have gone.
const TRIED_AFTER: Duration = Duration::from_millis(50);

/// The refusals in a row after which an upstream is parked, unless the configuration says otherwise.
const PARK_AFTER: i64 = 5;

/// The number of cancels that a slow receiver of [`Store::cancels`] may be behind.
const CANCELS_KEPT: usize = 1024;

impl Store {
    /// Opens the database; makes its file, or brings it to this version, where needed.
    ///
    /// # Errors
    /// [`ErrorKind::DatabaseNewer`](crate::ErrorKind) if a newer version of the program has written it, and all
    /// kinds of failures of the file or the server.
    pub async fn open(address: impl Into<DatabaseAddress>) -> Result<Self, Error> {
        let store = Store::connect(address).await?;
        migrate::run(&store).await?;
        Ok(store)
    }

    /// The database as it is, of whatever version.
    async fn connect(address: impl Into<DatabaseAddress>) -> Result<Self, Error> {
        let standby = Standby::default();
        let pools = Pools::open(&address.into(), &standby).await?;
        let local = Local {
            ended: signals::Ends::default(),
            to_stop: broadcast::Sender::new(CANCELS_KEPT),
            queue: Arc::default(),
            deliveries: Arc::default(),
        };
        let remote = match &pools {
            Pools::Sqlite { .. } => None,
            Pools::Postgres(pool) => Some(Remote::start(pool, local.clone()).await?),
        };
        Ok(Store {
            actor: None,
            inner: Arc::new(Inner {
                pools,
                public_url: String::new(),
                park_after: PARK_AFTER,
                local,
                claims: tokio::sync::Mutex::default(),
                remote,
                standby,
                begun: AtomicU64::new(0),
                commits: AtomicU64::new(0),
                statements: AtomicU64::new(0),
                reads: AtomicU64::new(0),
                metrics: Metrics::default(),
            }),
        })
    }

    /// The same store, whose events have `url` before the path of a repository. To be called before the store is
    /// cloned; a clone keeps what it had.
    #[must_use]
    pub fn with_public_url(mut self, url: &str) -> Self {
        if let Some(inner) = Arc::get_mut(&mut self.inner) {
            url.trim_end_matches('/').clone_into(&mut inner.public_url);
        }
        self
    }

    /// The same store, which parks an upstream after so many refusals in a row. To be called before the store is
    /// cloned; a clone keeps what it had.
    #[must_use]
    pub fn with_park_after(mut self, refusals: u32) -> Self {
        if let Some(inner) = Arc::get_mut(&mut self.inner) {
            inner.park_after = refusals.into();
        }
        self
    }

    /// Ends all connections, after the writes that are under way.
    pub async fn close(&self) {
        if let Some(remote) = &self.inner.remote {
            remote.stop().await;
        }
        match &self.inner.pools {
            Pools::Sqlite { writer, readers } => {
                readers.close().await;
                writer.close().await;
            }
            Pools::Postgres(pool) => pool.close().await,
        }
    }

    #[cfg(test)]
    async fn sqlite_writer(&self) -> connections::Reading {
        match &self.inner.pools {
            Pools::Sqlite { writer, .. } => writer.read().await.expect("a connection"),
            Pools::Postgres(_) => panic!("the database is no SQLite"),
        }
    }

    /// Whether processes on many machines may share the database.
    pub fn is_shared(&self) -> bool {
        matches!(self.inner.pools, Pools::Postgres(_))
    }

    /// Reads from the database, to see that it answers.
    pub async fn ping(&self) -> Result<(), Error> {
        self.has_orgs().await.map(|_| ())
    }

    /// The ids of runs that have ended, from now on: that of this run, and those of some others.
    pub fn ended(&self, id: &SyncId) -> broadcast::Receiver<SyncId> {
        self.inner.local.ended.of(id).subscribe()
    }

    /// The ids of running runs that this process was asked to cancel, from now on. [`Store::renew`] says the same.
    pub fn cancels(&self) -> broadcast::Receiver<SyncId> {
        self.inner.local.to_stop.subscribe()
    }

    /// Notified whenever there may be a run to claim.
    pub fn queue_changed(&self) -> Arc<Notify> {
        Arc::clone(&self.inner.local.queue)
    }

    /// Notified whenever there may be a delivery to make.
    pub fn deliveries_changed(&self) -> Arc<Notify> {
        Arc::clone(&self.inner.local.deliveries)
    }

    /// The numbers of what this store has done.
    pub fn counters(&self) -> Counters {
        Counters {
            begun: self.inner.begun.load(Ordering::Relaxed),
            commits: self.inner.commits.load(Ordering::Relaxed),
            statements: self.inner.statements.load(Ordering::Relaxed),
            reads: self.inner.reads.load(Ordering::Relaxed),
        }
    }
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Store")
    }
}

impl Pools {
    async fn open(address: &DatabaseAddress, standby: &Standby) -> Result<Self, Error> {
        match address {
            DatabaseAddress::Sqlite(path) => {
                let options = SqliteConnectOptions::new()
                    .filename(path)
                    .create_if_missing(true)
                    .journal_mode(SqliteJournalMode::Wal)
                    .synchronous(SqliteSynchronous::Full)
                    .busy_timeout(BUSY_TIMEOUT)
                    .foreign_keys(true);
                let readers = Connections::new(options.clone().read_only(true), READERS);
                let writer = Connections::new(options, 1);
                writer.read().await?.give_back();
                Ok(Pools::Sqlite { writer, readers })
            }
            DatabaseAddress::Postgres(url) => {
                let pool = postgres_pool(standby.clone())
                    .connect_with(url.options()?)
                    .await?;
                Ok(Pools::Postgres(pool))
            }
        }
    }
}

fn postgres_pool(standby: Standby) -> PgPoolOptions {
    PgPoolOptions::new()
        .max_connections(CONNECTIONS)
        .test_before_acquire(false)
        .before_acquire(move |connection, meta| {
            let is_suspect = standby.is_suspect(meta.age);
            Box::pin(async move {
                if is_suspect {
                    return Ok(false);
                }
                if meta.idle_for >= TRIED_AFTER {
                    sqlx::Connection::ping(connection).await?;
                }
                Ok(true)
            })
        })
        .acquire_timeout(POSTGRES_WAIT)
}
