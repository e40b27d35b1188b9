//! Somebody else moves the remote's refs between the listing and the push.

use crate::support::pull::{created, grow, moved};
use crate::support::push::{LOOKED_AGAIN, PUSHED, Pair, Pushed};
use refsync::{Outcome, Reason, SyncOptions};

const MAIN: &str = "refs/heads/main";
const TOPIC: &str = "refs/heads/topic";

/// `after` is what the racer made of the ref.
#[track_caller]
fn assert_raced(pushed: &Pushed, name: &str, before: Option<&str>, after: Option<&str>) {
    let found = pushed.stats.find(name).unwrap();
    assert_eq!(found.outcome, &Outcome::Rejected(Reason::Raced));
    assert_eq!(found.before.map(|id| id.to_string()).as_deref(), before);
    let now = (!found.after.is_null()).then(|| found.after.to_string());
    assert_eq!(now.as_deref(), after);
    assert_eq!(pushed.asked, LOOKED_AGAIN);
}

#[test]
fn a_branch_that_moved_meanwhile() {
    let pair = Pair::in_step();
    grow(&pair.source, "main", &[&pair.tip]);
    let root = pair.root.clone();
    pair.before_push(move |remote| remote.set_ref(MAIN, &root));
    let pushed = pair.push();
    assert_raced(&pushed, MAIN, Some(&pair.tip), Some(&pair.root));
}

#[test]
fn a_branch_that_was_packed_meanwhile_is_still_moved() {
    let pair = Pair::in_step();
    let ahead = grow(&pair.source, "main", &[&pair.tip]);
    pair.before_push(|remote| drop(remote.git(&["pack-refs", "--all"])));
    let pushed = pair.push();
    assert_eq!(pushed.fate_of(MAIN), moved(&pair.tip, &ahead));
    assert_eq!(pushed.asked, PUSHED);
}

#[test]
fn a_branch_that_was_deleted_meanwhile_stays_deleted() {
    let pair = Pair::in_step();
    grow(&pair.source, "main", &[&pair.tip]);
    pair.before_push(|remote| remote.delete_ref(MAIN));
    assert_raced(&pair.push(), MAIN, Some(&pair.tip), None);
}

#[test]
fn a_branch_that_was_created_meanwhile() {
    let pair = Pair::in_step();
    grow(&pair.source, "topic", &[&pair.tip]);
    let root = pair.root.clone();
    pair.before_push(move |remote| remote.set_ref(TOPIC, &root));
    assert_raced(&pair.push(), TOPIC, None, Some(&pair.root));
}

#[test]
fn one_of_many_that_was_created_meanwhile() {
    let pair = Pair::in_step();
    let branches = pair.branches("many", 20);
    let (raced, root) = (branches[7].0.clone(), pair.root.clone());
    pair.before_push(move |remote| remote.set_ref(&raced, &root));
    let pushed = pair.push();
    assert_raced(&pushed, &branches[7].0, None, Some(&pair.root));
    for (name, id) in branches.iter().filter(|(name, _)| *name != branches[7].0) {
        assert_eq!(pushed.fate_of(name), created(id));
    }
}

#[test]
fn a_race_lost_to_the_same_tip_is_said_to_be_one() {
    let pair = Pair::in_step();
    pair.remote.set_ref(MAIN, &pair.root);
    let tip = pair.tip.clone();
    pair.before_push(move |remote| remote.set_ref(MAIN, &tip));
    assert_raced(&pair.push(), MAIN, Some(&pair.root), Some(&pair.tip));
}

/// A directory where the ref would have to be, or a ref where its directory would.
#[test]
fn a_conflicting_name_that_was_created_meanwhile_is_not_overwritten() {
    for (offered, made) in [("topic", "topic/below"), ("topic/below", "topic")] {
        let pair = Pair::in_step();
        grow(&pair.source, offered, &[&pair.tip]);
        let (made, root) = (format!("refs/heads/{made}"), pair.root.clone());
        let racing = made.clone();
        pair.before_push(move |remote| remote.set_ref(&racing, &root));
        let pushed = pair.push();
        let reason = pushed.reason_of(&format!("refs/heads/{offered}"));
        assert!(matches!(reason, Reason::Remote { .. }), "{reason}");
        assert_eq!(pair.remote.git(&["rev-parse", &made]), pair.root);
    }
}

#[test]
fn the_next_run_makes_up_for_a_race() {
    let pair = Pair::in_step();
    let ahead = grow(&pair.source, "topic", &[&pair.tip]);
    let root = pair.root.clone();
    pair.before_push(move |remote| remote.set_ref(TOPIC, &root));
    let mut options = SyncOptions::default();
    options.previous = Some(pair.push().stats);
    let pushed = pair.push_with(&options);
    assert_eq!(pushed.fate_of(TOPIC), moved(&pair.root, &ahead));
    assert_eq!(pushed.asked, PUSHED);
}
