//! The start: what is made, what is printed, and what is refused.

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path};

use serde_json::{Value, json};

use crate::daemon::{Daemon, folder, printed, program, refusal, run};

fn mode(path: &Path) -> u32 {
    fs::metadata(path)
        .expect("it is there")
        .permissions()
        .mode()
        & 0o777
}

#[test]
fn the_first_start_makes_all_and_prints_the_key_once() {
    let place = folder();
    let mut daemon = Daemon::start(place.path(), &[]);
    let line = daemon.line();
    let key = line
        .strip_prefix("admin key: ")
        .unwrap_or_else(|| panic!("{line:?}"))
        .to_owned();
    assert!(daemon.knows(&key, "default"));
    assert!(!daemon.knows("rsk_wrong", "default"));
    let data = place.path().join("refsyncd-data");
    assert_eq!(
        (mode(&data), mode(&data.join("master.key"))),
        (0o700, 0o600)
    );
    assert!(
        daemon
            .get("/metrics", "")
            .contains("refsyncd_queue_length 0")
    );

    // One process serves a folder.
    let text = refusal(&run(place.path(), &["--listen", "127.0.0.1:0"]));
    assert!(text.contains("in use by another process"), "{text}");
    assert_eq!(text.lines().count(), 1);
    daemon.stop();

    let daemon = Daemon::start(place.path(), &[]);
    assert!(daemon.knows(&key, "default"));
    daemon.signal(nix::sys::signal::Signal::SIGKILL);
    drop(daemon);
    let mut daemon = Daemon::start(place.path(), &[]);
    daemon.signal(nix::sys::signal::Signal::SIGINT);
    assert_eq!(daemon.line(), "", "the key was printed again");
}

#[test]
fn a_configuration_that_cannot_be_used() {
    let place = folder();
    let file = |content: &str| {
        fs::write(place.path().join("config.toml"), content).expect("a file");
        ["--config", "config.toml"]
    };
    for (arguments, part) in [
        (&["--listen", "0.0.0.0:0"][..], "--behind-proxy"),
        (&["--listen", "[::]:0"], "--behind-proxy"),
        (&["--listen", "x"], "--listen"),
        (&["--lease", "0"], "lease is 0: a number from 3 to 3600"),
        (&["--workers", "x"], "--workers"),
        (&["--workers", "5000"], "workers is 5000"),
        (&["--network", "some"], "--network"),
        (&["--node", "a/b"], "node: "),
        (&["--public-url", "ftp://a"], "public_url: "),
        (
            &["--database", "mysql://user:hunter2@a/b"],
            "database: sqlite: and the path of a file",
        ),
        (&["--config", "none.toml"], "none.toml"),
        (&["--data", "none/data"], "none/data"),
        (&["--what"], "--what"),
        (&["walk"], "walk"),
    ] {
        let text = refusal(&run(place.path(), arguments));
        assert!(text.contains(part), "{arguments:?}: {text}");
        assert!(!text.contains("hunter2"), "{text}");
    }
    for (content, part) in [
        ("listen = 1", "line 1: invalid type"),
        ("worker = 1", "worker"),
        ("[limits]\nmemory = 0", "limits.memory is 0"),
        ("[limits]\nmemory = -1", "line 2: invalid value"),
        ("[retry]\njitter = 2.0", "retry.jitter is 2"),
        (
            "[retention]\nruns = 10\nmost_runs = 5",
            "retention.most_runs is 5",
        ),
        ("[network]\nrefused = [\"10.0.0.0/99\"]", "network.refused"),
        ("[queue]\nper_repo = 0", "queue.per_repo is 0"),
        ("[git]\nprocesses = 0", "git.processes is 0"),
        ("listen =", "config.toml"),
    ] {
        let text = refusal(&run(place.path(), &file(content)));
        assert!(text.contains(part), "{content}: {text}");
    }
    let output = program(place.path())
        .env("REFSYNCD_LEASE", "1")
        .output()
        .expect("the program");
    assert!(refusal(&output).contains("lease is 1"));
    assert!(
        !place.path().join("refsyncd-data").exists(),
        "something was made"
    );
}

