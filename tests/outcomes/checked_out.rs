//! Branches that a worktree of the destination has checked out don't move under its feet.

use crate::support::git::{ObjectFormat, Repo};
use crate::support::pull::{LISTED, Pair, copy, grow, moved, rejected};
use refsync::{LocalStore, Reason, SyncOptions, sync};

const MAIN: &str = "refs/heads/main";

/// A destination with a worktree, `main` checked out in it.
fn with_worktree() -> Pair {
    Pair::with_destination(|sandbox, upstream| {
        let destination = sandbox.init_worktree("down", ObjectFormat::Sha1);
        copy(upstream, &destination);
        destination.git(&["reset", "--quiet", "--hard"]);
        destination
    })
}

/// Another worktree of the destination, beside it.
fn add_worktree(pair: &Pair, branch: &str) -> Repo {
    let path = pair.sandbox.path().join("linked");
    pair.destination.git(&[
        "worktree",
        "add",
        "--quiet",
        &path.to_string_lossy(),
        branch,
    ]);
    Repo::at(path)
}

/// `branch` has a new commit upstream and stays, while nothing is fetched for it.
#[track_caller]
fn stays(pair: &Pair, branch: &str) {
    let before = pair.destination.git(&["rev-parse", branch]);
    let theirs = grow(&pair.upstream, branch, &[&before]);
    let pulled = pair.pull();
    let name = format!("refs/heads/{branch}");
    assert_eq!(
        pulled.fate_of(&name),
        rejected(&*before, &theirs, Reason::CheckedOut)
    );
    assert_eq!(pulled.asked, LISTED);
}

/// At both ends, on the tip of `main`.
fn add_branch(pair: &Pair, branch: &str) {
    for end in [&pair.upstream, &pair.destination] {
        end.set_ref(&format!("refs/heads/{branch}"), &pair.tip);
    }
}

#[test]
fn the_branch_of_the_main_worktree() {
    let pair = with_worktree();
    stays(&pair, "main");
    assert_eq!(pair.destination.git(&["status", "--porcelain"]), "");
}

#[test]
fn the_branch_of_a_linked_worktree() {
    let pair = with_worktree();
    add_branch(&pair, "topic");
    let linked = add_worktree(&pair, "topic");
    stays(&pair, "topic");
    assert_eq!(linked.git(&["status", "--porcelain"]), "");
}

#[test]
fn the_branch_of_a_worktree_of_a_bare_repository() {
    let pair = Pair::in_step();
    add_branch(&pair, "topic");
    add_worktree(&pair, "topic");
    stays(&pair, "topic");
}

#[test]
fn both_branches_when_the_destination_is_opened_through_a_linked_worktree() {
    let pair = with_worktree();
    add_branch(&pair, "topic");
    let linked = add_worktree(&pair, "topic");
    for branch in ["main", "topic"] {
        grow(&pair.upstream, branch, &[&pair.tip]);
    }
    let local = LocalStore::open(&linked.path).unwrap();
    let stats = sync(&pair.remote(), &local, &SyncOptions::default()).unwrap();
    for name in [MAIN, "refs/heads/topic"] {
        assert_eq!(
            stats.find(name).unwrap().outcome.rejection(),
            Some(&Reason::CheckedOut)
        );
        assert_eq!(pair.destination.git(&["rev-parse", name]), pair.tip);
    }
    assert_eq!(pair.destination.git(&["rev-parse", "bystander"]), pair.root);
}

#[test]
fn the_head_of_a_bare_repository_is_not_checked_out() {
    let pair = Pair::in_step();
    assert_eq!(pair.destination.git(&["symbolic-ref", "HEAD"]), MAIN);
    let theirs = grow(&pair.upstream, "main", &[&pair.tip]);
    assert_eq!(pair.pull().fate_of(MAIN), moved(&pair.tip, &theirs));
}

#[test]
fn a_branch_that_no_worktree_has_moves() {
    let pair = with_worktree();
    add_branch(&pair, "topic");
    let theirs = grow(&pair.upstream, "topic", &[&pair.tip]);
    assert_eq!(
        pair.pull().fate_of("refs/heads/topic"),
        moved(&pair.tip, &theirs)
    );
}

#[test]
fn a_tag_named_like_a_branch_that_is_checked_out_moves() {
    let pair = with_worktree();
    pair.destination.set_ref("refs/tags/main", &pair.root);
    pair.upstream.set_ref("refs/tags/main", &pair.tip);
    assert_eq!(
        pair.pull().fate_of("refs/tags/main"),
        moved(&pair.root, &pair.tip)
    );
}

