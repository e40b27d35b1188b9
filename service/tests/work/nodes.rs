//! Processes on one database of PostgreSQL, each with the repositories on its disk: they share the work, are stopped
//! and killed one after the other, and every run ends once.

use std::{fs, path::Path, process::Command, time::Instant};

use nix::sys::signal::Signal;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{
    daemon::{Crash, Daemon},
    restarts::events_of,
    support::{Client, Upstream, postgres},
    world::{SOON, memory_folder},
};

const CONFIG: &str = "[retry]\nfirst_wait_seconds = 1\n";

struct Node {
    name: &'static str,
    data: TempDir,
    daemon: Option<Daemon>,
    client: Client,
}

/// The nodes of one database.
struct Fleet {
    database: String,
    nodes: Vec<Node>,
}

fn arguments<'a>(name: &'a str, database: &'a str) -> [&'a str; 6] {
    ["--node", name, "--database", database, "--workers", "2"]
}

impl Fleet {
    fn start(database: String, names: &[&'static str]) -> Self {
        let mut fleet = Fleet {
            database,
            nodes: Vec::new(),
        };
        let mut admin: Option<String> = None;
        for name in names {
            let data = memory_folder();
            fs::write(data.path().join("config.toml"), CONFIG).expect("a file");
            if let Some(first) = fleet.nodes.first() {
                copy_key(first.data.path(), data.path());
            }
            let mut daemon =
                Daemon::start(data.path(), Crash::NONE, &arguments(name, &fleet.database));
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
                daemon: Some(daemon),
                client,
            });
        }
        fleet
    }

    /// Ends a node as `end` does it, and starts it again after `meanwhile`, which has a client of another one.
    fn restart(&mut self, at: usize, end: impl FnOnce(Daemon), meanwhile: impl FnOnce(&Client)) {
        let other = (at + 1) % self.nodes.len();
        end(self.nodes[at].daemon.take().expect("a process"));
        meanwhile(&self.nodes[other].client);
        let node = &mut self.nodes[at];
        let arguments = arguments(node.name, &self.database);
        let mut daemon = Daemon::start(node.data.path(), Crash::NONE, &arguments);
        node.client = Client::new(&daemon.url(), Some(node.client.key()));
        node.daemon = Some(daemon);
    }
}

fn copy_key(from: &Path, to: &Path) {
    fs::copy(from.join("master.key"), to.join("master.key")).expect("a copy");
}

/// Queues a pull of each repository; the paths of the runs.
fn queue(client: &Client, repos: usize) -> Vec<String> {
    let pull = |number| {
        let path = format!("/v1/default/r{number}/upstream/syncs");
        let run = client.post(&path, json!({ "direction": "pull" })).ok(201);
        format!("{path}/{}", run["id"].as_str().expect("an id"))
    };
    (0..repos).map(pull).collect()
}

fn ended(client: &Client, path: &str) -> Value {
    let began = Instant::now();
    loop {
        let run = client.get(&format!("{path}?wait=5")).ok(200);
        if run["finished_at"].is_string() {
            return run;
        }
        assert!(began.elapsed() < SOON, "{run}");
    }
}

#[test]
fn nodes_share_the_work_and_every_run_ends_once() {
    let Some(database) = postgres::database() else {
        return;
    };
    let upstream = Upstream::start();
    let mut fleet = Fleet::start(database, &["a", "b", "c"]);
    let mut homes = Vec::new();
    for number in 0..6 {
        upstream.repo(&format!("r{number}.git"));
        let url = upstream.url(&format!("r{number}.git"));
        let body = json!({ "name": format!("r{number}"), "upstream": { "url": url } });
        let repo = fleet.nodes[number % 3]
            .client
            .post("/v1/default/repos", body)
            .ok(201);
        homes.push(repo["clone_url"].as_str().expect("an address").to_owned());
    }
    for node in &mut fleet.nodes {
        let base = node.client.base();
        let own = homes.iter().filter(|url| url.starts_with(base)).count();
        assert_eq!(own, 2, "{} of {homes:?}", node.name);
        // Git is served at home alone, and told where that is.
        for (number, home) in homes.iter().enumerate() {
            let path = format!("/default/r{number}.git/info/refs?service=git-upload-pack");
            let (status, text) = node.client.git(&path);
            if home.starts_with(base) {
                assert_eq!(status, 200, "{text}");
            } else {
                assert_eq!(status, 421, "{text}");
                assert!(text.contains(home), "{text}");
            }
        }
    }

    // One after the other stops in order, then dies, under load.
    let mut runs = Vec::new();
    for at in 0..6 {
        let end = |daemon: Daemon| if at < 3 { daemon.stop() } else { drop(daemon) };
        runs.extend(queue(&fleet.nodes[at % 3].client, homes.len()));
        fleet.restart(at % 3, end, |client| {
            runs.extend(queue(client, homes.len()))
        });
    }
    runs.sort();
    runs.dedup();
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    for (number, path) in runs.iter().enumerate() {
        let run = ended(&fleet.nodes[number % 3].client, path);
        assert_eq!(run["status"], "completed", "{run}");
        let subject = run["id"].as_str().expect("an id");
        let events = runtime.block_on(events_of(&fleet.database, subject));
        let expected = ["sync.queued", "sync.in_progress", "sync.completed"];
        assert_eq!(events, expected, "{run}");
    }
}

