//! Narrow globs, and servers that are known: what a remote shows to those who fetch is enough where
//! that leaves nothing to do, and decides about nothing else.

use crate::support::pull::{asked, created, fate_in, grow, moved, rejected, unchanged};
use crate::support::push::{LISTED, PUSHED, Pair};
use crate::support::{Answer, GitServer};
use refsync::{Outcome, Reason, RefGlobs, SyncOptions};

const RELEASE: &str = "refs/heads/release/1";
/// The requests of a run for which the listing for a fetch was enough.
const LISTED_FOR_FETCH: &[&str] = &["info/refs", "ls-refs"];
/// Those of a run that pushed after it.
const LISTED_FOR_FETCH_AND_PUSHED: &[&str] = &["info/refs", "ls-refs", "info/refs", "push"];

/// Both ends have `release/1` at `root`.
fn released() -> Pair {
    let pair = Pair::in_step();
    for end in [&pair.source, &pair.remote] {
        end.set_ref(RELEASE, &pair.root);
    }
    pair
}

fn releases() -> SyncOptions {
    let mut options = SyncOptions::default();
    options.globs = RefGlobs::new(Some("release/*"), None).unwrap();
    options
}

#[test]
fn nothing_to_do_costs_no_more_the_more_refs_there_are() {
    let pair = released();
    let name = |number| format!("refs/heads/topic/{number}");
    let topics: Vec<_> = (0..2000).map(name).collect();
    let topics = topics.iter().map(|name| (&**name, &*pair.tip));
    pair.remote.set_refs(topics);
    let pushed = pair.push_to_any(&releases());
    assert_eq!(pushed.fate_of(RELEASE), unchanged(&pair.root));
    assert_eq!(pushed.stats.refs.len(), 1);
    assert_eq!(pushed.asked, LISTED_FOR_FETCH);
    let traffic = pushed.stats.traffic;
    assert!(traffic.bytes_received < 1500, "{traffic:?}");

    let all = pair.push_to_any(&SyncOptions::default());
    assert_eq!(all.fate_of(RELEASE), unchanged(&pair.root));
    assert_eq!(all.asked, PUSHED);
}

#[test]
fn what_is_open_is_listed_and_pushed() {
    let pair = released();
    pair.source.set_ref(RELEASE, &pair.tip);
    let new = grow(&pair.source, "release/2", &[&pair.tip]);
    let mut options = releases();
    options.dry_run = true;
    let dry = pair.push_to_any(&options);
    assert_eq!(dry.asked, [LISTED_FOR_FETCH, LISTED].concat());
    let pushed = pair.push_with(&releases());
    assert_eq!(pushed.stats.refs, dry.stats.refs);
    assert_eq!(pushed.fate_of(RELEASE), moved(&pair.root, &pair.tip));
    assert_eq!(pushed.fate_of("refs/heads/release/2"), created(&new));
    assert_eq!(pushed.asked, LISTED_FOR_FETCH_AND_PUSHED);
}

#[test]
fn who_expects_changes_lists_at_once() {
    let pair = released();
    pair.source.set_ref(RELEASE, &pair.tip);
    let mut options = releases();
    options.expects_changes = true;
    let pushed = pair.push_with(&options);
    assert_eq!(pushed.fate_of(RELEASE), moved(&pair.root, &pair.tip));
    assert_eq!(pushed.asked, PUSHED);
    let again = pair.push_with(&options);
    assert_eq!(again.fate_of(RELEASE), unchanged(&pair.tip));
    assert_eq!(again.asked, LISTED);
}

#[test]
fn a_remote_that_is_known_shows_all_refs_to_those_who_fetch() {
    let pair = released();
    pair.push();
    let remote = pair.destination();
    let push = |options: &SyncOptions| {
        let stats = pair.try_push_to(&remote, options).unwrap();
        let asked = asked(&pair.server.requests());
        (stats, asked)
    };
    let all = SyncOptions::default();
    assert_eq!(push(&all).1, LISTED, "nothing is known yet");
    assert_eq!(push(&releases()).1, LISTED_FOR_FETCH);
    let (in_step, asked) = push(&all);
    assert_eq!(in_step.count(Outcome::is_unchanged), 3);
    assert_eq!(asked, ["ls-refs"]);
    pair.source.set_ref(RELEASE, &pair.tip);
    let (pushed, asked) = push(&all);
    assert_eq!(fate_in(&pushed, RELEASE), moved(&pair.root, &pair.tip));
    assert_eq!(asked, ["ls-refs", "info/refs", "push"]);
}

