//! URLs that must not be connected to, in every notation of them. None of them is: a listener at the
//! port in question counts.

use super::raw::Raw;
use super::{Ask, fails, remote};
use refsync::{ErrorKind, SmartHttp, SyncOptions};
use std::net::{Ipv6Addr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Hosts outside of the public internet.
const HOSTS: &[&str] = &[
    // This machine.
    "127.0.0.1",
    "127.0.0.2",
    "127.255.255.254",
    "localhost",
    "LOCALHOST",
    "LocalHost",
    "localhost.",
    "127.0.0.1.",
    "127.1",
    "127.0.1",
    "2130706433",
    "017700000001",
    "0x7f000001",
    "0x7f.1",
    "0x7F.0x0.0x0.0x1",
    "0177.0.0.1",
    "0177.1",
    "00000177.0.0.01",
    "0.0.0.0",
    "0",
    "0x0",
    "[::1]",
    "[0:0:0:0:0:0:0:1]",
    "[0000:0000:0000:0000:0000:0000:0000:0001]",
    "[::]",
    // IPv4 in IPv6.
    "[::ffff:127.0.0.1]",
    "[::ffff:7f00:1]",
    "[::FFFF:7F00:0001]",
    "[0:0:0:0:0:ffff:127.0.0.1]",
    "[::ffff:0:127.0.0.1]",
    "[::127.0.0.1]",
    "[::7f00:1]",
    "[64:ff9b::127.0.0.1]",
    "[64:ff9b::7f00:1]",
    "[64:ff9b:1::7f00:1]",
    "[2002:7f00:1::]",
    "[2002:7f00:1::1]",
    "[2001:0:7f00:1::]",
    // Metadata services and other link-local ones.
    "169.254.169.254",
    "2852039166",
    "0xa9fea9fe",
    "0251.0376.0251.0376",
    "[::ffff:169.254.169.254]",
    "[fd00:ec2::254]",
    "[fe80::1]",
    "[fe80::a9fe:a9fe]",
    "100.100.100.200",
    // Private networks.
    "10.0.0.1",
    "10.1",
    "0xa.1",
    "167772161",
    "172.16.0.1",
    "172.31.255.255",
    "192.168.0.1",
    "192.168.1",
    "0300.0250.1",
    "100.64.0.1",
    "[fc00::1]",
    "[fd12:3456:789a::1]",
    "[::ffff:192.168.0.1]",
    "[fec0::1]",
    // Nobody's, or everybody's.
    "192.0.0.8",
    "192.0.2.1",
    "198.18.0.1",
    "198.51.100.1",
    "203.0.113.1",
    "224.0.0.1",
    "240.0.0.1",
    "255.255.255.255",
    "[ff02::1]",
    "[2001:db8::1]",
    "[100::1]",
    "[3fff::1]",
];

/// Texts that are no URL of a remote, with `{port}` for that of the listener.
const NO_URLS: &[&str] = &[
    "file:///etc/passwd",
    "file://localhost:{port}/repo.git",
    "ssh://localhost:{port}/repo.git",
    "ssh://git@localhost:{port}/repo.git",
    "git@localhost:repo.git",
    "git://localhost:{port}/repo.git",
    "git+ssh://localhost:{port}/repo.git",
    "ext::sh -c 'nc localhost {port}'",
    "fd::17",
    "ftp://localhost:{port}/repo.git",
    "gopher://localhost:{port}/repo.git",
    "ws://localhost:{port}/repo.git",
    "https::http://localhost:{port}/repo.git",
    "javascript:localhost:{port}",
    "localhost:{port}/repo.git",
    "//localhost:{port}/repo.git",
    "/srv/repo.git",
    "https:/localhost:{port}/repo.git",
    "https:localhost:{port}/repo.git",
    "https:///localhost:{port}/repo.git",
    "https://me@localhost:{port}/repo.git",
    "https://me:pw@localhost:{port}/repo.git",
    "https://@localhost:{port}/repo.git",
    "https://public.example@localhost:{port}/repo.git",
    "https://public.example:443@localhost:{port}/repo.git",
    "https://public.example\\@localhost:{port}/repo.git",
    "https://public.example%40localhost:{port}/repo.git",
    "https://public.example#@localhost:{port}/repo.git",
    "https://public.example?@localhost:{port}/repo.git",
    "https://localhost:{port}/repo.git?x",
    "https://localhost:{port}/repo.git#x",
    "https://localhost:{port}\t/repo.git",
    "https://localhost:{port}/repo.git\r\nHost: x",
    " https://localhost:{port}/repo.git",
    "https://local host:{port}/repo.git",
    "https://%6c%6f%63%61%6c%68%6f%73%74:{port}/repo.git",
    "https://%31%32%37.0.0.1:{port}/repo.git",
    "https://127%2e0%2e0%2e1:{port}/repo.git",
    "https://localhost%00.public.example:{port}/repo.git",
    "https://①②⑦.⓪.⓪.①:{port}/repo.git",
    "https://１２７.０.０.１:{port}/repo.git",
    "https://ｌｏｃａｌｈｏｓｔ:{port}/repo.git",
    "https://127。0。0。1:{port}/repo.git",
    "https://١٢٧.٠.٠.١:{port}/repo.git",
    "https://[::1:{port}/repo.git",
    "https://[::1%25lo]:{port}/repo.git",
    "https://[::1%lo]:{port}/repo.git",
    "https://[v1.x]:{port}/repo.git",
    "https://[127.0.0.1]:{port}/repo.git",
    "https://[localhost]:{port}/repo.git",
    "https://[::1]{port}/repo.git",
    "https://::1:{port}/repo.git",
    "https://:{port}/repo.git",
    "https://localhost:{port}:{port}/repo.git",
    "https://localhost:+{port}/repo.git",
    "https://localhost:0/repo.git",
    "https://localhost:99999/repo.git",
    "https://localhost:/repo.git",
];

/// Counts connections to one port of this machine, over IPv4 and IPv6 (where there is any).
struct Listeners {
    port: u16,
    connections: Arc<AtomicUsize>,
}

fn listen() -> Listeners {
    let v4 = TcpListener::bind("0.0.0.0:0").expect("a port");
    let port = v4.local_addr().expect("an address").port();
    let v6 = TcpListener::bind((Ipv6Addr::LOCALHOST, port)).ok();
    let connections = Arc::new(AtomicUsize::new(0));
    for listener in [Some(v4), v6].into_iter().flatten() {
        let counted = connections.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                counted.fetch_add(1, Ordering::SeqCst);
                drop(stream);
            }
        });
    }
    Listeners { port, connections }
}

