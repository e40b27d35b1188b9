//! Sweeping where not everything is as a run leaves it, and file systems that can do less.

use crate::support::pull::{LISTED, Pair, grow, leftovers};
use crate::support::{Repo, strace};
use refsync::{LocalStore, SyncOptions, sync};
use std::{env, fs};

const FROM: &str = "REFSYNC_TEST_FROM";
const INTO: &str = "REFSYNC_TEST_INTO";

/// Not a test: what the others run under strace.
#[test]
#[ignore = "runs as the child of another test"]
fn sync_in_a_process_of_its_own() {
    let (Ok(from), Ok(into)) = (env::var(FROM), env::var(INTO)) else {
        return;
    };
    let (from, into) = (LocalStore::open(from), LocalStore::open(into));
    sync(&from.unwrap(), &into.unwrap(), &SyncOptions::default()).unwrap();
}

/// Everything that a dead run leaves of a pack, and its folders.
fn leave_debris(repo: &Repo) {
    let git_dir = repo.git_dir();
    for folder in ["refsync-dead", "objects/refsync-dead"] {
        fs::create_dir(git_dir.join(folder)).unwrap();
        fs::write(git_dir.join(folder).join("lock"), "").unwrap();
    }
    let packs = git_dir.join("objects/pack");
    fs::write(packs.join("pack-dead.keep"), "refsync refsync-dead\n").unwrap();
    fs::write(packs.join("pack-dead.pack"), "PACK").unwrap();
}

#[test]
fn a_dry_run_sweeps_nothing() {
    let pair = Pair::in_step();
    leave_debris(&pair.destination);
    let before = pair.destination.files();
    let mut options = SyncOptions::default();
    options.dry_run = true;
    pair.try_pull(&options).unwrap();
    assert_eq!(pair.destination.files(), before);
    pair.pull();
    assert_eq!(leftovers(&pair.destination), [""; 0]);
}

#[test]
fn a_pack_without_an_index_goes_with_the_run_that_moved_it() {
    let pair = Pair::in_step();
    let packs = pair.destination.git_dir().join("objects/pack");
    for (name, keep) in [
        ("pack-dead", "refsync refsync-dead\n"),
        ("pack-indexed", "refsync refsync-dead\n"),
        ("pack-other", "somebody else's\n"),
    ] {
        fs::write(packs.join(name).with_extension("pack"), "PACK").unwrap();
        fs::write(packs.join(name).with_extension("keep"), keep).unwrap();
    }
    fs::write(packs.join("pack-indexed.idx"), "").unwrap();
    let into = LocalStore::open(&pair.destination.path).unwrap();
    refsync::RefSource::sweep(&into);
    let mut left: Vec<_> = fs::read_dir(packs)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    left.sort();
    let expected = [
        "pack-indexed.idx",
        "pack-indexed.pack",
        "pack-other.keep",
        "pack-other.pack",
    ];
    assert_eq!(left, expected);
}

#[test]
fn one_odd_entry_does_not_end_the_sweep() {
    let pair = Pair::in_step();
    let git_dir = pair.destination.git_dir();
    fs::write(git_dir.join("refsync-a-file"), "").unwrap();
    // A folder whose lock is none, and cannot be opened as one.
    fs::create_dir_all(git_dir.join("refsync-odd/lock")).unwrap();
    fs::create_dir_all(git_dir.join("objects/refsync-odd/lock")).unwrap();
    fs::create_dir_all(git_dir.join("objects/pack/odd.keep")).unwrap();
    std::os::unix::fs::symlink("nowhere", git_dir.join("objects/refsync-link")).unwrap();
    leave_debris(&pair.destination);
    pair.try_pull(&SyncOptions::default()).unwrap();
    for gone in [
        "refsync-dead",
        "objects/refsync-dead",
        "objects/pack/pack-dead.keep",
        "objects/pack/pack-dead.pack",
    ] {
        assert!(!git_dir.join(gone).exists(), "{gone}");
    }
    assert!(git_dir.join("refsync-a-file").exists());
    assert!(git_dir.join("refsync-odd/lock").exists());
}

/// NFS and others: a lock can't be had, and so nobody is known to be dead.
#[test]
fn where_files_cannot_be_locked_a_run_goes_through_and_sweeps_nothing_of_others() {
    if !strace::is_usable() {
        // Nothing else makes a system call fail.
        return;
    }
    for error in ["ENOLCK", "EOPNOTSUPP", "ENOSYS"] {
        let pair = Pair::in_step();
        let tip = grow(&pair.upstream, "topic", &[&pair.tip]);
        leave_debris(&pair.destination);
        let before = leftovers(&pair.destination);
        let (from, into) = (&pair.upstream.path, &pair.destination.path);
        let set = [
            (FROM, from.to_str().unwrap()),
            (INTO, into.to_str().unwrap()),
        ];
        let log = pair.sandbox.path().join("log");
        let child = "odd_places::sync_in_a_process_of_its_own";
        let inject = format!("inject=flock:error={error}");
        let status = strace::trace(child, &set, &["-e", "trace=flock", "-e", &inject], &log);
        assert!(status.success(), "{error}: {status}");
        let log = fs::read_to_string(&log).unwrap();
        assert!(log.contains("INJECTED"), "{log}");
        assert_eq!(pair.destination.git(&["rev-parse", "topic"]), tip);
        assert_eq!(leftovers(&pair.destination), before, "{error}");
        pair.destination.fsck();
        let pulled = pair.pull();
        assert_eq!(pulled.asked, LISTED);
    }
}

/// A file system that locks ranges for `flock`, as NFS does, gives an exclusive lock to a writer only.
#[test]
fn the_lock_of_a_dead_run_is_opened_for_writing() {
    if !strace::is_usable() {
        return;
    }
    let pair = Pair::in_step();
    leave_debris(&pair.destination);
    let (from, into) = (&pair.upstream.path, &pair.destination.path);
    let set = [
        (FROM, from.to_str().unwrap()),
        (INTO, into.to_str().unwrap()),
    ];
    let log = pair.sandbox.path().join("log");
    let child = "odd_places::sync_in_a_process_of_its_own";
    let status = strace::trace(child, &set, &["-e", "trace=openat"], &log);
    assert!(status.success(), "{status}");
    let log = fs::read_to_string(&log).unwrap();
    let mut opened = log
        .lines()
        .filter(|line| line.contains("/refsync-dead/lock\""));
    assert!(opened.all(|line| line.contains("O_RDWR")), "{log}");
    assert!(log.contains("/refsync-dead/lock\""), "{log}");
}
