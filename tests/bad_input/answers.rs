//! Upstreams that don't answer as a Git server does.

use crate::fails;
use crate::support::pull::{Pair, asked, grow};
use crate::support::server::{Answer, GitServer};
use crate::support::wire;
use refsync::ErrorKind;
use std::time::Duration;

const FIRST: &[&str] = &["info/refs"];

#[test]
fn no_such_repository() {
    let pair = Pair::in_step();
    std::fs::remove_dir_all(&pair.upstream.path).unwrap();
    fails(&pair, ErrorKind::NotFound);
    assert_eq!(asked(&pair.server.requests()), FIRST);
}

#[test]
fn a_status_for_every_request() {
    let pair = Pair::in_step();
    grow(&pair.upstream, "topic", &[&pair.tip]);
    for (status, kind) in [
        (400, ErrorKind::Remote),
        (401, ErrorKind::Authentication),
        (403, ErrorKind::PermissionDenied),
        (404, ErrorKind::NotFound),
        (410, ErrorKind::NotFound),
        (429, ErrorKind::RateLimited),
        (500, ErrorKind::ServerError),
        (502, ErrorKind::ServerError),
        (503, ErrorKind::ServerError),
    ] {
        for refused in ["info/refs", "ls-refs", "fetch"] {
            pair.server.intercept(move |head| {
                let command = head.command().unwrap_or("info/refs".to_owned());
                (command == refused).then(|| Answer::status(status))
            });
            let err = fails(&pair, kind);
            assert!(err.to_string().contains(&status.to_string()), "{err}");
            assert_eq!(err.retry_after(), None);
            let requests = asked(&pair.server.requests());
            pair.server.reset_counts();
            assert_eq!(requests.last().unwrap(), refused, "nothing is tried again");
        }
    }
}

#[test]
fn a_server_that_says_when_to_come_back() {
    for (status, kind) in [
        (403, ErrorKind::RateLimited),
        (425, ErrorKind::RateLimited),
        (429, ErrorKind::RateLimited),
        (408, ErrorKind::ServerError),
        (503, ErrorKind::ServerError),
    ] {
        let pair = Pair::in_step();
        pair.server.intercept(move |_| {
            Some(Answer::Status {
                code: status,
                headers: vec![("Retry-After".into(), "17".into())],
                body: Vec::new(),
            })
        });
        let err = fails(&pair, kind);
        assert_eq!(err.retry_after(), Some(Duration::from_secs(17)));
    }
}

#[test]
fn credentials_that_the_server_does_not_know() {
    let mut pair = Pair::in_step();
    pair.server = GitServer::builder(pair.sandbox.path())
        .auth("user", "right")
        .start();
    fails(&pair, ErrorKind::Authentication);
    assert_eq!(asked(&pair.server.requests()), FIRST);
}

#[test]
fn a_redirect_is_not_followed() {
    let pair = Pair::in_step();
    for status in [301, 302, 303, 307, 308] {
        let elsewhere = pair
            .server
            .url("elsewhere.git/info/refs?service=git-upload-pack");
        pair.server
            .intercept(move |_| Some(Answer::redirect(status, &elsewhere)));
        let err = fails(&pair, ErrorKind::Redirected);
        assert!(err.to_string().contains("elsewhere.git"), "{err}");
        assert_eq!(asked(&pair.server.requests()), FIRST);
        pair.server.reset_counts();
    }
}

#[test]
fn a_web_page() {
    let pair = Pair::in_step();
    let page = || wire::ok("text/html", b"<html>welcome</html>".to_vec());
    pair.server.intercept(move |_| Some(page()));
    fails(&pair, ErrorKind::NotAGitServer);
    pair.server
        .intercept(|_| Some(Answer::Raw(b"SSH-2.0-OpenSSH_9.2\r\n".to_vec())));
    fails(&pair, ErrorKind::NotAGitServer);
}

#[test]
fn a_body_that_is_no_advertisement() {
    let pair = Pair::in_step();
    for body in [
        &b"0000"[..],
        b"<html>welcome</html>",
        b"001f# service=git-receive-pack\n0000000eversion 2\n0000",
        b"zzzz",
        b"0001",
        b"0003",
        b"fff1",
        b"000eversion 3\n0000",
    ] {
        pair.server
            .intercept(|_| Some(wire::advertisement(body.to_vec())));
        let err = fails(&pair, ErrorKind::Protocol);
        assert!(err.to_string().len() < 1_000, "{err}");
    }
}

