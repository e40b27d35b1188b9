//! Full pulls of real repositories with their whole history.
//!
//! ```sh
//! REFSYNC_MIRRORS=/path/to/mirrors cargo test --release --test real_repositories -- --ignored --nocapture
//! ```
//! `REFSYNC_MIRRORS` holds bare repositories as `OWNER+NAME/repo`.

#![allow(clippy::print_stderr, reason = "figures are what this is run for")]

mod support;

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use refsync::{
    FsckRules, LocalStore, NetworkPolicy, Outcome, Phase, Progress, SmartHttp, SyncOptions,
    SyncRunStats, sync,
};
use support::{GitServer, ObjectFormat, Repo, Sandbox};

const REPOSITORIES: [&str; 3] = ["git+git", "jj-vcs+jj", "BurntSushi+ripgrep"];

#[test]
#[ignore = "needs REFSYNC_MIRRORS, a folder of bare repositories with their full history"]
fn are_pulled_as_they_are() {
    let mirrors = std::env::var_os("REFSYNC_MIRRORS").expect("REFSYNC_MIRRORS is set");
    for name in REPOSITORIES {
        pull(&PathBuf::from(&mirrors).join(name), name);
    }
}

fn pull(mirror: &Path, name: &str) {
    let sandbox = Sandbox::new();
    let upstream = Repo::at(mirror.join("repo"));
    let destination = sandbox.init_bare("destination.git", ObjectFormat::Sha1);
    let server = GitServer::builder(mirror).start();
    let source = SmartHttp::new(&server.url("repo")).expect("a URL");
    let source = source.with_network_policy(NetworkPolicy::any());
    let store = LocalStore::open(&destination.path).expect("a repository");

    let phases = Arc::new(Phases::default());
    let mut options = SyncOptions::default();
    options.progress = Some(phases.clone());
    let start = Instant::now();
    let first = sync(&source, &store, &options).expect("a first pull");
    let took = start.elapsed();
    assert_eq!(first.count(Outcome::is_updated), first.refs.len());
    assert_eq!(destination.for_each_ref(), upstream.for_each_ref());
    destination.git(&["fsck", "--connectivity-only"]);

    server.reset_counts();
    let second = sync(&source, &store, &SyncOptions::default()).expect("a second pull");
    assert_eq!(second.count(Outcome::is_unchanged), first.refs.len());
    let requests = server.requests();
    assert!(requests.len() <= 2, "{requests:?}");
    assert!(
        requests
            .iter()
            .all(|request| request.command.as_deref() != Some("fetch"))
    );
    eprintln!(
        "{name}: {} refs, {} objects, {} bytes in {took:.1?}; a second run made {} requests",
        first.refs.len(),
        first.traffic.objects,
        first.traffic.bytes_received,
        requests.len(),
    );
    eprintln!("{name}: {:.1?}", phases.durations());
}

/// Repositories whose early history breaks rules of git's fsck.
const OLD: [&str; 5] = [
    "psf+requests",
    "pallets+flask",
    "ohmyzsh+ohmyzsh",
    "sinatra+sinatra",
    "lodash+lodash",
];

#[test]
#[ignore = "needs REFSYNC_MIRRORS, a folder of bare repositories with their full history"]
fn with_old_faults_come_in_by_default_and_fail_by_strict_rules_as_with_git() {
    let mirrors = std::env::var_os("REFSYNC_MIRRORS").expect("REFSYNC_MIRRORS is set");
    for name in OLD {
        let mirror = PathBuf::from(&mirrors).join(name);
        let server = GitServer::builder(&mirror).start();
        let url = server.url("repo");
        let default = pull_by(&url, &FsckRules::default());
        assert_eq!(default.count(Outcome::is_updated), default.refs.len());
        let strict = pull_by(&url, &FsckRules::strict());
        check_as_git(&url, &Repo::at(mirror.join("repo")), &strict);
        eprintln!(
            "{name}: {} refs by default; strictly {} of them, and {} faulty objects",
            default.count(Outcome::is_updated),
            strict.count(Outcome::is_updated),
            strict.faulty_objects,
        );
    }
}

fn pull_by(url: &str, rules: &FsckRules) -> SyncRunStats {
    let sandbox = Sandbox::new();
    let destination = sandbox.init_bare("destination.git", ObjectFormat::Sha1);
    let source = SmartHttp::new(url).expect("a URL");
    let source = source.with_network_policy(NetworkPolicy::any());
    let store = LocalStore::open(&destination.path).expect("a repository");
    let mut options = SyncOptions::default();
    options.fsck = rules.clone();
    sync(&source, &store, &options).expect("a pull")
}

/// Git's fsck lists each reason, and git fetches the refs that came in and none of the others.
fn check_as_git(url: &str, upstream: &Repo, stats: &SyncRunStats) {
    let fsck = upstream.try_git(&["fsck", "--strict", "--no-dangling", "--no-progress"]);
    let found = String::from_utf8_lossy(&fsck.stderr).into_owned();
    for (rejected, reason) in stats.rejected() {
        let reason = reason.to_string();
        let words: Vec<_> = reason.splitn(5, [' ', ';']).collect();
        let ["faulty:", "object", id, message, _] = words[..] else {
            panic!("{}: {reason}", rejected.name);
        };
        let line = format!(" {id} {message} ");
        assert!(found.contains(&line), "{reason}\n{found}");
    }
    let fetch = |is_wanted: fn(&Outcome) -> bool| {
        let sandbox = Sandbox::new();
        let repo = sandbox.init_bare("git.git", ObjectFormat::Sha1);
        let names = stats
            .with_outcome(is_wanted)
            .map(|found| found.name.to_string());
        let refspecs: Vec<_> = names.map(|name| format!("{name}:{name}")).collect();
        let mut args = vec![
            "-c",
            "fetch.fsckObjects=true",
            "fetch",
            "--no-tags",
            "-q",
            url,
        ];
        args.extend(refspecs.iter().map(String::as_str));
        repo.try_git(&args).status.success()
    };
    assert!(fetch(Outcome::is_updated), "git takes what came in");
    assert!(!fetch(Outcome::is_rejected), "git refuses what stayed out");
}

/// When each phase began.
#[derive(Default)]
struct Phases(Mutex<Vec<(Phase, Instant)>>);

impl Phases {
    fn durations(&self) -> Vec<(Phase, Duration)> {
        let begun = self.0.lock().expect("no panic while locked");
        let ends = begun
            .iter()
            .skip(1)
            .map(|(_, at)| *at)
            .chain([Instant::now()]);
        begun
            .iter()
            .zip(ends)
            .map(|((phase, at), end)| (*phase, end - *at))
            .collect()
    }
}

impl Progress for Phases {
    fn advance(&self, phase: Phase, _done: u64, _total: Option<u64>) {
        let mut begun = self.0.lock().expect("no panic while locked");
        if begun.last().is_none_or(|(last, _)| *last != phase) {
            begun.push((phase, Instant::now()));
        }
    }
}
