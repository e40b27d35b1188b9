//! [`Socket`]: a TCP connection whose waits end with the run, a deadline or a low rate.

use std::{
    io::{self, Read, Write},
    net::TcpStream,
    sync::Arc,
    time::Duration,
};

use super::{deadline::Deadline, link::Link};
use crate::{Error, ErrorKind, Traffic};

/// The time between two checks of the cancel flag and the deadlines in a wait.
pub(super) const POLL: Duration = Duration::from_millis(50);

/// A TCP connection whose reads and writes end when the run is cancelled, a limit is exceeded or no byte moves.
///
/// Its errors are in [`Link::failure`] by the time they are returned.
#[derive(Debug)]
pub(super) struct Socket {
    stream: TcpStream,
    link: Arc<Link>,
    /// The deadline of the handshake; `None` once the connection is established.
    setup: Option<Deadline>,
    /// Whether an error has occurred. rustls drops the error of a write and calls again, which must not wait again.
    broken: bool,
    /// Whether the peer accepts no more bytes. It may have sent an answer before, so writes are dropped and reads go
    /// on.
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

    /// Whether the connection can be reused: the peer has neither closed it nor sent unsolicited bytes.
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
            self.link.run().check()?;
            match op(&self.stream) {
                Ok(moved) => {
                    let pace = &mut self.link.request().pace;
                    pace.add(idle.elapsed(), moved, &self.link.timeouts)?;
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
            let waits = [Some(idle), self.link.request().patience];
            if let Some(over) = waits.into_iter().flatten().find(Deadline::is_over) {
                return Err(over.exceeded(ErrorKind::Network, "waiting for the server"));
            }
        }
    }
}

impl Read for Socket {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let mut hung_up = false;
        let received = self.poll(|mut stream| {
            let read = stream.read(buf);
            hung_up = read.as_ref().map_or_else(is_hang_up, |read| *read == 0);
            read
        });
        if hung_up {
            self.link.request().hung_up = true;
        }
        let received = received?;
        if let Err(err) = self.link.run().received(received) {
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
            self.link.request().hung_up = true;
        } else {
            self.link.run().add_traffic(Traffic {
                bytes_sent: sent as u64,
                ..Traffic::default()
            });
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

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;
    use crate::transport::Timeouts;

    fn connected() -> (Socket, TcpStream, Arc<Link>) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("an address");
        let stream = TcpStream::connect(address).expect("connected");
        let (peer, _) = listener.accept().expect("a connection");
        let timeouts = Timeouts {
            idle: POLL,
            ..Timeouts::default()
        };
        let link = Arc::new(Link::new(timeouts));
        let socket =
            Socket::new(stream, link.clone(), Deadline::after(Duration::MAX)).expect("a socket");
        (socket, peer, link)
    }

    /// Bytes that no request asked for would be taken for the answer to the next one.
    #[test]
    fn a_socket_with_bytes_to_read_is_not_open_and_one_at_its_end_neither() {
        let (socket, mut peer, _) = connected();
        assert!(socket.is_open());
        peer.write_all(b"HTTP/1.1 200 OK\r\n").expect("sent");
        until_readable(&socket);
        assert!(!socket.is_open());

        let (socket, peer, _) = connected();
        assert!(socket.is_open());
        drop(peer);
        until_readable(&socket);
        assert!(!socket.is_open());
    }

    fn until_readable(socket: &Socket) {
        while socket.stream.peek(&mut [0]).is_err() {}
    }

    #[test]
    fn a_socket_that_failed_once_stays_failed() {
        let (mut socket, mut peer, link) = connected();
        assert!(socket.is_open());
        socket.read(&mut [0]).expect_err("nothing was sent");
        let failure = link.failure.take().map(|err| err.kind());
        assert_eq!(failure, Some(ErrorKind::Network));

        peer.write_all(b"too late").expect("sent");
        socket.read(&mut [0]).expect_err("failed for good");
        assert!(!socket.is_open());
        assert_eq!(link.run().traffic().bytes_received, 0);
    }
}