#[test]
fn a_known_rejection_is_no_reason_to_list() {
    let pair = released();
    pair.remote.set_ref(RELEASE, &pair.tip);
    let ahead = rejected(&*pair.tip, &pair.root, Reason::DestinationAhead);
    let mut options = releases();
    let first = pair.push_with(&options);
    assert_eq!(first.fate_of(RELEASE), ahead);
    assert_eq!(first.asked, [LISTED_FOR_FETCH, LISTED].concat());
    options.previous = Some(first.stats);
    let again = pair.push_with(&options);
    assert_eq!(again.fate_of(RELEASE), ahead);
    assert_eq!(again.asked, LISTED_FOR_FETCH);
}

#[test]
fn what_is_hidden_from_those_who_fetch_is_there_for_those_who_push() {
    let pair = released();
    pair.source.set_ref(RELEASE, &pair.tip);
    pair.set("uploadpack.hideRefs", RELEASE);
    let pushed = pair.push_with(&releases());
    assert_eq!(pushed.fate_of(RELEASE), moved(&pair.root, &pair.tip));
    assert_eq!(pushed.asked, LISTED_FOR_FETCH_AND_PUSHED);
    let again = pair.push_with(&releases());
    assert_eq!(again.fate_of(RELEASE), unchanged(&pair.tip));
    assert_eq!(again.asked, [LISTED_FOR_FETCH, LISTED].concat());
}

#[test]
fn what_is_hidden_from_those_who_push_can_not_move() {
    let pair = released();
    pair.set("receive.hideRefs", RELEASE);
    let in_step = pair.push_with(&releases());
    assert_eq!(in_step.fate_of(RELEASE), unchanged(&pair.root));
    assert_eq!(in_step.asked, LISTED_FOR_FETCH);
    pair.source.set_ref(RELEASE, &pair.tip);
    let pushed = pair.push_to_any(&releases());
    let text = "deny updating a hidden ref".to_owned();
    let fate = rejected(None, &pair.tip, Reason::Remote { text });
    assert_eq!(pushed.fate_of(RELEASE), fate);
    assert_eq!(pushed.asked, LISTED_FOR_FETCH_AND_PUSHED);
}

#[test]
fn a_remote_that_gives_nothing_takes_a_push() {
    for status in [401, 403, 404, 500] {
        let pair = released();
        pair.script(move |head| {
            let is_fetch = head.path.contains("upload-pack") || head.query.contains("upload-pack");
            is_fetch.then(|| Answer::status(status))
        });
        let in_step = pair.push_with(&releases());
        assert_eq!(in_step.fate_of(RELEASE), unchanged(&pair.root));
        assert_eq!(in_step.asked, [LISTED, LISTED].concat(), "{status}");
        pair.source.set_ref(RELEASE, &pair.tip);
        let pushed = pair.push_with(&releases());
        assert_eq!(pushed.fate_of(RELEASE), moved(&pair.root, &pair.tip));
        assert_eq!(pushed.asked, [LISTED, PUSHED].concat(), "{status}");
    }
}

#[test]
fn one_without_protocol_v2_lists_everything_either_way() {
    let mut pair = released();
    let server = GitServer::builder(pair.sandbox.path()).receive_pack(true);
    pair.server = server.max_protocol(0).start();
    for end in [&pair.source, &pair.remote] {
        end.tag_annotated("v1", &pair.root);
    }
    let mut options = releases();
    options.globs = RefGlobs::new(Some("release/*"), Some("v1*")).unwrap();
    let in_step = pair.push_with(&options);
    assert_eq!(in_step.fate_of(RELEASE), unchanged(&pair.root));
    assert_eq!(in_step.asked, LISTED);
    pair.source.set_ref(RELEASE, &pair.tip);
    pair.script(|_| None);
    let pushed = pair.push_with(&options);
    assert_eq!(pushed.fate_of(RELEASE), moved(&pair.root, &pair.tip));
    assert_eq!(pushed.asked, [LISTED, PUSHED].concat());
}

/// As with all refs, where only receive-pack is asked.
#[test]
fn a_symbolic_ref_at_the_remote_is_taken_for_a_plain_one() {
    let pair = released();
    let alias = "refs/heads/release/latest";
    pair.remote.git(&["symbolic-ref", alias, RELEASE]);
    pair.source.set_ref(alias, &pair.root);
    let pushed = pair.push_with(&releases());
    assert_eq!(pushed.fate_of(alias), unchanged(&pair.root));
    assert_eq!(pushed.asked, LISTED_FOR_FETCH);
    let all = pair.push();
    assert_eq!(all.fate_of(alias), unchanged(&pair.root));
}

#[test]
fn a_branch_that_is_a_directory_here_shows_to_those_who_fetch() {
    let pair = Pair::in_step();
    pair.source.set_ref(RELEASE, &pair.root);
    pair.remote.set_ref("refs/heads/release", &pair.root);
    let pushed = pair.push_with(&releases());
    let with = "refs/heads/release".into();
    let fate = rejected(None, &pair.root, Reason::NameConflict { with });
    assert_eq!(pushed.fate_of(RELEASE), fate);
    assert_eq!(pushed.asked, LISTED_FOR_FETCH);
}
