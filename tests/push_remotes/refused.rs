//! A remote that says no to the whole of it: an error of the right kind, no ref moved, and no
//! credential in what is said about it.

use crate::support::push::{Pair, is_push};
use crate::support::{Answer, GitServer, RequestHead, remote, sync};
use refsync::{
    Credentials, Error, ErrorKind, LocalStore, NetworkPolicy, Reason, SmartHttp, SyncOptions,
};
use std::sync::atomic::{AtomicBool, Ordering};

const SECRET: &str = "canary-in-the-mine";
/// `user:` and the secret, as they go over the wire.
const ENCODED: &str = "dXNlcjpjYW5hcnktaW4tdGhlLW1pbmU";

const STATUSES: &[(u16, ErrorKind)] = &[
    (401, ErrorKind::Authentication),
    (403, ErrorKind::PermissionDenied),
    (404, ErrorKind::NotFound),
    (413, ErrorKind::Remote),
    (302, ErrorKind::Redirected),
];

fn is_probe(head: &RequestHead) -> bool {
    head.method == "POST" && !is_push(head)
}

/// Everything that can be printed about an error.
fn texts(err: &Error) -> String {
    let mut text = format!("{err} {err:?} {err:#?}");
    let mut cause = std::error::Error::source(err);
    while let Some(err) = cause {
        text += &format!(" {err} {err:?}");
        cause = err.source();
    }
    text
}

/// The requests that `is_refused` picks get each of the statuses; `asked` is how far the run gets.
#[track_caller]
fn refuses(pair: &Pair, is_refused: fn(&RequestHead) -> bool, asked: &[&str]) {
    let destination = pair
        .destination()
        .with_credentials(Credentials::username_password("user", SECRET));
    let files = pair.remote.files();
    for (code, kind) in STATUSES {
        pair.script(move |head| is_refused(head).then(|| Answer::status(*code)));
        let err = pair
            .try_push_to(&destination, &SyncOptions::default())
            .expect_err("a refusal");
        assert_eq!(err.kind(), *kind, "{code}: {err:?}");
        assert!(err.stats().is_none(), "{code}: nothing is uncertain");
        let text = texts(&err);
        assert!(text.contains(&code.to_string()), "{text}");
        assert!(!text.contains(SECRET) && !text.contains(ENCODED), "{text}");
        let requests = pair.server.requests();
        assert_eq!(crate::support::pull::asked(&requests), asked, "{code}");
        assert!(requests.iter().all(|request| request.authorization));
    }
    assert_eq!(pair.remote.files(), files);
    pair.script(|_| None);
    let stats = pair.try_push_to(&destination, &SyncOptions::default());
    assert_eq!(
        stats.expect("a push").count(refsync::Outcome::is_rejected),
        0
    );
    assert_eq!(
        pair.remote.for_each_ref(),
        pair.source.for_each_ref(),
        "the same end works again"
    );
}

#[test]
fn at_the_listing() {
    refuses(&Pair::in_step(), |_| true, &["info/refs"]);
}

#[test]
fn at_the_push() {
    refuses(&Pair::in_step(), is_push, &["info/refs", "push"]);
}

/// More than is held in memory, so that the remote is asked first whether it would take it.
fn with_much_to_push() -> Pair {
    let pair = Pair::in_step();
    let noise = crate::support::wire::noise(1_500_000);
    pair.source
        .commit("large", &[&pair.tip], "large\n", &[("noise", &noise)], 1);
    pair
}

#[test]
fn at_the_question_whether_it_would_take_a_large_push() {
    refuses(&with_much_to_push(), is_probe, &["info/refs", "probe"]);
}

#[test]
fn at_a_large_push() {
    let asked = ["info/refs", "probe", "push"];
    refuses(&with_much_to_push(), is_push, &asked);
}

