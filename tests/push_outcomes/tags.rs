//! Tags move from commit to descendant, or not at all.

use crate::support::git::Repo;
use crate::support::pull::{copy, created, grow, moved, rejected, unchanged};
use crate::support::push::{PUSHED, Pair};
use refsync::{Reason, SyncOptions, TagPolicy};

const V1: &str = "refs/tags/v1";
const BYSTANDER: &str = "refs/heads/bystander";

/// Both ends have the lightweight tag `v1` on `root`.
fn tagged() -> Pair {
    let pair = Pair::in_step();
    for end in [&pair.source, &pair.remote] {
        end.set_ref(V1, &pair.root);
    }
    pair
}

fn retag(repo: &Repo, target: &str) -> String {
    repo.set_ref(V1, target);
    target.to_owned()
}

#[track_caller]
fn stays(pair: &Pair, held: &str, offered: &str, reason: Reason) {
    let pushed = pair.push();
    assert_eq!(pushed.fate_of(V1), rejected(held, offered, reason));
    assert_eq!(pushed.names(), [BYSTANDER]);
    assert_eq!(pushed.stats.traffic.objects, 0);
}

#[test]
fn a_new_tag_on_anything_is_created() {
    let pair = Pair::in_step();
    let blob = pair.source.write_object("blob", b"key\n");
    let tree = pair.source.git(&["rev-parse", "main^{tree}"]);
    let annotated = pair.source.tag_annotated("annotated", "main");
    let nested = pair.source.tag_annotated("nested", "annotated");
    let of_blob = pair.source.tag_annotated("of-blob", &blob);
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
        pair.source.set_ref(name, id);
    }
    let pushed = pair.push();
    for (name, id) in &targets {
        assert_eq!(pushed.fate_of(name), created(id));
    }
    assert_eq!(pushed.asked, PUSHED);
    assert_eq!(pushed.stats.traffic.objects, 4, "three tags and a blob");
    assert_eq!(pair.remote.git(&["rev-parse", "nested^{commit}"]), pair.tip);
}

/// Git itself says `already exists` here.
#[test]
fn a_lightweight_tag_is_fast_forwarded() {
    let pair = tagged();
    retag(&pair.source, &pair.tip);
    let pushed = pair.push();
    assert_eq!(pushed.fate_of(V1), moved(&pair.root, &pair.tip));
    assert_eq!(pushed.names(), [BYSTANDER, V1]);
    assert_eq!(pushed.stats.traffic.objects, 0);
}

#[test]
fn an_immutable_tag_is_not_fast_forwarded() {
    let pair = tagged();
    retag(&pair.source, &pair.tip);
    let new = pair.source.tag_annotated("v2", "main");
    let mut options = SyncOptions::default();
    options.tags = TagPolicy::Immutable;
    let pushed = pair.push_with(&options);
    assert_eq!(
        pushed.fate_of(V1),
        rejected(&*pair.root, &pair.tip, Reason::TagExists)
    );
    assert_eq!(pushed.fate_of("refs/tags/v2"), created(&new));
    assert_eq!(pushed.names(), [BYSTANDER, "refs/tags/v2"]);
}

#[test]
fn a_tag_that_is_the_same_is_unchanged() {
    let pair = tagged();
    assert_eq!(pair.push().fate_of(V1), unchanged(&pair.root));
    let annotated = pair.source.tag_annotated("v2", "main");
    pair.push();
    let again = pair.push();
    assert_eq!(again.fate_of("refs/tags/v2"), unchanged(&annotated));
}

#[test]
fn a_tag_that_became_annotated_stays() {
    let pair = tagged();
    let ours = pair.source.tag_annotated("v1", "main");
    stays(&pair, &pair.root, &ours, Reason::TagExists);
}

#[test]
fn a_tag_that_is_annotated_at_the_remote_stays() {
    let pair = tagged();
    let theirs = pair.source.tag_annotated("v1", &pair.root);
    pair.remote.delete_ref(V1);
    copy(&pair.source, &pair.remote);
    pair.remote.delete_ref(BYSTANDER);
    retag(&pair.source, &pair.tip);
    stays(&pair, &theirs, &pair.tip, Reason::TagExists);
}

#[test]
fn a_tag_that_was_annotated_anew_stays() {
    let pair = tagged();
    let theirs = pair.source.tag_annotated("v1", &pair.root);
    pair.remote.delete_ref(V1);
    copy(&pair.source, &pair.remote);
    pair.remote.delete_ref(BYSTANDER);
    let ours = pair.source.tag_annotated("v1", "main");
    stays(&pair, &theirs, &ours, Reason::TagExists);
}

/// Whatever the remote's tag is, it is no fast-forward to something that is no commit.
#[test]
fn a_tag_that_the_source_has_never_seen_stays() {
    let pair = tagged();
    let theirs = pair.remote.tag_annotated("v1", &pair.root);
    stays(&pair, &theirs, &pair.root, Reason::DestinationUnknown);
    pair.remote.delete_ref(BYSTANDER);
    let ours = pair.source.tag_annotated("v1", "main");
    stays(&pair, &theirs, &ours, Reason::TagExists);
}

#[test]
fn a_tag_that_moved_to_a_tree_or_blob_stays() {
    let pair = tagged();
    let tree = pair.source.git(&["rev-parse", "main^{tree}"]);
    let blob = pair.source.write_object("blob", b"new\n");
    for ours in [tree, blob] {
        retag(&pair.source, &ours);
        stays(&pair, &pair.root, &ours, Reason::TagExists);
        pair.remote.delete_ref(BYSTANDER);
    }
}

#[test]
fn a_tag_that_diverged_stays() {
    let pair = tagged();
    retag(&pair.remote, &pair.tip);
    let ours = grow(&pair.source, V1, &[&pair.root]);
    stays(&pair, &pair.tip, &ours, Reason::TagExists);
}

#[test]
fn a_tag_that_is_ahead_at_the_remote_stays() {
    let pair = tagged();
    retag(&pair.remote, &pair.tip);
    stays(&pair, &pair.tip, &pair.root, Reason::TagExists);
}
