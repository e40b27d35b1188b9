//! Answers of a server, and missing ones.

use super::*;

#[test]
fn requests_share_a_connection_and_are_metered() {
    let server = Server::start([Step::Answer(ok("one")), Step::Answer(ok("two"))]);
    let client = client(&server.url());
    assert_eq!(get(&client, &server.url()).expect("an answer"), "one");
    assert_eq!(get(&client, &server.url()).expect("an answer"), "two");

    assert_eq!(server.connections(), 1);
    let traffic = client.link.run().traffic();
    assert_eq!(traffic.requests, 2);
    assert_eq!(
        traffic.bytes_received,
        (ok("one").len() + ok("two").len()) as u64
    );
    let sent: usize = server.requests().iter().map(|text| text.len()).sum();
    assert!(traffic.bytes_sent >= sent as u64, "{}", traffic.bytes_sent);
}

#[test]
fn a_chunked_answer_leaves_a_usable_connection() {
    let chunked = ok_head("Transfer-Encoding: chunked\r\n") + "3\r\none\r\n0\r\n\r\n";
    let server = Server::start([Step::Answer(chunked.into()), Step::Answer(ok("two"))]);
    let client = client(&server.url());
    assert_eq!(get(&client, &server.url()).expect("an answer"), "one");
    assert_eq!(get(&client, &server.url()).expect("an answer"), "two");
    assert_eq!(server.connections(), 1);
}

#[test]
fn each_refusal_has_a_kind_and_the_next_request_is_unharmed() {
    use ErrorKind::*;
    let cases = [
        ("401 Unauthorized", Authentication),
        // With Retry-After.
        ("403 Forbidden", RateLimited),
        ("404 Not Found", NotFound),
        ("410 Gone", NotFound),
        ("413 Content Too Large", Remote),
        ("429 Too Many Requests", RateLimited),
        ("500 Internal Server Error", ServerError),
        ("503 Service Unavailable", ServerError),
    ];
    for (status, kind) in cases {
        // A body that never comes must not be waited for.
        let refusal =
            format!("HTTP/1.1 {status}\r\nRetry-After: 7\r\nContent-Length: 1000000\r\n\r\n");
        let server = Server::start([
            Step::Stall(refusal.into(), Box::new(|| {})),
            Step::Answer(ok("fine")),
        ]);
        let client = client(&server.url());
        let err = get(&client, &server.url()).expect_err(status);
        assert_eq!(err.kind(), kind, "{status}");
        assert_eq!(err.retry_after(), Some(Duration::from_secs(7)));
        assert!(err.to_string().contains(&status[..3]), "{err}");
        assert_eq!(get(&client, &server.url()).expect("an answer"), "fine");
    }
}

/// The start of it, in a form that is safe to print, and nothing that was not meant to be read.
#[test]
fn a_refusal_says_what_the_server_says_about_it() {
    let plain = "Content-Type: text/plain; charset=utf-8";
    let long = "x".repeat(5000);
    let cases = [
        (
            plain,
            "This repository is archived.\n",
            ": This repository is archived.",
        ),
        (plain, "\x1b[2Jno\u{202e}", ":  [2Jno "),
        (plain, &long, &format!(": {}", "x".repeat(400))),
        (plain, "", ""),
        (plain, "your token t0k3n has expired", ""),
        (
            plain,
            "Authorization: Basic eC1hY2Nlc3MtdG9rZW46dDBrM24=",
            "",
        ),
        (plain, &format!("{}t0k3n", "x".repeat(510)), ""),
        ("Content-Type: text/html", "<p>no</p>", ""),
        (
            "Content-Type: text/plain\r\nContent-Encoding: gzip",
            "zzz",
            "",
        ),
        ("X: y", "no", ""),
    ];
    for (headers, body, expected) in cases {
        let server = Server::start([Step::Answer(response("403 Forbidden", &[headers], body))]);
        let mut options = options(&server.url());
        options.credentials = Some(crate::Credentials::token("t0k3n"));
        let client = HttpClient::new(options).expect("a client");
        let err = get(&client, &server.url()).expect_err("refused");
        assert_eq!(
            err.to_string(),
            format!("the server denies access (HTTP 403){expected}")
        );
        assert_eq!(err.kind(), ErrorKind::PermissionDenied);
    }
}

