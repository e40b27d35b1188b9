//! Whom the client talks to, and whom it trusts.

use super::*;
use crate::Credentials;

#[test]
fn a_redirect_is_not_followed() {
    let target = Server::start([Step::Answer(ok("elsewhere"))]);
    for status in ["301 Moved", "302 Found", "303 See Other", "307 T", "308 P"] {
        let location = format!("Location: {}/info/refs", target.url());
        let server = Server::start([Step::Answer(response(status, &[&location], "moved"))]);
        let mut options = options(&server.url());
        options.credentials = Some(Credentials::token("canary"));
        let client = HttpClient::new(options).expect("a client");
        let err = get(&client, &server.url()).expect_err(status);
        assert_eq!(err.kind(), ErrorKind::Redirected, "{status}");
        assert_eq!(server.requests().len(), 1, "{status}");
    }
    assert_eq!(target.connections(), 0);
}

#[test]
fn requests_go_to_the_origin_of_the_url_only() {
    let server = Server::start([]);
    let own = "http://example.com/repo.git";
    let mut options = options(own);
    options.credentials = Some(Credentials::token("canary"));
    let client = HttpClient::new(options).expect("a client");
    for other in [
        server.url(),
        "https://example.com/repo.git".into(),
        "http://example.com:81/repo.git".into(),
        "http://example.com.evil.example/repo.git".into(),
        format!("http://example.com@localhost:{}/repo.git", server.port()),
    ] {
        let request = ureq::http::Request::get(format!("{other}/info/refs")).body(());
        let err = client
            .exchange(request.expect("a request"), None)
            .expect_err("refused");
        assert_eq!(err.kind(), ErrorKind::Forbidden, "{other}");
    }
    assert_eq!(server.connections(), 0);
}

#[test]
fn plain_http_is_up_to_the_policy() {
    let mut options = options("http://example.com/repo.git");
    options.policy = NetworkPolicy::public();
    let err = HttpClient::new(options).expect_err("refused");
    assert_eq!(err.kind(), ErrorKind::Forbidden);
}

#[test]
fn private_addresses_are_not_connected_to_in_any_notation() {
    let server = Server::start([]);
    let port = server.port();
    for host in [
        "127.0.0.1",
        "localhost",
        "LOCALHOST",
        "[::1]",
        "2130706433",
        "0x7f.1",
        "0177.0.0.1",
        "127.1",
        "0.0.0.0",
        "[::]",
        "[::ffff:127.0.0.1]",
        "[::127.0.0.1]",
        "[64:ff9b::7f00:1]",
    ] {
        for scheme in ["http", "https"] {
            let url = format!("{scheme}://{host}:{port}/repo.git");
            let mut options = options(&url);
            options.policy.allow_private_networks = false;
            let client = HttpClient::new(options).expect("a client");
            let err = get(&client, &url).expect_err("refused");
            assert_eq!(err.kind(), ErrorKind::Forbidden, "{url}: {err:?}");
        }
    }
    assert_eq!(server.connections(), 0);
}

#[test]
fn the_same_notations_are_connected_to_if_the_policy_allows_it() {
    for host in ["127.0.0.1", "localhost", "2130706433", "0x7f.1", "127.1"] {
        let server = Server::start([Step::Answer(ok("fine"))]);
        let url = format!("http://{host}:{}/repo.git", server.port());
        assert_eq!(get(&client(&url), &url).expect(host), "fine");
    }
}

#[test]
fn a_certificate_must_be_trusted_and_for_this_host() {
    let (server, certificate) = Server::start_tls([Step::Answer(ok("1")), Step::Answer(ok("2"))]);
    assert_eq!(kind_of_get(&server.url()), ErrorKind::Tls);

    let mut trusting = options(&server.url());
    trusting.extra_roots = vec![certificate.clone()];
    let client = HttpClient::new(trusting).expect("a client");
    assert_eq!(get(&client, &server.url()).expect("an answer"), "1");
    assert_eq!(get(&client, &server.url()).expect("an answer"), "2");
    assert_eq!(server.connections(), 2, "one of them failed the handshake");

    let by_address = format!("https://127.0.0.1:{}/repo.git", server.port());
    let mut options = options(&by_address);
    options.extra_roots = vec![certificate];
    let client = HttpClient::new(options).expect("a client");
    let err = get(&client, &by_address).expect_err("another name");
    assert_eq!(err.kind(), ErrorKind::Tls);
    assert_eq!(server.requests().len(), 2);
}

#[test]
fn an_unusable_root_is_refused_up_front() {
    let mut options = options("https://example.com/repo.git");
    options.extra_roots = vec![vec![1, 2, 3].into()];
    let err = HttpClient::new(options).expect_err("refused");
    assert_eq!(err.kind(), ErrorKind::InvalidOptions);
}

#[test]
fn a_server_without_tls_fails_the_handshake() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = listener.local_addr().expect("an address").port();
    std::thread::spawn(move || {
        use std::io::Write as _;
        let (mut stream, _) = listener.accept().expect("a connection");
        stream
            .write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            .expect("written");
        // Until the client is gone.
        while matches!(stream.read(&mut [0]), Ok(1)) {}
    });
    assert_eq!(
        kind_of_get(&format!("https://localhost:{port}/repo.git")),
        ErrorKind::Tls
    );
}

#[test]
fn a_forged_end_of_a_tls_connection_does_not_end_a_body() {
    let (server, certificate) =
        Server::start_tls([Step::Close((ok_head("") + "some of it").into())]);
    let mut options = options(&server.url());
    options.extra_roots = vec![certificate];
    let client = HttpClient::new(options).expect("a client");
    let err = get(&client, &server.url()).expect_err("cut off");
    assert_eq!(err.kind(), ErrorKind::Network);
}
