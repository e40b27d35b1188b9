//! Branches of which both histories are known.

use crate::support::pull::{FETCHED, LISTED, Pair, created, grow, moved, rejected, unchanged};
use refsync::{Outcome, Reason};

const MAIN: &str = "refs/heads/main";

#[test]
fn a_branch_that_the_destination_lacks_is_created() {
    let pair = Pair::in_step();
    let topic = grow(&pair.upstream, "topic", &[&pair.tip]);
    let pulled = pair.pull();
    assert_eq!(pulled.fate_of("refs/heads/topic"), created(&topic));
    assert_eq!(pulled.asked, FETCHED);
    assert_eq!(
        pulled.stats.traffic.objects, 3,
        "a commit, its tree and its file"
    );
}

#[test]
fn a_branch_on_a_commit_that_is_there_is_created_without_a_fetch() {
    let pair = Pair::in_step();
    pair.upstream
        .set_ref("refs/heads/deep/er/topic", &pair.root);
    let pulled = pair.pull();
    assert_eq!(
        pulled.fate_of("refs/heads/deep/er/topic"),
        created(&pair.root)
    );
    assert_eq!(pulled.asked, LISTED);
}

#[test]
fn a_branch_with_the_same_tip_is_unchanged() {
    let pair = Pair::in_step();
    let pulled = pair.pull();
    assert_eq!(pulled.fate_of(MAIN), unchanged(&pair.tip));
    assert_eq!(pulled.asked, LISTED);

    let files = pair.destination.files();
    let again = pair.pull_into_any(&Default::default());
    assert_eq!(again.stats.count(Outcome::is_unchanged), 2);
    assert_eq!(again.stats.refs.len(), 2);
    assert_eq!(pair.destination.files(), files);
}

#[test]
fn a_branch_is_fast_forwarded() {
    let pair = Pair::in_step();
    let between = grow(&pair.upstream, "main", &[&pair.tip]);
    let ahead = grow(&pair.upstream, "main", &[&between]);
    let pulled = pair.pull();
    assert_eq!(pulled.fate_of(MAIN), moved(&pair.tip, &ahead));
    assert_eq!(pulled.asked, FETCHED);
    assert_eq!(
        pulled.stats.traffic.objects, 6,
        "two commits with a tree and a file each"
    );
}

#[test]
fn a_branch_is_fast_forwarded_to_a_merge_of_what_it_was() {
    let pair = Pair::in_step();
    let side = grow(&pair.upstream, "side", &[&pair.root]);
    let merge = grow(&pair.upstream, "main", &[&side, &pair.tip]);
    assert_eq!(pair.pull().fate_of(MAIN), moved(&pair.tip, &merge));
}

#[test]
fn a_packed_branch_is_fast_forwarded() {
    let pair = Pair::in_step();
    pair.destination.git(&["pack-refs", "--all"]);
    let ahead = grow(&pair.upstream, "main", &[&pair.tip]);
    assert_eq!(pair.pull().fate_of(MAIN), moved(&pair.tip, &ahead));
}

#[test]
fn a_branch_that_is_ahead_at_the_destination_stays() {
    let pair = Pair::in_step();
    let ahead = grow(&pair.destination, "main", &[&pair.tip]);
    let pulled = pair.pull();
    let reason = Reason::DestinationAhead;
    assert_eq!(pulled.fate_of(MAIN), rejected(&*ahead, &pair.tip, reason));
    assert_eq!(pulled.asked, LISTED);
}

#[test]
fn a_branch_that_diverged_stays() {
    let pair = Pair::in_step();
    let theirs = grow(&pair.upstream, "main", &[&pair.tip]);
    let ours = grow(&pair.destination, "main", &[&pair.tip]);
    let pulled = pair.pull();
    assert_eq!(
        pulled.fate_of(MAIN),
        rejected(&*ours, &theirs, Reason::Diverged)
    );
    assert_eq!(pulled.asked, FETCHED);
}

#[test]
fn an_unrelated_history_has_diverged() {
    let pair = Pair::in_step();
    let other = pair
        .upstream
        .commit("main", &[], "other\n", &[("other", "1")], 1);
    let pulled = pair.pull();
    assert_eq!(
        pulled.fate_of(MAIN),
        rejected(&*pair.tip, &other, Reason::Diverged)
    );
}

#[test]
fn a_branch_that_the_upstream_deleted_stays_and_is_not_listed() {
    let pair = Pair::in_step();
    pair.destination.set_ref("refs/heads/gone", &pair.root);
    let pulled = pair.pull();
    assert!(pulled.stats.find("refs/heads/gone").is_none());
    let kept = ("refs/heads/gone".to_owned(), pair.root.clone());
    assert!(pair.destination.for_each_ref().contains(&kept));
}

#[test]
fn clock_skew_does_not_hide_a_fast_forward() {
    let pair = Pair::in_step();
    let mut parent = pair.tip.clone();
    for date in [5, 4_000_000_000, 1] {
        parent = pair
            .upstream
            .commit("main", &[&parent], "skewed\n", &[], date);
    }
    assert_eq!(pair.pull().fate_of(MAIN), moved(&pair.tip, &parent));
}
