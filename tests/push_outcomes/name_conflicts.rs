//! Names that can't exist beside one another.

use crate::support::pull::{created, rejected};
use crate::support::push::Pair;
use refsync::{Reason, RefGlobs, SyncOptions};

const BYSTANDER: &str = "refs/heads/bystander";

fn conflict(with: &str) -> Reason {
    Reason::NameConflict { with: with.into() }
}

/// The remote has `held`, the source `offered`: it is rejected and names what is in the way.
fn conflicts(offered: &str, held: &str) {
    let pair = Pair::in_step();
    pair.remote.set_ref(held, &pair.root);
    pair.source.set_ref(offered, &pair.tip);
    let pushed = pair.push();
    assert_eq!(
        pushed.fate_of(offered),
        rejected(None, &pair.tip, conflict(held))
    );
    assert_eq!(pushed.names(), [BYSTANDER]);
}

#[test]
fn a_ref_below_another_one() {
    conflicts("refs/heads/a/b", "refs/heads/a");
    conflicts("refs/tags/a/b/c", "refs/tags/a");
}

#[test]
fn a_ref_above_another_one() {
    conflicts("refs/heads/a", "refs/heads/a/b");
    conflicts("refs/tags/a", "refs/tags/a/b/c");
}

#[test]
fn of_two_refs_in_one_push_the_first_is_created() {
    let pair = Pair::in_step();
    let both = [
        ("refs/heads/a", &*pair.tip),
        ("refs/heads/a/b", &*pair.root),
    ];
    let others = [("refs/heads/main", &*pair.tip), (BYSTANDER, &*pair.root)];
    pair.source.write_packed_refs(&[both, others].concat());
    let pushed = pair.push();
    assert_eq!(pushed.fate_of("refs/heads/a"), created(&pair.tip));
    let beside = rejected(None, &pair.root, conflict("refs/heads/a"));
    assert_eq!(pushed.fate_of("refs/heads/a/b"), beside);
    assert_eq!(pushed.names(), ["refs/heads/a", BYSTANDER]);
}

#[test]
fn a_ref_that_the_globs_leave_out_is_still_in_the_way() {
    let pair = Pair::in_step();
    pair.remote.set_ref("refs/heads/release", &pair.root);
    pair.source.set_ref("refs/heads/release/1", &pair.tip);
    let mut options = SyncOptions::default();
    options.globs = RefGlobs::new(Some("{bystander,release/*}"), None).unwrap();
    let pushed = pair.push_with(&options);
    assert_eq!(
        pushed.fate_of("refs/heads/release/1"),
        rejected(None, &pair.tip, conflict("refs/heads/release"))
    );
    assert_eq!(pushed.names(), [BYSTANDER]);
}

/// What it does not list can only be found out by asking.
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
