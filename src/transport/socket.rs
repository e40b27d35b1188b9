use std::{
    io::{self, Read, Write},
    net::TcpStream,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use super::{
    CurrentRun, Meter, Timeouts,
    failure::Failure,
    pace::{Framing, Pace},
};
use crate::{Error, ErrorKind};

/// How often a wait looks at the cancel flag and the clock.
pub(super) const POLL: Duration = Duration::from_millis(50);

/// What a client shares with all of its connections.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) run: CurrentRun,
    pub(super) meter: Arc<Meter>,
    pub(super) failure: Failure,
    pub(super) hung_up: HungUp,
    pub(super) timeouts: Timeouts,
    pub(super) pace: Pace,
    pub(super) framing: Framing,
    /// Whether the credentials of the current request have been sent.
    head_is_out: AtomicBool,
}

impl Link {
    pub(super) fn new(run: CurrentRun, meter: Arc<Meter>, timeouts: Timeouts) -> Self {
        Link {
            run,
            meter,
            failure: Failure::default(),
            hung_up: HungUp::default(),
            timeouts,
            pace: Pace::default(),
            framing: Framing::default(),
            head_is_out: AtomicBool::default(),
        }
    }

    pub(super) fn begin_request(&self) {
        self.head_is_out.store(false, Ordering::Relaxed);
        self.hung_up.set(false);
        self.pace.start_over();
        self.framing.ends();
    }

    pub(super) fn head_is_out(&self) -> bool {
        self.head_is_out.load(Ordering::Relaxed)
    }

    pub(super) fn head_goes_out(&self) {
        self.head_is_out.store(true, Ordering::Relaxed);
    }
}

/// Whether the server closed the connection before it had all of the current request.
#[derive(Debug, Default)]
pub(super) struct HungUp(AtomicBool);

impl HungUp {
    pub(super) fn get(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    pub(super) fn set(&self, hung_up: bool) {
        self.0.store(hung_up, Ordering::Relaxed);
    }
}

/// A TCP connection whose reads and writes end when the run is cancelled or nothing moves.
///
/// Its errors are in [`Link::failure`] by the time they are returned.
#[derive(Debug)]
pub(super) struct Socket {
    stream: TcpStream,
    link: Arc<Link>,
    /// Until when the connection must be established, while it isn't.
    setup: Option<Deadline>,
    /// rustls swallows the error of a write and comes back. It must not wait a second time.
    broken: bool,
    /// The peer takes nothing any more. It may have said why before it stopped, so what is written
    /// goes nowhere and what can be read is read.
    is_mute: bool,
}

impl Socket {
    pub(super) fn new(stream: TcpStream, link: Arc<Link>, setup: Deadline) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(POLL))?;
        stream.set_write_timeout(Some(POLL))?;
        Ok(Socket {
            stream,
            link,
            setup: Some(setup),
            broken: false,
            is_mute: false,
        })
    }

    pub(super) fn established(&mut self) {
        self.setup = None;
    }

    /// Whether the peer has neither closed the connection nor sent what nobody asked for.
    pub(super) fn is_open(&self) -> bool {
        let is_silent = || -> io::Result<bool> {
            self.stream.set_nonblocking(true)?;
            let peeked = self.stream.peek(&mut [0]);
            self.stream.set_nonblocking(false)?;
            Ok(matches!(peeked, Err(err) if err.kind() == io::ErrorKind::WouldBlock))
        };
        !self.broken && !self.is_mute && is_silent().unwrap_or(false)
    }

    fn poll(&mut self, op: impl FnMut(&TcpStream) -> io::Result<usize>) -> io::Result<usize> {
        if self.broken {
            return Err(io::Error::other("the connection failed before"));
        }
        self.try_poll(op).map_err(|err| {
            self.broken = true;
            self.link.failure.record(err)
        })
    }

    fn try_poll(
        &self,
        mut op: impl FnMut(&TcpStream) -> io::Result<usize>,
    ) -> Result<usize, Error> {
        use io::ErrorKind::{Interrupted, TimedOut, WouldBlock};
        let idle = Deadline::after(self.link.timeouts.idle);
        loop {
            self.link.run.check()?;
            match op(&self.stream) {
                Ok(moved) => {
                    let timeouts = &self.link.timeouts;
                    self.link.pace.add(idle.elapsed(), moved, timeouts)?;
                    return Ok(moved);
                }
                Err(err) if matches!(err.kind(), WouldBlock | TimedOut | Interrupted) => {}
                Err(err) => return Err(connection_broke().with_source(err)),
            }
            if let Some(setup) = &self.setup
                && setup.is_over()
            {
                return Err(setup.exceeded(ErrorKind::Connect, "the TLS handshake"));
            }
            if idle.is_over() {
                return Err(idle.exceeded(ErrorKind::Network, "waiting for the server"));
            }
        }
    }
}

impl Read for Socket {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let received = self.poll(|mut stream| stream.read(buf))?;
        self.link.meter.count_received(received);
        if let Err(err) = self.link.run.received(received) {
            self.broken = true;
            return Err(self.link.failure.record(err));
        }
        Ok(received)
    }
}

impl Write for Socket {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        if self.is_mute {
            return Ok(buf.len());
        }
        let mut hung_up = false;
        let sent = self.poll(|mut stream| match stream.write(buf) {
            Err(err) if is_hang_up(&err) => {
                hung_up = true;
                Ok(buf.len())
            }
            written => written,
        })?;
        if hung_up {
            self.is_mute = true;
            self.link.hung_up.set(true);
        } else {
            self.link.meter.count_sent(sent);
        }
        Ok(sent)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn is_hang_up(err: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset};
    matches!(err.kind(), BrokenPipe | ConnectionReset | ConnectionAborted)
}

pub(super) fn connection_broke() -> Error {
    Error::new(
        ErrorKind::Network,
        "the connection broke before the answer was complete",
    )
}

/// A point in time that remembers how it came about.
#[derive(Debug, Clone, Copy)]
pub(super) struct Deadline {
    start: Instant,
    limit: Duration,
}

impl Deadline {
    pub(super) fn after(limit: Duration) -> Self {
        Deadline {
            start: Instant::now(),
            limit,
        }
    }

    pub(super) fn elapsed(&self) -> Duration {
        self.start.elapsed()
    }

    pub(super) fn left(&self) -> Duration {
        self.limit.saturating_sub(self.elapsed())
    }

    pub(super) fn is_over(&self) -> bool {
        self.left().is_zero()
    }

    pub(super) fn exceeded(&self, kind: ErrorKind, doing: &str) -> Error {
        Error::new(kind, format!("timed out after {:?}: {doing}", self.limit))
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn a_socket_that_failed_once_stays_failed() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("an address");
        let stream = TcpStream::connect(address).expect("connected");
        let (mut peer, _) = listener.accept().expect("a connection");
        let timeouts = Timeouts {
            idle: POLL,
            ..Timeouts::default()
        };
        let link = Arc::new(Link::new(CurrentRun::default(), Arc::default(), timeouts));
        let mut socket =
            Socket::new(stream, link.clone(), Deadline::after(Duration::MAX)).expect("a socket");
        assert!(socket.is_open());
        socket.read(&mut [0]).expect_err("nothing was sent");
        let failure = link.failure.take().map(|err| err.kind());
        assert_eq!(failure, Some(ErrorKind::Network));

        peer.write_all(b"too late").expect("sent");
        socket.read(&mut [0]).expect_err("failed for good");
        assert!(!socket.is_open());
        assert_eq!(link.meter.bytes_received(), 0);
    }
}
