//! [`Fleet`], processes on one database, which a test stops, kills and starts again while others use them.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, RwLock},
    time::{Duration, Instant},
};

use refsync_service::store::{DatabaseAddress, Store};
use serde_json::Value;
use tempfile::TempDir;

use crate::{
    daemon::{Crash, Daemon},
    support::{Answer, Client},
    world::{SOON, memory_folder},
};

pub struct Node {
    pub name: &'static str,
    pub data: TempDir,
    daemon: Mutex<Option<Daemon>>,
    client: RwLock<Client>,
}

impl Node {
    /// A client of its last process.
    pub fn client(&self) -> Client {
        self.client.read().expect("a client").clone()
    }

    /// Its process, which nobody else ends meanwhile.
    pub fn daemon(&self) -> MutexGuard<'_, Option<Daemon>> {
        self.daemon.lock().expect("a process")
    }
}

/// The nodes of one database.
pub struct Fleet {
    /// The address of PostgreSQL; none for the file of SQLite that a node has by itself.
    database: Option<String>,
    more: &'static [&'static str],
    pub nodes: Vec<Node>,
}

impl Fleet {
    /// Nodes with this configuration and with these arguments beside their own.
    pub fn start(
        database: Option<String>,
        names: &[&'static str],
        config: &str,
        more: &'static [&'static str],
    ) -> Self {
        let mut fleet = Fleet {
            database,
            more,
            nodes: Vec::new(),
        };
        let mut admin: Option<String> = None;
        for name in names {
            let data = memory_folder();
            fs::write(data.path().join("config.toml"), config).expect("a file");
            if let Some(first) = fleet.nodes.first() {
                copy_key(first.data.path(), data.path());
            }
            let mut daemon = fleet.process(name, data.path());
            let url = daemon.url();
            let key = admin
                .take()
                .or_else(|| daemon.line("admin key: "))
                .expect("a key");
            let client = Client::new(&url, Some(&key));
            admin = Some(key);
            fleet.nodes.push(Node {
                name,
                data,
                daemon: Some(daemon).into(),
                client: client.into(),
            });
        }
        fleet
    }

    /// The arguments that all nodes have.
    pub fn more(&self) -> &[&str] {
        self.more
    }

    /// The arguments of a node.
    pub fn arguments<'a>(&'a self, name: &'a str) -> Vec<&'a str> {
        let mut arguments = [&["--node", name], self.more].concat();
        if let Some(database) = &self.database {
            arguments.extend(["--database", database]);
        }
        arguments
    }

    /// A process of a node with a data folder.
    pub fn process(&self, name: &str, data: &Path) -> Daemon {
        Daemon::start(data, Crash::NONE, &self.arguments(name))
    }

    /// Ends a node as `end` does it, and starts it again.
    pub fn restart(&self, at: usize, end: impl FnOnce(Daemon)) {
        let node = &self.nodes[at];
        let mut place = node.daemon();
        end(place.take().expect("a process"));
        let mut daemon = self.process(node.name, node.data.path());
        let client = Client::new(&daemon.url(), Some(node.client().key()));
        *node.client.write().expect("a client") = client;
        *place = Some(daemon);
    }

    /// Calls a node, which may be away.
    pub fn try_call(
        &self,
        at: usize,
        method: &str,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Answer, ureq::Error> {
        let kind = [("content-type", "application/json")];
        let kind = if body.is_some() { &kind[..] } else { &[] };
        let body = body.map(|body| body.to_string().into_bytes());
        let client = self.nodes[at % self.nodes.len()].client();
        client.try_call(method, path, body.as_deref(), kind)
    }

    /// Calls a node, and another one where that one is away, until there is an answer that does not ask to come again.
    pub fn call(&self, mut at: usize, method: &str, path: &str, body: Option<&Value>) -> Answer {
        let began = Instant::now();
        loop {
            match self.try_call(at, method, path, body) {
                Ok(answer) if answer.status != 503 => return answer,
                answer => assert!(began.elapsed() < SOON, "{method} {path}: {answer:?}"),
            }
            at += 1;
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// The end of a run, which is waited for.
    #[track_caller]
    pub fn ended(&self, at: usize, path: &str) -> Value {
        let began = Instant::now();
        loop {
            let run = self
                .call(at, "GET", &format!("{path}?wait=5"), None)
                .ok(200);
            if run["finished_at"].is_string() {
                return run;
            }
            assert!(began.elapsed() < SOON, "{run}");
        }
    }

    /// Waits until nothing is queued or in progress.
    pub fn until_empty(&self) {
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        runtime.block_on(async {
            let store = Store::open(self.address()).await.expect("a database");
            crate::restarts::until_empty(&store, "the fleet").await;
            store.close().await;
        });
    }

    /// All events in their order, each with its id, subject, type and data.
    pub fn events(&self) -> Vec<Event> {
        let sql = "select id, subject, type, data from events order by sequence";
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        let rows: Result<Vec<Event>, _> = runtime.block_on(async {
            if let Some(address) = &self.database {
                let pool = sqlx::PgPool::connect(address).await.expect("a connection");
                return sqlx::query_as(sql).fetch_all(&pool).await;
            }
            let options = sqlx::sqlite::SqliteConnectOptions::new().filename(self.file());
            let pool = sqlx::SqlitePool::connect_with(options.read_only(true));
            sqlx::query_as(sql)
                .fetch_all(&pool.await.expect("the database"))
                .await
        });
        rows.expect("events")
    }

    /// The types of the events of each run and repository, in their order, once nothing is queued or in progress.
    pub fn histories_at_rest(&self) -> BTreeMap<String, Vec<String>> {
        self.until_empty();
        let mut histories: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for event in self.events() {
            histories.entry(event.subject).or_default().push(event.kind);
        }
        histories
    }

    fn address(&self) -> DatabaseAddress {
        match &self.database {
            Some(address) => address.parse().expect("an address"),
            None => self.file().into(),
        }
    }

    /// The file of SQLite.
    fn file(&self) -> PathBuf {
        self.nodes[0].data.path().join("refsyncd.db")
    }
}

#[derive(sqlx::FromRow)]
pub struct Event {
    pub id: String,
    pub subject: String,
    #[sqlx(rename = "type")]
    pub kind: String,
    /// There if a webhook target has asked for it.
    pub data: Option<String>,
}

pub fn copy_key(from: &Path, to: &Path) {
    fs::copy(from.join("master.key"), to.join("master.key")).expect("a copy");
}
