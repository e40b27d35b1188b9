//! Which commits a pull offers to its source: few, and enough to be sent nothing twice.
#![cfg(feature = "http")]

mod support;

use refsync::{Reason, SyncOptions};
use std::sync::{Arc, Mutex};
use support::pull::{Fate, Pair, copy, grow, moved, rejected};

/// The number of commits that are offered beside those that refs are about to leave.
const OTHERS: usize = 9;
/// The same for a ref that is new.
const OTHERS_FOR_NEW: usize = 32;

/// Pulls; the commits that were offered, in order, and how many objects came.
fn pull(pair: &Pair) -> (Vec<String>, u64, Fate) {
    let offered = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&offered);
    pair.on_fetch(move |head| {
        let body = String::from_utf8_lossy(&head.body);
        let haves = body
            .lines()
            .filter_map(|line| line.get(4..)?.strip_prefix("have "));
        *seen.lock().unwrap() = haves.map(str::to_owned).collect();
        None
    });
    let pulled = pair.pull_into_any(&SyncOptions::default());
    let offered = offered.lock().unwrap().clone();
    let objects = pulled.stats.traffic.objects;
    (offered, objects, pulled.fate_of("refs/heads/main"))
}

/// Both ends have so many more branches and annotated tags, in `packed-refs`.
fn with_refs(pair: &Pair, count: usize) {
    for number in 0..count {
        let topic = grow(&pair.upstream, &format!("topic-{number}"), &[&pair.root]);
        pair.upstream.tag_annotated(&format!("v{number}"), &topic);
    }
    copy(&pair.upstream, &pair.destination);
    pair.destination.git(&["pack-refs", "--all"]);
}

#[test]
fn what_a_ref_is_about_to_leave_comes_first_and_few_others_follow() {
    for has_graph in [false, true] {
        let pair = Pair::in_step();
        with_refs(&pair, 60);
        if has_graph {
            pair.destination
                .git(&["commit-graph", "write", "--reachable"]);
        }
        let ahead = grow(&pair.upstream, "main", &[&pair.tip]);
        let (offered, objects, fate) = pull(&pair);
        assert_eq!(fate, moved(&pair.tip, &ahead));
        assert_eq!(offered[..2], [pair.tip.clone(), pair.root.clone()]);
        assert_eq!(offered.len(), 1 + OTHERS, "commit-graph: {has_graph}");
        let tags = pair
            .destination
            .git(&["for-each-ref", "--format=%(objectname)", "refs/tags"]);
        assert!(tags.lines().all(|tag| !offered.contains(&tag.to_owned())));
        assert_eq!(objects, 3, "a commit, its tree and its file");

        grow(&pair.upstream, "new", &[&ahead]);
        let (offered, objects, _) = pull(&pair);
        assert_eq!(offered.len(), OTHERS_FOR_NEW, "commit-graph: {has_graph}");
        assert!(offered.contains(&ahead), "commit-graph: {has_graph}");
        assert_eq!(objects, 3);
    }
}

#[test]
fn a_tag_alone_leads_to_its_commit() {
    for is_packed in [false, true] {
        let pair = Pair::in_step();
        pair.upstream.tag_annotated("v1", &pair.tip);
        copy(&pair.upstream, &pair.destination);
        pair.destination.delete_ref("refs/heads/main");
        if is_packed {
            pair.destination.git(&["pack-refs", "--all"]);
        }
        pair.upstream.set_ref("refs/heads/bystander", &pair.tip);
        grow(&pair.upstream, "main", &[&pair.tip]);
        let (offered, objects, _) = pull(&pair);
        assert!(offered.contains(&pair.tip), "packed: {is_packed}");
        assert_eq!(objects, 3, "packed: {is_packed}");
    }
}

#[test]
fn where_the_source_never_saw_a_tip_some_ancestor_helps() {
    let pair = Pair::in_step();
    let own = (0..40).fold(pair.tip.clone(), |tip, _| {
        grow(&pair.destination, "main", &[&tip])
    });
    let theirs = grow(&pair.upstream, "main", &[&pair.tip]);
    let (offered, objects, fate) = pull(&pair);
    assert_eq!(fate, rejected(&*own, &theirs, Reason::Diverged));
    let before = |steps: usize| {
        pair.destination
            .git(&["rev-parse", &format!("main~{steps}")])
    };
    let root = pair.root.clone();
    assert_eq!(offered, [own, before(1), before(4), before(16), root]);
    assert_eq!(objects, 6, "what two commits have beyond the root");
}

#[test]
fn the_branch_that_is_checked_out_is_not_overlooked_among_many() {
    let pair = Pair::in_step();
    for number in 0..600 {
        let name = format!("a-{number}");
        pair.upstream
            .set_ref(&format!("refs/heads/{name}"), &pair.root);
    }
    with_refs(&pair, 5);
    pair.destination
        .git(&["symbolic-ref", "HEAD", "refs/heads/main"]);
    grow(&pair.upstream, "next", &[&pair.tip]);
    let (offered, objects, _) = pull(&pair);
    assert!(offered.contains(&pair.tip));
    assert_eq!(objects, 3);
}

/// Commits that no ref leads to are not offered: objects that they need may be missing.
#[test]
fn what_packed_refs_says_about_a_tag_is_not_taken_on_trust() {
    let pair = Pair::in_step();
    pair.upstream.tag_annotated("v1", &pair.root);
    copy(&pair.upstream, &pair.destination);
    pair.destination.git(&["pack-refs", "--all"]);
    let between = grow(&pair.upstream, "main", &[&pair.tip]);
    let debris = grow(&pair.upstream, "main", &[&between]);
    let content = pair.upstream.git(&["cat-file", "commit", &debris]) + "\n";
    let write = ["hash-object", "-w", "-t", "commit", "--stdin"];
    let written = pair.destination.git_with_input(&write, content.as_bytes());
    assert_eq!(written, debris);
    let path = pair.destination.path.join("packed-refs");
    let packed = std::fs::read_to_string(&path).unwrap();
    let wrong = packed.replace(&format!("^{}", pair.root), &format!("^{debris}"));
    assert_ne!(wrong, packed);
    std::fs::write(&path, wrong).unwrap();
    let (offered, _, fate) = pull(&pair);
    assert_eq!(fate, moved(&pair.tip, &debris));
    assert!(offered.contains(&pair.root));
}