#[test]
fn the_text_of_a_refusal_is_not_waited_for_long() {
    let head = "HTTP/1.1 429 No\r\nContent-Type: text/plain\r\nContent-Length: 100\r\n\r\nslow";
    let server = Server::start([Step::Stall(head.into(), Box::new(|| {}))]);
    let begun = std::time::Instant::now();
    let err = get(&client(&server.url()), &server.url()).expect_err("refused");
    let text = "the server asks for fewer requests (HTTP 429): slow";
    assert_eq!(err.to_string(), text);
    assert_eq!(err.kind(), ErrorKind::RateLimited);
    assert!(begun.elapsed() < Timeouts::default().idle / 2);
}

#[test]
fn what_is_no_git_server() {
    let cases = [
        response("200 OK", &["Content-Type: text/html"], "<html>"),
        response("200 OK", &["Content-Type: text/plain"], "dumb protocol"),
        response("204 No Content", &[], ""),
        b"SSH-2.0-OpenSSH_9.2\r\n\r\n".to_vec(),
    ];
    for answer in cases {
        let text = String::from_utf8_lossy(&answer).into_owned();
        let server = Server::start([Step::Close(answer)]);
        assert_eq!(
            kind_of_get(&server.url()),
            ErrorKind::NotAGitServer,
            "{text}"
        );
    }
}

#[test]
fn headers_without_end_exceed_a_limit() {
    let endless = format!("HTTP/1.1 200 OK\r\nX: {}", "x".repeat(64 * 1024));
    let server = Server::start([Step::Stall(endless.into(), Box::new(|| {}))]);
    assert_eq!(kind_of_get(&server.url()), ErrorKind::BudgetExceeded);
}

#[test]
fn an_answer_cut_short_is_a_network_error() {
    let cases = [
        String::new(),
        "HTTP/1.1 200".to_owned(),
        ok_head("Content-Length: 100\r\n"),
        ok_head("Content-Length: 100\r\n") + "some",
        ok_head("Transfer-Encoding: chunked\r\n"),
        ok_head("Transfer-Encoding: chunked\r\n") + "4\r\nso",
        ok_head("Transfer-Encoding: chunked\r\n") + "4\r\nsome\r\n",
        ok_head("Transfer-Encoding: chunked\r\n") + "4\r\nsome\r\n1",
    ];
    for answer in cases {
        let server = Server::start([Step::Close(answer.clone().into())]);
        assert_eq!(kind_of_get(&server.url()), ErrorKind::Network, "{answer}");
    }
}

#[test]
fn chunks_that_are_none_are_a_protocol_error() {
    let answer = ok_head("Transfer-Encoding: chunked\r\n") + "4\r\nsome\r\nnonsense\r\n";
    let server = Server::start([Step::Close(answer.into())]);
    assert_eq!(kind_of_get(&server.url()), ErrorKind::Protocol);
}

#[test]
fn a_body_that_broke_does_not_look_ended_when_read_again() {
    let answer = ok_head("Content-Length: 100\r\n") + "some";
    let server = Server::start([Step::Close(answer.into())]);
    let url = RemoteUrl::parse(&server.url()).expect("a valid URL");
    let client = client(url.as_str());
    let mut response = client.discover(&call(&url)).expect("an answer");
    let mut body = Vec::new();
    response.read_to_end(&mut body).expect_err("cut short");
    assert_eq!(body, b"some");
    response
        .read_to_end(&mut body)
        .expect_err("still cut short");
}

#[test]
fn a_server_that_falls_silent_is_given_up() {
    for sent in [
        String::new(),
        ok_head("Content-Length: 100\r\n") + "some",
        ok_head("Transfer-Encoding: chunked\r\n"),
    ] {
        let server = Server::start([Step::Stall(sent.into(), Box::new(|| {}))]);
        let mut options = options(&server.url());
        options.timeouts.idle = Duration::from_millis(150);
        let client = HttpClient::new(options).expect("a client");
        let err = get(&client, &server.url()).expect_err("silence");
        assert_eq!(err.kind(), ErrorKind::Network);
        assert_eq!(
            err.to_string(),
            "timed out after 150ms: waiting for the server"
        );
    }
}

#[test]
fn nobody_there() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = listener.local_addr().expect("an address").port();
    drop(listener);
    let refused = format!("http://127.0.0.1:{port}/repo.git");
    assert_eq!(kind_of_get(&refused), ErrorKind::Connect);
    assert_eq!(
        kind_of_get("http://does-not-exist.invalid/"),
        ErrorKind::Dns
    );
}
