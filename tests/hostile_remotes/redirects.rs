//! Redirects of a remote, with which no credential goes along.

use super::raw::{Raw, Request, capabilities, head};
use super::{Ask, fails, fetch, remote};
use refsync::{
    Credentials, ErrorKind, Redirects, RefSource as _, Service, SmartHttp, SyncContext, SyncOptions,
};
use std::io::Write as _;
use std::net::TcpStream;

fn redirect(stream: &mut TcpStream, status: u16, location: &str) -> std::io::Result<()> {
    let answer =
        format!("HTTP/1.1 {status} Moved\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n");
    stream.write_all(answer.as_bytes())
}

fn answer(request: &Request, stream: &mut TcpStream, body: &[u8]) -> std::io::Result<()> {
    let framing = format!("Content-Length: {}\r\n", body.len());
    stream.write_all(head(request, &framing).as_bytes())?;
    stream.write_all(body)
}

fn with_canary(url: &str) -> SmartHttp {
    remote(url).with_credentials(Credentials::token("canary"))
}

/// Redirects that lead out of the origin, in the places of `{port}` and `{other}` the ports of the
/// server and of somebody else.
const OUT: &[&str] = &[
    "http://localhost:{other}/repo.git/{listing}",
    "http://127.0.0.1:{other}/repo.git/{listing}",
    // The same server under another name is another origin.
    "http://127.0.0.1:{port}/repo.git/{listing}",
    "https://localhost:{port}/repo.git/{listing}",
    "https://localhost:{other}/repo.git/{listing}",
    "//localhost:{other}/repo.git/{listing}",
    "http://localhost:{port}@localhost:{other}/repo.git/{listing}",
    "http://me:pw@localhost:{port}/repo.git/{listing}",
    "http://localhost:{other}",
    "\\\\localhost:{other}/repo.git/{listing}",
    "file:///repo.git/{listing}",
    "ssh://localhost:{other}/repo.git/{listing}",
];

const LISTING: &str = "info/refs?service=git-upload-pack";

#[test]
fn no_redirect_leaves_the_origin() {
    let other = Raw::start(|request, stream| answer(request, stream, &capabilities()));
    let other_port = other.address.port();
    for redirects in [Redirects::Refuse, Redirects::SameOrigin] {
        for location in OUT {
            let server = Raw::start(move |request, stream| {
                let port = request
                    .head
                    .split("localhost:")
                    .nth(1)
                    .expect("a Host header");
                let port = port.split("\r\n").next().expect("a line");
                let location = location
                    .replace("{port}", port)
                    .replace("{other}", &other_port.to_string())
                    .replace("{listing}", LISTING);
                redirect(stream, 302, &location)
            });
            let remote = with_canary(&server.url()).with_redirects(redirects);
            let (err, _) = fails(&remote, Ask::Listing, &SyncOptions::default());
            assert_eq!(err.kind(), ErrorKind::Redirected, "{location}: {err}");
            assert!(!err.to_string().contains("canary"), "{err}");
            assert_eq!(server.requests().len(), 1, "{location}");
            assert_eq!(server.connections(), 1, "{location}");
        }
    }
    assert_eq!(other.connections(), 0);
}

#[test]
fn none_is_followed_unless_asked_for() {
    for status in [301, 302, 303, 307, 308] {
        let server =
            Raw::start(move |_, stream| redirect(stream, status, &format!("/new.git/{LISTING}")));
        let (err, _) = fails(
            &remote(&server.url()),
            Ask::Listing,
            &SyncOptions::default(),
        );
        assert_eq!(err.kind(), ErrorKind::Redirected, "{status}");
        assert_eq!(server.requests().len(), 1, "{status}");
    }
}

#[test]
fn what_follows_goes_to_where_the_first_request_was_led() {
    for status in [301, 302, 303, 307, 308] {
        let server = Raw::start(move |request, stream| {
            if request.target().starts_with("/repo.git/info/refs") {
                return redirect(stream, status, &format!("/new.git/{LISTING}"));
            }
            match request.is_listing() {
                true => answer(request, stream, &capabilities()),
                false => answer(request, stream, b"0000"),
            }
        });
        let remote = with_canary(&server.url()).with_redirects(Redirects::SameOrigin);
        let context = SyncContext::new(&SyncOptions::default());
        let list = remote
            .list(Service::UploadPack, &[], &context)
            .expect("a list");
        assert!(list.is_empty());
        fetch(&remote, &context).expect_err("no pack");
        let asked: Vec<_> = server.requests();
        let asked: Vec<_> = asked.iter().map(Request::target).collect();
        assert_eq!(
            asked,
            [
                format!("/repo.git/{LISTING}"),
                format!("/new.git/{LISTING}"),
                "/new.git/git-upload-pack".to_owned(),
                "/new.git/git-upload-pack".to_owned(),
            ],
            "{status}"
        );
        for request in server.requests() {
            assert_eq!(
                request.head.matches("uthorization: ").count(),
                1,
                "{status}"
            );
        }
        assert_eq!(context.traffic().requests, 4);
        assert_eq!(server.connections(), 1);
    }
}

#[test]
fn one_is_the_most() {
    // In a circle, and ever further away.
    for locations in [["/repo.git/", "/repo.git/"], ["/b.git/", "/c.git/"]] {
        let server = Raw::start(move |request, stream| {
            let at = usize::from(!request.target().starts_with("/repo.git/"));
            redirect(stream, 302, &format!("{}{LISTING}", locations[at]))
        });
        let remote = with_canary(&server.url()).with_redirects(Redirects::SameOrigin);
        let (err, _) = fails(&remote, Ask::Listing, &SyncOptions::default());
        assert_eq!(err.kind(), ErrorKind::Redirected);
        assert_eq!(server.requests().len(), 2, "{locations:?}");
    }
}

#[test]
fn only_the_first_request_may_be_redirected() {
    for status in [301, 302, 303, 307, 308] {
        for ask in [Ask::Listing, Ask::Pack] {
            let server = Raw::start(move |request, stream| match request.is_listing() {
                true => answer(request, stream, &capabilities()),
                false => redirect(stream, status, "/new.git/git-upload-pack"),
            });
            let remote = with_canary(&server.url()).with_redirects(Redirects::SameOrigin);
            let (err, _) = fails(&remote, ask, &SyncOptions::default());
            assert_eq!(err.kind(), ErrorKind::Redirected, "{status} {ask:?}");
            assert_eq!(server.requests().len(), 2, "{status} {ask:?}");
        }
    }
}
