//! Branches, as far as the source's own history decides.

use crate::support::git::{ObjectFormat, Repo};
use crate::support::pull::{DATE, copy, created, grow, moved, rejected, unchanged};
use crate::support::push::{LISTED, PUSHED, Pair};
use refsync::{Outcome, Reason, SyncOptions};
use std::fs;

const MAIN: &str = "refs/heads/main";
const BYSTANDER: &str = "refs/heads/bystander";

/// `main` stays, and nothing is said about it to the remote.
#[track_caller]
fn stays(pair: &Pair, held: &str, offered: &str, reason: Reason) {
    let pushed = pair.push();
    assert_eq!(pushed.fate_of(MAIN), rejected(held, offered, reason));
    assert_eq!(pushed.asked, PUSHED);
    assert_eq!(pushed.names(), [BYSTANDER]);
    assert_eq!(pushed.stats.traffic.objects, 0, "the bystander needs none");
}

#[test]
fn a_branch_that_the_remote_lacks_is_created() {
    let pair = Pair::in_step();
    let topic = grow(&pair.source, "topic", &[&pair.tip]);
    let pushed = pair.push();
    assert_eq!(pushed.fate_of("refs/heads/topic"), created(&topic));
    assert_eq!(pushed.asked, PUSHED);
    assert_eq!(pushed.names(), [BYSTANDER, "refs/heads/topic"]);
    assert_eq!(
        pushed.stats.traffic.objects, 3,
        "a commit, its tree and its file"
    );
}

#[test]
fn everything_is_created_in_an_empty_remote() {
    let pair = Pair::with_remote(|sandbox, _| sandbox.init_bare("remote.git", ObjectFormat::Sha1));
    let tag = pair.source.tag_annotated("v1", "main");
    let pushed = pair.push();
    assert_eq!(pushed.fate_of(MAIN), created(&pair.tip));
    assert_eq!(pushed.fate_of("refs/tags/v1"), created(&tag));
    assert_eq!(pushed.asked, PUSHED);
    let objects = pair.source.git(&["rev-list", "--objects", "--all"]);
    let objects = objects.lines().count() as u64;
    assert_eq!(pushed.stats.traffic.objects, objects);
    assert_eq!(pair.remote.for_each_ref(), pair.source.for_each_ref());
}

#[test]
fn a_branch_on_a_commit_that_is_there_is_created_without_an_object() {
    let pair = Pair::in_step();
    pair.source.set_ref("refs/heads/deep/er/topic", &pair.root);
    let pushed = pair.push();
    assert_eq!(
        pushed.fate_of("refs/heads/deep/er/topic"),
        created(&pair.root)
    );
    assert_eq!(pushed.asked, PUSHED);
    assert_eq!(pushed.stats.traffic.objects, 0);
}

#[test]
fn a_branch_with_the_same_tip_is_unchanged() {
    let pair = Pair::in_step();
    let pushed = pair.push();
    assert_eq!(pushed.fate_of(MAIN), unchanged(&pair.tip));
    assert_eq!(pushed.names(), [BYSTANDER]);

    let files = pair.remote.files();
    let again = pair.push();
    assert_eq!(again.stats.count(Outcome::is_unchanged), 2);
    assert_eq!(again.stats.refs.len(), 2);
    assert_eq!(again.asked, LISTED);
    assert_eq!(again.sent, []);
    assert_eq!(pair.remote.files(), files);
}

#[test]
fn a_branch_is_fast_forwarded() {
    let pair = Pair::in_step();
    let between = grow(&pair.source, "main", &[&pair.tip]);
    let ahead = grow(&pair.source, "main", &[&between]);
    let pushed = pair.push();
    assert_eq!(pushed.fate_of(MAIN), moved(&pair.tip, &ahead));
    assert_eq!(pushed.asked, PUSHED);
    assert_eq!(
        pushed.stats.traffic.objects, 6,
        "two commits with a tree and a file each"
    );
}

#[test]
fn a_branch_is_fast_forwarded_to_a_merge_of_what_it_was() {
    let pair = Pair::in_step();
    let side = grow(&pair.source, "side", &[&pair.root]);
    let merge = grow(&pair.source, "main", &[&side, &pair.tip]);
    assert_eq!(pair.push().fate_of(MAIN), moved(&pair.tip, &merge));
}

#[test]
fn a_packed_branch_is_fast_forwarded() {
    let pair = Pair::in_step();
    let ahead = grow(&pair.source, "main", &[&pair.tip]);
    for end in [&pair.source, &pair.remote] {
        end.git(&["pack-refs", "--all"]);
        end.git(&["repack", "-a", "-d", "--quiet"]);
    }
    assert_eq!(pair.push().fate_of(MAIN), moved(&pair.tip, &ahead));
}

