//! Pushes whose answer is lost on the way, after they took effect.

use crate::support::Answer;
use crate::support::git::Repo;
use crate::support::pull::{
    asked, assert_matches_git, created, fate_in, grow, reason_in, rejected,
};
use crate::support::push::{LOOKED_AGAIN, PUSHED, Pair, is_push};
use refsync::{ErrorKind, Reason, SyncOptions, SyncRunStats};
use std::fs;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

const BYSTANDER: &str = "refs/heads/bystander";
const DECLINED: &str = "refs/heads/declined";
const TAKEN: &str = "refs/heads/taken";

/// A remote that takes two of three new branches, and how long its answer is.
struct Remote {
    pair: Pair,
    taken: String,
    declined: String,
    answer: u64,
}

impl Remote {
    fn new() -> Self {
        let pair = Pair::in_step();
        pair.hook("update", "test \"$1\" != refs/heads/declined");
        let taken = grow(&pair.source, TAKEN, &[&pair.tip]);
        let declined = grow(&pair.source, DECLINED, &[&pair.tip]);
        let pushed = pair.push();
        assert_eq!(pushed.fate_of(TAKEN), created(&taken));
        let text = "hook declined".to_owned();
        assert_eq!(pushed.reason_of(DECLINED), Reason::Remote { text });
        let answer = pair.server.requests()[1].response_bytes;
        let remote = Remote {
            pair,
            taken,
            declined,
            answer,
        };
        remote.forget();
        remote
    }

    /// Both branches that the remote took, as if it had not.
    fn forget(&self) {
        for name in [BYSTANDER, TAKEN] {
            fs::remove_file(self.pair.remote.path.join(name)).expect("a loose ref");
        }
    }
}

#[test]
fn at_every_byte_of_the_answer_the_outcomes_are_what_the_remote_has() {
    let remote = Remote::new();
    let pair = &remote.pair;
    let (mut told, mut untold) = (0, 0);
    for length in 0..=remote.answer {
        pair.on_push(move |_| Some(Answer::TruncateAfter(length)));
        let pushed = pair.push_to_any(&SyncOptions::default());
        assert_matches_git(&pushed.stats, &pair.remote);
        assert_eq!(pushed.fate_of(TAKEN), created(&remote.taken), "{length}");
        assert_eq!(pushed.fate_of(BYSTANDER), created(&pair.root), "{length}");
        let reason = pushed.reason_of(DECLINED);
        let fate = rejected(None, &remote.declined, reason.clone());
        assert_eq!(pushed.fate_of(DECLINED), fate, "{length}");
        match reason {
            Reason::Remote { text } => {
                assert_eq!(text, "hook declined");
                told += 1;
            }
            Reason::Unconfirmed { .. } => {
                assert_eq!(pushed.asked, LOOKED_AGAIN);
                untold += 1;
            }
            other => panic!("{length}: {other}"),
        }
        assert!(
            [PUSHED, LOOKED_AGAIN]
                .iter()
                .any(|asked| pushed.asked == **asked)
        );
        remote.forget();
    }
    assert!(told > 0 && untold > 50, "{told} {untold}");
    pair.remote.fsck();
}

/// Lets the first listing through and no other one.
fn lose(remote: &Remote, length: u64) {
    let listings = AtomicUsize::new(0);
    remote.pair.script(move |head| {
        if is_push(head) {
            return Some(Answer::TruncateAfter(length));
        }
        let first = listings.fetch_add(1, Ordering::SeqCst) == 0;
        (!first).then(|| Answer::status(500))
    });
}

fn unconfirmed(stats: &SyncRunStats) -> Vec<String> {
    let is_uncertain = |reason: &Reason| matches!(reason, Reason::Unconfirmed { .. });
    let found = stats.refs.iter();
    found
        .filter(|found| found.outcome.rejection().is_some_and(is_uncertain))
        .map(|found| found.name.to_string())
        .collect()
}

#[test]
fn when_the_refs_cannot_be_listed_again_the_error_says_which_are_uncertain() {
    let remote = Remote::new();
    let pair = &remote.pair;
    let mut uncertain = Vec::new();
    for length in (0..=remote.answer).step_by(3) {
        lose(&remote, length);
        match pair.try_push(&SyncOptions::default()) {
            Ok(stats) => {
                assert_matches_git(&stats, &pair.remote);
                uncertain.push(0);
            }
            Err(err) => {
                assert_eq!(err.kind(), ErrorKind::ServerError, "{err:?}");
                assert!(err.is_retryable());
                let stats = err.stats().expect("what the run did");
                assert_eq!(stats.refs.len(), 4);
                let unknown = unconfirmed(stats);
                assert!(!unknown.is_empty());
                assert!(
                    err.to_string().contains(&unknown.len().to_string()),
                    "{err}"
                );
                assert_known_refs_match(stats, &unknown, &remote);
                assert_eq!(stats.traffic.requests, 3);
                assert_eq!(pair.server.requests().len(), 3);
                uncertain.push(unknown.len());
            }
        }
        remote.forget();
    }
    assert_eq!((uncertain[0], uncertain.last()), (3, Some(&0)));
    assert!(uncertain.is_sorted_by(|a, b| a >= b), "{uncertain:?}");
}