#[test]
fn a_body_that_is_no_listing() {
    let pair = Pair::in_step();
    for body in [
        &b"<html>welcome</html>"[..],
        b"zzzz",
        b"0003",
        b"fff1short",
        b"0010nonsense\n0000",
        b"0009ACK \n0000",
    ] {
        pair.server
            .intercept(|head| (head.command()? == "ls-refs").then(|| wire::result(body.to_vec())));
        let err = fails(&pair, ErrorKind::Protocol);
        assert!(err.to_string().len() < 1_000, "{err}");
    }
}

/// An answer that ends early must not pass for one with fewer refs. HTTP sees nothing wrong with it:
/// the program behind the server was killed, and the server passed on what there was.
#[test]
fn an_answer_that_ends_early() {
    let pair = Pair::in_step();
    let line = wire::packet(format!("{} refs/heads/new\n", pair.root).as_bytes());
    let advertisements = [
        &b""[..],
        b"001e# service=git-upload-pack\n",
        b"001e# service=git-upload-pack\n0000",
        b"001e# service=git-upload-pack\n0000000eversion 2\n",
        b"000eversion 2\n00",
    ];
    let listings = [&b""[..], &line, &line[..20], &[&line[..], b"000"].concat()];
    let bodies = |at: &'static str, bodies: &[&[u8]]| {
        let bodies = bodies.iter().map(|body| (at, body.to_vec()));
        bodies.collect::<Vec<_>>()
    };
    for (at, body) in [
        bodies("info/refs", &advertisements),
        bodies("ls-refs", &listings),
    ]
    .concat()
    {
        let shown = String::from_utf8_lossy(&body).into_owned();
        pair.server.intercept(move |head| {
            let command = head.command().unwrap_or("info/refs".to_owned());
            (command == at).then(|| match at {
                "info/refs" => wire::advertisement(body.clone()),
                _ => wire::result(body.clone()),
            })
        });
        let err = fails(&pair, ErrorKind::Network);
        assert_eq!(err.to_string(), "the answer ended early", "{at}: {shown}");
    }
}

#[test]
fn a_connection_that_breaks_off() {
    let pair = Pair::in_step();
    for at in ["info/refs", "ls-refs"] {
        for length in [0, 1, 4, 20, 70] {
            pair.server.intercept(move |head| {
                let command = head.command().unwrap_or("info/refs".to_owned());
                (command == at).then_some(Answer::TruncateAfter(length))
            });
            fails(&pair, ErrorKind::Network);
        }
    }
}

#[test]
fn an_old_server_whose_listing_breaks_off() {
    for length in [0, 20, 100, 250] {
        let mut pair = Pair::in_step();
        let server = GitServer::builder(pair.sandbox.path());
        pair.server = server.max_protocol(0).start();
        pair.server
            .intercept(move |_| Some(Answer::TruncateAfter(length)));
        fails(&pair, ErrorKind::Network);
    }
}

/// The server's own words come through, without what could play tricks on a terminal.
#[test]
fn an_err_line_at_every_step() {
    let pair = Pair::in_step();
    grow(&pair.upstream, "topic", &[&pair.tip]);
    for at in ["info/refs", "ls-refs", "fetch"] {
        pair.server.intercept(move |head| {
            let command = head.command().unwrap_or("info/refs".to_owned());
            let line = wire::err_line("access denied\x1b[2J, or so");
            (command == at).then(|| match at {
                "info/refs" => {
                    let service = b"001e# service=git-upload-pack\n0000".to_vec();
                    wire::advertisement([service, line].concat())
                }
                _ => wire::result(line),
            })
        });
        let err = fails(&pair, ErrorKind::Remote);
        assert!(
            err.to_string().contains("access denied [2J, or so"),
            "{at}: {err}"
        );
    }
}

#[test]
fn an_err_line_of_an_old_server() {
    let mut pair = Pair::in_step();
    grow(&pair.upstream, "topic", &[&pair.tip]);
    pair.server = GitServer::builder(pair.sandbox.path())
        .max_protocol(0)
        .start();
    pair.on_fetch(|_| Some(wire::result(wire::err_line("access denied"))));
    let err = fails(&pair, ErrorKind::Remote);
    assert!(err.to_string().contains("access denied"), "{err}");
}

#[test]
fn a_listing_in_another_object_format_than_announced() {
    let pair = Pair::in_step();
    let line = format!("{} refs/heads/new", "a".repeat(64));
    pair.server.intercept(move |head| {
        (head.command()? == "ls-refs").then(|| wire::listing(std::slice::from_ref(&line)))
    });
    fails(&pair, ErrorKind::Protocol);
}
