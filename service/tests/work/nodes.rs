//! Processes on one database of PostgreSQL, each with the repositories on its disk: their homes, and their names.

use std::{fs, path::Path, process::Command};

use nix::sys::signal::Signal;
use serde_json::json;

use crate::{
    fleet::{Fleet, copy_key},
    support::{Client, Upstream, postgres},
    world::memory_folder,
};

const CONFIG: &str = "[retry]\nfirst_wait_seconds = 1\n";

const MORE: &[&str] = &["--workers", "2"];

/// Queues a pull of each repository; the paths of the runs.
fn queue(client: &Client, repos: usize) -> Vec<String> {
    let pull = |number| {
        let path = format!("/v1/default/r{number}/upstream/syncs");
        let run = client.post(&path, json!({ "direction": "pull" })).ok(201);
        format!("{path}/{}", run["id"].as_str().expect("an id"))
    };
    (0..repos).map(pull).collect()
}

#[test]
fn nodes_share_the_repositories_and_each_is_served_at_home() {
    let Some(database) = postgres::database() else {
        return;
    };
    let upstream = Upstream::start();
    let fleet = Fleet::start(Some(database), &["a", "b", "c"], CONFIG, MORE);
    let mut homes = Vec::new();
    for number in 0..6 {
        upstream.repo(&format!("r{number}.git"));
        let url = upstream.url(&format!("r{number}.git"));
        let body = json!({ "name": format!("r{number}"), "upstream": { "url": url } });
        let client = fleet.nodes[number % 3].client();
        let repo = client.post("/v1/default/repos", body).ok(201);
        homes.push(repo["clone_url"].as_str().expect("an address").to_owned());
    }
    for node in &fleet.nodes {
        let client = node.client();
        let base = client.base();
        let own = homes.iter().filter(|url| url.starts_with(base)).count();
        assert_eq!(own, 2, "{} of {homes:?}", node.name);
        // Git is served at home alone, and told where that is.
        for (number, home) in homes.iter().enumerate() {
            let path = format!("/default/r{number}.git/info/refs?service=git-upload-pack");
            let (status, text) = client.git(&path);
            if home.starts_with(base) {
                assert_eq!(status, 200, "{text}");
            } else {
                assert_eq!(status, 421, "{text}");
                assert!(text.contains(home), "{text}");
            }
        }
    }

    // Any node takes requests for runs, and the homes do the work.
    let mut runs = Vec::new();
    for node in &fleet.nodes {
        runs.extend(queue(&node.client(), homes.len()));
    }
    runs.sort();
    runs.dedup();
    for (number, path) in runs.iter().enumerate() {
        let run = fleet.ended(number, path);
        assert_eq!(run["status"], "completed", "{run}");
    }
    let histories = fleet.histories_at_rest();
    for path in &runs {
        let id = path.rsplit('/').next().expect("an id");
        let expected = ["sync.queued", "sync.in_progress", "sync.completed"];
        assert_eq!(histories[id], expected, "{path}");
    }
}

#[test]
fn a_second_node_of_a_name_and_another_master_key_are_refused() {
    let Some(database) = postgres::database() else {
        return;
    };
    let fleet = Fleet::start(Some(database), &["a"], CONFIG, MORE);
    let refused = |name: &str, data: &Path| refusal(&fleet, name, data);
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
fn refusal(fleet: &Fleet, name: &str, data: &Path) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_refsyncd"))
        .args(["--listen", "127.0.0.1:0", "--data"])
        .arg(data)
        .args(fleet.arguments(name))
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
    let fleet = Fleet::start(Some(database.clone()), &["a"], CONFIG, MORE);
    let node = &fleet.nodes[0];
    let repo = json!({ "name": "r" });
    node.client().post("/v1/default/repos", repo).ok(201);
    let other = memory_folder();
    copy_key(node.data.path(), other.path());
    fs::write(other.path().join("config.toml"), CONFIG).expect("a file");
    let (done, text) = release(&database, "a");
    assert!(!done && text.contains("stop it first"), "{text}");
    let (done, text) = release(&database, "z");
    assert!(!done && text.contains("no node z"), "{text}");

    // It stands still for long. Its repositories are in its folder all the same.
    let mut before = node.daemon().take().expect("a process");
    before.signal(Signal::SIGSTOP);
    silence(&database);
    let text = refusal(&fleet, "a", other.path());
    assert!(text.contains("refsyncd node release a"), "{text}");
    let (done, text) = release(&database, "a");
    assert!(done, "{text}");
    let mut after = fleet.process("a", other.path());
    let after_client = Client::new(&after.url(), Some(node.client().key()));

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
    let text = refusal(&fleet, "a", node.data.path());
    assert!(text.contains("refsyncd node release a"), "{text}");
}
