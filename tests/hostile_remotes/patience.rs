//! Remotes that take their time. A run ends within a second of its deadline or of being cancelled,
//! wherever it is. For uploads see the tests beside the code.

use super::raw::{ID, Raw, Request, announced, capabilities, first_ref, head, packet};
use super::{Ask, fails, fetch, remote};
use refsync::{
    Error, ErrorKind, RefSource as _, Service, SmartHttp, SyncContext, SyncOptions, Timeouts,
};
use std::io::{self, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, sleep};
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_millis(400);
const GRACE: Duration = Duration::from_secs(1);

/// A wait of a run, and the step that it is in meanwhile.
struct Stage {
    name: &'static str,
    /// The URL, and what has to stay alive for it.
    start: fn() -> (String, Box<dyn std::any::Any>),
    work: fn(&SmartHttp, &SyncContext) -> Result<(), Error>,
}

const STAGES: &[Stage] = &[
    Stage {
        name: "a connection that is not accepted",
        start: full_backlog,
        work: list,
    },
    Stage {
        name: "a TLS handshake that is not answered",
        start: || {
            let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
            let port = listener.local_addr().expect("an address").port();
            (
                format!("https://localhost:{port}/repo.git"),
                Box::new(listener),
            )
        },
        work: list,
    },
    Stage {
        name: "headers that don't come",
        start: || serve(|_, stream| stall(stream, b"")),
        work: list,
    },
    Stage {
        name: "headers that dribble",
        start: || serve(|_, stream| dribble(stream, b"HTTP/1.1 200 OK\r\nX: ", b"x")),
        work: list,
    },
    Stage {
        name: "a listing that stalls",
        start: || serve(|request, stream| stall(stream, &listing(request))),
        work: list,
    },
    Stage {
        name: "a listing that dribbles",
        start: || {
            serve(|request, stream| {
                dribble(
                    stream,
                    &listing(request),
                    &packet(format!("{ID} refs/heads/x")),
                )
            })
        },
        work: list,
    },
    Stage {
        name: "an answer to ls-refs that dribbles",
        start: || {
            serve(|request, stream| match request.is_listing() {
                true => whole(stream, request, &capabilities()),
                false => dribble(
                    stream,
                    head(request, "").as_bytes(),
                    &packet(format!("{ID} refs/heads/x")),
                ),
            })
        },
        work: list,
    },
    Stage {
        name: "acknowledgments that dribble",
        start: || {
            serve(|request, stream| match request.is_listing() {
                true => whole(stream, request, &capabilities()),
                false => dribble(
                    stream,
                    &fetched(request, b"acknowledgments\n"),
                    &packet("NAK\n"),
                ),
            })
        },
        work: fetch,
    },
    Stage {
        name: "a pack that dribbles",
        start: || {
            serve(|request, stream| match request.is_listing() {
                true => whole(stream, request, &capabilities()),
                false => dribble(stream, &fetched(request, b"packfile\n"), &packet(b"\x01x")),
            })
        },
        work: fetch,
    },
    Stage {
        name: "progress that dribbles",
        start: || {
            serve(|request, stream| match request.is_listing() {
                true => whole(stream, request, &capabilities()),
                false => dribble(stream, &fetched(request, b"packfile\n"), &packet(b"\x02x")),
            })
        },
        work: fetch,
    },
];

fn serve(
    answer: fn(&Request, &mut TcpStream) -> io::Result<()>,
) -> (String, Box<dyn std::any::Any>) {
    let server = Raw::start(answer);
    (server.url(), Box::new(server))
}

/// A port to which no further connection can be made.
fn full_backlog() -> (String, Box<dyn std::any::Any>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address: SocketAddr = listener.local_addr().expect("an address");
    let mut waiting = Vec::new();
    while let Ok(stream) = TcpStream::connect_timeout(&address, Duration::from_millis(200)) {
        waiting.push(stream);
    }
    let url = format!("http://127.0.0.1:{}/repo.git", address.port());
    (url, Box::new((listener, waiting)))
}

fn stall(stream: &mut TcpStream, start: &[u8]) -> io::Result<()> {
    stream.write_all(start)?;
    io::copy(stream, &mut io::sink()).map(drop)
}

