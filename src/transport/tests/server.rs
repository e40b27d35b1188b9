use std::{
    collections::VecDeque,
    io::{Read, Write},
    net::{SocketAddr, TcpListener},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use rustls::{ServerConfig, ServerConnection, StreamOwned, pki_types::CertificateDer};

/// The server's treatment of its next request, whichever connection that comes from.
pub(super) enum Step {
    /// Send this and wait for another request.
    Answer(Vec<u8>),
    /// Wait so long, then send this and wait for another request.
    Later(Duration, Vec<u8>),
    /// Send this and close the connection.
    Close(Vec<u8>),
    /// Send this, do that, and never do anything again.
    Stall(Vec<u8>, Box<dyn FnOnce() + Send>),
    /// Send this and close the connection, in the middle of the request's body.
    Refuse(Vec<u8>),
    /// Do that and never read the request's body.
    Ignore(Box<dyn FnOnce() + Send>),
}

/// The bytes of a request's body that are kept.
const MAX_KEPT: usize = 16 * 1024 * 1024;

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
    last_body: Mutex<Vec<u8>>,
    body_bytes: AtomicU64,
    /// Connections that are open and not read from.
    ignored: Mutex<Vec<Box<dyn Send>>>,
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

    /// The body of the last request, or how it began.
    pub(super) fn last_body(&self) -> Vec<u8> {
        self.seen.last_body.lock().expect("no panic").clone()
    }

    /// The lengths of the bodies of all requests.
    pub(super) fn body_bytes(&self) -> u64 {
        self.seen.body_bytes.load(Ordering::SeqCst)
    }
}

fn follow(
    script: &Mutex<VecDeque<Step>>,
    seen: &Seen,
    mut stream: impl Read + Write + Send + 'static,
) {
    while let Some(head) = read_head(&mut stream) {
        let step = script.lock().expect("no panic").pop_front();
        match step {
            Some(Step::Ignore(then)) => {
                then();
                let ignored = Box::new(stream);
                seen.ignored.lock().expect("no panic").push(ignored);
                return;
            }
            Some(Step::Refuse(bytes)) => {
                stream.read_exact(&mut vec![0; 100_000]).ok();
                stream.write_all(&bytes).ok();
                stream.flush().ok();
                return;
            }
            _ => {}
        }
        let Some(body) = read_body(&mut stream, &head, seen) else {
            return;
        };
        let request = format!("{}\n\n{}", head.text, String::from_utf8_lossy(&body));
        seen.requests.lock().expect("no panic").push(request);
        *seen.last_body.lock().expect("no panic") = body;
        if let Some(Step::Later(wait, _)) = step {
            thread::sleep(wait);
        }
        let Some(
            Step::Answer(bytes)
            | Step::Later(_, bytes)
            | Step::Close(bytes)
            | Step::Stall(bytes, _),
        ) = &step
        else {
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
            Some(Step::Answer(_) | Step::Later(..)) => {}
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

struct Head {
    /// The request line and the headers.
    text: String,
    length: u64,
    is_chunked: bool,
}

fn read_head(stream: &mut impl Read) -> Option<Head> {
    let head = read_up_to(stream, "\r\n\r\n")?;
    let mut lines = head.split("\r\n");
    let mut read = Head {
        text: lines.next()?.to_owned(),
        length: 0,
        is_chunked: false,
    };
    for (name, value) in lines.filter_map(|line| line.split_once(':')) {
        let name = name.to_ascii_lowercase();
        match &*name {
            "content-length" => read.length = value.trim().parse().ok()?,
            "transfer-encoding" => read.is_chunked = value.trim() == "chunked",
            _ => {}
        }
        read.text += &format!("\n{name}:{value}");
    }
    Some(read)
}

/// `None` if it breaks off.
fn read_body(stream: &mut impl Read, head: &Head, seen: &Seen) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    if !head.is_chunked {
        read_part(stream, head.length, &mut body, seen)?;
        return Some(body);
    }
    loop {
        let size = read_up_to(stream, "\r\n")?;
        let size = u64::from_str_radix(size.trim(), 16).ok()?;
        read_part(stream, size, &mut body, seen)?;
        read_up_to(stream, "\r\n")?;
        if size == 0 {
            return Some(body);
        }
    }
}

fn read_part(stream: &mut impl Read, length: u64, body: &mut Vec<u8>, seen: &Seen) -> Option<()> {
    let mut left = length;
    let mut buf = vec![0; 64 * 1024];
    while left > 0 {
        let wanted = buf.len().min(usize::try_from(left).ok()?);
        let read = stream.read(&mut buf[..wanted]).ok().filter(|&n| n > 0)?;
        left -= read as u64;
        seen.body_bytes.fetch_add(read as u64, Ordering::SeqCst);
        let kept = read.min(MAX_KEPT - body.len());
        body.extend_from_slice(&buf[..kept]);
    }
    Some(())
}

fn read_up_to(stream: &mut impl Read, end: &str) -> Option<String> {
    let mut text = String::new();
    while !text.ends_with(end) {
        let mut byte = [0];
        stream.read_exact(&mut byte).ok()?;
        text.push(byte[0].into());
    }
    Some(text)
}
