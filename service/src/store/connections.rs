//! The connections to SQLite, lent one at a time.
//!
//! Each of the driver's connections is a thread, and each message to it costs two changes of threads, which is more than
//! most statements of a run do. The driver's pool sends one more to each connection that comes back, from a task of its
//! own, and its transactions have their beginning and their end acknowledged twice.

use std::{
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use scopeguard::ScopeGuard;
use sqlx::{ConnectOptions, Connection, SqliteConnection, sqlite::SqliteConnectOptions};
use tokio::{
    runtime::Handle,
    sync::{Semaphore, SemaphorePermit},
    time::timeout,
};

use super::{SQLITE_WAIT, db};

/// A number of connections, which are opened when they are needed.
pub(super) struct Connections {
    options: SqliteConnectOptions,
    most: u32,
    free: Arc<Semaphore>,
    idle: Idle,
}

/// The connections that nobody has.
type Idle = Arc<Mutex<Vec<SqliteConnection>>>;

/// A connection that goes back when it is dropped. [`close`] ends it instead.
pub(super) type Lent = ScopeGuard<SqliteConnection, Box<dyn FnOnce(SqliteConnection) + Send>>;

/// A connection in a transaction, which is rolled back unless it is [committed](commit).
pub(super) type Begun = ScopeGuard<Lent, fn(Lent)>;

impl Connections {
    pub(super) fn new(options: SqliteConnectOptions, most: u32) -> Self {
        Connections {
            options,
            most,
            free: Arc::new(Semaphore::new(most as usize)),
            idle: Idle::default(),
        }
    }

    /// A connection, for which this waits in turn.
    pub(super) async fn lend(&self) -> Result<Lent, sqlx::Error> {
        let permit = timeout(SQLITE_WAIT, Arc::clone(&self.free).acquire_owned()).await;
        let permit = permit.map_err(|_| sqlx::Error::PoolTimedOut)?;
        let permit = permit.map_err(|_| sqlx::Error::PoolClosed)?;
        let kept = lock(&self.idle).pop();
        let connection = match kept {
            Some(connection) => connection,
            None => self.options.connect().await?,
        };
        let idle = Arc::clone(&self.idle);
        let give_back = move |connection| {
            lock(&idle).push(connection);
            drop(permit);
        };
        Ok(scopeguard::guard(connection, Box::new(give_back)))
    }

    /// Begins a transaction that will write.
    pub(super) async fn begin(&self) -> Result<Begun, sqlx::Error> {
        let lent = self.lend().await?;
        // From here on it is rolled back, since whoever waits for the answer may go away.
        let mut begun = scopeguard::guard(lent, roll_back as fn(Lent));
        db::query("begin immediate").execute(&mut **begun).await?;
        Ok(begun)
    }

    /// Ends all connections, each once it is back. None is lent any more.
    pub(super) async fn close(&self) {
        let all: Result<SemaphorePermit<'_>, _> = self.free.acquire_many(self.most).await;
        self.free.close();
        drop(all);
        let idle = mem::take(&mut *lock(&self.idle));
        for connection in idle {
            connection.close().await.ok();
        }
    }
}

/// Commits a transaction. One whose commit fails is rolled back.
pub(super) async fn commit(mut begun: Begun) -> Result<(), sqlx::Error> {
    db::query("commit").execute(&mut **begun).await?;
    drop(ScopeGuard::into_inner(begun));
    Ok(())
}

/// Ends a connection in place of giving it back, which rolls back what it has begun.
pub(super) fn close(lent: Lent) {
    drop(ScopeGuard::into_inner(lent));
}

/// Rolls a transaction back before anybody else gets the connection. A connection that cannot do so is closed: SQLite may have
/// rolled back by itself, as it does on a full disk, or the connection may be broken.
fn roll_back(mut lent: Lent) {
    let Ok(runtime) = Handle::try_current() else {
        return close(lent);
    };
    runtime.spawn(async move {
        let done = db::query("rollback").execute(&mut *lent).await;
        if done.is_err() {
            close(lent);
        }
    });
}

fn lock(idle: &Idle) -> MutexGuard<'_, Vec<SqliteConnection>> {
    idle.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::{path::Path, time::Duration};

    use sqlx::sqlite::SqliteJournalMode;

    use super::*;

    fn connections(folder: &Path, most: u32) -> Connections {
        let options = SqliteConnectOptions::new()
            .filename(folder.join("db"))
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal);
        Connections::new(options, most)
    }

    async fn write(begun: &mut Begun, sql: &'static str) {
        db::query(sql)
            .execute(&mut ***begun)
            .await
            .expect("written");
    }

    async fn rows(of: &Connections) -> i64 {
        let mut lent = of.lend().await.expect("a connection");
        let counted = db::query_scalar("select count(*) from t").fetch_one(&mut *lent);
        counted.await.expect("counted")
    }

    async fn with_table(of: &Connections) {
        let mut begun = of.begin().await.expect("begun");
        write(&mut begun, "create table t (n bigint)").await;
        commit(begun).await.expect("committed");
    }

    #[tokio::test]
    async fn a_dropped_transaction_is_rolled_back_before_the_next_one() {
        let folder = tempfile::tempdir().expect("a folder");
        let writer = connections(folder.path(), 1);
        with_table(&writer).await;
        for expected in [0, 0, 1] {
            let mut begun = writer.begin().await.expect("begun");
            write(&mut begun, "insert into t values (1)").await;
            if expected == 1 {
                commit(begun).await.expect("committed");
            } else {
                drop(begun);
            }
            assert_eq!(rows(&writer).await, expected);
        }
    }

    #[tokio::test]
    async fn nothing_is_left_of_one_who_goes_away_while_it_begins() {
        let folder = tempfile::tempdir().expect("a folder");
        let (writer, other) = (connections(folder.path(), 1), connections(folder.path(), 1));
        with_table(&writer).await;
        let held = other.begin().await.expect("begun");
        let begins = timeout(Duration::from_millis(50), writer.begin()).await;
        assert!(begins.is_err(), "the other one has the lock");
        commit(held).await.expect("committed");
        let mut begun = writer.begin().await.expect("begun");
        write(&mut begun, "insert into t values (1)").await;
        commit(begun).await.expect("committed");
        drop(other.begin().await.expect("the lock is free"));
    }

    #[tokio::test]
    async fn a_connection_that_cannot_roll_back_is_replaced() {
        let folder = tempfile::tempdir().expect("a folder");
        let writer = connections(folder.path(), 1);
        let mut begun = writer.begin().await.expect("begun");
        write(&mut begun, "create temp table mark (n bigint)").await;
        write(&mut begun, "commit").await;
        drop(begun);
        let mut begun = writer.begin().await.expect("begun");
        write(&mut begun, "create temp table mark (n bigint)").await;
    }

    #[tokio::test]
    async fn the_end_waits_for_those_that_are_lent() {
        let folder = tempfile::tempdir().expect("a folder");
        let readers = connections(folder.path(), 2);
        let lent = readers.lend().await.expect("a connection");
        let mut end = std::pin::pin!(readers.close());
        assert!(timeout(Duration::from_millis(20), &mut end).await.is_err());
        drop(lent);
        end.await;
        let refused = readers.lend().await;
        assert!(matches!(refused, Err(sqlx::Error::PoolClosed)));
        readers.close().await;
    }
}
