//! `git http-backend` behind a small HTTP/1.1 server that counts, and misbehaves on demand.

mod answer;
mod auth;
mod backend;
mod connection;
mod http;
mod record;
pub mod replay;
mod tls;

pub use answer::Answer;
pub use http::RequestHead;
pub use record::Request;

use answer::Script;
use auth::Credentials;
use backend::Backends;
use connection::Connections;
use record::{Log, Wire};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, RwLock};
use std::thread::{self, JoinHandle};
use std::time::Duration;
use tls::Identity;

/// Serves the repositories of one directory on a loopback port until it is dropped.
///
/// Dropping cuts every connection, kills what git still runs, and panics if an intercept did.
pub struct GitServer {
    shared: Arc<Shared>,
    address: SocketAddr,
    accepting: Option<JoinHandle<Accepted>>,
}

/// The threads of the connections that were taken.
#[derive(Default)]
struct Accepted {
    threads: Vec<JoinHandle<()>>,
    /// Whether one that is no longer among them did.
    panicked: bool,
}

pub struct Builder {
    settings: Settings,
    tls: bool,
}

struct Settings {
    root: PathBuf,
    credentials: Option<Credentials>,
    max_protocol: u8,
    receive_pack: bool,
    round_trip: Duration,
}

struct Shared {
    settings: Settings,
    identity: Option<Identity>,
    script: RwLock<Arc<Script>>,
    log: Log,
    wire: Arc<Wire>,
    connections: Connections,
    backends: Backends,
    stopping: AtomicBool,
}

impl Builder {
    pub fn tls(mut self, on: bool) -> Self {
        self.tls = on;
        self
    }

    /// Asks for these as Basic credentials; without this call nobody is asked.
    pub fn auth(mut self, user: &str, password: &str) -> Self {
        let (user, password) = (user.to_owned(), password.to_owned());
        self.settings.credentials = Some(Credentials { user, password });
        self
    }

    /// Answers as a server that knows no later protocol version would; 2 if not called.
    pub fn max_protocol(mut self, version: u8) -> Self {
        self.settings.max_protocol = version;
        self
    }

    /// Takes pushes; if not called, they get a 403.
    pub fn receive_pack(mut self, on: bool) -> Self {
        self.settings.receive_pack = on;
        self
    }

    /// As if it were that far away: each connection and each answer comes so much later.
    pub fn round_trip(mut self, time: Duration) -> Self {
        self.settings.round_trip = time;
        self
    }

    pub fn start(self) -> GitServer {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a loopback port");
        let address = listener.local_addr().expect("the port's address");
        let shared = Arc::new(Shared {
            settings: self.settings,
            identity: self.tls.then(Identity::self_signed),
            script: RwLock::new(Arc::new(|_: &RequestHead| None)),
            log: Log::default(),
            wire: Arc::default(),
            connections: Connections::default(),
            backends: Backends::default(),
            stopping: AtomicBool::new(false),
        });
        let accepting = thread::spawn({
            let shared = Arc::clone(&shared);
            move || accept(&listener, &shared)
        });
        GitServer {
            shared,
            address,
            accepting: Some(accepting),
        }
    }
}

impl GitServer {
    pub fn builder(root: impl AsRef<Path>) -> Builder {
        let root = root.as_ref().to_owned();
        let settings = Settings {
            root,
            credentials: None,
            max_protocol: 2,
            receive_pack: false,
            round_trip: Duration::ZERO,
        };
        Builder {
            settings,
            tls: false,
        }
    }

    pub fn url(&self, repository: &str) -> String {
        let scheme = if self.shared.identity.is_some() {
            "https"
        } else {
            "http"
        };
        format!("{scheme}://localhost:{}/{repository}", self.address.port())
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Self-signed, for `localhost` and `127.0.0.1`.
    #[track_caller]
    pub fn certificate_der(&self) -> Vec<u8> {
        self.identity().certificate.der().to_vec()
    }

    #[track_caller]
    pub fn certificate_pem(&self) -> String {
        self.identity().certificate.pem()
    }

    /// Every request since the start or the last reset, also those without an answer yet.
    ///
    /// A client that has read a whole response finds it here in full.
    pub fn requests(&self) -> Vec<Request> {
        self.shared.log.requests()
    }

    /// Bytes received and sent at the sockets, so with TLS and HTTP around the content.
    pub fn wire_bytes(&self) -> (u64, u64) {
        self.shared.wire.bytes()
    }

    /// Until everything that clients have sent, and then perhaps died, has had its effect.
    pub fn wait_until_idle(&self) {
        let mut idle = 0;
        // A connection that waits to be accepted is not seen at once.
        while idle < 3 {
            thread::sleep(Duration::from_millis(2));
            idle = if self.shared.connections.is_empty() {
                idle + 1
            } else {
                0
            };
        }
    }

    pub fn reset_counts(&self) {
        self.shared.log.reset();
        self.shared.wire.reset();
    }

    /// Sees each request before it is handled, and may answer it in the server's place.
    ///
    /// It may also change the repositories, and it takes the place of an earlier one.
    pub fn intercept(
        &self,
        script: impl Fn(&RequestHead) -> Option<Answer> + Send + Sync + 'static,
    ) {
        *self.shared.script.write().expect("an unpoisoned script") = Arc::new(script);
    }

    #[track_caller]
    fn identity(&self) -> &Identity {
        self.shared.identity.as_ref().expect("a server with TLS")
    }
}

impl Drop for GitServer {
    fn drop(&mut self) {
        self.shared.stopping.store(true, Ordering::SeqCst);
        // Wakes the accepting thread, which then sees that it is over.
        TcpStream::connect(self.address).ok();
        let accepting = self.accepting.take().expect("dropped once");
        let accepted = accepting.join();
        self.shared.connections.cut_all();
        self.shared.backends.kill_all();
        let panicked = accepted.map_or(true, |mut accepted| {
            accepted.join(|_| true);
            accepted.panicked
        });
        assert!(
            !panicked || thread::panicking(),
            "a thread of the server panicked"
        );
    }
}

impl Accepted {
    /// A thread that has ended keeps its stack until it is joined.
    fn join(&mut self, which: impl Fn(&JoinHandle<()>) -> bool) {
        for thread in self.threads.extract_if(.., |thread| which(thread)) {
            self.panicked |= thread.join().is_err();
        }
    }
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>) -> Accepted {
    let mut accepted = Accepted::default();
    for (number, socket) in listener.incoming().enumerate() {
        if shared.stopping.load(Ordering::SeqCst) {
            break;
        }
        let Ok(socket) = socket else { continue };
        let shared = Arc::clone(shared);
        shared.connections.add(number, &socket);
        accepted.join(JoinHandle::is_finished);
        accepted.threads.push(thread::spawn(move || {
            connection::serve(&shared, number, socket)
        }));
    }
    accepted
}
