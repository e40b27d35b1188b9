//! Bounds on bodies, processes and time, and clients that go.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    time::Duration,
};

use base64::Engine as _;

use crate::host::{Clone, Host, wait_until};

/// A request for a listing of protocol version 2.
const LS_REFS: &[u8] = b"0014command=ls-refs\n0016object-format=sha10000";

fn head(host: &Host, service: &str, headers: &str) -> String {
    let key = base64::engine::general_purpose::STANDARD.encode(format!("x:{}", host.key));
    format!(
        "POST /default/app.git/{service} HTTP/1.1\r\nhost: a\r\nauthorization: Basic {key}\r\n\
         content-type: application/x-{service}-request\r\ngit-protocol: version=2\r\n{headers}\r\n"
    )
}

/// A request whose body does not come.
fn stalled(host: &Host, service: &str) -> TcpStream {
    let mut tcp = TcpStream::connect(host.address()).expect("a connection");
    let head = head(host, service, "content-length: 1000\r\n");
    tcp.write_all(head.as_bytes()).expect("written");
    // The commands of a push are read before git is started.
    let null = "0".repeat(40);
    let line = format!("{null} {} refs/heads/x\0report-status", "1".repeat(40));
    let line = format!("{:04x}{line}0000PACK", line.len() + 4);
    tcp.write_all(line.as_bytes()).expect("written");
    tcp
}

#[test]
fn a_client_that_goes_leaves_no_process() {
    let host = Host::start(|_| ());
    host.new_repo("app", "main");
    for service in ["git-upload-pack", "git-receive-pack"] {
        let tcp = stalled(&host, service);
        wait_until("git runs", || {
            host.git_processes() == 1 && host.children() > 0
        });
        drop(tcp);
        wait_until("git has ended", || {
            host.git_processes() == 0 && host.children() == 0
        });
    }
    assert_eq!(host.unsettled(), 0);
}

#[test]
fn processes_and_time_are_bounded() {
    let host = Host::start(|config| {
        config.git.processes = 1;
        config.git.time = Duration::from_secs(2);
    });
    host.new_repo("app", "main");
    let mut tcp = stalled(&host, "git-receive-pack");
    wait_until("git runs", || host.git_processes() == 1);
    let second = format!(
        "{}{}",
        head(
            &host,
            "git-upload-pack",
            "content-length: 0\r\nconnection: close\r\n"
        ),
        ""
    );
    let answer = host.raw(&second);
    assert!(
        answer.starts_with("HTTP/1.1 503") && answer.to_lowercase().contains("retry-after"),
        "{answer}"
    );
    wait_until("git has ended", || host.children() == 0);
    let mut answer = [0; 12];
    tcp.read_exact(&mut answer).expect("an answer");
    assert_eq!(&answer, b"HTTP/1.1 503");
}

/// Bytes that can't be compressed.
fn noise(bytes: usize, seed: u64) -> Vec<u8> {
    let mut state = seed;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    (0..bytes / 8).flat_map(|_| next()).collect()
}

#[test]
fn a_client_that_does_not_read_keeps_no_place() {
    let mut host = Host::start(|_| ());
    host.new_repo("app", "main");
    let clone = Clone::of(&host, &host.url("app", &host.key), "one", 2);
    clone.git(&["checkout", "-q", "-B", "main"]);
    // More than the buffers on the way hold.
    std::fs::write(clone.path.join("large"), noise(32 << 20, 1)).expect("a file");
    clone.git(&["add", "large"]);
    let tip = clone.commit("first");
    clone.git(&["push", "-q", "origin", "main"]);
    // A push of this size may take longer than what is waited for here.
    host.restart_with(|config| {
        config.git.processes = 1;
        config.git.time = Duration::from_secs(2);
    });
    let body = format!("0011command=fetch0016object-format=sha100010032want {tip}\n0009done\n0000");
    let length = format!("content-length: {}\r\n", body.len());
    let mut tcp = TcpStream::connect(host.address()).expect("a connection");
    let head = head(&host, "git-upload-pack", &length);
    tcp.write_all(head.as_bytes()).expect("written");
    tcp.write_all(body.as_bytes()).expect("written");
    wait_until("git runs", || host.git_processes() == 1);
    wait_until("the place is free", || host.git_processes() == 0);
    drop(tcp);
}