fn dribble(stream: &mut TcpStream, start: &[u8], again: &[u8]) -> io::Result<()> {
    stream.set_nodelay(true)?;
    stream.write_all(start)?;
    loop {
        stream.write_all(again)?;
        sleep(Duration::from_millis(30));
    }
}

fn whole(stream: &mut TcpStream, request: &Request, body: &[u8]) -> io::Result<()> {
    let framing = format!("Content-Length: {}\r\n", body.len());
    stream.write_all(&[head(request, &framing).as_bytes(), body].concat())
}

fn listing(request: &Request) -> Vec<u8> {
    [head(request, "").into_bytes(), first_ref()].concat()
}

fn fetched(request: &Request, section: &[u8]) -> Vec<u8> {
    [head(request, "").into_bytes(), packet(section)].concat()
}

fn list(remote: &SmartHttp, context: &SyncContext) -> Result<(), Error> {
    remote.list(Service::UploadPack, &[], context).map(drop)
}

#[test]
fn the_deadline_holds_at_every_stage() {
    thread::scope(|scope| {
        for stage in STAGES {
            scope.spawn(|| {
                let (url, _alive) = (stage.start)();
                let mut options = SyncOptions::default();
                options.limits.total_time = Some(PATIENCE);
                let (remote, context) = (remote(&url), SyncContext::new(&options));
                let begun = Instant::now();
                let err = (stage.work)(&remote, &context).expect_err(stage.name);
                let took = begun.elapsed();
                assert_eq!(
                    err.kind(),
                    ErrorKind::BudgetExceeded,
                    "{}: {err:?}",
                    stage.name
                );
                let text = "more than 400ms (limit `total_time`)";
                assert_eq!(err.to_string(), text, "{}", stage.name);
                assert!(took >= PATIENCE, "{}: {took:?}", stage.name);
                assert!(took <= PATIENCE + GRACE, "{}: {took:?}", stage.name);
            });
        }
    });
}

#[test]
fn cancellation_holds_at_every_stage() {
    thread::scope(|scope| {
        for stage in STAGES {
            scope.spawn(|| {
                let (url, _alive) = (stage.start)();
                let flag = Arc::new(AtomicBool::new(false));
                let mut options = SyncOptions::default();
                options.cancel = Some(flag.clone());
                let (remote, context) = (remote(&url), SyncContext::new(&options));
                let raised = scope.spawn(move || {
                    sleep(PATIENCE);
                    flag.store(true, Ordering::Relaxed);
                    Instant::now()
                });
                let err = (stage.work)(&remote, &context).expect_err(stage.name);
                let done = Instant::now();
                assert_eq!(err.kind(), ErrorKind::Cancelled, "{}: {err:?}", stage.name);
                let raised = raised.join().expect("a raised flag");
                let took = done.saturating_duration_since(raised);
                assert!(took <= GRACE, "{}: {took:?}", stage.name);
            });
        }
    });
}

#[test]
fn a_server_that_dribbles_is_too_slow() {
    let mut timeouts = Timeouts::default();
    timeouts.min_rate = 1_000;
    timeouts.rate_window = Duration::from_millis(300);
    // Too few bytes at a time to be in time, and enough of them.
    for (bytes, is_slow) in [(1, true), (1_000, false)] {
        let server = Raw::start(move |request, stream| {
            stream.set_nodelay(true)?;
            stream.write_all(
                &[
                    head(request, ""),
                    String::from_utf8_lossy(&announced()).into(),
                ]
                .concat()
                .into_bytes(),
            )?;
            let line = packet(format!("{ID} {}", "x".repeat(3_000)));
            for part in line.chunks(bytes) {
                stream.write_all(part)?;
                sleep(Duration::from_millis(if is_slow { 20 } else { 200 }));
            }
            stream.write_all(b"0000")?;
            Err(io::ErrorKind::ConnectionAborted.into())
        });
        let remote = remote(&server.url()).with_timeouts(timeouts);
        let (err, _) = fails(&remote, Ask::Listing, &SyncOptions::default());
        let expected = if is_slow {
            ErrorKind::Network
        } else {
            ErrorKind::Protocol
        };
        assert_eq!(err.kind(), expected, "{err:?}");
        let text = "the server is slower than 1000 bytes per second for 300ms";
        assert_eq!(err.to_string() == text, is_slow, "{err}");
    }
}
