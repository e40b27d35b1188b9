//! One request after the other, with bytes as Git sends them.

use super::*;
use crate::Credentials;

const CAPABILITIES: &str =
    "001e# service=git-upload-pack\n0000000eversion 2\n0015agent=git/2.47.0\n000cls-refs\n0000";
const REFS: &str = "003d1234567890123456789012345678901234567890 refs/heads/main\n0000";

#[test]
fn a_handshake_and_a_request_over_one_connection_run_after_run() {
    let refs = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/x-git-upload-pack-result\r\n\
         Transfer-Encoding: chunked\r\n\r\n{:x}\r\n{REFS}\r\n0\r\n\r\n",
        REFS.len()
    );
    let server = Server::start([
        Step::Answer(ok(CAPABILITIES)),
        Step::Answer(refs.into()),
        Step::Answer(ok(CAPABILITIES)),
    ]);
    let mut options = options(&server.url());
    options.credentials = Some(Credentials::token("t0k3n"));
    let client = HttpClient::new(options).expect("a client");

    for _ in 0..2 {
        let said = get(&client, &server.url()).expect("capabilities");
        assert_eq!(said, CAPABILITIES);
        if server.requests().len() == 1 {
            let url = RemoteUrl::parse(&server.url()).expect("a valid URL");
            let mut body = &b"0014command=ls-refs\n0000"[..];
            let answer = client.upload(&call(&url), &mut body).expect("an answer");
            let mut answer = answer.body;
            let mut refs = vec![0; REFS.len()];
            answer.read_exact(&mut refs).expect("refs");
            assert_eq!(refs, REFS.as_bytes());
        }
        client.finish();
    }

    assert_eq!(server.connections(), 1);
    let requests = server.requests();
    let [get, post, _] = &requests[..] else {
        panic!("{requests:#?}");
    };
    assert_eq!(
        get.lines().next(),
        Some("GET /repo.git/info/refs?service=git-upload-pack HTTP/1.1")
    );
    assert_eq!(
        post.lines().next(),
        Some("POST /repo.git/git-upload-pack HTTP/1.1")
    );
    let agent = concat!("user-agent: git/refsync-", env!("CARGO_PKG_VERSION"));
    for request in [get, post] {
        for expected in [
            agent,
            "accept-encoding: identity",
            "authorization: Basic eC1hY2Nlc3MtdG9rZW46dDBrM24=",
            "git-protocol: version=2",
        ] {
            let found = request.lines().filter(|line| *line == expected).count();
            assert_eq!(found, 1, "{expected} in {request}");
        }
        assert_eq!(request.matches("user-agent").count(), 1);
    }
    assert!(post.contains("\ncontent-length: 24\n"), "{post}");
    assert!(post.contains("\ncontent-type: application/x-git-upload-pack-request\n"));
    assert!(post.ends_with("\n\n0014command=ls-refs\n0000"), "{post}");
}

#[test]
fn a_run_that_left_bytes_unread_costs_the_connection_only() {
    let too_much = CAPABILITIES.to_owned() + &"0000".repeat(50_000);
    let server = Server::start([Step::Answer(ok(&too_much)), Step::Answer(ok(CAPABILITIES))]);
    let client = client(&server.url());
    for connections in [1, 2] {
        let url = RemoteUrl::parse(&server.url()).expect("a valid URL");
        let mut answer = client.discover(&call(&url)).expect("an answer");
        answer.read_exact(&mut [0; 60]).expect("capabilities");
        drop(answer);
        client.finish();
        assert!(client.take_failure().is_none());
        assert_eq!(server.connections(), connections);
    }
}

/// Otherwise it would be the answer to the next request.
#[test]
fn what_nobody_asked_for_is_never_an_answer() {
    let twice = [ok("one"), ok("smuggled")].concat();
    let server = Server::start([Step::Answer(twice), Step::Answer(ok("two"))]);
    let client = client(&server.url());
    assert_eq!(get(&client, &server.url()).expect("an answer"), "one");
    assert_eq!(get(&client, &server.url()).expect("an answer"), "two");
    assert_eq!(server.connections(), 2);
}
