//! `doctor`, which finds what nothing mends by itself.

use std::{fs, path::Path};

use serde_json::json;

use crate::{
    daemon::{Daemon, folder, printed, run},
    support::Upstream,
};

/// The findings, which fail the command.
#[track_caller]
fn findings(place: &Path) -> Vec<String> {
    let output = run(place, &["doctor"]);
    let out = String::from_utf8_lossy(&output.stdout).into_owned();
    let lines: Vec<String> = out.lines().map(str::to_owned).collect();
    assert_eq!(output.status.code(), Some(1), "{out}");
    let count = format!("refsyncd: findings: {}\n", lines.len());
    assert_eq!(String::from_utf8_lossy(&output.stderr), count, "{out}");
    lines
}

#[track_caller]
fn finds(place: &Path, words: &[&str]) {
    let found = findings(place);
    let is_it = words.iter().all(|word| found[0].contains(word));
    assert!(found.len() == 1 && is_it, "{words:?} in {found:?}");
}

fn is_well(place: &Path) -> bool {
    let output = run(place, &["doctor"]);
    output.status.success() && printed(&output) == "all is well"
}

/// Runs one statement on the database.
fn change(place: &Path, sql: &'static str) {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let file = place.join("refsyncd-data/refsyncd.db");
        let options = sqlx::sqlite::SqliteConnectOptions::new().filename(file);
        let pool = sqlx::SqlitePool::connect_with(options.foreign_keys(false));
        let pool = pool.await.expect("the database");
        let done = sqlx::query(sql).execute(&pool).await.expect("done");
        assert!(done.rows_affected() > 0, "{sql}");
        pool.close().await;
    });
}

#[test]
fn each_fault_is_found() {
    let place = folder();
    let path = place.path();
    assert!(!run(path, &["doctor"]).status.success(), "there is nothing");
    assert!(!path.join("refsyncd-data").exists(), "it was made");

    let upstream = Upstream::start();
    upstream.repo("up.git");
    let mut daemon = Daemon::start(path, &["--network", "any", "--workers", "1"]);
    let line = daemon.line();
    let client = daemon.client(line.strip_prefix("admin key: ").expect("the key"));
    let auth = json!({ "kind": "token", "token": "secret" });
    let repo =
        json!({ "name": "app", "upstream": { "url": upstream.url("up.git"), "auth": auth } });
    let repo = client.post("/v1/default/repos", repo).ok(201);
    let id = repo["id"].as_str().expect("an id");
    // A repository that was never used has no folder, and misses none.
    client
        .post("/v1/default/repos", json!({ "name": "new" }))
        .ok(201);
    let syncs = "/v1/default/app/upstream/syncs";
    let queued = client.post(syncs, json!({ "direction": "pull" })).ok(201);
    let run = queued["id"].as_str().expect("an id");
    client.get(&format!("{syncs}/{run}?wait=60")).ok(200);
    assert!(is_well(path), "while it is served");
    daemon.stop();
    assert!(is_well(path), "while it is not");

    let repos = path.join(format!("refsyncd-data/repos/{id}.git"));
    fs::rename(&repos, path.join("aside")).expect("moved");
    finds(path, &["repository", id]);
    fs::rename(path.join("aside"), &repos).expect("moved");

    // As it is after the restore of an older database. What is no folder of a repository is none of our business.
    let stray = format!("repo_{}", "0".repeat(32));
    let folders = path.join("refsyncd-data/repos");
    fs::create_dir(folders.join(format!("{stray}.git"))).expect("made");
    fs::create_dir(folders.join("lost+found")).expect("made");
    finds(path, &["folder", &stray, "no repository of this node"]);
    assert!(
        folders.join(format!("{stray}.git")).exists(),
        "nothing is changed"
    );
    fs::remove_dir(folders.join(format!("{stray}.git"))).expect("removed");

    let key = path.join("refsyncd-data/master.key");
    let content = fs::read(&key).expect("the key");
    fs::write(&key, "x").expect("written");
    finds(path, &["master key"]);
    fs::write(&key, content).expect("written");
    change(path, "update upstreams set auth = auth || 'x'");
    finds(path, &["secret", id, "upstreams"]);
    change(path, "update upstreams set auth = null");

    change(path, "update work set queued = queued + 1");
    finds(path, &["queue", "1 queued"]);
    change(path, "update work set queued = queued - 1");
    for (fault, words, mended) in [
        (
            "update sync_runs set status = 'in_progress', finished_at = null",
            "neither due nor worked on",
            "update sync_runs set status = 'completed', finished_at = 1",
        ),
        (
            "update sync_runs set lease_until = 1",
            "its worker is lost",
            "update sync_runs set lease_until = null",
        ),
        (
            "update sync_runs set run_at = 1",
            "no worker has taken it",
            "update sync_runs set run_at = null",
        ),
    ] {
        change(path, fault);
        let found = findings(path);
        let is_it = |line: &String| line.contains(run) && line.contains(words);
        assert!(found.iter().any(is_it), "{words} in {found:?}");
        change(path, mended);
        assert!(is_well(path), "{words}");
    }

    change(path, "update nodes set name = 'other'");
    fs::create_dir(folders.join(format!("{stray}.git"))).expect("made");
    finds(path, &["node", "--node other"]);
    change(path, "update nodes set name = 'local'");
    finds(path, &["folder", &stray]);

    change(path, "insert into refsync_schema (version) values (99)");
    finds(path, &["database", "version 99"]);
}
