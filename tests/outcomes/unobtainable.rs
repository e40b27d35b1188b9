//! Tips that the upstream lists and then doesn't hand out, or hands out with something amiss.

use crate::support::pull::{FETCHED, LISTED, Pair, Pulled, created, grow, leftovers, rejected};
use crate::support::wire;
use refsync::{Reason, SyncOptions};
use std::fs;

const GOOD: &str = "refs/heads/good";
const BAD: &str = "refs/heads/bad";
const FETCHED_TWICE: &[&str] = &["info/refs", "ls-refs", "fetch", "fetch"];

/// The new commits of two branches, both on `tip`.
fn two_branches(pair: &Pair) -> (String, String) {
    (
        grow(&pair.upstream, "good", &[&pair.tip]),
        grow(&pair.upstream, "bad", &[&pair.tip]),
    )
}

#[test]
fn a_tip_that_is_gone_when_it_is_asked_for() {
    let pair = Pair::in_step();
    let (good, bad) = two_branches(&pair);
    let upstream = pair.upstream.clone();
    pair.before_fetch(move || {
        upstream.delete_ref(BAD);
        upstream.git(&["prune", "--expire=now"]);
    });
    let pulled = pair.pull();
    assert_unavailable(&pulled, &bad);
    assert_eq!(pulled.fate_of(GOOD), created(&good));
    assert_eq!(pulled.asked, FETCHED_TWICE);
}

#[track_caller]
fn assert_unavailable(pulled: &Pulled, bad: &str) {
    let reason = pulled.reason_of(BAD);
    assert!(matches!(reason, Reason::Unavailable { .. }), "{reason}");
    assert!(reason.to_string().contains(bad), "{reason}");
    assert_eq!(pulled.fate_of(BAD), rejected(None, bad, reason));
}

#[test]
fn a_tip_that_another_ref_shares_is_unavailable_for_both() {
    let pair = Pair::in_step();
    let (_, bad) = two_branches(&pair);
    pair.upstream.set_ref("refs/tags/bad", &bad);
    let upstream = pair.upstream.clone();
    pair.before_fetch(move || {
        upstream.delete_ref(BAD);
        upstream.delete_ref("refs/tags/bad");
        upstream.git(&["prune", "--expire=now"]);
    });
    let pulled = pair.pull();
    assert_unavailable(&pulled, &bad);
    assert_eq!(pulled.reason_of("refs/tags/bad"), pulled.reason_of(BAD));
    assert_eq!(pulled.asked, FETCHED_TWICE);
}

#[test]
fn every_tip_gone_is_no_error_but_a_rejection_each() {
    let pair = Pair::in_step();
    let names: Vec<_> = (0..3).map(|n| format!("gone-{n}")).collect();
    for name in &names {
        grow(&pair.upstream, name, &[&pair.tip]);
    }
    let (upstream, gone) = (pair.upstream.clone(), names.clone());
    pair.before_fetch(move || {
        for name in &gone {
            upstream.delete_ref(&format!("refs/heads/{name}"));
        }
        upstream.git(&["prune", "--expire=now"]);
    });
    let pulled = pair.pull();
    for name in &names {
        let reason = pulled.reason_of(&format!("refs/heads/{name}"));
        assert!(matches!(reason, Reason::Unavailable { .. }), "{reason}");
    }
    assert_eq!(pulled.asked.len(), FETCHED.len() + 2);
}

/// While `bad` is among the wants, the upstream answers with a pack of `objects` and nothing else.
fn pull_with_bad_pack(pair: &Pair, bad: &str, objects: &[&str]) -> Pulled {
    let pack = pair.upstream.pack_of(objects);
    let wanted = format!("want {bad}");
    pair.on_fetch(move |head| {
        let body = String::from_utf8_lossy(&head.plain_body()).into_owned();
        body.contains(&wanted).then(|| wire::pack(&pack))
    });
    pair.pull()
}

/// The pack for `bad` and `good` has all but `at_fault`: only `good` goes through, by a second
/// request, and nothing of the first pack stays.
#[track_caller]
fn assert_incomplete(pair: &Pair, bad: &str, objects: &[&str], at_fault: &str) {
    let good = grow(&pair.upstream, "good", &[&pair.tip]);
    let good_objects = new_objects(pair, &good);
    let all: Vec<_> = objects
        .iter()
        .copied()
        .chain(good_objects.iter().map(String::as_str))
        .collect();
    let pulled = pull_with_bad_pack(pair, bad, &all);
    let reason = pulled.reason_of(BAD);
    assert!(matches!(reason, Reason::Incomplete { .. }), "{reason}");
    assert!(
        reason.to_string().contains(at_fault),
        "{reason} names {at_fault}"
    );
    assert_eq!(pulled.fate_of(BAD), rejected(None, bad, reason));
    assert_eq!(pulled.fate_of(GOOD), created(&good));
    assert_eq!(pulled.asked, FETCHED_TWICE);
    for object in objects {
        let found = pair.destination.try_git(&["cat-file", "-e", object]);
        assert!(
            !found.status.success(),
            "{object} came in with the bad pack"
        );
    }
}

