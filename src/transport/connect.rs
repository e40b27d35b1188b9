//! [`Dialer`]: name resolution, the network policy, connecting and the TLS handshake.

use std::{
    fmt, io,
    io::Read as _,
    net::{SocketAddr, TcpStream, ToSocketAddrs as _},
    sync::{Arc, mpsc},
    thread,
    time::Duration,
};

use rustls::{ClientConfig, ClientConnection, pki_types::ServerName};
use ureq::{
    config::Config,
    http::Uri,
    unversioned::{
        resolver::{ResolvedSocketAddrs, Resolver},
        transport::{Buffers, ConnectionDetails, Connector, LazyBuffers, NextTimeout, Transport},
    },
};

use super::{
    NetworkPolicy, Origin,
    background::{THREADS, Threads},
    credentials::Authorization,
    deadline::Deadline,
    link::Link,
    socket::{POLL, Socket, connection_broke},
};
use crate::{Error, ErrorKind};

/// The maker of connections, from name resolution to the end of the TLS handshake.
///
/// All steps are here, so that the policy checks exactly the addresses that are connected to.
pub(super) struct Dialer {
    pub(super) link: Arc<Link>,
    pub(super) policy: NetworkPolicy,
    /// `None` for an `http` URL.
    pub(super) tls: Option<Arc<ClientConfig>>,
    pub(super) authorization: Option<Arc<Authorization>>,
    pub(super) look_up: LookUp,
}

/// A function that resolves a host and a port to addresses.
pub(super) type LookUp = Arc<dyn Fn(&str, u16) -> io::Result<Vec<SocketAddr>> + Send + Sync>;

/// The system's resolver.
pub(super) fn system_look_up() -> LookUp {
    Arc::new(|host, port| Ok((host, port).to_socket_addrs()?.collect()))
}

impl Dialer {
    /// A connection, and the TLS on it for `https`.
    fn dial(&self, origin: &Origin) -> Result<(Socket, Option<Box<ClientConnection>>), Error> {
        self.policy.check_scheme(origin)?;
        let deadline = Deadline::after(self.link.timeouts.connect);
        let addresses = self.resolve(origin, deadline)?;
        let mut socket = self.connect(origin, addresses, deadline)?;
        let tls = if origin.is_https() {
            Some(Box::new(self.handshake(origin, &mut socket)?))
        } else {
            None
        };
        socket.established();
        Ok((socket, tls))
    }

    fn resolve(&self, origin: &Origin, deadline: Deadline) -> Result<Vec<SocketAddr>, Error> {
        if !self.policy.allows_name(origin.host()) {
            return Err(forbidden(origin));
        }
        let (host, port) = (origin.host().to_owned(), origin.port());
        let resolver = self.look_up.clone();
        let doing = format!("looking up {}", origin.host());
        let look_up = move || resolver(&host, port);
        let mut addresses =
            self.in_background(&THREADS, deadline, ErrorKind::Dns, &doing, look_up)?;
        if addresses.is_empty() {
            return Err(Error::new(
                ErrorKind::Dns,
                format!("{doing} gave no address"),
            ));
        }
        addresses.retain(|address| self.policy.allows(address.ip()));
        if addresses.is_empty() {
            return Err(forbidden(origin));
        }
        Ok(addresses)
    }

    fn connect(
        &self,
        origin: &Origin,
        addresses: Vec<SocketAddr>,
        deadline: Deadline,
    ) -> Result<Socket, Error> {
        let doing = format!("connecting to {origin}");
        let link = self.link.clone();
        let connect = move || Socket::new(connect_to_any(&addresses, deadline)?, link, deadline);
        self.in_background(&THREADS, deadline, ErrorKind::Connect, &doing, connect)
    }

    fn handshake(&self, origin: &Origin, socket: &mut Socket) -> Result<ClientConnection, Error> {
        let failed = || {
            Error::new(
                ErrorKind::Tls,
                format!("the TLS handshake with {origin} failed"),
            )
        };
        let name = ServerName::try_from(origin.host().to_owned())
            .map_err(|err| failed().with_source(err))?;
        let tls = self.tls.clone().ok_or_else(failed)?;
        let mut connection =
            ClientConnection::new(tls, name).map_err(|err| failed().with_source(err))?;
        match connection.complete_io(socket) {
            Ok(_) => Ok(connection),
            Err(err) if is_tls(&err) => Err(failed().with_source(err)),
            Err(err) => Err(connection_broke().with_source(err)),
        }
    }

    /// Runs an operation that cannot be interrupted on a thread of its own, once one more thread may run. The thread is
    /// abandoned if the run is cancelled or out of time.
    fn in_background<T: Send + 'static>(
        &self,
        threads: &'static Threads,
        deadline: Deadline,
        kind: ErrorKind,
        doing: &str,
        work: impl FnOnce() -> io::Result<T> + Send + 'static,
    ) -> Result<T, Error> {
        let failed = || Error::new(kind, format!("{doing} failed"));
        let slot = loop {
            self.link.run().check()?;
            if let Some(slot) = threads.slot() {
                break slot;
            }
            if deadline.is_over() {
                let doing = format!("{doing}: all background threads are in use");
                return Err(deadline.exceeded(kind, &doing));
            }
            thread::sleep(POLL);
        };
        let (sender, receiver) = mpsc::sync_channel(1);
        thread::Builder::new()
            .name("refsync-connect".into())
            .spawn(move || {
                let _until_it_is_done = slot;
                sender.send(work())
            })
            .map_err(|err| Error::io("starting a thread", err))?;
        loop {
            self.link.run().check()?;
            match receiver.recv_timeout(POLL) {
                Ok(done) => return done.map_err(|err| failed().with_source(err)),
                Err(_) if deadline.is_over() => return Err(deadline.exceeded(kind, doing)),
                Err(mpsc::RecvTimeoutError::Timeout) => {}
                Err(mpsc::RecvTimeoutError::Disconnected) => return Err(failed()),
            }
        }
    }
}

