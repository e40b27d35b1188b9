//! The outcomes of the refs, and the packs that were needed for them.

use super::{Destination, Setup};
use crate::support::pull::{created, grow, moved, rejected, unchanged};
use refsync::{Outcome, Reason, SyncOptions};
use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};

const TRUNK: &str = "refs/heads/trunk";

pub fn first_pull(setup: &Setup) {
    let ends = setup.ends();
    let pulled = ends.pull();
    assert_eq!(pulled.asked, ends.listing_and(&["fetch", "push"]));
    let names = [
        "refs/heads/topic/side",
        TRUNK,
        "refs/tags/light",
        "refs/tags/v1",
    ];
    assert_eq!(pulled.stats.refs.len(), names.len());
    for name in names {
        assert_eq!(pulled.fate_of(name), created(&ends.tip(name)));
    }
    ends.assert_moved(&pulled, ends.count_objects(&["--all"]), &["--all"]);
    ends.assert_in_step();
}

pub fn nothing_to_do(setup: &Setup) {
    let ends = setup.ends();
    ends.pull();
    let files = ends.destination.files();
    let pulled = ends.pull();
    assert_eq!(pulled.asked, ends.listing_and(&[]));
    assert_eq!(pulled.stats.count(Outcome::is_unchanged), 4);
    assert_eq!(pulled.fate_of(TRUNK), unchanged(&ends.tip(TRUNK)));
    assert_eq!(pulled.stats.traffic.objects, 0);
    if setup.destination != Destination::Packed {
        assert_eq!(ends.destination.files(), files);
    }
}

pub fn one_commit_more(setup: &Setup) {
    let ends = setup.ends();
    ends.pull();
    let before = ends.tip(TRUNK);
    let ahead = ends.advance("trunk");
    let pulled = ends.pull();
    assert_eq!(pulled.fate_of(TRUNK), moved(&before, &ahead));
    assert_eq!(pulled.stats.count(Outcome::is_unchanged), 3);
    assert_eq!(pulled.asked, ends.listing_and(&["fetch", "push"]));
    // A commit, its tree and its file.
    ends.assert_moved(&pulled, 3, &["trunk"]);
    ends.assert_in_step();
}

pub fn a_new_tag_on_a_known_commit(setup: &Setup) {
    let ends = setup.ends();
    ends.pull();
    let root = ends.tip("trunk^");
    ends.upstream.set_ref("refs/tags/v0", &root);
    let pulled = ends.pull();
    assert_eq!(pulled.fate_of("refs/tags/v0"), created(&root));
    let asked: &[_] = match setup.is_relay() {
        true => &["fetch", "push"],
        false => &["push"],
    };
    assert_eq!(pulled.asked, ends.listing_and(asked));
    // A scratch store has nothing that says how the new tag is related to the destination's tips.
    let again = if setup.is_relay() { 3 } else { 0 };
    ends.assert_moved(&pulled, again, &["trunk^"]);
    ends.assert_in_step();
}

pub fn a_branch_that_diverged(setup: &Setup) {
    let ends = setup.ends();
    ends.pull();
    let ours = grow(&ends.destination, "trunk", &[&ends.tip(TRUNK)]);
    let theirs = ends.advance("trunk");
    let (side_before, side) = (ends.tip("topic/side"), ends.advance("topic/side"));
    let pulled = ends.pull();
    // Who decides must have both histories, and those who push don't have the destination's.
    let reason = match setup.destination {
        Destination::Http => Reason::DestinationUnknown,
        _ => Reason::Diverged,
    };
    assert_eq!(pulled.fate_of(TRUNK), rejected(&*ours, &theirs, reason));
    assert_eq!(
        pulled.fate_of("refs/heads/topic/side"),
        moved(&side_before, &side)
    );
    assert_eq!(pulled.asked, ends.listing_and(&["fetch", "push"]));
    assert_eq!(ends.destination.git(&["rev-parse", TRUNK]), ours);
}