/// Refs that were confirmed before the answer broke off are not uncertain.
#[track_caller]
fn assert_known_refs_match(stats: &SyncRunStats, unknown: &[String], remote: &Remote) {
    let known = stats.refs.iter();
    let known = known.filter(|found| !unknown.contains(&found.name.to_string()));
    for found in known {
        let name = found.name.to_string();
        match &*name {
            BYSTANDER => assert_eq!(fate_in(stats, &name), created(&remote.pair.root)),
            TAKEN => assert_eq!(fate_in(stats, &name), created(&remote.taken)),
            DECLINED => {
                let text = "hook declined".to_owned();
                assert_eq!(reason_in(stats, &name), Reason::Remote { text });
            }
            _ => assert!(found.outcome.is_unchanged()),
        }
    }
}

/// A connection that was kept may be gone by the time of the push, and it may be gone only after the
/// push took effect: then the second one is refused, and what is there decides.
#[test]
fn a_push_that_is_sent_twice() {
    for acts_first in [false, true] {
        let pair = Pair::in_step();
        let (remote, root) = (pair.remote.clone(), pair.root.clone());
        let is_second = AtomicBool::new(false);
        pair.on_push(move |_| {
            if is_second.swap(true, Ordering::SeqCst) {
                return None;
            }
            if acts_first {
                remote.set_ref(BYSTANDER, &root);
            }
            Some(Answer::Raw(Vec::new()))
        });
        let pushed = pair.push();
        assert_eq!(pushed.fate_of(BYSTANDER), created(&pair.root));
        let asked: &[&str] = if acts_first {
            &["info/refs", "push", "push", "info/refs"]
        } else {
            &["info/refs", "push", "push"]
        };
        assert_eq!(pushed.asked, asked);
    }
}

/// Nothing but the bystander to push; a gateway fails while the remote does `act`.
fn with_bad_gateway(code: u16, act: impl Fn(&Repo) + Send + Sync + 'static) -> Pair {
    let pair = Pair::in_step();
    let remote = pair.remote.clone();
    pair.on_push(move |_| {
        act(&remote);
        Some(Answer::status(code))
    });
    pair
}

#[test]
fn a_gateway_that_fails_while_the_push_takes_effect() {
    for code in [500, 502, 503, 504] {
        let pair = with_bad_gateway(code, |remote| {
            let root = remote.git(&["rev-parse", "main^"]);
            remote.set_ref(BYSTANDER, &root);
        });
        let pushed = pair.push();
        assert_eq!(pushed.fate_of(BYSTANDER), created(&pair.root));
        assert_eq!(pushed.asked, LOOKED_AGAIN);
    }
}

#[test]
fn a_gateway_that_fails_before_the_push_takes_effect() {
    let pair = with_bad_gateway(502, |_| {});
    let err = pair.try_push(&SyncOptions::default());
    let err = err.expect_err("a gateway that fails");
    let stats = err.stats().expect("what the run did");
    let reason = reason_in(stats, BYSTANDER);
    assert!(matches!(reason, Reason::Unconfirmed { .. }), "{reason}");
    assert!(reason.to_string().contains("502"), "{reason}");
    assert_eq!(
        fate_in(stats, BYSTANDER),
        rejected(None, &pair.root, reason)
    );
    assert_eq!(asked(&pair.server.requests()), LOOKED_AGAIN);
    assert_matches_git(stats, &pair.remote);

    pair.script(|_| None);
    assert_eq!(pair.push().fate_of(BYSTANDER), created(&pair.root));
}

#[test]
fn a_gateway_that_fails_while_somebody_else_moves_the_ref() {
    let pair = with_bad_gateway(502, |remote| {
        let tip = remote.git(&["rev-parse", "main"]);
        remote.set_ref(BYSTANDER, &tip);
    });
    let pushed = pair.push_to_any(&SyncOptions::default());
    assert_eq!(pushed.reason_of(BYSTANDER), Reason::Raced);
    assert_matches_git(&pushed.stats, &pair.remote);
}

#[test]
fn a_connection_that_is_cut_before_the_answer_begins() {
    let pair = Pair::in_step();
    pair.on_push(|_| Some(Answer::Raw(Vec::new())));
    let pushed = pair.push_to_any(&SyncOptions::default());
    let reason = pushed.reason_of(BYSTANDER);
    assert!(matches!(reason, Reason::Unconfirmed { .. }), "{reason}");
    // Once more, and then a look.
    assert_eq!(pushed.asked, ["info/refs", "push", "push", "info/refs"]);
    assert_matches_git(&pushed.stats, &pair.remote);
}

#[test]
fn a_listing_that_is_cut_off_pushes_nothing() {
    let pair = Pair::in_step();
    pair.push();
    let length = pair.server.requests()[0].response_bytes;
    pair.remote.delete_ref(BYSTANDER);
    let files = pair.remote.files();
    for length in (0..length).step_by(7) {
        pair.script(move |_| Some(Answer::TruncateAfter(length)));
        let err = pair
            .try_push(&SyncOptions::default())
            .expect_err("half a list");
        assert!(err.stats().is_none());
        assert_eq!(pair.server.requests().len(), 1, "{length}");
    }
    assert_eq!(pair.remote.files(), files);
}
