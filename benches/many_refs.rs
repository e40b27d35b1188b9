//! 50,000 refs, against git in the same run.
//!
//! ```sh
//! cargo bench --bench many_refs
//! ```
//! A first pull of refs whose objects the destination has already, with and without a ref that
//! vouches for them, against `git clone --mirror` of the same upstream, in turn. And what a pull of
//! `release/*` puts on the wire.

#![allow(
    missing_docs,
    clippy::print_stdout,
    reason = "a program that prints figures"
)]

#[path = "../tests/support/mod.rs"]
mod support;

use std::{
    path::Path,
    time::{Duration, Instant},
};

use refsync::{
    LocalStore, NetworkPolicy, Outcome, RefGlobs, SmartHttp, SyncOptions, SyncRunStats, sync,
};
use support::{GitServer, ObjectFormat, Repo, Sandbox, ref_heavy};

const REFS: usize = 50_000;
const COMMITS: usize = 20_000;
const ROUNDS: usize = 5;

fn main() {
    let sandbox = Sandbox::new();
    let upstream = sandbox.init_bare("upstream.git", ObjectFormat::Sha1);
    ref_heavy(&upstream, REFS, COMMITS);
    let server = GitServer::builder(sandbox.path()).start();
    let url = server.url("upstream.git");

    let narrow = destination(&sandbox, "narrow.git", &upstream, true);
    let stats = pull(
        &url,
        &narrow,
        RefGlobs::new(Some("release/*"), None).expect("a glob"),
    );
    assert_eq!(stats.count(Outcome::Updated), stats.refs.len());
    let bytes = stats.traffic.bytes_sent + stats.traffic.bytes_received;
    println!(
        "release/* out of {REFS} refs: {} refs, {} requests, {bytes} bytes on the wire",
        stats.refs.len(),
        stats.traffic.requests
    );

    let mut times = [const { Vec::new() }; 3];
    for round in 0..ROUNDS {
        let clone = sandbox.path().join(format!("clone-{round}.git"));
        times[0].push(timed(|| {
            sandbox.git(&["clone", "-q", "--mirror", &url, &clone.to_string_lossy()]);
        }));
        for (times, with_ref) in times[1..].iter_mut().zip([true, false]) {
            let repo = destination(
                &sandbox,
                &format!("first-{round}-{with_ref}.git"),
                &upstream,
                with_ref,
            );
            times.push(timed(|| {
                let stats = pull(&url, &repo, RefGlobs::default());
                assert_eq!(
                    stats.refs.len() - stats.count(Outcome::Unchanged),
                    stats.count(Outcome::Updated)
                );
                assert!(!server.requests().iter().any(|r| {
                    r.command.as_deref() == Some("fetch")
                        && r.user_agent
                            .as_deref()
                            .is_some_and(|a| a.contains("refsync"))
                }));
            }));
            assert_eq!(repo.for_each_ref(), upstream.for_each_ref());
            std::fs::remove_dir_all(repo.git_dir()).expect("a folder of ours");
        }
        std::fs::remove_dir_all(clone).expect("a folder of ours");
    }
    println!("\n| {REFS} new refs | median s | x git |\n|---|---|---|");
    let names = [
        "git clone --mirror",
        "refsync, objects behind a ref",
        "refsync, objects without a ref",
    ];
    let git = median(&times[0]);
    for (name, times) in names.iter().zip(&times) {
        let median = median(times);
        println!(
            "| {name} | {:.3} | {:.2} |",
            median.as_secs_f64(),
            median.as_secs_f64() / git.as_secs_f64()
        );
    }
}

/// A bare repository with the upstream's objects and at most one of its refs.
fn destination(sandbox: &Sandbox, name: &str, upstream: &Repo, with_ref: bool) -> Repo {
    let repo = sandbox.init_bare(name, ObjectFormat::Sha1);
    link_all(
        &upstream.git_dir().join("objects/pack"),
        &repo.git_dir().join("objects/pack"),
    );
    if with_ref {
        repo.set_ref(
            "refs/heads/main",
            &upstream.git(&["rev-parse", "refs/heads/main"]),
        );
    }
    repo
}

fn link_all(from: &Path, to: &Path) {
    for entry in from.read_dir().expect("a folder of packs") {
        let entry = entry.expect("an entry");
        std::fs::hard_link(entry.path(), to.join(entry.file_name())).expect("a link");
    }
}

fn pull(url: &str, destination: &Repo, globs: RefGlobs) -> SyncRunStats {
    let source = SmartHttp::new(url)
        .expect("a URL")
        .with_network_policy(NetworkPolicy::any());
    let store = LocalStore::open(&destination.path).expect("a repository");
    let mut options = SyncOptions::default();
    options.globs = globs;
    sync(&source, &store, &options).expect("a pull")
}

fn timed(work: impl FnOnce()) -> Duration {
    let start = Instant::now();
    work();
    start.elapsed()
}

fn median(times: &[Duration]) -> Duration {
    let mut times = times.to_vec();
    times.sort();
    times[times.len() / 2]
}