/// The error for an origin that the policy forbids. It does not show the addresses of a name, which may be internal to the
/// service's network.
fn forbidden(origin: &Origin) -> Error {
    let text = format!(
        "the network policy does not allow the address of {}",
        origin.host()
    );
    Error::new(ErrorKind::Forbidden, text)
}

/// The first connection that succeeds. Each address gets an equal share of the remaining time.
fn connect_to_any(addresses: &[SocketAddr], deadline: Deadline) -> io::Result<TcpStream> {
    let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
    for (index, address) in addresses.iter().enumerate() {
        let remaining = u32::try_from(addresses.len() - index).unwrap_or(u32::MAX);
        let share = (deadline.left() / remaining).max(Duration::from_millis(1));
        match TcpStream::connect_timeout(address, share) {
            Ok(stream) => return Ok(stream),
            Err(err) => last = err,
        }
    }
    Err(last)
}

fn is_tls(err: &io::Error) -> bool {
    err.get_ref()
        .is_some_and(|cause| cause.is::<rustls::Error>())
}

impl Connector for Dialer {
    type Out = Wire;

    fn connect(
        &self,
        details: &ConnectionDetails<'_>,
        _chained: Option<()>,
    ) -> Result<Option<Wire>, ureq::Error> {
        self.link.request().is_new_connection = true;
        let origin = Origin::of(details.uri).ok_or(ureq::Error::HostNotFound)?;
        let (socket, tls) = self
            .dial(&origin)
            .map_err(|err| self.link.failure.record(err))?;
        Ok(Some(Wire {
            socket,
            tls,
            link: self.link.clone(),
            authorization: self.authorization.clone(),
            buffers: LazyBuffers::new(
                details.config.input_buffer_size(),
                details.config.output_buffer_size(),
            ),
        }))
    }
}

impl fmt::Debug for Dialer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dialer")
            .field("policy", &self.policy)
            .finish_non_exhaustive()
    }
}

/// A resolver that returns no addresses. ureq resolves names before it looks for a pooled connection; [`Dialer`] resolves
/// them only for a new connection.
#[derive(Debug)]
pub(super) struct NoResolver;

impl Resolver for NoResolver {
    fn resolve(
        &self,
        _uri: &Uri,
        _config: &Config,
        _timeout: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, ureq::Error> {
        Ok(self.empty())
    }
}

/// An established connection, as a transport of ureq.
///
/// ureq's own timeouts are not used, because the socket enforces the deadlines.
#[derive(Debug)]
pub(super) struct Wire {
    socket: Socket,
    /// `None` for plain HTTP.
    tls: Option<Box<ClientConnection>>,
    link: Arc<Link>,
    authorization: Option<Arc<Authorization>>,
    buffers: LazyBuffers,
}

impl Wire {
    fn broken(&self, err: io::Error) -> ureq::Error {
        let kept = if is_tls(&err) {
            Error::new(ErrorKind::Tls, "the TLS connection failed")
        } else {
            connection_broke()
        };
        self.link.failure.record(kept.with_source(err)).into()
    }
}

fn write_parts(to: &mut impl io::Write, parts: [&[u8]; 3]) -> io::Result<()> {
    for part in parts {
        to.write_all(part)?;
    }
    to.flush()
}

impl Transport for Wire {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    fn transmit_output(&mut self, amount: usize, _: NextTimeout) -> Result<(), ureq::Error> {
        let output = &self.buffers.output()[..amount];
        let authorization = self
            .authorization
            .as_ref()
            .filter(|_| !self.link.request().head_is_out);
        let parts = match authorization.and_then(|authorization| authorization.put_in(output)) {
            Some(parts) => {
                self.link.request().head_is_out = true;
                parts
            }
            None => [output, b"", b""],
        };
        let socket = &mut self.socket;
        let sent = match &mut self.tls {
            Some(tls) => write_parts(&mut rustls::Stream::new(&mut **tls, socket), parts),
            None => write_parts(socket, parts),
        };
        sent.map_err(|err| self.broken(err))
    }

    fn await_input(&mut self, _: NextTimeout) -> Result<bool, ureq::Error> {
        let input = self.buffers.input_append_buf();
        // An end without TLS's close_notify is an error. ureq would take it for the regular end of a body without a
        // length, which an attacker in the network can forge.
        let socket = &mut self.socket;
        let received = match &mut self.tls {
            Some(tls) => rustls::Stream::new(&mut **tls, socket).read(input),
            None => socket.read(input),
        };
        let received = received.map_err(|err| self.broken(err))?;
        let mut request = self.link.request();
        request.hung_up |= received == 0;
        let framing = request.framing.add(received);
        framing.map_err(|err| self.link.failure.record(err))?;
        self.buffers.input_appended(received);
        Ok(received > 0)
    }

    fn is_open(&mut self) -> bool {
        self.socket.is_open()
    }

    fn is_tls(&self) -> bool {
        self.tls.is_some()
    }
}

#[cfg(test)]
mod tests;
