//! A remote that is overloaded, or a gateway in front of it: HTTP 5xx and 429, whatever the size of the
//! push.

use crate::support::pull::{asked, created, grow, reason_in};
use crate::support::push::{LOOKED_AGAIN, Pair, is_push};
use crate::support::{Answer, RequestHead, wire};
use refsync::{Error, ErrorKind, Outcome, Reason, SyncOptions, SyncRunStats};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

const BYSTANDER: &str = "refs/heads/bystander";
const TOPIC: &str = "refs/heads/topic";
const WAIT: Option<Duration> = Some(Duration::from_secs(7));
const STATUSES: [(u16, ErrorKind); 5] = [
    (429, ErrorKind::RateLimited),
    (500, ErrorKind::ServerError),
    (502, ErrorKind::ServerError),
    (503, ErrorKind::ServerError),
    (504, ErrorKind::ServerError),
];

fn asks_to_wait(code: u16) -> Answer {
    Answer::Status {
        code,
        headers: vec![("Retry-After".into(), "7".into())],
        body: Vec::new(),
    }
}

fn is_post(head: &RequestHead) -> bool {
    head.method == "POST"
}

/// More than is held in memory, so that the remote is asked first whether it would take it.
fn with_much_to_push() -> Pair {
    let pair = Pair::in_step();
    let noise = wire::noise(1_500_000);
    pair.source
        .commit("large", &[&pair.tip], "large\n", &[("noise", &noise)], 1);
    pair
}

#[track_caller]
fn assert_retryable(err: &Error, kind: ErrorKind) -> &SyncRunStats {
    assert_eq!(err.kind(), kind, "{err:?}");
    assert!(err.is_retryable());
    assert_eq!(err.retry_after(), WAIT);
    let stats = err.stats().expect("what the run did");
    let reason = reason_in(stats, BYSTANDER);
    assert!(matches!(reason, Reason::Unconfirmed { .. }), "{reason}");
    assert_eq!(stats.count(Outcome::is_updated), 0);
    stats
}

#[test]
fn where_nothing_moved_the_run_has_failed_and_may_be_repeated() {
    type Case = (
        fn() -> Pair,
        fn(&RequestHead) -> bool,
        &'static [&'static str],
    );
    let cases: [Case; 3] = [
        (Pair::in_step, is_push, LOOKED_AGAIN),
        (
            with_much_to_push,
            is_push,
            &["info/refs", "probe", "push", "info/refs"],
        ),
        // Nothing was sent yet, so there is nothing to look at again.
        (with_much_to_push, is_post, &["info/refs", "probe"]),
    ];
    for (make, is_refused, expected) in cases {
        let pair = make();
        let files = pair.remote.files();
        for (code, kind) in STATUSES {
            pair.script(move |head| is_refused(head).then(|| asks_to_wait(code)));
            let err = pair.try_push(&SyncOptions::default());
            let err = err.expect_err("a remote in trouble");
            let stats = assert_retryable(&err, kind);
            assert_eq!(asked(&pair.server.requests()), expected, "{code}");
            assert_eq!(stats.traffic.requests, expected.len() as u64);
        }
        assert_eq!(pair.remote.files(), files);
        pair.script(|_| None);
        assert_eq!(pair.push().fate_of(BYSTANDER), created(&pair.root));
    }
}

#[test]
fn where_some_refs_moved_the_run_has_not_failed_and_says_when_to_go_on() {
    for (code, _) in STATUSES {
        let pair = Pair::in_step();
        grow(&pair.source, TOPIC, &[&pair.tip]);
        let (remote, root) = (pair.remote.clone(), pair.root.clone());
        pair.on_push(move |_| {
            remote.set_ref(BYSTANDER, &root);
            Some(asks_to_wait(code))
        });
        let pushed = pair.push();
        assert_eq!(pushed.fate_of(BYSTANDER), created(&pair.root));
        let reason = pushed.reason_of(TOPIC);
        assert!(matches!(reason, Reason::Unconfirmed { .. }), "{reason}");
        assert_eq!(pushed.stats.retry_after, WAIT);
        assert_eq!(pushed.asked, LOOKED_AGAIN);
    }
}

#[test]
fn at_a_repeated_push() {
    type Fails = fn(usize) -> bool;
    let first_one_moves: Fails = |number| number == 2;
    let none_moves: Fails = |number| number == 1;
    let cases = [(first_one_moves, true), (none_moves, false)];
    for (fails, some_moved) in cases {
        let pair = Pair::in_step();
        pair.branches("many", 3);
        pair.hook("pre-receive", "grep -q many-02 && exit 1; exit 0");
        let pushes = AtomicUsize::new(0);
        pair.on_push(move |_| {
            let number = pushes.fetch_add(1, Ordering::SeqCst);
            fails(number).then(|| asks_to_wait(429))
        });
        match pair.try_push(&SyncOptions::default()) {
            Ok(stats) => {
                assert!(some_moved);
                assert!(stats.count(Outcome::is_updated) > 0);
                assert_eq!(stats.retry_after, WAIT);
            }
            Err(err) => {
                assert!(!some_moved, "{err:?}");
                assert_retryable(&err, ErrorKind::RateLimited);
            }
        }
    }
}

#[test]
fn where_the_refs_cannot_be_listed_again_either() {
    let pair = Pair::in_step();
    let listings = AtomicUsize::new(0);
    pair.script(move |head| {
        if is_push(head) {
            return Some(asks_to_wait(503));
        }
        let is_first = listings.fetch_add(1, Ordering::SeqCst) == 0;
        (!is_first).then(|| Answer::status(404))
    });
    let err = pair.try_push(&SyncOptions::default());
    let err = err.expect_err("a remote in trouble");
    assert_retryable(&err, ErrorKind::ServerError);
}

#[test]
fn at_the_listing() {
    let pair = Pair::in_step();
    for (code, kind) in STATUSES {
        pair.script(move |_| Some(asks_to_wait(code)));
        let err = pair.try_push(&SyncOptions::default());
        let err = err.expect_err("a remote in trouble");
        assert_eq!((err.kind(), err.retry_after()), (kind, WAIT));
        assert!(err.stats().is_none(), "nothing was begun");
    }
}
