//! [`TightLoop`], the statements of a run on one connection, one after the other, with nothing around them.
//!
//! Their texts are the store's own: a run is carried through once while the driver logs what it executes. Only the
//! values are bound here.

use std::sync::{Arc, Mutex};

use refsync_service::{clock, ids, records::EventId};
use serde::{Deserialize, Serialize};
use sqlx::{
    Connection as _, Row as _, SqliteConnection,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteRow, SqliteSynchronous},
};
use tracing::field::{Field, Visit};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};

use super::{figures::folder, roles::Role, statements::Filled};

/// The statements of the two transactions of a worker, each without the beginning and the commit.
#[derive(Serialize, Deserialize)]
struct Texts {
    claim: Vec<String>,
    complete: Vec<String>,
}

/// The beginnings of the statements that this file knows how to bind.
const CLAIM: [&str; 4] = [
    "select r.id as run_id",
    "update sync_runs set status = 'in_progress'",
    "update work set queued",
    "insert into events",
];
const COMPLETE: [&str; 4] = [
    "select r.id as run_id",
    "update sync_runs set status = $4",
    "update work set queued",
    "insert into events",
];

pub struct TightLoop {
    connection: SqliteConnection,
    claim: [&'static str; 4],
    complete: [&'static str; 4],
}

impl TightLoop {
    /// The loop on a database that a store has made.
    pub async fn open(database: &std::path::Path) -> Self {
        let texts = Role::start("record", [""; 0]).line();
        let texts: Texts = serde_json::from_str(&texts).expect("statements");
        let options = SqliteConnectOptions::new()
            .filename(database)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true);
        let connection = SqliteConnection::connect_with(&options).await;
        TightLoop {
            connection: connection.expect("a database"),
            claim: known(texts.claim, &CLAIM),
            complete: known(texts.complete, &COMPLETE),
        }
    }

    /// Carries one run through; false if there is none.
    pub async fn run(&mut self) -> bool {
        let Some(found) = self.claim().await else {
            return false;
        };
        self.complete(&found).await;
        true
    }

    async fn claim(&mut self) -> Option<SqliteRow> {
        let [find, start, count, event] = self.claim;
        let now = clock::now().0;
        let tx = self.connection.begin_with("begin immediate").await;
        let mut tx = tx.expect("a transaction");
        let query = sqlx::query(find).bind("local").bind(now).bind(i64::MAX);
        let found = query.fetch_optional(&mut *tx).await.expect("an answer")?;
        let id: &str = found.get("run_id");
        let query = sqlx::query(start)
            .bind(id)
            .bind(found.get::<i64, _>("claim"));
        let query = query
            .bind(now + 60_000)
            .bind("local")
            .bind("local-1")
            .bind(now);
        let started = query.execute(&mut *tx).await.expect("written");
        assert_eq!(started.rows_affected(), 1);
        let (home, org): (&str, &str) = (found.get("run_home"), found.get("org"));
        let query = sqlx::query(count).bind(home).bind(org).bind(now);
        let counted = query.execute(&mut *tx).await.expect("written");
        assert_eq!(counted.rows_affected(), 1);
        emit(event, &mut tx, &found, "sync.in_progress").await;
        tx.commit().await.expect("written");
        Some(found)
    }

    async fn complete(&mut self, claimed: &SqliteRow) {
        let [find, end, count, event] = self.complete;
        let id: &str = claimed.get("run_id");
        let tx = self.connection.begin_with("begin immediate").await;
        let mut tx = tx.expect("a transaction");
        let found = sqlx::query(find).bind(id).fetch_one(&mut *tx).await;
        let found = found.expect("the run");
        let query = sqlx::query(end).bind(id).bind(found.get::<i64, _>("claim"));
        let query = query.bind(true).bind("completed");
        let none = None::<&str>;
        let query = query.bind(none).bind(None::<&[u8]>);
        let query = query
            .bind(found.get::<&str, _>("last_id"))
            .bind(None::<&[u8]>);
        let query = query.bind(none).bind(none).bind(none).bind(clock::now().0);
        let ended = query.execute(&mut *tx).await.expect("written");
        assert_eq!(ended.rows_affected(), 1);
        let (home, org): (&str, &str) = (found.get("run_home"), found.get("org"));
        let query = sqlx::query(count).bind(home).bind(org).bind(0).bind(-1);
        let counted = query.execute(&mut *tx).await.expect("written");
        assert_eq!(counted.rows_affected(), 1);
        emit(event, &mut tx, &found, "sync.completed").await;
        tx.commit().await.expect("written");
    }
}

async fn emit(text: &'static str, on: &mut SqliteConnection, run: &SqliteRow, kind: &str) {
    let event: EventId = ids::new();
    let query = sqlx::query(text).bind(event.as_str());
    let query = query.bind(run.get::<&str, _>("org"));
    let query = query.bind(run.get::<&str, _>("run_repo"));
    let query = query.bind(run.get::<&str, _>("open_repo_name"));
    let query = query.bind(run.get::<&str, _>("run_id")).bind(kind);
    let query = query.bind(None::<&str>).bind(clock::now().0);
    query.fetch_one(on).await.expect("written");
}

/// The statements, if they are those that are bound here. They live as long as the program.
fn known(texts: Vec<String>, beginnings: &[&str; 4]) -> [&'static str; 4] {
    let fits = |(text, beginning): (&String, &&str)| text.starts_with(beginning);
    assert!(
        texts.len() == beginnings.len() && texts.iter().zip(beginnings).all(fits),
        "the store executes other statements than this loop binds: {texts:#?}"
    );
    let leaked = texts.into_iter().map(|text| &*text.leak());
    let leaked: Vec<&'static str> = leaked.collect();
    leaked.try_into().expect("as many as were counted")
}

/// The texts of the statements of a run whose repository had one before, as JSON.
pub fn record() -> String {
    let recorder = Recorder::default();
    let subscriber = tracing_subscriber::registry().with(recorder.clone());
    tracing::subscriber::set_global_default(subscriber).expect("the first one");
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let folder = folder();
        let filled = Filled::open(folder.path(), 1).await;
        filled.queue(1).await;
        filled.run_one(|| ()).await;
        filled.queue(1).await;
        recorder.take();
        let mut claim = Vec::new();
        filled.run_one(|| claim = recorder.take()).await;
        let complete = recorder.take();
        serde_json::to_string(&Texts { claim, complete }).expect("JSON")
    })
}

/// Keeps what the driver logs.
#[derive(Clone, Default)]
struct Recorder(Arc<Mutex<Vec<String>>>);

impl Recorder {
    fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().expect("a list"))
    }
}

impl<S: tracing::Subscriber> Layer<S> for Recorder {
    fn on_event(&self, event: &tracing::Event<'_>, _: Context<'_, S>) {
        if event.metadata().target() == "sqlx::query" {
            let mut statement = Statement::default();
            event.record(&mut statement);
            self.0.lock().expect("a list").push(statement.text());
        }
    }
}

/// The fields of a logged statement: the whole is left out where the summary is all of it.
#[derive(Default)]
struct Statement {
    summary: String,
    whole: String,
}

impl Statement {
    fn text(self) -> String {
        let whole = self.whole.trim();
        if whole.is_empty() {
            self.summary
        } else {
            whole.to_owned()
        }
    }
}

impl Visit for Statement {
    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "summary" => value.clone_into(&mut self.summary),
            "db.statement" => value.clone_into(&mut self.whole),
            _ => {}
        }
    }

    fn record_debug(&mut self, _: &Field, _: &dyn std::fmt::Debug) {}
}
