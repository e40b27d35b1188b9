//! Pulls of real history, against `git fetch` in the same run.
//!
//! ```sh
//! REFSYNC_MIRRORS=/path/to/mirrors cargo bench --bench pull [-- NAME]
//! ```
//! They take turns, each into a repository that is made anew. `REFSYNC_MIRRORS` holds a bare
//! `git+git/repo` with its full history. Ours verifies all that it receives; git does so where the
//! column says `fsckObjects`.

#![allow(
    missing_docs,
    clippy::print_stdout,
    reason = "a program that prints figures"
)]

#[path = "../tests/support/mod.rs"]
mod support;

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use refsync::{LocalStore, NetworkPolicy, Outcome, SmartHttp, SyncOptions, sync};
use support::{GitServer, ObjectFormat, Repo, Sandbox};

const ROUNDS: usize = 5;
const ROUNDS_OF_THE_WHOLE: usize = 3;

fn main() {
    let Some(mirrors) = std::env::var_os("REFSYNC_MIRRORS") else {
        return println!("there is nothing to pull from without REFSYNC_MIRRORS");
    };
    let sandbox = Sandbox::new();
    let mirror = Repo::at(PathBuf::from(mirrors).join("git+git/repo"));
    let upstream = sandbox.init_bare("upstream.git", ObjectFormat::Sha1);
    fetch(&upstream, &mirror.path.to_string_lossy(), "false");
    println!("| pull | git, median s | with fsckObjects | refsync | x git | x fsckObjects |");
    println!("|---|---|---|---|---|---|");
    let head = mirror.git(&["rev-parse", "HEAD"]);
    let from = upstream.path.to_string_lossy().into_owned();
    for commits in [1, 100] {
        let old = upstream.git(&["rev-parse", &format!("{head}~{commits}")]);
        let [source, before] = ["source", "before"].map(|name| {
            let name = format!("{name}-{commits}.git");
            sandbox.init_bare(&name, ObjectFormat::Sha1)
        });
        source.git(&["fetch", "-q", &from, &format!("{head}:refs/heads/main")]);
        before.git(&["fetch", "-q", &from, &format!("{old}:refs/heads/main")]);
        let name = format!("{commits} commits");
        compare(&sandbox, &name, &source, &before, ROUNDS);
    }
    let empty = sandbox.init_bare("empty.git", ObjectFormat::Sha1);
    compare(
        &sandbox,
        "all of it",
        &upstream,
        &empty,
        ROUNDS_OF_THE_WHOLE,
    );
}

fn compare(sandbox: &Sandbox, name: &str, source: &Repo, before: &Repo, rounds: usize) {
    let only = std::env::args()
        .skip(1)
        .find(|argument| !argument.starts_with('-'));
    if only.is_some_and(|only| !name.contains(&only)) {
        return;
    }
    let server = GitServer::builder(sandbox.path()).start();
    let folder = source.path.file_name().expect("a name");
    let url = server.url(&folder.to_string_lossy());
    let mut times = [const { Vec::new() }; 3];
    for _ in 0..rounds {
        for (turn, times) in times.iter_mut().enumerate() {
            let target = sandbox.init_bare("target.git", ObjectFormat::Sha1);
            before.link_to(&target);
            let start = Instant::now();
            match turn {
                0 => fetch(&target, &url, "false"),
                1 => fetch(&target, &url, "true"),
                _ => pull(&target, &url),
            }
            times.push(start.elapsed());
            assert_eq!(target.for_each_ref(), source.for_each_ref());
            std::fs::remove_dir_all(&target.path).expect("a folder of ours");
        }
    }
    let [git, checked, ours] = times.map(|times| median(times).as_secs_f64());
    let (ratio, checked_ratio) = (ours / git, ours / checked);
    println!("| {name} | {git:.3} | {checked:.3} | {ours:.3} | {ratio:.2} | {checked_ratio:.2} |");
}

fn fetch(target: &Repo, url: &str, check: &str) {
    let check = format!("fetch.fsckObjects={check}");
    let (heads, tags) = ("refs/heads/*:refs/heads/*", "refs/tags/*:refs/tags/*");
    let refspecs = [heads, tags];
    let options = ["-c", &check, "-c", "maintenance.auto=false"];
    target.git(&[&options[..], &["fetch", "-q", url], &refspecs].concat());
}

fn pull(target: &Repo, url: &str) {
    let store = LocalStore::open(&target.path).expect("a repository");
    let remote = SmartHttp::new(url).expect("a URL");
    let remote = remote.with_network_policy(NetworkPolicy::any());
    let stats = sync(&remote, &store, &SyncOptions::default()).expect("a pull");
    assert_eq!(stats.count(Outcome::Rejected), 0);
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}