/// The objects that a commit on `tip` adds to it: itself, its tree and its file.
fn new_objects(pair: &Pair, commit: &str) -> [String; 3] {
    let of = |suffix: &str| {
        pair.upstream
            .git(&["rev-parse", &format!("{commit}{suffix}")])
    };
    [of(""), of("^{tree}"), of(":file")]
}

#[test]
fn a_pack_that_lacks_a_blob() {
    let pair = Pair::in_step();
    let bad = grow(&pair.upstream, "bad", &[&pair.tip]);
    let [commit, tree, blob] = new_objects(&pair, &bad);
    assert_incomplete(&pair, &bad, &[&commit, &tree], &blob);
}

#[test]
fn a_pack_that_lacks_a_tree() {
    let pair = Pair::in_step();
    let bad = grow(&pair.upstream, "bad", &[&pair.tip]);
    let [commit, tree, blob] = new_objects(&pair, &bad);
    assert_incomplete(&pair, &bad, &[&commit, &blob], &tree);
}

#[test]
fn a_pack_that_lacks_a_parent() {
    let pair = Pair::in_step();
    let parent = grow(&pair.upstream, "bad", &[&pair.tip]);
    let bad = grow(&pair.upstream, "bad", &[&parent]);
    let [commit, tree, blob] = new_objects(&pair, &bad);
    assert_incomplete(&pair, &bad, &[&commit, &tree, &blob], &parent);
}

#[test]
fn a_pack_that_lacks_the_tip_itself() {
    let pair = Pair::in_step();
    let bad = grow(&pair.upstream, "bad", &[&pair.tip]);
    let [_, tree, blob] = new_objects(&pair, &bad);
    assert_incomplete(&pair, &bad, &[&tree, &blob], &bad);
}

#[test]
fn a_commit_whose_tree_is_none() {
    let pair = Pair::in_step();
    let blob = pair.upstream.write_object("blob", b"no tree\n");
    let ident = "A U Thor <author@example.com> 1 +0000";
    let content = format!(
        "tree {blob}\nparent {}\nauthor {ident}\ncommitter {ident}\n\nbad\n",
        pair.tip
    );
    let bad = pair.upstream.write_object("commit", content.as_bytes());
    pair.upstream.write_ref(BAD, &bad);
    assert_incomplete(&pair, &bad, &[&bad, &blob], &blob);
}

#[test]
fn a_parent_that_is_a_tag_of_the_destination() {
    let pair = Pair::in_step();
    let upstream = &pair.upstream;
    upstream.git(&["tag", "-a", "-m", "a tag", "v1", &pair.tip]);
    let tag = upstream.git(&["rev-parse", "v1"]);
    assert_eq!(pair.pull().fate_of("refs/tags/v1"), created(&tag));
    let tree = upstream.git(&["rev-parse", &format!("{}^{{tree}}", pair.tip)]);
    let ident = "A U Thor <author@example.com> 1 +0000";
    let content = format!("tree {tree}\nparent {tag}\nauthor {ident}\ncommitter {ident}\n\nbad\n");
    let bad = upstream.write_object("commit", content.as_bytes());
    upstream.write_ref(BAD, &bad);
    assert_incomplete(&pair, &bad, &[&bad], &tag);
}

#[test]
fn an_entry_that_is_not_what_its_mode_says() {
    let pair = Pair::in_step();
    let inner = grow(&pair.upstream, "inner", &[]);
    let inner_tree = pair
        .upstream
        .git(&["rev-parse", &format!("{inner}^{{tree}}")]);
    let inner_blob = pair.upstream.git(&["rev-parse", &format!("{inner}:file")]);
    let raw = raw_id(&inner_tree);
    let tree = pair
        .upstream
        .write_object("tree", &[b"100644 file\0", &raw[..]].concat());
    let bad = pair
        .upstream
        .git(&["commit-tree", &tree, "-p", &pair.tip, "-m", "bad"]);
    pair.upstream.write_ref(BAD, &bad);
    pair.upstream.delete_ref("refs/heads/inner");
    assert_incomplete(
        &pair,
        &bad,
        &[&bad, &tree, &inner_tree, &inner_blob],
        &inner_tree,
    );
}

