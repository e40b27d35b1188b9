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
    sync::{OwnedSemaphorePermit, Semaphore, SemaphorePermit},
    time::timeout,
};

use super::{SQLITE_WAIT, db};

/// A number of connections, which are opened when they are needed.
pub(super) struct Connections {
    options: Box<SqliteConnectOptions>,
    most: u32,
    free: Arc<Semaphore>,
    idle: Idle,
}

/// The connections that nobody has.
type Idle = Arc<Mutex<Vec<SqliteConnection>>>;

/// A connection and its place. One that is not given back ends, and rolls back what it has begun.
struct Lent {
    connection: SqliteConnection,
    idle: Idle,
    permit: OwnedSemaphorePermit,
}

/// A connection that ends unless it is [given back](Reading::give_back): whoever was waiting for its answer may have gone
/// away, and it would make the next one wait.
pub(super) struct Reading(Guarded);

/// A connection in a transaction, which is rolled back unless it is [committed](Begun::commit).
pub(super) struct Begun(Guarded);

type Guarded = ScopeGuard<Lent, fn(Lent)>;

impl Connections {
    pub(super) fn new(options: SqliteConnectOptions, most: u32) -> Self {
        Connections {
            options: Box::new(options),
            most,
            free: Arc::new(Semaphore::new(most as usize)),
            idle: Idle::default(),
        }
    }

    /// A connection for statements without a transaction.
    pub(super) async fn read(&self) -> Result<Reading, sqlx::Error> {
        let ended = |lent: Lent| afterwards(lent.end());
        Ok(Reading(scopeguard::guard(self.lend().await?, ended)))
    }

    /// Begins a transaction that will write.
    pub(super) async fn begin(&self) -> Result<Begun, sqlx::Error> {
        let rolled_back = |lent: Lent| afterwards(lent.roll_back());
        let mut begun = Begun(scopeguard::guard(self.lend().await?, rolled_back));
        let done = db::query("begin immediate").execute(begun.connection());
        match done.await {
            Err(err) if is_busy(&err) => {
                ScopeGuard::into_inner(begun.0).give_back();
                Err(err)
            }
            done => done.map(|_| begun),
        }
    }

    /// A connection, for which this waits in turn.
    async fn lend(&self) -> Result<Lent, sqlx::Error> {
        let permit = timeout(SQLITE_WAIT, Arc::clone(&self.free).acquire_owned()).await;
        let permit = permit.map_err(|_| sqlx::Error::PoolTimedOut)?;
        let permit = permit.map_err(|_| sqlx::Error::PoolClosed)?;
        let kept = lock(&self.idle).pop();
        let connection = match kept {
            Some(connection) => connection,
            None => self.options.connect().await?,
        };
        Ok(Lent {
            connection,
            idle: Arc::clone(&self.idle),
            permit,
        })
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

impl Reading {
    pub(super) fn connection(&mut self) -> &mut SqliteConnection {
        &mut self.0.connection
    }

    /// Gives back a connection that has answered.
    pub(super) fn give_back(self) {
        ScopeGuard::into_inner(self.0).give_back();
    }
}

impl Begun {
    pub(super) fn connection(&mut self) -> &mut SqliteConnection {
        &mut self.0.connection
    }

    /// Commits the transaction. One whose commit fails is rolled back.
    pub(super) async fn commit(mut self) -> Result<(), sqlx::Error> {
        db::query("commit").execute(self.connection()).await?;
        ScopeGuard::into_inner(self.0).give_back();
        Ok(())
    }
}

impl Lent {
    /// Ends the connection. Its place is taken until its thread has let go of the file.
    async fn end(self) {
        self.connection.close().await.ok();
        drop(self.permit);
    }

    /// Rolls back. A connection that cannot do so ends: SQLite may have rolled back by itself, as it does on a full disk, or
    /// the connection may be broken.
    async fn roll_back(mut self) {
        let done = db::query("rollback").execute(&mut self.connection).await;
        if done.is_err() {
            return self.end().await;
        }
        self.give_back();
    }

    fn give_back(self) {
        lock(&self.idle).push(self.connection);
        drop(self.permit);
    }
}

/// Lets the runtime do something that a drop cannot wait for. Without a runtime it is dropped.
fn afterwards(work: impl Future<Output = ()> + Send + 'static) {
    if let Ok(runtime) = Handle::try_current() {
        runtime.spawn(work);
    }
}

/// Whether another process has the lock, so that nothing was begun.
fn is_busy(err: &sqlx::Error) -> bool {
    let code = err.as_database_error().and_then(|err| err.code());
    code.as_deref() == Some("5")
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
            .execute(begun.connection())
            .await
            .expect("written");
    }

    async fn rows(of: &Connections) -> i64 {
        let mut reading = of.read().await.expect("a connection");
        let counted = db::query_scalar("select count(*) from t").fetch_one(reading.connection());
        let counted = counted.await.expect("counted");
        reading.give_back();
        counted
    }

    async fn with_table(of: &Connections) {
        let mut begun = of.begin().await.expect("begun");
        write(&mut begun, "create table t (n bigint)").await;
        begun.commit().await.expect("committed");
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
                begun.commit().await.expect("committed");
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
        held.commit().await.expect("committed");
        let mut begun = writer.begin().await.expect("begun");
        write(&mut begun, "insert into t values (1)").await;
        begun.commit().await.expect("committed");
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
        let reading = readers.read().await.expect("a connection");
        let mut end = std::pin::pin!(readers.close());
        assert!(timeout(Duration::from_millis(20), &mut end).await.is_err());
        drop(reading);
        end.await;
        let refused = readers.read().await.map(drop);
        assert!(matches!(refused, Err(sqlx::Error::PoolClosed)));
        readers.close().await;
    }

    #[tokio::test]
    async fn nobody_gets_a_connection_that_still_works_for_one_who_has_gone() {
        let folder = tempfile::tempdir().expect("a folder");
        let readers = connections(folder.path(), 2);
        let endless = "with recursive n (i) as (select 1 union all select i + 1 from n) select max(i) from n where i < 0";
        let mut reading = readers.read().await.expect("a connection");
        let reads = db::query_as::<(Option<i64>,)>(endless).fetch_one(reading.connection());
        assert!(timeout(Duration::from_millis(50), reads).await.is_err());
        drop(reading);
        assert_eq!(readers.free.available_permits(), 1);
        let mut other = readers.read().await.expect("a connection");
        let one = db::query_as::<(i64,)>("select 1").fetch_one(other.connection());
        assert_eq!(one.await.expect("an answer"), (1,));
    }

    #[tokio::test]
    async fn a_connection_that_finds_the_file_locked_is_kept() {
        let folder = tempfile::tempdir().expect("a folder");
        let (mut writer, other) = (connections(folder.path(), 1), connections(folder.path(), 1));
        *writer.options = writer.options.busy_timeout(Duration::ZERO);
        let mut begun = writer.begin().await.expect("begun");
        write(&mut begun, "create temp table mark (n bigint)").await;
        begun.commit().await.expect("committed");
        let held = other.begin().await.expect("begun");
        assert!(writer.begin().await.is_err());
        drop(held);
        drop(other.begin().await.expect("the lock is free again"));
        let mut begun = loop {
            if let Ok(begun) = writer.begin().await {
                break begun;
            }
        };
        write(&mut begun, "insert into mark values (1)").await;
    }
}
