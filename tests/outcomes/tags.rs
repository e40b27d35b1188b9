//! Tags move from commit to descendant, or not at all.

use crate::support::git::Repo;
use crate::support::pull::{
    FETCHED, LISTED, Pair, copy, created, grow, moved, rejected, unchanged,
};
use refsync::{Reason, SyncOptions, TagPolicy};

const V1: &str = "refs/tags/v1";

/// Both ends have the lightweight tag `v1` on `root`.
fn tagged() -> Pair {
    let pair = Pair::in_step();
    for end in [&pair.upstream, &pair.destination] {
        end.set_ref(V1, &pair.root);
    }
    pair
}

/// The tag `v1`, pointing to `target`, to be the destination's only.
fn retag(repo: &Repo, target: &str) -> String {
    repo.set_ref(V1, target);
    target.to_owned()
}

#[track_caller]
fn stays(pair: &Pair, ours: &str, theirs: &str, asked: &[&str]) {
    let pulled = pair.pull();
    assert_eq!(
        pulled.fate_of(V1),
        rejected(ours, theirs, Reason::TagExists)
    );
    assert_eq!(pulled.asked, asked);
}

#[test]
fn a_new_tag_on_anything_is_created() {
    let pair = Pair::in_step();
    let blob = pair.upstream.write_object("blob", b"key\n");
    let tree = pair.upstream.git(&["rev-parse", "main^{tree}"]);
    let annotated = pair.upstream.tag_annotated("annotated", "main");
    let nested = pair.upstream.tag_annotated("nested", "annotated");
    let of_blob = pair.upstream.tag_annotated("of-blob", &blob);
    let targets = [
        ("annotated", &annotated),
        ("blob", &blob),
        ("commit", &pair.root),
        ("nested", &nested),
        ("of-blob", &of_blob),
        ("tree", &tree),
    ]
    .map(|(name, id)| (format!("refs/tags/{name}"), id));
    for (name, id) in &targets {
        pair.upstream.set_ref(name, id);
    }
    let pulled = pair.pull();
    for (name, id) in &targets {
        assert_eq!(pulled.fate_of(name), created(id));
    }
    assert_eq!(pulled.asked, FETCHED);
    assert_eq!(pulled.stats.traffic.objects, 4, "three tags and a blob");
    assert_eq!(
        pair.destination.git(&["rev-parse", "nested^{commit}"]),
        pair.tip
    );
}

#[test]
fn a_lightweight_tag_is_fast_forwarded() {
    let pair = tagged();
    retag(&pair.upstream, &pair.tip);
    let pulled = pair.pull();
    assert_eq!(pulled.fate_of(V1), moved(&pair.root, &pair.tip));
    assert_eq!(pulled.asked, LISTED);
}

#[test]
fn an_immutable_tag_is_not_fast_forwarded() {
    let pair = tagged();
    retag(&pair.upstream, &pair.tip);
    let new = pair.upstream.tag_annotated("v2", "main");
    let mut options = SyncOptions::default();
    options.tags = TagPolicy::Immutable;
    let pulled = pair.pull_with(&options);
    assert_eq!(
        pulled.fate_of(V1),
        rejected(&*pair.root, &pair.tip, Reason::TagExists)
    );
    assert_eq!(pulled.fate_of("refs/tags/v2"), created(&new));
}

#[test]
fn an_immutable_tag_that_is_the_same_is_unchanged() {
    let pair = tagged();
    let mut options = SyncOptions::default();
    options.tags = TagPolicy::Immutable;
    assert_eq!(pair.pull_with(&options).fate_of(V1), unchanged(&pair.root));
}

#[test]
fn a_tag_that_became_annotated_stays_without_a_fetch() {
    let pair = tagged();
    let theirs = pair.upstream.tag_annotated("v1", "main");
    stays(&pair, &pair.root, &theirs, LISTED);
}

#[test]
fn a_tag_that_is_annotated_at_the_destination_stays() {
    for packed in [false, true] {
        let pair = tagged();
        let ours = pair.destination.tag_annotated("v1", &pair.root);
        if packed {
            pair.destination.git(&["pack-refs", "--all"]);
        }
        stays(&pair, &ours, &pair.root, LISTED);
    }
}

#[test]
fn a_tag_that_was_annotated_anew_stays_without_a_fetch() {
    let pair = tagged();
    let ours = pair.upstream.tag_annotated("v1", &pair.root);
    pair.destination.delete_ref(V1);
    copy(&pair.upstream, &pair.destination);
    let theirs = pair.upstream.tag_annotated("v1", "main");
    stays(&pair, &ours, &theirs, LISTED);
}

#[test]
fn a_tag_that_moved_to_a_tree_stays() {
    let pair = tagged();
    let tree = pair.upstream.git(&["rev-parse", "main^{tree}"]);
    let theirs = retag(&pair.upstream, &tree);
    stays(&pair, &pair.root, &theirs, LISTED);
}

#[test]
fn a_tag_that_moved_to_a_blob_stays() {
    let pair = tagged();
    let blob = pair.upstream.write_object("blob", b"new\n");
    let theirs = retag(&pair.upstream, &blob);
    stays(&pair, &pair.root, &theirs, FETCHED);
}

#[test]
fn a_tag_on_a_blob_or_tree_at_the_destination_stays() {
    let pair = tagged();
    let blob = pair.destination.write_object("blob", b"ours\n");
    let tree = pair.destination.git(&["rev-parse", "main^{tree}"]);
    for ours in [blob, tree] {
        retag(&pair.destination, &ours);
        stays(&pair, &ours, &pair.root, LISTED);
    }
}

#[test]
fn a_tag_that_diverged_stays() {
    let pair = tagged();
    retag(&pair.destination, &pair.tip);
    let side = grow(&pair.upstream, "side", &[&pair.root]);
    let theirs = retag(&pair.upstream, &side);
    stays(&pair, &pair.tip, &theirs, FETCHED);
}

#[test]
fn a_tag_that_is_ahead_at_the_destination_stays() {
    let pair = tagged();
    retag(&pair.destination, &pair.tip);
    stays(&pair, &pair.tip, &pair.root, LISTED);
}