impl Listeners {
    #[track_caller]
    fn assert_unknown(&self) {
        // It does count: one that is made on purpose arrives after all others.
        std::net::TcpStream::connect(("127.0.0.1", self.port)).expect("a listener");
        while self.connections.load(Ordering::SeqCst) == 0 {
            std::thread::yield_now();
        }
        assert_eq!(self.connections.load(Ordering::SeqCst), 1);
    }
}

#[test]
fn hosts_outside_of_the_public_internet() {
    assert!(HOSTS.len() >= 60);
    let listeners = listen();
    for host in HOSTS {
        for scheme in ["https", "http"] {
            let url = format!("{scheme}://{host}:{}/repo.git", listeners.port);
            let mut kinds = vec![];
            match SmartHttp::new(&url) {
                Err(err) => kinds.push(err.kind()),
                Ok(remote) => {
                    let asks = [Ask::Listing, Ask::ListingForPush, Ask::Pack];
                    let options = SyncOptions::default();
                    kinds.extend(asks.map(|ask| fails(&remote, ask, &options).0.kind()));
                }
            }
            for kind in kinds {
                let expected = [ErrorKind::Forbidden, ErrorKind::InvalidUrl];
                assert!(expected.contains(&kind), "{url}: {kind:?}");
            }
        }
    }
    listeners.assert_unknown();
}

#[test]
fn plain_http_even_to_the_public_internet() {
    let remote = SmartHttp::new("http://1.1.1.1/repo.git").expect("a URL");
    let (err, received) = fails(&remote, Ask::Listing, &SyncOptions::default());
    assert_eq!(err.kind(), ErrorKind::Forbidden);
    assert_eq!(received, 0);
}

#[test]
fn what_is_no_url_of_a_remote() {
    let listeners = listen();
    for url in NO_URLS {
        let url = url.replace("{port}", &listeners.port.to_string());
        let err = SmartHttp::new(&url).expect_err(&url);
        assert_eq!(err.kind(), ErrorKind::InvalidUrl, "{url}: {err}");
        assert!(!err.to_string().contains("pw"), "{err}");
    }
    listeners.assert_unknown();
}

/// Set for the child process that is this test once more.
const CHILD: &str = "REFSYNC_TEST_OF_PROXIES";

#[test]
fn no_proxy_is_taken_from_the_environment() {
    if let Ok(url) = std::env::var(CHILD) {
        let (err, _) = fails(&remote(&url), Ask::Listing, &SyncOptions::default());
        assert_eq!(err.kind(), ErrorKind::NotFound, "the server itself answers");
        return;
    }
    use std::io::Write as _;
    let not_found = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n";
    let server = Raw::start(move |_, stream| stream.write_all(not_found));
    let proxy = Raw::start(|_, stream| stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n"));
    let mut child = std::process::Command::new(std::env::current_exe().expect("this test"));
    child.args([
        "--exact",
        "forbidden::no_proxy_is_taken_from_the_environment",
    ]);
    child.env(CHILD, server.url());
    for name in ["http_proxy", "https_proxy", "all_proxy"] {
        let url = format!("http://{}", proxy.address);
        child.env(name, &url).env(name.to_uppercase(), &url);
    }
    child.env_remove("NO_PROXY").env_remove("no_proxy");
    let done = child.output().expect("a child process");
    assert!(done.status.success(), "{done:?}");
    assert_eq!(server.requests().len(), 1);
    assert_eq!(proxy.connections(), 0);
}

#[test]
fn the_policy_opens_it_all() {
    use std::io::Write as _;
    let not_found = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n";
    for host in [
        "127.0.0.1",
        "localhost",
        "127.1",
        "2130706433",
        "0177.0.0.1",
    ] {
        let server = Raw::start(move |_, stream| stream.write_all(not_found));
        let url = format!("http://{host}:{}/repo.git", server.address.port());
        let (err, _) = fails(&remote(&url), Ask::Listing, &SyncOptions::default());
        assert_eq!(err.kind(), ErrorKind::NotFound, "{host}");
        assert_eq!(server.requests().len(), 1, "{host}");
    }
}
