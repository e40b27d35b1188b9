//! Refs and packs on disk, written as git would.

use crate::support::git::{ObjectFormat, Repo};
use crate::support::pull::{Pair, created, fate_in, grow, leftovers, moved, rejected};
use refsync::{Reason, SyncOptions};
use std::fs;

const MAIN: &str = "refs/heads/main";

fn reflog(repo: &Repo, name: &str) -> Vec<String> {
    let log = fs::read_to_string(repo.git_dir().join("logs").join(name));
    let log = log.unwrap_or_default();
    log.lines().map(str::to_owned).collect()
}

/// Checks the parts of a log line that matter: both ids, the committer and the message.
#[track_caller]
fn assert_logged(line: &str, before: &str, after: &str) {
    let (who, why) = line.split_once('\t').expect("a message");
    let start = format!("{before} {after} refsync <refsync> 1");
    assert!(who.starts_with(&start) && who.ends_with(" +0000"), "{line}");
    assert_eq!(why, "refsync: fast-forward");
}

#[test]
fn reflogs_are_those_that_git_would_write() {
    let null = ObjectFormat::Sha1.null_id();
    for (setting, branches, tags) in [("false", 0, 0), ("true", 1, 0), ("always", 1, 1)] {
        let pair = Pair::in_step();
        let repo = &pair.destination;
        repo.git(&["config", "core.logAllRefUpdates", setting]);
        let tip = grow(&pair.upstream, "topic", &[&pair.tip]);
        pair.upstream.set_ref("refs/tags/v1", &tip);
        pair.pull();
        let (topic, tag) = (
            reflog(repo, "refs/heads/topic"),
            reflog(repo, "refs/tags/v1"),
        );
        assert_eq!((topic.len(), tag.len()), (branches, tags), "{setting}");
        for line in topic.iter().chain(&tag) {
            assert_logged(line, &null, &tip);
        }
        // As git sees it.
        let shown = repo.git(&["reflog", "show", "--format=%H %gs", "topic"]);
        let expected = format!("{tip} refsync: fast-forward");
        assert_eq!(shown, if branches > 0 { &expected } else { "" });
    }
}

#[test]
fn a_reflog_that_is_there_goes_on_whatever_the_setting() {
    let pair = Pair::in_step();
    let repo = &pair.destination;
    repo.git(&["config", "core.logAllRefUpdates", "true"]);
    repo.git(&["update-ref", "-m", "by git", MAIN, &pair.root]);
    repo.git(&["update-ref", "-m", "by git", MAIN, &pair.tip]);
    repo.git(&["config", "core.logAllRefUpdates", "false"]);
    let ahead = grow(&pair.upstream, "main", &[&pair.tip]);
    assert_eq!(pair.pull().fate_of(MAIN), moved(&pair.tip, &ahead));
    let log = reflog(repo, MAIN);
    assert_eq!(log.len(), 3, "{log:?}");
    assert_logged(&log[2], &pair.tip, &ahead);
}

#[test]
fn empty_directories_are_in_nobodys_way() {
    let pair = Pair::in_step();
    let repo = &pair.destination;
    repo.git(&["config", "core.logAllRefUpdates", "true"]);
    for folder in [
        "refs/heads/topic/a/b",
        "refs/heads/topic/c",
        "logs/refs/heads/topic/a",
    ] {
        fs::create_dir_all(repo.git_dir().join(folder)).unwrap();
    }
    let tip = grow(&pair.upstream, "topic", &[&pair.tip]);
    assert_eq!(pair.pull().fate_of("refs/heads/topic"), created(&tip));
    assert_eq!(reflog(repo, "refs/heads/topic").len(), 1);
}

/// In a bare repository nobody has the branch of `HEAD` checked out, and it moves.
#[test]
fn the_log_of_head_says_what_moves_its_branch() {
    for many in [0, 70] {
        let pair = Pair::in_step();
        let repo = &pair.destination;
        repo.git(&["config", "core.logAllRefUpdates", "true"]);
        repo.git(&["symbolic-ref", "HEAD", "refs/heads/new"]);
        let names: Vec<_> = (0..many).map(|n| format!("refs/heads/many/{n}")).collect();
        let new = names.iter().map(|name| (name.as_str(), pair.tip.as_str()));
        pair.upstream.set_refs(new);
        pair.upstream.set_ref("refs/heads/new", &pair.root);
        pair.pull();
        let tip = grow(&pair.upstream, "new", &[&pair.root]);
        pair.pull();
        let null = ObjectFormat::Sha1.null_id();
        for name in ["HEAD", "refs/heads/new"] {
            let log = reflog(repo, name);
            assert_eq!(log.len(), 2, "{log:?}");
            assert_logged(&log[0], &null, &pair.root);
            assert_logged(&log[1], &pair.root, &tip);
        }
        for name in &names {
            assert_logged(&reflog(repo, name)[0], &null, &pair.tip);
        }
    }
}

