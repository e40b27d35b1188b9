//! Refs that take no part: names that git doesn't allow, symbolic refs, and what the globs leave out.

use crate::support::pull::{created, filtered, grow, moved, unchanged};
use crate::support::push::{LISTED, Pair};
use refsync::{FilterReason, Outcome, Reason, RefGlobs, SyncOptions};

const BYSTANDER: &str = "refs/heads/bystander";

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

#[test]
fn other_namespaces_are_not_pushed() {
    let pair = Pair::in_step();
    for name in ["refs/notes/commits", "refs/remotes/up/main", "refs/stash"] {
        pair.source.set_ref(name, &pair.tip);
    }
    let pushed = pair.push();
    assert_eq!(pushed.stats.refs.len(), 2, "{:?}", pushed.stats);
    assert_eq!(pushed.names(), [BYSTANDER]);
}

#[test]
fn what_the_globs_leave_out_is_not_pushed() {
    let pair = Pair::in_step();
    let release = grow(&pair.source, "release/1", &[&pair.tip]);
    let topic = grow(&pair.source, "topic", &[&pair.tip]);
    pair.source.set_ref("refs/tags/v1", &pair.tip);
    let mut options = SyncOptions::default();
    options.globs = RefGlobs::new(Some("release/*"), None).unwrap();
    let pushed = pair.push_with(&options);
    assert_eq!(pushed.fate_of("refs/heads/release/1"), created(&release));
    assert_eq!(pushed.stats.refs.len(), 1);
    assert_eq!(pushed.names(), ["refs/heads/release/1"]);
    assert_eq!(pushed.stats.traffic.objects, 3);

    options.list_excluded = true;
    let listed = pair.push_with(&options);
    let excluded = filtered(None, &topic, FilterReason::Excluded);
    assert_eq!(listed.fate_of("refs/heads/topic"), excluded);
    let main = filtered(&*pair.tip, &pair.tip, FilterReason::Excluded);
    assert_eq!(listed.fate_of("refs/heads/main"), main);
    assert_eq!(listed.stats.count(Outcome::is_filtered), 4);
    assert_eq!(listed.asked, LISTED);
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
