//! The page for operators: each of its commands, in its order, as it stands.

#![allow(clippy::print_stderr, reason = "a skipped test says why")]

use std::{
    fs,
    path::Path,
    process::{Command, Output},
};

use serde_json::json;

use crate::{
    daemon::{Daemon, folder},
    support::{Client, Upstream, postgres},
};

const PAGE: &str = include_str!("../../docs/operations.md");

/// Runs one block in a shell that finds the program.
#[track_caller]
fn shell(place: &Path, block: &str) -> String {
    shell_with(place, block, "")
}

/// The same with the address of a database in the environment.
#[track_caller]
fn shell_with(place: &Path, block: &str, database: &str) -> String {
    let programs = place.join("programs");
    let path = std::env::var("PATH").expect("a path");
    let output: Output = Command::new("sh")
        .args(["-euc", block])
        .current_dir(place)
        .env_clear()
        .env("PATH", format!("{}:{path}", programs.display()))
        .env("HOME", place)
        .envs((!database.is_empty()).then_some(("REFSYNCD_DATABASE", database)))
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .output()
        .expect("a shell");
    let (out, err) = (
        String::from_utf8_lossy(&output.stdout).into_owned(),
        String::from_utf8_lossy(&output.stderr),
    );
    assert!(output.status.success(), "{block}\n{out}{err}");
    out
}

/// The blocks of the page, each of which a test runs.
fn blocks() -> [&'static str; 7] {
    let blocks = PAGE.split("```sh\n").skip(1);
    let blocks: Vec<&str> = blocks.filter_map(|rest| rest.split("```").next()).collect();
    let blocks = <[&str; 7]>::try_from(blocks);
    blocks.unwrap_or_else(|blocks| panic!("blocks that no test runs: {blocks:?}"))
}

/// A folder with the program.
fn place() -> tempfile::TempDir {
    let place = folder();
    let programs = place.path().join("programs");
    fs::create_dir(&programs).expect("a folder");
    let program = programs.join("refsyncd");
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_refsyncd"), program).expect("a link");
    place
}

fn pull(client: &Client) -> String {
    let syncs = "/v1/default/app/upstream/syncs";
    let run = client.post(syncs, json!({ "direction": "pull" })).ok(201);
    let id = run["id"].as_str().expect("an id").to_owned();
    let ended = client.get(&format!("{syncs}/{id}?wait=60")).ok(200);
    assert_eq!(ended["status"], "completed", "{ended}");
    id
}

#[test]
fn a_restored_backup_is_the_service_of_before() {
    if Command::new("sqlite3").arg("--version").output().is_err() {
        eprintln!("skipped: the page needs sqlite3, which is not installed");
        return;
    }
    let [doctor, audit, back_up, _, restore, _, rekey] = blocks();
    let place = place();
    let path = place.path();

    let upstream = Upstream::start_with(|server| server.auth("git", "secret"));
    let source = upstream.repo("up.git");
    let mut daemon = Daemon::start(path, &["--network", "any", "--workers", "1"]);
    let line = daemon.line();
    let key = line
        .strip_prefix("admin key: ")
        .expect("the key")
        .to_owned();
    let client = daemon.client(&key);
    let auth = json!({ "kind": "username_password", "username": "git", "password": "secret" });
    let body =
        json!({ "name": "app", "upstream": { "url": upstream.url("up.git"), "auth": auth } });
    client.post("/v1/default/repos", body).ok(201);
    let before = pull(&client);
    assert_eq!(shell(path, doctor), "all is well\n");
    let audited = shell(path, audit);
    assert!(audited.contains("upstream.auth"), "{audited}");
    shell(path, back_up);
    daemon.stop();
    fs::rename(path.join("refsyncd-data"), path.join("lost")).expect("moved");

    assert_eq!(shell(path, restore), "all is well\n");
    shell(path, rekey);
    let daemon = Daemon::start(path, &["--network", "any", "--workers", "1"]);
    let client = daemon.client(&key);
    let syncs = client.get("/v1/default/app/upstream/syncs").ok(200);
    assert_eq!(syncs["syncs"][0]["id"], before, "{syncs}");
    // The credential is there, and the repository goes on where it was.
    source.commit("next", &[], "second", &[("file", "2\n")], 1_700_000_001);
    pull(&client);
    let clone = format!(
        "git clone -q http://any:{key}@{}/default/app.git",
        daemon.address
    );
    shell(path, &clone);
    assert_eq!(
        shell(path, "git -C app rev-parse origin/next").trim(),
        source.git(&["rev-parse", "next"])
    );
}

#[test]
fn a_restored_dump_is_the_database_of_before() {
    let Some(server) = postgres::Server::start() else {
        return;
    };
    for program in ["pg_dump", "pg_restore", "vacuumdb", "createdb"] {
        if Command::new(program).arg("--version").output().is_err() {
            eprintln!("skipped: the page needs {program}, which is not installed");
            return;
        }
    }
    let [_, _, _, back_up, _, restore, _] = blocks();
    let place = place();
    let path = place.path();
    let host = server.folder().display();
    let address = |name: &str| format!("postgres:///{name}?host={host}&user=postgres");
    let database = address("postgres");
    let mut daemon = Daemon::start(path, &["--database", &database]);
    let line = daemon.line();
    let key = line.strip_prefix("admin key: ").expect("the key");
    let client = daemon.client(key);
    client
        .post("/v1/default/repos", json!({ "name": "app" }))
        .ok(201);
    shell_with(path, back_up, &database);
    daemon.stop();

    let create = format!("createdb --host={host} --username=postgres restored");
    shell(path, &create);
    let restored = address("restored");
    shell_with(path, restore, &restored);
    assert_eq!(
        shell_with(path, "refsyncd doctor", &restored),
        "all is well\n"
    );
    let daemon = Daemon::start(path, &["--database", &restored]);
    daemon.client(key).get("/v1/default/app").ok(200);
}
