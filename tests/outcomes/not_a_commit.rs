//! A branch has to point to a commit, at either end.

use crate::support::pull::{FETCHED, Pair, grow, rejected};
use refsync::Reason;

const TOPIC: &str = "refs/heads/topic";

/// Something else for each kind of object there is. Git itself would refuse to set such a branch.
fn odd_targets(pair: &Pair) -> [String; 3] {
    let blob = pair.upstream.write_object("blob", b"odd\n");
    let entry = format!("100644 blob {blob}\todd\n");
    let tree = pair.upstream.git_with_input(&["mktree"], entry.as_bytes());
    let tag = pair.upstream.tag_annotated("odd", &pair.tip);
    pair.upstream.delete_ref("refs/tags/odd");
    [blob, tree, tag]
}

#[test]
fn a_branch_on_a_tag_tree_or_blob_is_not_created() {
    let pair = Pair::in_step();
    for target in odd_targets(&pair) {
        pair.upstream.write_ref(TOPIC, &target);
        let pulled = pair.pull();
        assert_eq!(
            pulled.fate_of(TOPIC),
            rejected(None, &target, Reason::NotACommit)
        );
        assert_eq!(pulled.asked, FETCHED);
    }
}

#[test]
fn a_branch_on_a_tag_tree_or_blob_does_not_move() {
    let pair = Pair::in_step();
    pair.destination.set_ref(TOPIC, &pair.tip);
    for target in odd_targets(&pair) {
        pair.upstream.write_ref(TOPIC, &target);
        let pulled = pair.pull();
        assert_eq!(
            pulled.fate_of(TOPIC),
            rejected(&*pair.tip, &target, Reason::NotACommit)
        );
    }
}

#[test]
fn a_branch_that_is_on_something_else_at_the_destination_has_diverged() {
    let pair = Pair::in_step();
    let tag = pair.destination.tag_annotated("odd", &pair.tip);
    pair.destination.write_ref(TOPIC, &tag);
    let theirs = grow(&pair.upstream, "topic", &[&pair.tip]);
    let pulled = pair.pull();
    assert_eq!(
        pulled.fate_of(TOPIC),
        rejected(&*tag, &theirs, Reason::Diverged)
    );
}
