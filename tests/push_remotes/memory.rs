//! The memory that a push takes, measured by the system in a process of its own.
#![cfg(target_os = "linux")]

use crate::support::fast_import::FastImport;
use crate::support::git::{ObjectFormat, Repo, Sandbox};
use crate::support::server::GitServer;
use refsync::{LocalStore, NetworkPolicy, Outcome, SmartHttp, SyncOptions};
use std::fs;
use std::io::Write as _;
use std::process::{Command, Stdio};

const SOURCE: &str = "REFSYNC_TEST_PUSH_SOURCE";
const URL: &str = "REFSYNC_TEST_PUSH_URL";
const MIB: u64 = 1024 * 1024;

/// Not a test: what the others run in a process of its own, to look at its memory.
#[test]
#[ignore = "runs as the child of another test"]
#[expect(clippy::print_stdout, reason = "that is how the parent learns of it")]
fn push_one() {
    let (Ok(source), Ok(url)) = (std::env::var(SOURCE), std::env::var(URL)) else {
        return;
    };
    let remote = SmartHttp::new(&url).expect("a URL");
    let remote = remote.with_network_policy(NetworkPolicy::any());
    let store = LocalStore::open(source).expect("a repository");
    let stats = refsync::sync(&store, &remote, &SyncOptions::default()).expect("a push");
    assert_eq!(
        stats.count(Outcome::is_updated),
        stats.refs.len(),
        "{stats:?}"
    );
    println!("\npeak: {}", peak());
}

/// The most memory that this process ever had, in bytes: see proc_pid_status(5).
fn peak() -> u64 {
    let status = fs::read_to_string("/proc/self/status").expect("a status");
    let line = status.lines().find(|line| line.starts_with("VmHWM:"));
    let kib = line.and_then(|line| line.split_ascii_whitespace().nth(1));
    1024 * kib.expect("a peak").parse::<u64>().expect("a number")
}

/// Pushes all that `fill` puts into a repository to one that has nothing.
#[track_caller]
#[expect(clippy::print_stdout, reason = "the figures are for whoever asks")]
fn assert_pushed_within(most: u64, what: &str, fill: impl FnOnce(&Repo)) {
    let peak = peak_of_push(what, fill);
    println!("{what}: {} MiB, at most {} MiB", peak / MIB, most / MIB);
    assert!(peak <= most, "{what}: {} MiB", peak / MIB);
}

#[track_caller]
fn peak_of_push(what: &str, fill: impl FnOnce(&Repo)) -> u64 {
    let sandbox = Sandbox::new();
    let source = sandbox.init_bare("source.git", ObjectFormat::Sha1);
    let remote = sandbox.init_bare("remote.git", ObjectFormat::Sha1);
    fill(&source);
    let server = GitServer::builder(sandbox.path())
        .receive_pack(true)
        .start();
    let child = Command::new(std::env::current_exe().expect("this test"))
        .args(["--exact", "--ignored", "--nocapture", "memory::push_one"])
        .env(SOURCE, &source.path)
        .env(URL, server.url("remote.git"))
        .output()
        .expect("a child");
    let said = String::from_utf8_lossy(&child.stdout);
    let failed = || format!("{said}{}", String::from_utf8_lossy(&child.stderr));
    assert!(child.status.success(), "{what}: {}", failed());
    assert_eq!(remote.for_each_ref(), source.for_each_ref());
    remote.fsck();
    let peak = said.lines().find_map(|line| line.strip_prefix("peak: "));
    peak.expect("a peak").parse().expect("a number")
}

/// A commit with a blob of that many bytes. With `settings` git puts it into a pack, or into a file of
/// its own.
fn add_blob(source: &Repo, size: u64, content: Content, settings: &[&str]) {
    let mut git = Command::new("git")
        .arg("-C")
        .arg(&source.path)
        .args(settings)
        .args(["hash-object", "-w", "--stdin"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("git");
    let mut input = git.stdin.take().expect("a pipe");
    let mut chunk = mebibyte(content);
    for number in 0..size / MIB {
        chunk[..8].copy_from_slice(&number.to_le_bytes());
        input.write_all(&chunk).expect("git reads");
    }
    drop(input);
    let blob = git.wait_with_output().expect("git").stdout;
    let blob = String::from_utf8(blob).expect("an id");
    let entry = format!("100644 blob {}\tlarge\n", blob.trim());
    let tree = source.git_with_input(&["mktree"], entry.as_bytes());
    let commit = source.git(&["commit-tree", "-m", "large", &tree]);
    source.set_ref("refs/heads/main", &commit);
}

#[derive(Clone, Copy)]
enum Content {
    Random,
    Zeros,
}

fn mebibyte(content: Content) -> Vec<u8> {
    let mut state = 1_u64;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    match content {
        Content::Zeros => vec![0; MIB as usize],
        Content::Random => std::iter::repeat_with(next).take(MIB as usize).collect(),
    }
}

const LOOSE: &[&str] = &["-c", "core.bigFileThreshold=4g"];
const PACKED: &[&str] = &["-c", "core.bigFileThreshold=1m"];

#[test]
fn a_large_blob_is_never_in_memory() {
    for (what, content) in [("random", Content::Random), ("zeros", Content::Zeros)] {
        assert_pushed_within(24 * MIB, what, |source| {
            add_blob(source, 32 * MIB, content, LOOSE);
        });
    }
}

#[test]
#[ignore = "takes a minute and 4 GiB of disk"]
fn a_blob_of_1_gib() {
    for (what, settings) in [("loose", LOOSE), ("packed", PACKED)] {
        assert_pushed_within(128 * MIB, what, |source| {
            add_blob(source, 1024 * MIB, Content::Random, settings);
        });
    }
}

#[test]
#[ignore = "takes some minutes and a release build"]
fn a_million_commits() {
    assert_pushed_within(419 * MIB, "a million commits", |source| {
        let mut history = FastImport::new();
        let mut tip = history.commit("main", &[], "one", &[("a", "1")], 1_000);
        for number in 1..1_000_000 {
            tip = history.commit("main", &[tip], "one more", &[], 1_000 + number);
        }
        source.import(&history);
    });
}