pub fn very_many_new_refs(setup: &Setup) {
    let ends = setup.ends();
    ends.pull();
    let names: Vec<_> = (0..100).map(|n| format!("refs/tags/many/{n}")).collect();
    let (tip, annotated) = (
        ends.tip("trunk"),
        ends.upstream.tag_annotated("v2", "trunk"),
    );
    let lightweight = names.iter().map(|name| (name.as_str(), tip.as_str()));
    ends.upstream.set_refs(lightweight);
    let ahead = ends.advance("trunk");
    let pulled = ends.pull();
    assert_eq!(pulled.stats.count(Outcome::is_updated), 102);
    assert_eq!(pulled.fate_of("refs/tags/v2"), created(&annotated));
    assert_eq!(pulled.fate_of(TRUNK), moved(&tip, &ahead));
    assert_eq!(pulled.asked, ends.listing_and(&["fetch", "push"]));
    ends.assert_in_step();
    assert_eq!(ends.destination.git(&["rev-parse", "v2^{commit}"]), tip);
}

pub fn a_dry_run_predicts_the_run(setup: &Setup) {
    let ends = setup.ends();
    ends.pull();
    grow(&ends.destination, "topic/side", &[&ends.tip("topic/side")]);
    for branch in ["trunk", "topic/side", "trunk"] {
        ends.advance(branch);
    }
    ends.upstream.tag_annotated("v1", "trunk");
    ends.upstream.set_ref("refs/tags/v2", &ends.tip("trunk"));
    let files = ends.destination.files();
    let mut options = SyncOptions::default();
    options.dry_run = true;
    let predicted = ends.pull_with(&options);
    assert_eq!(ends.destination.files(), files);
    assert_eq!(predicted.asked, ends.listing_and(&["fetch"]));
    let pulled = ends.pull();
    assert_eq!(predicted.stats.refs, pulled.stats.refs);
    assert_eq!(pulled.stats.count(Outcome::is_updated), 2);
    assert_eq!(pulled.stats.count(Outcome::is_rejected), 2);
    assert_eq!(ends.destination.git(&["rev-parse", TRUNK]), ends.tip(TRUNK));
}

pub fn a_tip_that_is_gone(setup: &Setup) {
    let ends = setup.ends();
    ends.pull();
    let gone = grow(&ends.upstream, "gone", &[&ends.tip("trunk")]);
    ends.advance("trunk");
    let (upstream, done) = (ends.upstream.clone(), AtomicBool::new(false));
    ends.server.intercept(move |head| {
        if crate::support::pull::is_fetch(head) && !done.swap(true, Ordering::SeqCst) {
            upstream.delete_ref("refs/heads/gone");
            upstream.git(&["prune", "--expire=now"]);
        }
        None
    });
    let pulled = ends.pull();
    let reason = pulled.reason_of("refs/heads/gone");
    assert!(matches!(reason, Reason::Unavailable { .. }), "{reason}");
    assert_eq!(
        pulled.fate_of("refs/heads/gone"),
        rejected(None, &gone, reason)
    );
    assert_eq!(pulled.asked, ends.listing_and(&["fetch", "fetch", "push"]));
    ends.assert_in_step();
}

/// In the source's own store, so that it can say which ref needs it before anything is sent.
pub fn an_object_that_the_source_lost(setup: &Setup) {
    let ends = setup.ends();
    ends.pull();
    let (trunk, before) = (ends.tip("trunk"), ends.tip("topic/side"));
    let (ahead, bad) = (ends.advance("trunk"), ends.advance("topic/side"));
    let lost = ends.tip("topic/side:file");
    fs::remove_file(ends.upstream.object_file(&lost)).unwrap();
    let pulled = ends.pull();
    let reason = pulled.reason_of("refs/heads/topic/side");
    assert!(matches!(reason, Reason::Unavailable { .. }), "{reason}");
    assert!(reason.to_string().contains(&lost), "{reason}");
    assert_eq!(
        pulled.fate_of("refs/heads/topic/side"),
        rejected(&*before, &bad, reason)
    );
    assert_eq!(pulled.fate_of(TRUNK), moved(&trunk, &ahead));
    assert_eq!(pulled.asked, ends.listing_and(&["push"]));
    assert_eq!(pulled.stats.traffic.objects, 3);
}

pub fn an_empty_upstream(setup: &Setup) {
    let ends = setup.ends();
    for (name, _) in ends.upstream.for_each_ref() {
        ends.upstream.delete_ref(&name);
    }
    let files = ends.destination.files();
    let pulled = ends.pull();
    assert!(pulled.stats.refs.is_empty());
    assert_eq!(pulled.asked, ends.listing_and(&[]));
    if setup.destination != Destination::Packed {
        assert_eq!(ends.destination.files(), files);
    }
}
