//! Tips with something behind them that git's fsck objects to.

use crate::support::pull::{FETCHED, Pair, created, grow, leftovers, rejected};
use crate::support::wire;
use refsync::{ErrorKind, Reason, SyncOptions};

const GOOD: &str = "refs/heads/good";
const BAD: &str = "refs/heads/bad";
const FETCHED_TWICE: &[&str] = &["info/refs", "ls-refs", "fetch", "fetch"];

/// A commit on `parent` with this tree, as `git mktree` takes it.
fn commit_tree(pair: &Pair, parent: &str, tree: &str) -> (String, String) {
    let tree = pair
        .upstream
        .git_with_input(&["mktree", "--missing"], tree.as_bytes());
    let commit = pair
        .upstream
        .git(&["commit-tree", "-m", "bad", "-p", parent, &tree]);
    (tree, commit)
}

fn blob(pair: &Pair, content: &str) -> String {
    let args = ["hash-object", "-w", "--stdin"];
    pair.upstream.git_with_input(&args, content.as_bytes())
}

/// The tree that would write into the repository of whoever checks it out.
fn with_dot_git(pair: &Pair) -> (String, String) {
    let hook = blob(pair, "#!/bin/sh\n");
    commit_tree(pair, &pair.tip, &format!("100755 blob {hook}\t.git\n"))
}

#[test]
fn a_tree_that_git_objects_to_stays_out_and_the_rest_comes_in() {
    let pair = Pair::in_step();
    let good = grow(&pair.upstream, "good", &[&pair.tip]);
    let (tree, bad) = with_dot_git(&pair);
    let later = grow(&pair.upstream, "bad", &[&bad]);
    pair.upstream.set_ref("refs/tags/v1", &bad);

    let pulled = pair.pull();
    let reason = pulled.reason_of(BAD);
    assert!(matches!(reason, Reason::Faulty { .. }), "{reason}");
    let text = reason.to_string();
    assert!(text.contains(&tree) && text.contains("hasDotgit"), "{text}");
    assert_eq!(pulled.fate_of(BAD), rejected(None, &later, reason.clone()));
    assert_eq!(pulled.reason_of("refs/tags/v1"), reason);
    assert_eq!(pulled.fate_of(GOOD), created(&good));
    assert_eq!(pulled.asked, FETCHED_TWICE);
    let found = pair.destination.try_git(&["cat-file", "-e", &tree]);
    assert!(!found.status.success(), "the tree came in");
    assert!(leftovers(&pair.destination).is_empty());
}

#[test]
fn a_gitmodules_file_that_git_objects_to() {
    for (content, name) in [
        (
            "[submodule \"a\"]\n\tpath = a\n\turl = -u./payload\n",
            "gitmodulesUrl",
        ),
        (
            "[submodule \"../a\"]\n\tpath = a\n\turl = ../b\n",
            "gitmodulesName",
        ),
    ] {
        let pair = Pair::in_step();
        let modules = blob(&pair, content);
        let tree = format!("100644 blob {modules}\t.gitmodules\n");
        let (_, bad) = commit_tree(&pair, &pair.tip, &tree);
        pair.upstream.set_ref(BAD, &bad);
        let pulled = pair.pull();
        let reason = pulled.reason_of(BAD);
        assert!(matches!(reason, Reason::Faulty { .. }), "{reason}");
        let text = reason.to_string();
        assert!(text.contains(&modules) && text.contains(name), "{text}");
        assert_eq!(pulled.asked, FETCHED);
    }
}

#[test]
fn what_the_caller_lets_pass_comes_in() {
    let pair = Pair::in_step();
    let (tree, bad) = with_dot_git(&pair);
    pair.upstream.set_ref(BAD, &bad);
    let mut skipping = SyncOptions::default();
    let tree = refsync::ObjectId::from_hex(tree.as_bytes()).expect("an id");
    skipping.fsck.skip.insert(tree);
    let mut lenient = SyncOptions::default();
    lenient.fsck.set("hasDotgit", "warn").expect("a message");
    let mut unchecked = SyncOptions::default();
    unchecked.fsck = refsync::FsckRules::none();
    for options in [skipping, lenient, unchecked] {
        let pulled = pair.pull_into_any(&options);
        assert_eq!(pulled.fate_of(BAD), created(&bad));
        pair.destination.delete_ref(BAD);
        pair.destination.git(&["prune-packed"]);
    }
}

/// It is in the pack beside what was asked for, where no tip leads to it.
#[test]
fn a_faulty_object_that_nobody_asked_for() {
    let pair = Pair::in_step();
    let good = grow(&pair.upstream, "good", &[&pair.tip]);
    let (tree, _) = with_dot_git(&pair);
    let of = |suffix: &str| {
        pair.upstream
            .git(&["rev-parse", &format!("{good}{suffix}")])
    };
    let (good_tree, good_file) = (of("^{tree}"), of(":file"));
    let pack = pair
        .upstream
        .pack_of(&[&good, &good_tree, &good_file, &tree]);
    pair.on_fetch(move |_| Some(wire::pack(&pack)));
    let err = pair
        .try_pull(&SyncOptions::default())
        .expect_err("what nobody asked for");
    assert_eq!(err.kind(), ErrorKind::Protocol);
    assert!(err.to_string().contains("hasDotgit"), "{err}");
    assert!(leftovers(&pair.destination).is_empty());
}
