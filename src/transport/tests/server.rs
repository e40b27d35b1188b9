use std::{
    collections::VecDeque,
    io::{Read, Write},
    net::{SocketAddr, TcpListener},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use rustls::{ServerConfig, ServerConnection, StreamOwned, pki_types::CertificateDer};

/// What the server does with its next request, whichever connection that comes from.
pub(super) enum Step {
    /// Send this and wait for another request.
    Answer(Vec<u8>),
    /// Send this and close the connection.
    Close(Vec<u8>),
    /// Send this, do that, and never do anything again.
    Stall(Vec<u8>, Box<dyn FnOnce() + Send>),
}

/// A server on a free port of this machine. Its threads end with the connections.
pub(super) struct Server {
    address: SocketAddr,
    scheme: &'static str,
    seen: Arc<Seen>,
}

#[derive(Default)]
struct Seen {
    connections: AtomicUsize,
    requests: Mutex<Vec<String>>,
}

impl Server {
    pub(super) fn start(steps: impl IntoIterator<Item = Step>) -> Self {
        Self::serve(steps, None)
    }

    /// Serves `localhost` over TLS, with the certificate that is returned.
    pub(super) fn start_tls(
        steps: impl IntoIterator<Item = Step>,
    ) -> (Self, CertificateDer<'static>) {
        let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()])
            .expect("a certificate");
        let certificate = made.cert.der().clone();
        let key = rustls::pki_types::PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("TLS versions")
            .with_no_client_auth()
            .with_single_cert(vec![certificate.clone()], key.into())
            .expect("a server configuration");
        (Self::serve(steps, Some(Arc::new(config))), certificate)
    }

    fn serve(steps: impl IntoIterator<Item = Step>, tls: Option<Arc<ServerConfig>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let server = Server {
            address: listener.local_addr().expect("an address"),
            scheme: if tls.is_some() { "https" } else { "http" },
            seen: Arc::default(),
        };
        let script = Arc::new(Mutex::new(steps.into_iter().collect::<VecDeque<_>>()));
        let seen = server.seen.clone();
        thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(stream) = stream else { return };
                seen.connections.fetch_add(1, Ordering::SeqCst);
                let (script, seen, tls) = (script.clone(), seen.clone(), tls.clone());
                thread::spawn(move || match tls {
                    None => follow(&script, &seen, stream),
                    Some(config) => {
                        let tls = ServerConnection::new(config).expect("a TLS session");
                        follow(&script, &seen, StreamOwned::new(tls, stream));
                    }
                });
            }
        });
        server
    }

    /// The URL of a repository on it.
    pub(super) fn url(&self) -> String {
        format!("{}://localhost:{}/repo.git", self.scheme, self.port())
    }

    pub(super) fn port(&self) -> u16 {
        self.address.port()
    }

    pub(super) fn connections(&self) -> usize {
        self.seen.connections.load(Ordering::SeqCst)
    }

    /// The requests so far: header and body, header names in lower case.
    pub(super) fn requests(&self) -> Vec<String> {
        self.seen.requests.lock().expect("no panic").clone()
    }
}

fn follow(script: &Mutex<VecDeque<Step>>, seen: &Seen, mut stream: impl Read + Write) {
    while let Some(request) = read_request(&mut stream) {
        seen.requests.lock().expect("no panic").push(request);
        let step = script.lock().expect("no panic").pop_front();
        let Some(Step::Answer(bytes) | Step::Close(bytes) | Step::Stall(bytes, _)) = &step else {
            return;
        };
        if stream
            .write_all(bytes)
            .and_then(|()| stream.flush())
            .is_err()
        {
            return;
        }
        match step {
            Some(Step::Answer(_)) => {}
            Some(Step::Stall(_, then)) => {
                then();
                // Until the client is gone.
                while matches!(stream.read(&mut [0]), Ok(1)) {}
                return;
            }
            _ => return,
        }
    }
}

fn read_request(stream: &mut impl Read) -> Option<String> {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        head.push(read_byte(stream)?.into());
    }
    let mut lines = head.split("\r\n");
    let mut request = lines.next()?.to_owned();
    let mut length = 0;
    for (name, value) in lines.filter_map(|line| line.split_once(':')) {
        let name = name.to_ascii_lowercase();
        if name == "content-length" {
            length = value.trim().parse().ok()?;
        }
        request += &format!("\n{name}:{value}");
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).ok()?;
    Some(format!("{request}\n\n{}", String::from_utf8_lossy(&body)))
}

fn read_byte(stream: &mut impl Read) -> Option<u8> {
    let mut byte = [0];
    stream.read_exact(&mut byte).ok()?;
    Some(byte[0])
}