/// Somebody died with the lock: that is no reason to create nothing ever after.
#[test]
fn a_stale_lock_of_packed_refs_is_in_nobodys_way() {
    let pair = Pair::in_step();
    let lock = pair.destination.git_dir().join("packed-refs.lock");
    fs::write(&lock, "").unwrap();
    let names: Vec<_> = (0..70).map(|n| format!("refs/heads/many/{n}")).collect();
    let new = names.iter().map(|name| (name.as_str(), pair.tip.as_str()));
    pair.upstream.set_refs(new);
    let pulled = pair.try_pull(&SyncOptions::default()).unwrap();
    for name in &names {
        assert_eq!(fate_in(&pulled, name), created(&pair.tip));
    }
    assert!(lock.exists());
}

/// Git would not create it either.
#[test]
fn of_many_new_refs_the_one_that_somebody_has_locked_is_not_written() {
    let pair = Pair::in_step();
    let names: Vec<_> = (0..70).map(|n| format!("refs/heads/many/{n}")).collect();
    let new = names.iter().map(|name| (name.as_str(), pair.tip.as_str()));
    pair.upstream.set_refs(new);
    let heads = pair.destination.git_dir().join("refs/heads/many");
    fs::create_dir_all(&heads).unwrap();
    fs::write(heads.join("7.lock"), "").unwrap();
    let pulled = pair.try_pull(&SyncOptions::default()).unwrap();
    let detail = "another process holds the lock".to_owned();
    let stayed = rejected(None, &pair.tip, Reason::NotWritten { detail });
    assert_eq!(fate_in(&pulled, &names[7]), stayed);
    assert_eq!(
        pulled.count(refsync::Outcome::is_updated),
        70,
        "and bystander"
    );
}

/// Without `refs` git takes the repository for none.
#[test]
fn refs_that_lose_a_race_leave_the_directories_that_a_repository_needs() {
    let pair = Pair::in_step();
    pair.destination.git(&["pack-refs", "--all"]);
    let refs = pair.destination.git_dir().join("refs");
    let names = [
        "refs/heads/a/new",
        "refs/heads/new",
        "refs/tags/a/new",
        "refs/tags/new",
    ];
    let tip = grow(&pair.upstream, "a/new", &[&pair.tip]);
    for name in names {
        pair.upstream.set_ref(name, &tip);
    }
    let (repo, root) = (pair.destination.clone(), pair.root.clone());
    pair.before_fetch(move || {
        for name in names {
            repo.set_ref(name, &root);
        }
        repo.git(&["pack-refs", "--all"]);
        for directory in ["refs/heads/a", "refs/tags/a"] {
            fs::remove_dir(repo.git_dir().join(directory)).ok();
        }
    });
    let mut options = SyncOptions::default();
    options.globs = refsync::RefGlobs::new(Some("{a/new,new}"), Some("*")).unwrap();
    let pulled = pair.pull_with(&options);
    for name in names {
        assert_eq!(pulled.reason_of(name), Reason::Raced);
    }
    for directory in ["heads", "tags"] {
        assert!(refs.join(directory).is_dir());
        assert!(!refs.join(directory).join("a").exists());
    }
}

#[test]
fn a_ref_that_is_not_written_leaves_no_directory() {
    let pair = Pair::in_step();
    grow(&pair.upstream, "in/its/own/folder", &[&pair.tip]);
    let git_dir = pair.destination.git_dir();
    pair.destination
        .git(&["config", "core.logAllRefUpdates", "true"]);
    // No log, no ref.
    fs::create_dir_all(git_dir.join("logs/refs/heads")).unwrap();
    fs::write(git_dir.join("logs/refs/heads/in"), "").unwrap();
    pair.try_pull(&SyncOptions::default()).unwrap();
    assert!(!git_dir.join("refs/heads/in").exists());
    assert_eq!(leftovers(&pair.destination), [""; 0]);
}

/// The umask may be any, but it is the same for the repository that git made.
#[cfg(unix)]
#[test]
fn who_may_read_the_repository_may_read_what_was_pulled() {
    use std::os::unix::fs::PermissionsExt;
    let pair = Pair::in_step();
    let git_dir = pair.destination.git_dir();
    let mode = |path: &std::path::Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let of_git = mode(&git_dir.join(MAIN));
    let many: Vec<_> = (0..64).map(|n| format!("refs/heads/many/{n}")).collect();
    grow(&pair.upstream, "main", &[&pair.tip]);
    pair.pull();
    assert_eq!(mode(&git_dir.join(MAIN)), of_git);
    pair.upstream
        .set_refs(many.iter().map(|name| (name.as_str(), pair.tip.as_str())));
    pair.pull();
    assert_eq!(mode(&git_dir.join("packed-refs")), of_git);
    for entry in fs::read_dir(git_dir.join("objects/pack")).unwrap() {
        assert_eq!(mode(&entry.unwrap().path()), of_git & 0o444);
    }
}