fn raw_id(hex: &str) -> Vec<u8> {
    let id = refsync::ObjectId::from_hex(hex.as_bytes()).unwrap();
    id.as_bytes().to_vec()
}

#[test]
fn a_bad_tip_alone_leaves_the_destination_as_it_was() {
    let pair = Pair::in_step();
    pair.upstream.delete_ref("refs/heads/bystander");
    let bad = grow(&pair.upstream, "bad", &[&pair.tip]);
    let [commit, tree, _] = new_objects(&pair, &bad);
    let files = pair.destination.files();
    let pulled = pull_with_bad_pack(&pair, &bad, &[&commit, &tree]);
    let reason = pulled.reason_of(BAD);
    assert!(matches!(reason, Reason::Incomplete { .. }), "{reason}");
    assert_eq!(pair.destination.files(), files);
    assert_eq!(pulled.asked, FETCHED);
}

#[test]
fn what_a_bad_pack_held_is_asked_for_again() {
    let pair = Pair::in_step();
    let bad = grow(&pair.upstream, "bad", &[&pair.tip]);
    let [commit, tree, _] = new_objects(&pair, &bad);
    pull_with_bad_pack(&pair, &bad, &[&commit, &tree]);
    pair.server.intercept(|_| None);
    let pulled = pair.pull_into_any(&SyncOptions::default());
    assert_eq!(pulled.fate_of(BAD), created(&bad));
    assert_eq!(pulled.stats.traffic.objects, 3);
    pair.destination.fsck();
    assert_eq!(leftovers(&pair.destination), [""; 0]);
}

/// Not while the destination may be what lacks it: it can be mended, and its refs say that it has it all.
#[test]
fn what_the_destinations_own_refs_need_is_not_held_against_the_source() {
    for kind in ["blob", "tree", "commit"] {
        let pair = Pair::in_step();
        let upstream = &pair.upstream;
        let of_root = |suffix| upstream.git(&["rev-parse", &format!("{}{suffix}", pair.root)]);
        // What `main` once had.
        let lost = match kind {
            "blob" => of_root(":file"),
            "tree" => of_root("^{tree}"),
            _ => of_root(""),
        };
        let bad = match kind {
            "commit" => grow(upstream, "bad", &[&pair.root]),
            _ => {
                let mode = if kind == "tree" { "040000" } else { "100644" };
                let entry = format!("{mode} {kind} {lost}\tmoved\n");
                let tree = upstream.git_with_input(&["mktree"], entry.as_bytes());
                let bad = upstream.git(&["commit-tree", &tree, "-p", &pair.tip, "-m", "bad"]);
                upstream.set_ref(BAD, &bad);
                bad
            }
        };
        // With a bitmap git leaves out all that the destination says it has.
        upstream.git(&["repack", "-adbq"]);
        let file = pair.destination.object_file(&lost);
        let sound = fs::read(&file).unwrap();
        fs::remove_file(&file).unwrap();
        let mut options = SyncOptions::default();
        for attempt in 0..2 {
            let pulled = pair.pull_into_any(&options);
            let reason = pulled.reason_of(BAD);
            assert!(matches!(reason, Reason::Incomplete { .. }), "{reason}");
            assert!(reason.to_string().contains(&lost), "{reason}");
            assert!(pulled.asked.contains(&"fetch".to_owned()), "{attempt}");
            options.previous = Some(pulled.stats);
        }
        fs::write(&file, &sound).unwrap();
        assert_eq!(pair.pull_with(&options).fate_of(BAD), created(&bad));
    }
}

#[test]
fn what_the_source_lacks_it_is_not_asked_for_again() {
    let pair = Pair::in_step();
    let bad = grow(&pair.upstream, "bad", &[&pair.tip]);
    let [commit, tree, _] = new_objects(&pair, &bad);
    let pulled = pull_with_bad_pack(&pair, &bad, &[&commit, &tree]);
    let fate = pulled.fate_of(BAD);
    let mut options = SyncOptions::default();
    options.previous = Some(pulled.stats);
    for _ in 0..2 {
        let again = pair.pull_with(&options);
        assert_eq!(again.fate_of(BAD), fate);
        assert_eq!(again.asked, LISTED);
        options.previous = Some(again.stats);
    }
}
