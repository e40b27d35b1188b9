//! Branches, as far as a run before, the objects that are sent, or the source's commit-graph matter.

use crate::support::git::{ObjectFormat, Repo};
use crate::support::pull::{DATE, copy, grow, moved, rejected};
use crate::support::push::{LISTED, Pair};
use refsync::{Reason, SyncOptions};
use std::fs;

const MAIN: &str = "refs/heads/main";

#[test]
fn what_was_unknown_goes_through_once_it_was_pulled() {
    let pair = Pair::in_step();
    let theirs = grow(&pair.remote, "main", &[&pair.tip]);
    let first = pair.push();
    assert_eq!(
        first.fate_of(MAIN),
        rejected(&*theirs, &pair.tip, Reason::DestinationUnknown)
    );
    copy(&pair.remote, &pair.source);
    let ahead = grow(&pair.source, "main", &[&theirs]);
    let mut options = SyncOptions::default();
    options.previous = Some(first.stats);
    let pushed = pair.push_with(&options);
    assert_eq!(pushed.fate_of(MAIN), moved(&theirs, &ahead));
    assert_eq!(pushed.stats.traffic.objects, 3);
}

#[test]
fn a_rejection_that_still_holds_is_not_looked_into_again() {
    let pair = Pair::in_step();
    pair.source.set_ref(MAIN, &pair.root);
    let mut options = SyncOptions::default();
    options.previous = Some(pair.push().stats);
    let again = pair.push_with(&options);
    let reason = Reason::DestinationAhead;
    assert_eq!(
        again.fate_of(MAIN),
        rejected(&*pair.tip, &pair.root, reason)
    );
    assert_eq!(again.asked, LISTED);
}

#[test]
fn a_revert_sends_no_object_that_is_there() {
    let pair = Pair::in_step();
    let files = |content| [("file", content), ("kept", "kept\n")];
    let one = pair
        .source
        .commit("main", &[&pair.tip], "one\n", &files("1"), 1);
    let two = pair.source.commit("main", &[&one], "two\n", &files("2"), 2);
    pair.push();
    let three = pair
        .source
        .commit("main", &[&two], "revert\n", &files("1"), 3);
    let pushed = pair.push();
    assert_eq!(pushed.fate_of(MAIN), moved(&two, &three));
    assert!(pushed.stats.traffic.objects <= 3, "{:?}", pushed.sent);
}

/// As chains in the field have: git's "commit-graph: ignore duplicates when merging layers".
#[test]
fn a_commit_that_is_in_two_layers_of_a_commit_graph() {
    let pair = Pair::in_step();
    let new = grow(&pair.source, "main", &[&pair.tip]);
    // The tip takes its place in the first layer, where the second one goes by the root's.
    let aside = (0..).map(|n| {
        let message = format!("aside {n}\n");
        let parents = [&*pair.root];
        pair.source.commit("aside", &parents, &message, &[], DATE)
    });
    let is_alike = |aside: &String| (*aside < pair.root) == (pair.tip < pair.root);
    let aside = aside.into_iter().find(is_alike).unwrap();
    let other = pair.sandbox.init_bare("other.git", ObjectFormat::Sha1);
    copy(&pair.source, &other);
    let layers = "objects/info/commit-graphs";
    let add_layer = |repo: &Repo, tip: &str| {
        let write = [
            "commit-graph",
            "write",
            "--split=no-merge",
            "--stdin-commits",
        ];
        repo.git_with_input(&write, format!("{tip}\n").as_bytes());
        fs::read_to_string(repo.path.join(layers).join("commit-graph-chain")).unwrap()
    };
    add_layer(&pair.source, &aside);
    add_layer(&pair.source, &pair.tip);
    let chain = add_layer(&pair.source, &new);
    let first = add_layer(&other, &pair.tip);
    let chain: Vec<_> = first.lines().chain(chain.lines().skip(1)).collect();
    assert_eq!(chain.len(), 3);
    let file = format!("{layers}/graph-{}.graph", chain[0]);
    fs::copy(other.path.join(&file), pair.source.path.join(&file)).unwrap();
    let path = pair.source.path.join(layers).join("commit-graph-chain");
    fs::remove_file(&path).unwrap();
    fs::write(&path, chain.join("\n") + "\n").unwrap();

    let pushed = pair.push();
    assert_eq!(pushed.fate_of(MAIN), moved(&pair.tip, &new));
}
