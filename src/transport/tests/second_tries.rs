//! Requests that are sent once more, and such as aren't.

use std::io::{self, Cursor};

use super::{
    uploads::{MIB, bytes, bytes_then, call, done, upload},
    *,
};
use crate::{Limits, context::RunBudget};

/// Such as one that a load balancer has forgotten.
#[test]
fn a_kept_connection_that_is_gone_costs_no_run() {
    let server = Server::start([
        Step::Answer(ok("one")),
        Step::Close(Vec::new()),
        Step::Answer(ok("two")),
    ]);
    let client = client(&server.url());
    assert_eq!(get(&client, &server.url()).expect("an answer"), "one");
    assert_eq!(get(&client, &server.url()).expect("an answer"), "two");
    assert_eq!(server.connections(), 2);
    assert_eq!(server.requests().len(), 3);
    assert!(client.take_failure().is_none());
}

#[test]
fn it_is_gone_through_tls_as_well() {
    let (server, certificate) = Server::start_tls([
        Step::Answer(ok("one")),
        Step::Close(Vec::new()),
        Step::Answer(ok("two")),
    ]);
    let mut options = options(&server.url());
    options.extra_roots = vec![certificate];
    let client = HttpClient::new(options).expect("a client");
    assert_eq!(get(&client, &server.url()).expect("an answer"), "one");
    assert_eq!(get(&client, &server.url()).expect("an answer"), "two");
    assert_eq!(server.requests().len(), 3);
}

#[test]
fn what_is_not_tried_again() {
    let head = b"HTTP/1.1 200";
    let cases = [
        // A new connection.
        (vec![Step::Close(Vec::new()), Step::Answer(ok("late"))], 1),
        // A second time.
        (
            vec![
                Step::Answer(ok("one")),
                Step::Close(Vec::new()),
                Step::Close(Vec::new()),
                Step::Answer(ok("late")),
            ],
            3,
        ),
        // Part of an answer.
        (
            vec![
                Step::Answer(ok("one")),
                Step::Close(head.to_vec()),
                Step::Answer(ok("late")),
            ],
            2,
        ),
    ];
    for (steps, requests) in cases {
        let is_used = matches!(steps[0], Step::Answer(_));
        let server = Server::start(steps);
        let client = client(&server.url());
        if is_used {
            get(&client, &server.url()).expect("an answer");
        }
        let err = get(&client, &server.url()).expect_err("no answer");
        assert_eq!(err.kind(), ErrorKind::Network);
        assert_eq!(server.requests().len(), requests);
    }
}

/// Silence is no end: the server may be at work.
#[test]
fn a_kept_connection_that_is_silent_is_not_tried_again() {
    let silent = Step::Stall(Vec::new(), Box::new(|| {}));
    let server = Server::start([Step::Answer(ok("one")), silent, Step::Answer(ok("late"))]);
    let mut options = options(&server.url());
    options.timeouts.idle = Duration::from_millis(150);
    let client = HttpClient::new(options).expect("a client");
    get(&client, &server.url()).expect("an answer");
    let err = get(&client, &server.url()).expect_err("silence");
    assert!(err.to_string().starts_with("timed out after 150ms"));
    assert_eq!(server.requests().len(), 2);
}

/// As some proxies do, for want of a length.
#[test]
fn a_server_that_takes_no_chunks_gets_the_length() {
    let no_chunks = || Step::Close(response("411 Length Required", &["Connection: close"], ""));
    let server = Server::start([no_chunks(), Step::Answer(done("thanks"))]);
    let body: Vec<u8> = (0..1_000_000_u32).flat_map(u32::to_le_bytes).collect();
    let answer = upload(&client(&server.url()), &server.url(), Cursor::new(&body));
    assert_eq!(answer.expect("an answer"), "thanks");
    let requests = server.requests();
    let [probe, post] = &requests[..] else {
        panic!("{} requests", requests.len());
    };
    assert!(probe.contains("\ntransfer-encoding: chunked\n"), "{probe}");
    assert!(post.contains("\ncontent-length: 4000000\n"));
    assert!(!post.contains("transfer-encoding"));
    assert!(server.last_body() == body);

    let server = Server::start([no_chunks(), Step::Answer(done("thanks"))]);
    let client = client(&server.url());
    let limits = Limits {
        quarantine_bytes: 2 * MIB,
        ..Limits::default()
    };
    client.set_run(Arc::new(RunBudget::new(Arc::default(), limits)));
    let err = upload(&client, &server.url(), bytes(20_000 * MIB)).expect_err("no room");
    let text = "more than 2097152 bytes (limit `quarantine_bytes`)";
    assert_eq!(err.error.to_string(), text);
    assert!(!err.may_have_acted);
    assert_eq!(server.requests().len(), 1);
}

