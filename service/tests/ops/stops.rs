//! The stop: requests under way end, new ones are not accepted.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    time::{Duration, Instant},
};

use nix::sys::signal::Signal;

use crate::daemon::{Daemon, folder};

/// A request whose head is sent, with a body that is not.
fn begin(daemon: &Daemon) -> TcpStream {
    let mut tcp = TcpStream::connect(&daemon.address).expect("a connection");
    let request =
        "POST /default/none.git/git-upload-pack HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n";
    tcp.write_all(request.as_bytes()).expect("written");
    tcp
}

fn wait_until_closed(daemon: &Daemon) {
    let start = Instant::now();
    while TcpStream::connect(&daemon.address).is_ok() {
        assert!(
            start.elapsed() < Duration::from_secs(60),
            "it listens still"
        );
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_request_under_way_is_answered_and_the_end_is_a_success() {
    let place = folder();
    let mut daemon = Daemon::start(place.path(), &["--drain", "60"]);
    let mut tcp = begin(&daemon);
    // The head has to have arrived, so that the request is under way.
    std::thread::sleep(Duration::from_millis(300));
    daemon.signal(Signal::SIGTERM);
    wait_until_closed(&daemon);
    tcp.write_all(b"connection: close\r\n\r\n")
        .expect("written");
    let mut answer = String::new();
    tcp.read_to_string(&mut answer).expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 401"), "{answer:?}");
    let status = daemon.child.wait().expect("an end");
    assert!(status.success(), "{status}");
}

#[test]
fn a_request_that_does_not_end_is_ended() {
    let place = folder();
    let mut daemon = Daemon::start(place.path(), &["--drain", "0"]);
    let _tcp = begin(&daemon);
    daemon.signal(Signal::SIGTERM);
    let status = daemon.child.wait().expect("an end");
    assert!(status.success(), "{status}");
}
