//! The programs that take turns: git, and refsync.
//!
//! refsync is a library, and a service that embeds it starts no process. Here it is a program all the
//! same, so that it is measured as git is: from an empty process to its end.

use std::{
    process::Command,
    time::{Duration, Instant},
};

use refsync::{
    LocalStore, NetworkPolicy, ObjectId, Outcome, RefGlobs, RefSource as _, Relation, SmartHttp,
    SyncContext, SyncOptions, SyncRunStats, ancestry, sync,
};

use super::{
    Repo, git,
    measure::{Whose, this_program, usage},
};

const PULL: &str = "--pull";
const PULL_KNOWN: &str = "--pull-known";
const PULL_TWICE: &str = "--pull-twice";
const PUSH: &str = "--push";
const PUSH_KNOWN: &str = "--push-known";
const PUSH_EXPECTED: &str = "--push-expected";
const RELATE: &str = "--relate";

/// Which refs take part.
#[derive(Debug, Clone, Copy)]
pub struct Refs {
    branches: &'static str,
    /// None if it is empty.
    tags: &'static str,
}

impl Refs {
    pub const ALL: Refs = Refs {
        branches: "*",
        tags: "*",
    };
    pub const RELEASES: Refs = Refs {
        branches: "release/*",
        tags: "",
    };

    fn refspecs(self) -> Vec<String> {
        let all = [("refs/heads/", self.branches), ("refs/tags/", self.tags)];
        let given = all.into_iter().filter(|(_, glob)| !glob.is_empty());
        given
            .map(|(namespace, glob)| format!("{namespace}{glob}:{namespace}{glob}"))
            .collect()
    }
}

pub fn git_fetch(into: &Repo, url: &str, refs: Refs) -> Command {
    git_fetch_with(&[], into, url, refs)
}

/// With the check that refsync always makes of what it receives.
pub fn git_fetch_checked(into: &Repo, url: &str, refs: Refs) -> Command {
    git_fetch_with(&["-c", "fetch.fsckObjects=true"], into, url, refs)
}

fn git_fetch_with(settings: &[&str], into: &Repo, url: &str, refs: Refs) -> Command {
    let mut command = git::command(&into.path);
    command.args(settings).args(["fetch", "-q", "--no-tags"]);
    command.args(["--no-write-fetch-head", "--no-auto-maintenance", url]);
    command.args(refs.refspecs());
    command
}

/// In place of the repository that was prepared.
pub fn git_clone(into: &Repo, url: &str) -> Command {
    std::fs::remove_dir_all(&into.path).expect("a folder of ours");
    let mut command = git::command(into.path.parent().expect("a parent"));
    command.args(["clone", "-q", "--mirror", url]);
    command.arg(&into.path);
    command
}

pub fn git_push(from: &Repo, url: &str, refs: Refs) -> Command {
    let mut command = git::command(&from.path);
    command.args(["push", "-q", url]).args(refs.refspecs());
    command
}

pub fn pull(into: &Repo, url: &str, refs: Refs) -> Command {
    ours(PULL, into, url, refs)
}

/// From a server of which an earlier run has left a profile.
pub fn pull_known(into: &Repo, url: &str, refs: Refs) -> Command {
    ours(PULL_KNOWN, into, url, refs)
}

/// Twice in one process; what counts is the second time.
pub fn pull_twice(into: &Repo, url: &str, refs: Refs) -> Command {
    ours(PULL_TWICE, into, url, refs)
}

pub fn push(from: &Repo, url: &str, refs: Refs) -> Command {
    ours(PUSH, from, url, refs)
}

/// To a server of which an earlier run has left a profile.
pub fn push_known(from: &Repo, url: &str, refs: Refs) -> Command {
    ours(PUSH_KNOWN, from, url, refs)
}

fn ours(role: &str, local: &Repo, url: &str, refs: Refs) -> Command {
    let mut command = Command::new(this_program());
    command.arg(role).arg(&local.path);
    command.args([url, refs.branches, refs.tags]);
    command
}

/// The same, where it was a change here that has started the program.
pub fn push_expected(from: &Repo, url: &str, refs: Refs) -> Command {
    ours(PUSH_EXPECTED, from, url, refs)
}