/// A server in front of which something takes small requests to pieces, and passes large ones on.
#[test]
fn a_server_that_takes_chunks_of_a_probe_alone_gets_the_length_from_then_on() {
    let refusal = || response("411 Length Required", &["Connection: close"], "");
    for refuse in [Step::Close, Step::Refuse] {
        let server = Server::start([
            Step::Answer(done("")),
            refuse(refusal()),
            Step::Answer(done("thanks")),
            Step::Answer(done("again")),
        ]);
        let client = client(&server.url());
        let repository = RemoteUrl::parse(&server.url()).expect("a valid URL");
        assert!(!client.says_lengths());
        let refused = client.upload(&call(&repository), &mut bytes(30 * MIB));
        let err = refused.err().expect("no length");
        assert_eq!(err.error.kind(), ErrorKind::Remote);
        assert!(!err.may_have_acted);
        assert!(client.says_lengths());
        for words in ["thanks", "again"] {
            let answer = upload(&client, &server.url(), bytes(3 * MIB));
            assert_eq!(answer.expect("an answer"), words);
        }
        let requests = server.requests();
        for post in &requests[requests.len() - 2..] {
            assert!(post.contains("\ncontent-length: 3145728\n"));
            assert!(!post.contains("transfer-encoding"));
        }
    }
}

/// A body that is all there is sent once more at once.
#[test]
fn a_long_request_is_repeated_with_its_length() {
    let refusal = response("411 Length Required", &["Connection: close"], "");
    let server = Server::start([
        Step::Answer(done("")),
        Step::Close(refusal.clone()),
        Step::Close(refusal),
    ]);
    let body = vec![b'x'; 3_000_000];
    let repository = RemoteUrl::parse(&server.url()).expect("a valid URL");
    let client = client(&server.url());
    let answer = client.upload_bytes(&call(&repository), &body);
    let err = answer.err().expect("refused for good");
    assert_eq!(err.kind(), ErrorKind::Remote);
    let requests = server.requests();
    assert_eq!(requests.len(), 3);
    assert!(requests[2].contains("\ncontent-length: 3000000\n"));
}

#[test]
fn a_body_that_is_set_aside_fails_as_any_other() {
    let no_chunks = response("411 Length Required", &[], "");
    let server = Server::start([Step::Answer(no_chunks), Step::Answer(done("thanks"))]);
    let own = Error::new(ErrorKind::Corrupt, "an object is missing");
    let body = bytes_then(3 * MIB, Some(io::Error::other(own)));
    let err = upload(&client(&server.url()), &server.url(), body).expect_err("cut short");
    assert_eq!(err.error.kind(), ErrorKind::Corrupt);
    assert!(!err.may_have_acted);
    assert_eq!(server.requests().len(), 1);
}

#[test]
fn a_kept_connection_that_is_gone_costs_no_push() {
    for length in [5, MIB - 1, 3 * MIB] {
        let probe = (length > MIB).then(|| Step::Answer(done("")));
        let steps = [Step::Answer(ok("refs")), Step::Close(Vec::new())];
        let steps = steps.into_iter().chain(probe);
        let server = Server::start(
            steps
                .chain([Step::Answer(done("thanks"))])
                .collect::<Vec<_>>(),
        );
        let client = client(&server.url());
        get(&client, &server.url()).expect("an answer");
        let answer = upload(&client, &server.url(), bytes(length)).expect("an answer");
        assert_eq!(answer, "thanks");
        assert_eq!(server.connections(), 2);
        assert_eq!(server.last_body().len() as u64, length);
    }
}

#[test]
fn what_was_sent_twice_may_have_been_done_the_first_time() {
    for answer in [
        response("403 Forbidden", &[], ""),
        Vec::new(),
        done("thanks"),
    ] {
        let is_good = answer == done("thanks");
        let server = Server::start([
            Step::Answer(ok("refs")),
            Step::Close(Vec::new()),
            Step::Close(answer),
        ]);
        let client = client(&server.url());
        get(&client, &server.url()).expect("an answer");
        let repository = RemoteUrl::parse(&server.url()).expect("a valid URL");
        match client.upload(&call(&repository), &mut bytes(5)) {
            Ok(answer) => assert!(is_good && answer.is_repeated),
            Err(err) => assert!(!is_good && err.may_have_acted),
        }
    }
}