#[test]
fn a_large_push_is_streamed_up_to_the_limit() {
    let host = Host::start(|config| config.git.body = 12 << 20);
    let repo = host.new_repo("app", "main");
    let clone = Clone::of(&host, &host.url("app", &host.key), "one", 2);
    clone.git(&["checkout", "-q", "-B", "main"]);
    std::fs::write(clone.path.join("large"), noise(8 << 20, 1)).expect("a file");
    clone.git(&["add", "large"]);
    let first = clone.commit("first");
    clone.git(&["push", "-q", "origin", "main"]);
    assert_eq!(host.head(&repo.id).as_ref(), Some(&first));
    std::fs::write(clone.path.join("large"), noise(16 << 20, 2)).expect("a file");
    clone.git(&["add", "large"]);
    clone.commit("second");
    clone.refused(&["push", "origin", "main"]);
    assert_eq!(host.head(&repo.id), Some(first));
    assert_eq!(host.pushes(&repo).len(), 1);
    wait_until("git has ended", || host.children() == 0);
}

#[test]
fn bodies_may_be_compressed() {
    let host = Host::start(|_| ());
    host.new_repo("app", "main");
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(LS_REFS).expect("memory");
    let body = encoder.finish().expect("memory");
    let ask = |encoding: &str, body: &[u8]| {
        let length = format!(
            "{encoding}content-length: {}\r\nconnection: close\r\n",
            body.len()
        );
        let mut tcp = TcpStream::connect(host.address()).expect("a connection");
        tcp.write_all(head(&host, "git-upload-pack", &length).as_bytes())
            .expect("written");
        tcp.write_all(body).expect("written");
        let mut answer = String::new();
        tcp.read_to_string(&mut answer).expect("an answer");
        answer
    };
    // The end of the listing of a repository without refs.
    let plain = ask("", LS_REFS);
    assert!(
        plain.starts_with("HTTP/1.1 200") && plain.contains("\r\n0000\r\n"),
        "{plain}"
    );
    let inflated = ask("content-encoding: gzip\r\n", &body);
    let end = |answer: &str| answer.split("\r\n\r\n").nth(1).map(str::to_owned);
    assert_eq!(end(&inflated), end(&plain));
    assert!(ask("content-encoding: br\r\n", &body).starts_with("HTTP/1.1 415"));
    assert!(ask("content-encoding: gzip\r\n", LS_REFS).starts_with("HTTP/1.1 400"));
}

#[test]
fn commands_come_in_the_time_of_a_request() {
    let host = Host::start(|config| config.git.time = Duration::from_secs(1));
    host.new_repo("app", "main");
    let mut tcp = TcpStream::connect(host.address()).expect("a connection");
    let head = head(&host, "git-receive-pack", "content-length: 1000\r\n");
    tcp.write_all(head.as_bytes()).expect("written");
    tcp.write_all(b"00").expect("written");
    let mut answer = [0; 12];
    tcp.read_exact(&mut answer).expect("an answer");
    assert_eq!(String::from_utf8_lossy(&answer), "HTTP/1.1 503");
    assert_eq!(host.git_processes(), 0);
}

#[test]
fn a_push_into_a_repository_that_is_removed_leaves_nothing() {
    let host = Host::start(|_| ());
    let repo = host.new_repo("app", "main");
    let tcp = stalled(&host, "git-receive-pack");
    wait_until("git runs", || host.git_processes() == 1);
    assert_eq!(host.unsettled(), 1);
    host.remove(&repo);
    drop(tcp);
    wait_until("git has ended", || host.git_processes() == 0);
    assert_eq!(host.unsettled(), 0);
}

#[test]
fn clients_that_do_not_read_leave_places_for_others() {
    let host = Host::start(|config| {
        config.connections = 2;
        config.stall = Duration::from_millis(300);
    });
    let request = "GET /v1/openapi.json HTTP/1.1\r\nhost: a\r\n\r\n";
    // More than what the buffers of two sockets take.
    let requests = request.repeat(600);
    let deaf: Vec<TcpStream> = (0..2)
        .map(|_| {
            let mut tcp = TcpStream::connect(host.address()).expect("a connection");
            tcp.write_all(requests.as_bytes()).expect("written");
            tcp
        })
        .collect();
    let (sender, answer) = std::sync::mpsc::channel();
    std::thread::scope(|scope| {
        let host = &host;
        scope.spawn(move || {
            let request = "GET /healthz HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
            sender.send(host.raw(request)).ok();
        });
        let answer = answer.recv_timeout(Duration::from_secs(30));
        drop(deaf);
        let answer = answer.expect("nobody is served");
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    });
}