/// The relation of each of some pairs of ids; see [`fast_forwards`].
pub fn relate(repo: &Repo, pairs: &str) -> Command {
    let mut command = Command::new(this_program());
    command.arg(RELATE).arg(&repo.path).arg(pairs);
    command
}

/// To be called early in `main`: whether this process was started to be one of the programs.
pub fn plays_its_role() -> bool {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        [
            role @ (PULL | PULL_KNOWN | PULL_TWICE | PUSH | PUSH_KNOWN | PUSH_EXPECTED),
            local,
            url,
            branches,
            tags,
        ] => {
            run(role, local, url, branches, tags);
        }
        [RELATE, repo, pairs] => print_fast_forwards(repo, pairs),
        _ => return false,
    }
    true
}

fn run(role: &str, local: &str, url: &str, branches: &str, tags: &str) {
    let local = LocalStore::open(local).expect("a repository");
    let remote = SmartHttp::new(url).expect("a URL");
    let mut remote = remote.with_network_policy(NetworkPolicy::any());
    if let PULL_KNOWN | PUSH_KNOWN | PUSH_EXPECTED = role {
        let profile = format!("1 v2 sha1 {url}");
        remote = remote.with_profile(profile.parse().expect("a profile"));
    }
    let mut options = SyncOptions::default();
    options.expects_changes = role == PUSH_EXPECTED;
    options.globs = RefGlobs::new(Some(branches), Some(tags)).expect("globs");
    let work = || -> SyncRunStats {
        let stats = match role {
            PUSH | PUSH_KNOWN | PUSH_EXPECTED => sync(&local, &remote, &options),
            _ => sync(&remote, &local, &options),
        };
        let stats = stats.expect("a run that does its work");
        assert_eq!(stats.count(Outcome::is_rejected), 0);
        stats
    };
    work();
    if role == PULL_TWICE {
        let (before, _) = usage(Whose::Own);
        let start = Instant::now();
        let traffic = work().traffic;
        let wall = start.elapsed();
        let (after, _) = usage(Whose::Own);
        let bytes = traffic.bytes_sent + traffic.bytes_received;
        let cpu = (after - before).as_micros();
        let wall = wall.as_micros();
        println!("{AGAIN}{wall} {cpu} {} {bytes}", traffic.requests);
    }
}

const AGAIN: &str = "again: ";

/// The cost of a part of a program's work, if the program tells it.
pub struct Again {
    pub wall: Duration,
    pub cpu: Duration,
    pub requests: u64,
    pub bytes: u64,
}

impl Again {
    pub fn find(said: &str) -> Option<Self> {
        let figures = said.lines().find_map(|line| line.strip_prefix(AGAIN))?;
        let figures = figures.split(' ').map(|figure| figure.parse().ok());
        let [wall, cpu, requests, bytes] = *figures.collect::<Option<Vec<u64>>>()? else {
            return None;
        };
        Some(Again {
            wall: Duration::from_micros(wall),
            cpu: Duration::from_micros(cpu),
            requests,
            bytes,
        })
    }
}

/// Lines of two ids each.
fn print_fast_forwards(repo: &str, pairs: &str) {
    let pairs = std::fs::read_to_string(pairs).expect("pairs");
    let id = |hex: &str| ObjectId::from_hex(hex.as_bytes()).expect("an id");
    let pairs = pairs.lines().map(|line| line.split_once(' ').expect("two"));
    let pairs: Vec<_> = pairs.map(|(old, new)| (id(old), id(new))).collect();
    let store = LocalStore::open(repo).expect("a repository");
    let context = SyncContext::new(&SyncOptions::default());
    let mut objects = store.objects(&context).expect("readable").expect("at hand");
    let relations = objects.relate(&pairs, &|| false).expect("an answer");
    for (at, relation) in relations.into_iter().enumerate() {
        assert_ne!(relation, Relation::Unknown);
        if relation == Relation::FastForward {
            println!("{FAST_FORWARD}{at}");
        }
    }
}

const FAST_FORWARD: &str = "fast-forward: ";

/// Which of the pairs were said to be fast-forwards.
pub fn fast_forwards(said: &str) -> Vec<usize> {
    let lines = said.lines();
    let numbers = lines.filter_map(|line| line.strip_prefix(FAST_FORWARD)?.parse().ok());
    numbers.collect()
}
