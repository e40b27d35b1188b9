//! Pushes, against `git push` in the same run.
//!
//! ```sh
//! REFSYNC_MIRRORS=/path/to/mirrors cargo bench --bench push
//! ```
//! The two take turns, each to a remote of its own that is made anew. `REFSYNC_MIRRORS` holds a bare
//! `git+git/repo` with its full history; without it there is only the push that finds nothing to do.

#![allow(
    missing_docs,
    clippy::print_stdout,
    reason = "a program that prints figures"
)]

#[path = "../tests/support/mod.rs"]
mod support;

use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use refsync::{LocalStore, NetworkPolicy, Outcome, SmartHttp, SyncOptions, sync};
use support::{GitServer, ObjectFormat, Repo, Sandbox, ref_heavy};

const ROUNDS: usize = 5;
const ROUNDS_OF_THE_WHOLE: usize = 3;
const REFS: usize = 50_000;
const COMMITS: usize = 20_000;

fn main() {
    println!("| push | git, median s | refsync | x git |\n|---|---|---|---|");
    nothing_to_do();
    if let Some(mirrors) = std::env::var_os("REFSYNC_MIRRORS") {
        real_history(&PathBuf::from(mirrors).join("git+git/repo"));
    }
}

fn nothing_to_do() {
    let sandbox = Sandbox::new();
    let source = sandbox.init_bare("source.git", ObjectFormat::Sha1);
    ref_heavy(&source, REFS, COMMITS);
    let remote = sandbox.init_bare("remote.git", ObjectFormat::Sha1);
    copy(&source, &remote);
    let name = format!("nothing to do, {REFS} refs");
    compare(&sandbox, &name, &source, &remote, ROUNDS);
}

fn real_history(mirror: &Path) {
    let sandbox = Sandbox::new();
    let mirror = Repo::at(mirror);
    let head = mirror.git(&["rev-parse", "HEAD"]);
    let whole = sandbox.init_bare("whole.git", ObjectFormat::Sha1);
    let url = mirror.path.to_str().expect("a path in UTF-8").to_owned();
    whole.git(&[
        "fetch",
        "-q",
        &url,
        "+refs/heads/*:refs/heads/*",
        "+refs/tags/*:refs/tags/*",
    ]);
    for commits in [1, 100] {
        let old = whole.git(&["rev-parse", &format!("{head}~{commits}")]);
        let source = sandbox.init_bare(&format!("source-{commits}.git"), ObjectFormat::Sha1);
        let remote = sandbox.init_bare(&format!("remote-{commits}.git"), ObjectFormat::Sha1);
        let from = whole.path.to_str().expect("a path in UTF-8").to_owned();
        for repo in [&source, &remote] {
            repo.git(&["fetch", "-q", &from, &format!("{old}:refs/heads/main")]);
        }
        let keep_loose = "fetch.unpackLimit=1000000";
        source.git(&[
            "-c",
            keep_loose,
            "fetch",
            "-q",
            &from,
            &format!("+{head}:refs/heads/main"),
        ]);
        compare(
            &sandbox,
            &format!("{commits} commits, loose"),
            &source,
            &remote,
            ROUNDS,
        );
        source.git(&["repack", "-adq"]);
        compare(
            &sandbox,
            &format!("{commits} commits, packed"),
            &source,
            &remote,
            ROUNDS,
        );
    }
    let empty = sandbox.init_bare("empty.git", ObjectFormat::Sha1);
    compare(&sandbox, "all of it", &whole, &empty, ROUNDS_OF_THE_WHOLE);
}

fn compare(sandbox: &Sandbox, name: &str, source: &Repo, remote: &Repo, rounds: usize) {
    let server = GitServer::builder(sandbox.path())
        .receive_pack(true)
        .start();
    let mut times = [const { Vec::new() }; 2];
    for _ in 0..rounds {
        for (turn, times) in times.iter_mut().enumerate() {
            let target = sandbox.init_bare("target.git", ObjectFormat::Sha1);
            copy(remote, &target);
            let url = server.url("target.git");
            times.push(timed(|| match turn {
                0 => {
                    let all = ["refs/heads/*:refs/heads/*", "refs/tags/*:refs/tags/*"];
                    source.git(&["push", "-q", &url, all[0], all[1]]);
                }
                _ => push(source, &url),
            }));
            assert_eq!(target.for_each_ref(), source.for_each_ref());
            std::fs::remove_dir_all(&target.path).expect("a folder of ours");
        }
    }
    let [git, ours] = times.map(|times| median(times).as_secs_f64());
    println!("| {name} | {git:.3} | {ours:.3} | {:.2} |", ours / git);
}

fn push(source: &Repo, url: &str) {
    let store = LocalStore::open(&source.path).expect("a repository");
    let remote = SmartHttp::new(url).expect("a URL");
    let remote = remote.with_network_policy(NetworkPolicy::any());
    let stats = sync(&store, &remote, &SyncOptions::default()).expect("a push");
    assert_eq!(stats.count(Outcome::Rejected), 0);
}

/// The same objects and refs, without copying a byte of a pack.
fn copy(from: &Repo, to: &Repo) {
    for entry in from
        .path
        .join("objects/pack")
        .read_dir()
        .expect("a folder of packs")
    {
        let entry = entry.expect("an entry");
        let link = to.path.join("objects/pack").join(entry.file_name());
        std::fs::hard_link(entry.path(), link).expect("a link");
    }
    from.git(&["pack-refs", "--all"]);
    if from.path.join("packed-refs").exists() {
        std::fs::copy(from.path.join("packed-refs"), to.path.join("packed-refs")).expect("a copy");
    }
}

fn timed(work: impl FnOnce()) -> Duration {
    let start = Instant::now();
    work();
    start.elapsed()
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}