/// Git refuses to fetch into it, too.
#[test]
fn the_branch_of_an_unborn_head() {
    for many in [0, 70] {
        let pair =
            Pair::with_destination(|sandbox, _| sandbox.init_worktree("down", ObjectFormat::Sha1));
        assert_eq!(pair.destination.git(&["symbolic-ref", "HEAD"]), MAIN);
        let names: Vec<_> = (0..many).map(|n| format!("refs/heads/many/{n}")).collect();
        let new = names.iter().map(|name| (name.as_str(), pair.tip.as_str()));
        pair.upstream.set_refs(new);
        let pulled = pair.pull();
        let stayed = rejected(None, &pair.tip, Reason::CheckedOut);
        assert_eq!(pulled.fate_of(MAIN), stayed, "{many}");
        let upstream = pair.upstream.path.to_string_lossy();
        let fetch = ["fetch", "--quiet", &upstream, "main:main"];
        assert!(!pair.destination.try_git(&fetch).status.success());
    }
}

/// As it was before git wrote symbolic refs as files.
#[cfg(unix)]
#[test]
fn a_head_that_is_a_link() {
    let pair = with_worktree();
    let head = pair.destination.git_dir().join("HEAD");
    std::fs::remove_file(&head).unwrap();
    std::os::unix::fs::symlink(MAIN, &head).unwrap();
    assert_eq!(pair.destination.git(&["symbolic-ref", "HEAD"]), MAIN);
    stays(&pair, "main");
}

#[test]
fn a_head_that_leads_through_another_symbolic_ref() {
    let pair = with_worktree();
    let alias = "refs/heads/alias";
    pair.destination.git(&["symbolic-ref", alias, MAIN]);
    pair.destination.git(&["symbolic-ref", "HEAD", alias]);
    stays(&pair, "main");
    let own = "refs/worktree/own";
    pair.destination.git(&["symbolic-ref", own, alias]);
    pair.destination.git(&["symbolic-ref", "HEAD", own]);
    stays(&pair, "main");
}

/// Nobody has the branch checked out when the refs are listed.
#[test]
fn a_branch_that_is_checked_out_meanwhile() {
    let pair = with_worktree();
    add_branch(&pair, "topic");
    let theirs = grow(&pair.upstream, "topic", &[&pair.tip]);
    let destination = pair.destination.clone();
    pair.before_fetch(move || drop(destination.git(&["checkout", "--quiet", "topic"])));
    let stayed = rejected(&*pair.tip, &theirs, Reason::CheckedOut);
    assert_eq!(pair.pull().fate_of("refs/heads/topic"), stayed);
    assert_eq!(pair.destination.git(&["status", "--porcelain"]), "");
}

#[test]
fn a_new_branch_that_a_worktree_goes_to_meanwhile() {
    for many in [0, 70] {
        let pair = with_worktree();
        let theirs = grow(&pair.upstream, "topic", &[&pair.tip]);
        let names: Vec<_> = (0..many).map(|n| format!("refs/heads/many/{n}")).collect();
        let new = names.iter().map(|name| (name.as_str(), theirs.as_str()));
        pair.upstream.set_refs(new);
        let destination = pair.destination.clone();
        pair.before_fetch(move || {
            destination.git(&["checkout", "--quiet", "--orphan", "topic"]);
        });
        let stayed = rejected(None, &theirs, Reason::CheckedOut);
        assert_eq!(pair.pull().fate_of("refs/heads/topic"), stayed, "{many}");
    }
}

/// `main` and `topic` conflict, so a rebase of one onto the other stops in the middle.
fn stopped_rebase(args: &[&str]) -> Pair {
    let pair = with_worktree();
    let ours = pair
        .destination
        .commit("topic", &[&pair.root], "ours\n", &[("file", "ours")], 1);
    pair.destination
        .commit("upper", &[&ours], "upper\n", &[("other", "1")], 1);
    copy(&pair.destination, &pair.upstream);
    pair.destination
        .git(&["checkout", "--quiet", args[args.len() - 1]]);
    let stopped = pair.destination.try_git(&[&["rebase"], args].concat());
    assert!(!stopped.status.success(), "a conflict");
    let head = pair
        .destination
        .try_git(&["symbolic-ref", "--quiet", "HEAD"]);
    assert!(!head.status.success(), "a detached HEAD");
    pair
}

#[test]
fn a_branch_that_is_being_rebased() {
    stays(&stopped_rebase(&["--merge", "main", "topic"]), "topic");
    stays(&stopped_rebase(&["--apply", "main", "topic"]), "topic");
}

#[test]
fn a_branch_that_a_rebase_of_another_one_is_to_update() {
    let pair = stopped_rebase(&["--update-refs", "main", "upper"]);
    stays(&pair, "topic");
}

#[test]
fn a_branch_that_is_being_bisected() {
    let pair = with_worktree();
    pair.destination.git(&["bisect", "start"]);
    pair.destination.git(&["checkout", "--quiet", "--detach"]);
    stays(&pair, "main");
}
