//! Through `gix_transport`, with bytes as Git sends them.

use std::io::Write as _;

use gix_transport::{
    Protocol, Service,
    client::{
        MessageKind, WriteMode,
        blocking_io::{Transport as _, http::Transport},
    },
};

use super::*;
use crate::Credentials;

const CAPABILITIES: &str =
    "001e# service=git-upload-pack\n0000000eversion 2\n0015agent=git/2.47.0\n000cls-refs\n0000";
const REFS: &str = "003d1234567890123456789012345678901234567890 refs/heads/main\n0000";

fn transport(client: &HttpClient, url: &str) -> Transport<HttpClient> {
    let url = RemoteUrl::parse(url).expect("a valid URL").to_gix();
    Transport::new_http(client.clone(), url, Protocol::V2, false)
}

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

    let mut first = transport(&client, &server.url());
    let shaken = first
        .handshake(Service::UploadPack, &[])
        .expect("a handshake");
    assert_eq!(shaken.actual_protocol, Protocol::V2);
    assert!(shaken.capabilities.contains("ls-refs"));
    drop(shaken);
    let mut request = first
        .request(WriteMode::Binary, MessageKind::Flush, false)
        .expect("a request");
    request.write_all(b"command=ls-refs\n").expect("collected");
    let mut answer = request.into_read().expect("an answer");
    let mut line = String::new();
    answer.readline_str(&mut line).expect("a line");
    assert_eq!(
        line,
        "1234567890123456789012345678901234567890 refs/heads/main\n"
    );
    answer.read_to_end(&mut Vec::new()).expect("the end");
    drop(answer);
    drop(first);
    client.finish();

    let mut second = transport(&client, &server.url());
    second
        .handshake(Service::UploadPack, &[])
        .expect("a handshake");

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
fn gix_rewords_an_error_and_its_kind_is_not_lost() {
    for (answer, kind) in [
        (
            response("401 Unauthorized", &[], ""),
            ErrorKind::Authentication,
        ),
        (response("404 Not Found", &[], ""), ErrorKind::NotFound),
        (
            response("200 OK", &["Content-Type: text/html"], ""),
            ErrorKind::NotAGitServer,
        ),
        (
            (ok_head("Content-Length: 999\r\n") + "001e").into(),
            ErrorKind::Network,
        ),
    ] {
        let server = Server::start([Step::Close(answer)]);
        let client = client(&server.url());
        let mut transport = transport(&client, &server.url());
        assert!(transport.handshake(Service::UploadPack, &[]).is_err());
        assert_eq!(client.take_failure().map(|err| err.kind()), Some(kind));
        assert_eq!(server.requests().len(), 1, "no second attempt");
    }
}

#[test]
fn a_run_that_left_bytes_unread_costs_the_connection_only() {
    // More than fits into the buffer of the reader that gix drops.
    let too_much = CAPABILITIES.to_owned() + &"0000".repeat(50_000);
    let server = Server::start([Step::Answer(ok(&too_much)), Step::Answer(ok(CAPABILITIES))]);
    let client = client(&server.url());
    for connections in [1, 2] {
        let mut transport = transport(&client, &server.url());
        transport
            .handshake(Service::UploadPack, &[])
            .expect("a handshake");
        drop(transport);
        client.finish();
        assert!(client.take_failure().is_none());
        assert_eq!(server.connections(), connections);
    }
}
