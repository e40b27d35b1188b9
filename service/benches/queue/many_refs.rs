//! Runs of 50,000 refs: their list, and one of them.

use std::{
    fmt::Write as _,
    fs,
    path::Path,
    time::{Duration, Instant},
};

use serde_json::Value;

use super::{
    daemon::Daemon,
    engine::git::{ObjectFormat, Repo, Sandbox},
    figures::{ROUNDS, folder, median, millis, verdict},
    roles::Role,
};

const REFS: usize = 50_000;
const RUNS: usize = 100;
const SIZE_BAR: usize = 5 << 20;
const TIME_BAR: Duration = Duration::from_millis(200);

pub fn bench() {
    let upstreams = Sandbox::new();
    let upstream = upstreams.init_bare("app.git", ObjectFormat::Sha1);
    let tip = upstream.commit("main", &[], "one", &[("a", "1")], 1_700_000_000);
    let mut server = Role::start("server", [upstreams.path()]);
    let folder = folder();
    let daemon = Daemon::start(folder.path(), 1);
    daemon.make("app", &server.line());
    let began = Instant::now();
    for run in 0..RUNS {
        // Another branch each time, so that each run has refs of its own to store.
        write_refs(&upstream, &tip, run);
        daemon.pull("app");
    }
    let a_run = began.elapsed() / RUNS as u32;
    println!(
        "{RUNS} runs of {REFS} refs, one of which is new: {:.0} ms each",
        millis(a_run)
    );
    list(&daemon);
    one(&daemon);
}

fn write_refs(repo: &Repo, tip: &str, run: usize) {
    let mut text = String::from("# pack-refs with: peeled fully-peeled sorted \n");
    for at in 0..REFS - RUNS + run {
        writeln!(text, "{tip} refs/heads/topics/number-{at:06}").expect("a string");
    }
    fs::write(Path::new(&repo.path).join("packed-refs"), text).expect("written");
}

fn list(daemon: &Daemon) {
    let mut times = Vec::new();
    let mut bytes = 0;
    for _ in 0..ROUNDS * 5 {
        let began = Instant::now();
        let text = daemon.text("/app/upstream/syncs?limit=100");
        times.push(began.elapsed());
        bytes = text.len();
        let list: Value = serde_json::from_str(&text).expect("JSON");
        assert_eq!(list["syncs"].as_array().map(Vec::len), Some(RUNS));
    }
    let time = median(&times);
    println!(
        "list of {RUNS}: {bytes} bytes, at most {SIZE_BAR}: {}; {:.1} ms, at most {}: {}",
        verdict(bytes <= SIZE_BAR),
        millis(time),
        millis(TIME_BAR),
        verdict(time <= TIME_BAR)
    );
}

fn one(daemon: &Daemon) {
    let list = daemon.get("/app/upstream/syncs?limit=1");
    let id = list["syncs"][0]["id"].as_str().expect("an id").to_owned();
    let mut times = Vec::new();
    for _ in 0..ROUNDS * 5 {
        let began = Instant::now();
        let text = daemon.text(&format!("/app/upstream/syncs/{id}"));
        times.push(began.elapsed());
        let run: Value = serde_json::from_str(&text).expect("JSON");
        assert_eq!(run["stats"]["refs"].as_array().map(Vec::len), Some(REFS));
    }
    println!("one with all refs: {:.0} ms", millis(median(&times)));
}