#[test]
fn a_branch_that_is_ahead_at_the_remote_stays() {
    let pair = Pair::in_step();
    let ahead = grow(&pair.remote, "main", &[&pair.tip]);
    // Into the source as an object, and no ref of it.
    let objects = pair.remote.path.join("objects");
    let objects = format!("{}\n", objects.display());
    fs::write(pair.source.path.join("objects/info/alternates"), objects).unwrap();
    stays(&pair, &ahead, &pair.tip, Reason::DestinationAhead);
}

#[test]
fn a_branch_that_was_moved_back_at_the_source_stays() {
    let pair = Pair::in_step();
    pair.source.set_ref(MAIN, &pair.root);
    stays(&pair, &pair.tip, &pair.root, Reason::DestinationAhead);
}

#[test]
fn a_branch_that_diverged_stays() {
    let pair = Pair::in_step();
    let theirs = grow(&pair.source, "main", &[&pair.tip]);
    copy(&pair.source, &pair.remote);
    pair.remote.delete_ref(BYSTANDER);
    let ours = pair
        .source
        .commit("main", &[&pair.tip], "another\n", &[("other", "1")], 1);
    stays(&pair, &theirs, &ours, Reason::Diverged);
}

#[test]
fn an_unrelated_history_has_diverged() {
    let pair = Pair::in_step();
    let ours = pair
        .source
        .commit("main", &[], "other\n", &[("other", "1")], 1);
    stays(&pair, &pair.tip, &ours, Reason::Diverged);
}

#[test]
fn a_branch_whose_tip_the_source_has_never_seen_stays() {
    let pair = Pair::in_step();
    // Known to both, or the bystander would need its objects.
    pair.remote.set_ref("refs/tags/base", &pair.root);
    let theirs = grow(&pair.remote, "main", &[&pair.tip]);
    stays(&pair, &theirs, &pair.tip, Reason::DestinationUnknown);
    let ours = grow(&pair.source, "main", &[&pair.tip]);
    pair.remote.delete_ref(BYSTANDER);
    stays(&pair, &theirs, &ours, Reason::DestinationUnknown);
}

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
fn a_branch_that_points_to_no_commit_stays_unsent() {
    let pair = Pair::in_step();
    let tree = pair.source.git(&["rev-parse", "main^{tree}"]);
    let blob = pair.source.write_object("blob", b"no commit\n");
    let tag = pair.source.tag_annotated("v1", "main");
    pair.source.delete_ref("refs/tags/v1");
    let cases = [("tree", &tree), ("blob", &blob), ("tag", &tag)];
    for (name, id) in cases {
        pair.source.write_ref(&format!("refs/heads/{name}"), id);
    }
    pair.source.write_ref(MAIN, &tree);
    let pushed = pair.push();
    for (name, id) in cases {
        let fate = pushed.fate_of(&format!("refs/heads/{name}"));
        assert_eq!(fate, rejected(None, id, Reason::NotACommit));
    }
    assert_eq!(
        pushed.fate_of(MAIN),
        rejected(&*pair.tip, &tree, Reason::NotACommit)
    );
    assert_eq!(pushed.names(), [BYSTANDER]);
    assert_eq!(pushed.stats.traffic.objects, 0);
}

#[test]
fn a_branch_that_the_source_deleted_stays_and_is_not_listed() {
    let pair = Pair::in_step();
    pair.remote.set_ref("refs/heads/gone", &pair.root);
    let pushed = pair.push();
    assert!(pushed.stats.find("refs/heads/gone").is_none());
    let kept = ("refs/heads/gone".to_owned(), pair.root.clone());
    assert!(pair.remote.for_each_ref().contains(&kept));
}

#[test]
fn clock_skew_does_not_hide_a_fast_forward() {
    let pair = Pair::in_step();
    let mut parent = pair.tip.clone();
    for date in [5, 4_000_000_000, 1] {
        parent = pair
            .source
            .commit("main", &[&parent], "skewed\n", &[], date);
    }
    assert_eq!(pair.push().fate_of(MAIN), moved(&pair.tip, &parent));
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

#[test]
fn a_dry_run_predicts_the_run_and_sends_nothing() {
    let pair = Pair::in_step();
    for branch in ["main", "topic"] {
        grow(&pair.source, branch, &[&pair.tip]);
    }
    pair.source.set_ref("refs/heads/back", &pair.root);
    pair.remote.set_ref("refs/heads/back", &pair.tip);
    let files = pair.remote.files();
    let mut options = SyncOptions::default();
    options.dry_run = true;
    let predicted = pair.push_to_any(&options);
    assert_eq!(predicted.asked, LISTED);
    assert_eq!(predicted.sent, []);
    assert_eq!(pair.remote.files(), files);

    let pushed = pair.push();
    assert_eq!(pushed.stats.refs, predicted.stats.refs);
    assert_eq!(pushed.stats.count(Outcome::is_updated), 3);
    assert_eq!(pushed.stats.count(Outcome::is_rejected), 1);
    assert_eq!(pushed.asked, PUSHED);
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