#[test]
fn a_second_node_of_a_name_and_another_master_key_are_refused() {
    let Some(database) = postgres::database() else {
        return;
    };
    let fleet = Fleet::start(database, &["a"]);
    let refused = |name: &str, data: &Path| refusal(&fleet.database, name, data);
    let other = memory_folder();
    copy_key(fleet.nodes[0].data.path(), other.path());
    let text = refused("a", other.path());
    assert!(text.contains("--node"), "{text}");
    let stranger = memory_folder();
    let text = refused("b", stranger.path());
    assert!(text.contains("master"), "{text}");
}

/// The reason for which a process does not start.
#[track_caller]
fn refusal(database: &str, name: &str, data: &Path) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_refsyncd"))
        .args(["--listen", "127.0.0.1:0", "--data"])
        .arg(data)
        .args(arguments(name, database))
        .output()
        .expect("the program");
    assert!(!output.status.success());
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Says in the database that no node was heard for long.
fn silence(database: &str) {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let pool = sqlx::PgPool::connect(database).await.expect("a connection");
        let sql = "update nodes set seen_at = 1";
        sqlx::query(sql).execute(&pool).await.expect("done");
        pool.close().await;
    });
}

fn release(database: &str, name: &str) -> (bool, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_refsyncd"))
        .args(["node", "release", name, "--database", database])
        .output()
        .expect("the program");
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    (output.status.success(), text)
}

#[test]
fn a_node_is_replaced_by_its_own_folder_or_by_its_operator() {
    let Some(database) = postgres::database() else {
        return;
    };
    let mut fleet = Fleet::start(database.clone(), &["a"]);
    let node = &mut fleet.nodes[0];
    let repo = json!({ "name": "r" });
    node.client.post("/v1/default/repos", repo).ok(201);
    let other = memory_folder();
    copy_key(node.data.path(), other.path());
    fs::write(other.path().join("config.toml"), CONFIG).expect("a file");
    let (done, text) = release(&database, "a");
    assert!(!done && text.contains("stop it first"), "{text}");
    let (done, text) = release(&database, "z");
    assert!(!done && text.contains("no node z"), "{text}");

    // It stands still for long. Its repositories are in its folder all the same.
    let mut before = node.daemon.take().expect("a process");
    before.signal(Signal::SIGSTOP);
    silence(&database);
    let text = refusal(&database, "a", other.path());
    assert!(text.contains("refsyncd node release a"), "{text}");
    let (done, text) = release(&database, "a");
    assert!(done, "{text}");
    let mut after = Daemon::start(other.path(), Crash::NONE, &arguments("a", &database));
    let after_client = Client::new(&after.url(), Some(node.client.key()));

    // The one of before comes back, and ends.
    before.signal(Signal::SIGCONT);
    assert_eq!(before.wait().code(), Some(1));
    let log = fs::read_to_string(node.data.path().join("log")).expect("a log");
    assert!(
        log.contains("refsyncd: another process serves as the node a"),
        "{log}"
    );
    after_client.get("/v1/default/r").ok(200);
    after.stop();
    let text = refusal(&database, "a", node.data.path());
    assert!(text.contains("refsyncd node release a"), "{text}");
}