/// The error that comes with stats says no more about credentials than any other one.
#[test]
fn after_a_push_whose_answer_was_lost() {
    let pair = Pair::in_step();
    let destination = pair
        .destination()
        .with_credentials(Credentials::username_password("user", SECRET));
    let pushed = AtomicBool::new(false);
    pair.script(move |head| {
        if is_push(head) {
            pushed.store(true, Ordering::SeqCst);
            return Some(Answer::TruncateAfter(0));
        }
        let lost = pushed.load(Ordering::SeqCst);
        lost.then(|| Answer::status(401))
    });
    let err = pair
        .try_push_to(&destination, &SyncOptions::default())
        .expect_err("a refusal");
    assert_eq!(err.kind(), ErrorKind::Authentication, "{err:?}");
    let stats = err.stats().expect("what the run did");
    let bystander = stats.find("refs/heads/bystander").unwrap();
    let reason = bystander.outcome.rejection();
    assert!(
        matches!(reason, Some(Reason::Unconfirmed { .. })),
        "{bystander:?}"
    );
    let text = texts(&err);
    assert!(!text.contains(SECRET) && !text.contains(ENCODED), "{text}");
    assert_eq!(pair.server.requests().len(), 3);
}

#[test]
fn a_large_push_goes_through() {
    let pair = with_much_to_push();
    let pushed = pair.push();
    assert_eq!(pushed.asked, ["info/refs", "probe", "push"]);
    assert_eq!(pushed.stats.traffic.objects, 3);
    assert!(pushed.stats.traffic.bytes_sent > 1024 * 1024);
    assert_eq!(pair.remote.for_each_ref(), pair.source.for_each_ref());
}

#[test]
fn a_server_that_fails_before_it_has_seen_the_push_is_an_error() {
    let pair = with_much_to_push();
    let files = pair.remote.files();
    pair.script(|head| is_probe(head).then(|| Answer::status(503)));
    let err = pair.try_push(&SyncOptions::default()).expect_err("a 503");
    assert_eq!(err.kind(), ErrorKind::ServerError);
    assert!(err.is_retryable());
    assert_eq!(pair.server.requests().len(), 2);
    assert_eq!(pair.remote.files(), files);
}

#[test]
fn a_server_that_takes_no_pushes() {
    let pair = Pair::in_step();
    let server = GitServer::builder(pair.sandbox.path()).start();
    let read_only = remote(&server.url("remote.git"));
    let local = LocalStore::open(&pair.source.path).unwrap();
    let err = sync(&local, &read_only, &SyncOptions::default()).expect_err("a 403");
    assert_eq!(err.kind(), ErrorKind::PermissionDenied, "{err:?}");
    assert_eq!(server.requests().len(), 1);

    let missing = remote(&server.url("none.git"));
    let err = sync(&local, &missing, &SyncOptions::default()).expect_err("a 404");
    assert_eq!(err.kind(), ErrorKind::NotFound, "{err:?}");
}

#[test]
fn credentials_are_asked_for_and_checked() {
    let pair = Pair::in_step();
    let server = GitServer::builder(pair.sandbox.path()).receive_pack(true);
    let server = server.auth("user", SECRET).start();
    let local = LocalStore::open(&pair.source.path).unwrap();
    let anonymous = || {
        let remote = SmartHttp::new(&server.url("remote.git")).unwrap();
        remote.with_network_policy(NetworkPolicy::any())
    };
    let wrong = || Credentials::username_password("user", "canary-too");
    for remote in [anonymous(), anonymous().with_credentials(wrong())] {
        let err = sync(&local, &remote, &SyncOptions::default()).expect_err("a 401");
        assert_eq!(err.kind(), ErrorKind::Authentication, "{err:?}");
        assert!(!texts(&err).contains("canary"), "{}", texts(&err));
    }
    let right = Credentials::username_password("user", SECRET);
    let stats = sync(
        &local,
        &anonymous().with_credentials(right),
        &SyncOptions::default(),
    );
    assert_eq!(stats.unwrap().count(refsync::Outcome::is_updated), 1);
    assert_eq!(pair.remote.for_each_ref(), pair.source.for_each_ref());
}
