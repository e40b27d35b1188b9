//! A raised flag ends each kind of wait. The server never goes on, so a test that returns has
//! passed; how fast is not measured.

use std::{
    net::TcpListener,
    sync::atomic::{AtomicBool, Ordering},
};

use super::*;

pub(super) fn raised_by() -> (Arc<AtomicBool>, Box<dyn FnOnce() + Send>) {
    let flag = Arc::new(AtomicBool::new(false));
    let raise = flag.clone();
    (flag, Box::new(move || raise.store(true, Ordering::Relaxed)))
}

#[test]
fn while_waiting_for_an_answer_or_the_rest_of_it() {
    for sent in [String::new(), ok_head("Content-Length: 100\r\n") + "some"] {
        let (flag, raise) = raised_by();
        let server = Server::start([Step::Stall(sent.into(), raise)]);
        let client = client(&server.url());
        client.link.set_cancelled_by(flag);
        let err = get(&client, &server.url()).expect_err("cancelled");
        assert_eq!(err.kind(), ErrorKind::Cancelled);
    }
}

#[test]
fn during_the_tls_handshake() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let url = format!(
        "https://{}/repo.git",
        listener.local_addr().expect("an address")
    );
    let (flag, raise) = raised_by();
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a connection");
        raise();
        while matches!(stream.read(&mut [0]), Ok(1)) {}
    });
    let client = client(&url);
    client.link.set_cancelled_by(flag);
    let err = get(&client, &url).expect_err("cancelled");
    assert_eq!(err.kind(), ErrorKind::Cancelled);
}

#[test]
fn a_tls_handshake_has_until_the_connect_timeout() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let url = format!(
        "https://{}/repo.git",
        listener.local_addr().expect("an address")
    );
    let mut options = options(&url);
    options.timeouts.connect = Duration::from_millis(150);
    let client = HttpClient::new(options).expect("a client");
    // Connected by the backlog; nobody accepts.
    let err = get(&client, &url).expect_err("too late");
    assert_eq!(err.kind(), ErrorKind::Connect);
    assert_eq!(err.to_string(), "timed out after 150ms: the TLS handshake");
}

#[test]
fn while_writing_to_a_server_that_does_not_read() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let url = format!(
        "http://{}/repo.git",
        listener.local_addr().expect("an address")
    );
    let (flag, raise) = raised_by();
    let held = std::thread::spawn(move || {
        let connection = listener.accept().expect("a connection");
        raise();
        (listener, connection)
    });
    let client = client(&url);
    client.link.set_cancelled_by(flag);
    let err = post(&client, &url, &vec![0; 64 * 1024 * 1024]).expect_err("cancelled");
    assert_eq!(err.kind(), ErrorKind::Cancelled);
    drop(held.join());
}

#[test]
fn before_anything_is_sent_and_not_in_the_next_run() {
    let server = Server::start([Step::Answer(ok("one")), Step::Answer(ok("two"))]);
    let client = client(&server.url());
    get(&client, &server.url()).expect("an answer");

    client
        .link
        .set_cancelled_by(Arc::new(AtomicBool::new(true)));
    let err = get(&client, &server.url()).expect_err("cancelled");
    assert_eq!(err.kind(), ErrorKind::Cancelled);
    assert_eq!(server.requests().len(), 1);

    client
        .link
        .set_cancelled_by(Arc::new(AtomicBool::new(false)));
    assert_eq!(get(&client, &server.url()).expect("an answer"), "two");
    assert_eq!(server.connections(), 1, "the connection outlives the run");
}

fn post(client: &HttpClient, url: &str, mut body: &[u8]) -> Result<(), Error> {
    let url = RemoteUrl::parse(url).expect("a valid URL");
    let answer = client.upload(&call(&url), &mut body);
    let mut answer = answer.map_err(|unanswered| unanswered.error)?;
    match answer.body.read_to_end(&mut Vec::new()) {
        Ok(_) => Ok(()),
        Err(_) => Err(client.take_failure().expect("each error is recorded")),
    }
}