#[test]
fn the_command_line_comes_before_the_environment_and_that_before_the_file() {
    let place = folder();
    fs::write(
        place.path().join("config.toml"),
        "data = \"of-file\"\nlease_seconds = 1\n",
    )
    .expect("a file");
    let started = |arguments: &[&str], data: Option<&str>| {
        let mut command = program(place.path());
        command
            .args(["--config", "config.toml", "--listen", "0.0.0.0:0"])
            .args(arguments);
        command.envs(data.map(|data| ("REFSYNCD_DATA", data)));
        refusal(
            &command
                .env("REFSYNCD_BEHIND_PROXY", "1")
                .output()
                .expect("the program"),
        )
    };
    assert!(started(&[], None).contains("lease is 1"));
    assert!(started(&["--lease", "2"], None).contains("lease is 2"));
    for (arguments, data, part) in [
        (
            &["--lease", "9", "--data", "no/flag"][..],
            Some("no/environment"),
            "no/flag",
        ),
        (&["--lease", "9"], Some("no/environment"), "no/environment"),
    ] {
        let text = started(arguments, data);
        assert!(text.contains(part), "{text}");
    }
}

#[test]
fn damaged_and_missing_files_are_told_and_nothing_is_made_anew() {
    let place = folder();
    Daemon::start(place.path(), &[]).stop();
    let data = place.path().join("refsyncd-data");
    let (key, database) = (data.join("master.key"), data.join("refsyncd.db"));
    let key_before = fs::read(&key).expect("the key");
    let refused = |part: &str| {
        let text = refusal(&run(place.path(), &["--listen", "127.0.0.1:0"]));
        assert!(text.contains(part), "{text}");
        assert_eq!(text.lines().count(), 1, "{text}");
    };

    fs::write(&key, &key_before[..20]).expect("a file");
    refused("master.key");
    fs::write(&key, "").expect("a file");
    refused("master.key");
    fs::remove_file(&key).expect("removed");
    refused("master.key");
    assert!(!key.exists(), "a new key was made");
    fs::write(&key, &key_before).expect("a file");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).expect("changed");
    refused("master.key");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).expect("changed");

    let copy = fs::read(&database).expect("the database");
    fs::write(
        &database,
        b"this is no database, and never was one".repeat(100),
    )
    .expect("a file");
    refused("database");
    fs::write(&database, &copy).expect("a file");
    let mut daemon = Daemon::start(place.path(), &[]);
    daemon.signal(nix::sys::signal::Signal::SIGTERM);
    assert_eq!(daemon.line(), "", "there is a new key");
    daemon.child.wait().expect("an end");

    let newer = "insert into refsync_schema (version) values (9999)";
    tokio::runtime::Runtime::new()
        .expect("a runtime")
        .block_on(async {
            let options = sqlx::sqlite::SqliteConnectOptions::new().filename(&database);
            let pool = sqlx::SqlitePool::connect_with(options)
                .await
                .expect("the database");
            sqlx::query(newer).execute(&pool).await.expect("a row");
            pool.close().await;
        });
    refused("newer program");
}

#[test]
fn a_disk_that_is_full_is_told() {
    let place = folder();
    let mut command = std::process::Command::new("sh");
    let script = "trap '' XFSZ; ulimit -f 8; exec \"$0\" --listen 127.0.0.1:0";
    command
        .args(["-c", script, env!("CARGO_BIN_EXE_refsyncd")])
        .current_dir(place.path());
    let text = refusal(&command.output().expect("the program"));
    assert!(text.contains("database") || text.contains("disk"), "{text}");
    // Once there is room, the first start goes on.
    let mut daemon = Daemon::start(place.path(), &[]);
    assert!(daemon.line().starts_with("admin key: "));
}

#[test]
fn help_and_version_are_no_errors() {
    let place = folder();
    assert!(printed(&run(place.path(), &["--help"])).contains("--behind-proxy"));
    assert!(printed(&run(place.path(), &["--version"])).starts_with("refsync-service "));
}

#[test]
fn without_git_nothing_says_that_it_is_served() {
    let place = folder();
    let mut command = program(place.path());
    command.env("PATH", place.path());
    let mut daemon = Daemon::of(command, &[]);
    let line = daemon.line();
    let client = daemon.client(line.strip_prefix("admin key: ").expect("the key"));
    let repo = json!({ "name": "app" });
    let repo = client.post("/v1/default/repos", repo).ok(201);
    assert_eq!(repo["clone_url"], Value::Null);
    let answer = client.get("/default/app.git/info/refs?service=git-upload-pack");
    answer.refused(404, "NOT_FOUND");
}

#[test]
fn what_is_beside_the_api_refuses_as_the_api_does() {
    let place = folder();
    let mut daemon = Daemon::start(place.path(), &[]);
    let line = daemon.line();
    let client = daemon.client(line.strip_prefix("admin key: ").expect("the key"));
    for path in ["/metrics", "/default/app.git/info/refs", "/healthz"] {
        let answer = client.call("DELETE", path, None, &[]);
        answer.refused(405, "METHOD_NOT_ALLOWED");
    }
}
