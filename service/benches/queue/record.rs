//! [`Texts`], the statements that the store executes, as the driver logs them.

use std::sync::{Arc, Mutex};

use refsync_service::{clock, store::RunLimits};
use serde::{Deserialize, Serialize};
use tracing::field::{Field, Visit};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};

use super::{
    filled::{Filled, NODE},
    roles::Role,
};

/// The statements of transactions, each without the beginning and the commit.
#[derive(Serialize, Deserialize)]
pub struct Texts {
    /// Those of a worker that claims a run whose repository had one before.
    pub claim: Vec<String>,
    /// Those with which it ends the run.
    pub complete: Vec<String>,
    /// Those of a look at the schedules, of which none is due.
    pub schedules: Vec<String>,
}

impl Texts {
    /// Those of a store on an empty database, by a process of its own: a program has one receiver of its log.
    pub fn of(database: &str, folder: &std::path::Path) -> Self {
        let text = Role::start("record", [database.as_ref(), folder.as_os_str()]).line();
        serde_json::from_str(&text).expect("statements")
    }
}

/// [`Texts`], as JSON.
pub fn record(database: &str, folder: &std::path::Path) -> String {
    let recorder = Recorder::default();
    let subscriber = tracing_subscriber::registry().with(recorder.clone());
    tracing::subscriber::set_global_default(subscriber).expect("the first one");
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let filled = Filled::open(database, folder, 1).await;
        filled.queue(1).await;
        filled.run_one(|| ()).await;
        filled.queue(1).await;
        recorder.take();
        let mut claim = Vec::new();
        filled.run_one(|| claim = recorder.take()).await;
        let complete = recorder.take();
        let (store, limits) = (&filled.service.store, RunLimits::default());
        let scheduled = store.queue_scheduled(NODE, limits, clock::now()).await;
        assert_eq!(scheduled.expect("an answer").queued, 0);
        let schedules = recorder.take();
        let texts = Texts {
            claim,
            complete,
            schedules,
        };
        serde_json::to_string(&texts).expect("JSON")
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

/// The statements that are executed in other ways: those that begin and end transactions, and the one that tells other
/// processes after a commit.
const OTHERS: [&str; 4] = ["begin immediate", "commit", "rollback", "select pg_notify"];

impl<S: tracing::Subscriber> Layer<S> for Recorder {
    fn on_event(&self, event: &tracing::Event<'_>, _: Context<'_, S>) {
        if event.metadata().target() != "sqlx::query" {
            return;
        }
        let mut statement = Statement::default();
        event.record(&mut statement);
        let text = statement.text();
        let is_other = |other: &&str| text.to_lowercase().starts_with(*other);
        if !OTHERS.iter().any(is_other) {
            self.0.lock().expect("a list").push(text);
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
