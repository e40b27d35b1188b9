//! Names and refs of which a push makes something else than a pull: what a remote can hold, what it hides
//! and what it writes through only it knows, and a command has room for so many bytes of a name.

use crate::support::pull::{filtered, grow, moved, unchanged};
use crate::support::push::{PUSHED, Pair};
use refsync::{FilterReason, Outcome, Reason, SyncOptions};

const BYSTANDER: &str = "refs/heads/bystander";
const TOPIC: &str = "refs/heads/topic";

#[test]
fn a_symbolic_ref_at_the_source() {
    let pair = Pair::in_step();
    for (alias, to) in [("alias", "main"), ("nowhere", "unborn")] {
        let (alias, to) = (format!("refs/heads/{alias}"), format!("refs/heads/{to}"));
        pair.source.git(&["symbolic-ref", &alias, &to]);
    }
    let pushed = pair.push();
    let alias = filtered(None, &pair.tip, FilterReason::SymbolicRef);
    assert_eq!(pushed.fate_of("refs/heads/alias"), alias);
    let nowhere = pushed.stats.find("refs/heads/nowhere").unwrap();
    assert!(nowhere.outcome.is_filtered());
    assert_eq!(pushed.fate_of("refs/heads/main"), unchanged(&pair.tip));
    assert_eq!(pushed.names(), [BYSTANDER]);
}

#[test]
fn a_name_that_git_does_not_allow_is_never_sent() {
    let pair = Pair::in_step();
    for name in ["a..b", "x.lock", "esc\x1b[31m", "a:b", "a b"] {
        pair.source
            .write_ref(&format!("refs/heads/{name}"), &pair.root);
    }
    let pushed = pair.push();
    for listed in &pushed.stats.refs {
        let is_good = [BYSTANDER, "refs/heads/main"].contains(&&*listed.name.to_string());
        let is_invalid = *listed.outcome == Outcome::Filtered(FilterReason::InvalidName);
        assert!(is_good || is_invalid, "{listed:?}");
    }
    assert_eq!(pushed.names(), [BYSTANDER]);
}

/// Nobody knows beforehand what a remote can hold.
#[test]
fn a_name_that_no_file_of_the_remote_can_have() {
    let pair = Pair::in_step();
    let too_long = format!("refs/heads/{}", "l".repeat(300));
    let refs = [
        (&*too_long, &*pair.tip),
        (BYSTANDER, &pair.root),
        ("refs/heads/main", &pair.tip),
    ];
    pair.source.write_packed_refs(&refs);
    let pushed = pair.push();
    let reason = pushed.reason_of(&too_long);
    assert!(matches!(reason, Reason::Remote { .. }), "{reason}");
}

/// Receive-pack doesn't tell which refs are symbolic, and writes through them, as it does for git.
#[test]
fn a_symbolic_ref_at_the_remote_is_taken_for_a_plain_one() {
    let pair = Pair::in_step();
    let (alias, behind) = ("refs/heads/alias", "refs/heads/behind");
    pair.remote.set_ref(behind, &pair.root);
    pair.remote.git(&["symbolic-ref", alias, behind]);
    pair.source.set_ref(alias, &pair.tip);
    let pushed = pair.push();
    assert_eq!(pushed.fate_of(alias), moved(&pair.root, &pair.tip));
    assert_eq!(pair.remote.git(&["symbolic-ref", alias]), behind);
    assert_eq!(pair.remote.git(&["rev-parse", behind]), pair.tip);
}

/// Beside the ids and all that is asked for, in a packet of Git's protocol.
#[test]
fn a_name_that_fits_into_no_command_keeps_the_others_from_nothing() {
    let pair = Pair::in_step();
    let component = format!("/{}", "x".repeat(199));
    let name = format!("refs/heads{}", component.repeat(328));
    let name = &name[..65_430];
    pair.source.write_packed_refs(&[(name, &pair.root)]);
    let pushed = pair.push();
    let too_long = filtered(None, &pair.root, FilterReason::NameTooLong);
    assert_eq!(pushed.fate_of(name), too_long);
    assert_eq!(pushed.names(), [BYSTANDER]);
}

/// A hidden ref is in no listing, so only the answer to the push tells of it.
#[test]
fn a_ref_that_the_remote_hides_is_in_the_way_all_the_same() {
    let pair = Pair::in_step();
    pair.set("receive.hideRefs", "refs/heads/a/b");
    pair.remote.set_ref("refs/heads/a/b", &pair.root);
    pair.source.set_ref("refs/heads/a", &pair.tip);
    let pushed = pair.push();
    let found = pushed.stats.find("refs/heads/a").unwrap();
    assert!(found.outcome.is_rejected());
    let reason = pushed.reason_of("refs/heads/a");
    assert!(matches!(reason, Reason::Remote { .. }), "{reason}");
    assert_eq!(pair.remote.git(&["rev-parse", "refs/heads/a/b"]), pair.root);
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
