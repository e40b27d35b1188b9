//! Tips with something behind them that git's fsck objects to.

use crate::support::pull::{FETCHED, LISTED, Pair, created, grow, leftovers, moved, rejected};
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
    let expected = format!(
        "faulty: object {tree}: hasDotgit: contains '.git'; \
         let in by rules that ignore hasDotgit or skip this object"
    );
    assert_eq!(text, expected);
    assert_eq!(pulled.stats.faulty_objects, 2, "it and that of the tip");
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

/// Branches with one old sin each, of which real history is full: by git's name for it.
fn old_sins(pair: &Pair) -> [(&'static str, String); 3] {
    let file = blob(pair, "content");
    let tree = pair
        .upstream
        .git_with_input(&["mktree"], format!("100644 blob {file}\ta\n").as_bytes());
    let raw = |kind: &str, content: &[u8]| {
        let args = ["hash-object", "-w", "--literally", "-t", kind, "--stdin"];
        pair.upstream.git_with_input(&args, content)
    };
    let commit = |tree: &str, author: &str| {
        let text = format!(
            "tree {tree}\nparent {}\nauthor {author}\ncommitter C <c@example.com> 1 +0000\n\nold\n",
            pair.tip
        );
        raw("commit", text.as_bytes())
    };
    let tree_of = |mode_and_name: &str, id: &str| {
        let id = refsync::ObjectId::from_hex(id.as_bytes()).expect("an id");
        raw(
            "tree",
            &[mode_and_name.as_bytes(), b"\0", id.as_bytes()].concat(),
        )
    };
    let padded = tree_of("040000 sub", &tree_of("0100644 a", &file));
    [
        ("badTimezone", commit(&tree, "A <a@example.com> 1 +51800")),
        (
            "missingSpaceBeforeDate",
            commit(&tree, "A <a@example.com>1 +0000"),
        ),
        (
            "zeroPaddedFilemode",
            commit(&padded, "A <a@example.com> 1 +0000"),
        ),
    ]
}

#[test]
fn old_sins_come_in_unless_the_rules_are_strict() {
    let pair = Pair::in_step();
    let sins = old_sins(&pair);
    let branch = |message: &str| format!("refs/heads/{message}");
    for (message, tip) in &sins {
        pair.upstream.set_ref(&branch(message), tip);
    }
    let mut strict = SyncOptions::default();
    strict.fsck = refsync::FsckRules::strict();
    let pulled = pair.pull_with(&strict);
    for (message, tip) in &sins {
        let reason = pulled.reason_of(&branch(message));
        assert_eq!(
            pulled.fate_of(&branch(message)),
            rejected(None, tip, reason.clone())
        );
        let remedy = format!("let in by rules that ignore {message} or skip this object");
        let text = reason.to_string();
        assert!(
            text.contains(&format!(": {message}: ")) && text.ends_with(&remedy),
            "{text}"
        );
    }
    assert_eq!(pulled.stats.faulty_objects, 4);

    let pulled = pair.pull_into_any(&SyncOptions::default());
    for (message, tip) in &sins {
        assert_eq!(pulled.fate_of(&branch(message)), created(tip));
    }
    assert_eq!(pulled.stats.faulty_objects, 0);
    let levels = sins.map(|(message, _)| format!("fsck.{message}=ignore"));
    let levels = levels.iter().flat_map(|level| ["-c", level]);
    let fsck: Vec<_> = levels.chain(["fsck", "--strict"]).collect();
    pair.destination.git(&fsck);
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

/// The stats of the run before say what was turned away by which rules.
#[test]
fn what_was_turned_away_is_fetched_again_under_other_rules_only() {
    let pair = Pair::in_step();
    let (_, bad) = with_dot_git(&pair);
    pair.upstream.set_ref(BAD, &bad);
    let mut options = SyncOptions::default();
    options.previous = Some(pair.pull().stats);
    let again = pair.pull_with(&options);
    assert_eq!(again.asked, LISTED, "nothing is fetched for it");
    options.previous = Some(again.stats);
    options.fsck = refsync::FsckRules::none();
    let pulled = pair.pull_into_any(&options);
    assert_eq!(pulled.fate_of(BAD), created(&bad));
}

/// An object that lies in the repository already is taken as it is.
#[test]
fn a_faulty_file_that_the_destination_has_keeps_nothing_out() {
    let pair = Pair::in_step();
    let modules = blob(
        &pair,
        "[submodule \"a\"]\n\tpath = a\n\turl = --upload-pack=x\n",
    );
    let entry = format!("100644 blob {modules}\t.gitmodules\n");
    let (_, old) = commit_tree(&pair, &pair.tip, &entry);
    pair.upstream.set_ref(BAD, &old);
    let from = pair.upstream.path.to_str().expect("a plain path");
    let both = format!("{BAD}:{BAD}");
    pair.destination.git(&["fetch", "--quiet", from, &both]);
    let news = blob(&pair, "news\n");
    let (_, new) = commit_tree(&pair, &old, &format!("{entry}100644 blob {news}\tnews\n"));
    pair.upstream.set_ref(BAD, &new);
    let pulled = pair.pull_into_any(&SyncOptions::default());
    assert_eq!(pulled.fate_of(BAD), moved(&old, &new));
}
