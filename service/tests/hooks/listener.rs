//! [`Listener`], a webhook target on loopback that answers as it is told.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::TcpListener,
};
use tokio_rustls::TlsAcceptor;

/// The behaviour of a target after it has accepted a connection.
#[derive(Debug, Clone)]
pub(crate) enum Behaviour {
    /// Reads the request and sends these bytes, then closes.
    Answer(String),
    /// Answers with this status and the number of requests so far.
    Counted(&'static str),
    /// Never reads or sends anything.
    Stall,
    /// Sends its head one byte at a time, and never ends it.
    DripHead,
    /// Sends the head of a success, and a body that never ends.
    EndlessBody,
    /// Sends the head of a success and one byte of the body, and then nothing.
    StallBody,
    /// Closes the connection at once.
    Close,
}

impl Behaviour {
    pub(crate) fn status(status: &str) -> Self {
        Behaviour::Answer(format!("HTTP/1.1 {status}\r\ncontent-length: 2\r\n\r\nok"))
    }
}

/// A request as it came.
#[derive(Debug, Clone)]
pub(crate) struct Received {
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Received {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines.find_map(|(key, value)| key.eq_ignore_ascii_case(name).then_some(value))
    }
}

#[derive(Default)]
struct Seen {
    connections: usize,
    requests: Vec<Received>,
}

/// A target that listens on loopback until it is dropped.
pub(crate) struct Listener {
    pub(crate) address: SocketAddr,
    seen: Arc<Mutex<Seen>>,
    behaviour: Arc<Mutex<Behaviour>>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Listener {
    pub(crate) async fn start(behaviour: Behaviour) -> Self {
        Self::with_tls(behaviour, None).await
    }

    pub(crate) async fn with_tls(behaviour: Behaviour, tls: Option<TlsAcceptor>) -> Self {
        let tcp = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = tcp.local_addr().expect("an address");
        let seen = Arc::<Mutex<Seen>>::default();
        let behaviour = Arc::new(Mutex::new(behaviour));
        let (for_task, how) = (seen.clone(), behaviour.clone());
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = tcp.accept().await {
                for_task.lock().expect("no panic").connections += 1;
                let how = how.lock().expect("no panic").clone();
                let (seen, tls) = (for_task.clone(), tls.clone());
                tokio::spawn(async move {
                    match tls {
                        None => serve(stream, how, &seen).await,
                        Some(tls) => match tls.accept(stream).await {
                            Ok(stream) => serve(stream, how, &seen).await,
                            Err(_) => None,
                        },
                    }
                });
            }
        });
        Listener {
            address,
            seen,
            behaviour,
            task,
        }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/hook?x=1", self.address)
    }

    pub(crate) fn behave(&self, behaviour: Behaviour) {
        *self.behaviour.lock().expect("no panic") = behaviour;
    }

    pub(crate) fn connections(&self) -> usize {
        self.seen.lock().expect("no panic").connections
    }

    pub(crate) fn requests(&self) -> Vec<Received> {
        self.seen.lock().expect("no panic").requests.clone()
    }
}

async fn serve(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    how: Behaviour,
    seen: &Mutex<Seen>,
) -> Option<()> {
    let for_ever = || std::future::pending::<()>();
    match how {
        Behaviour::Close => return None,
        Behaviour::Stall => for_ever().await,
        _ => {}
    }
    let request = read(&mut stream).await?;
    let count = {
        let mut seen = seen.lock().expect("no panic");
        seen.requests.push(request);
        seen.requests.len()
    };
    let head = "HTTP/1.1 200 OK\r\n";
    match how {
        Behaviour::Answer(answer) => {
            stream.write_all(answer.as_bytes()).await.ok()?;
            stream.shutdown().await.ok()?;
        }
        Behaviour::Counted(status) => {
            let body = count.to_string();
            let head = format!(
                "HTTP/1.1 {status}\r\ncontent-length: {}\r\n\r\n",
                body.len()
            );
            stream.write_all((head + &body).as_bytes()).await.ok()?;
            stream.shutdown().await.ok()?;
        }
        Behaviour::DripHead => {
            stream.write_all(head.as_bytes()).await.ok()?;
            for byte in "x-drip: ".bytes().chain(std::iter::repeat(b'x')) {
                stream.write_all(&[byte]).await.ok()?;
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
        Behaviour::EndlessBody => {
            let head = format!("{head}transfer-encoding: chunked\r\n\r\n");
            stream.write_all(head.as_bytes()).await.ok()?;
            let chunk = format!("1000\r\n{}\r\n", "y".repeat(0x1000));
            loop {
                stream.write_all(chunk.as_bytes()).await.ok()?;
            }
        }
        Behaviour::StallBody => {
            let head = format!("{head}content-length: 100\r\n\r\nz");
            stream.write_all(head.as_bytes()).await.ok()?;
            for_ever().await;
        }
        Behaviour::Stall | Behaviour::Close => {}
    }
    Some(())
}

async fn read(stream: &mut (impl AsyncRead + Unpin)) -> Option<Received> {
    let mut bytes = Vec::new();
    loop {
        let mut buffer = [0; 4096];
        let count = stream.read(&mut buffer).await.ok()?;
        bytes.extend_from_slice(&buffer[..count]);
        let text = String::from_utf8_lossy(&bytes);
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let received = Received {
                head: head.to_owned(),
                body: body.to_owned(),
            };
            let length = received.header("content-length")?.parse::<usize>().ok()?;
            if received.body.len() >= length {
                return Some(received);
            }
        }
        if count == 0 {
            return None;
        }
    }
}

/// A certificate authority, and the acceptor with its certificate for `name`.
pub(crate) fn tls(name: &str) -> (CertificateDer<'static>, TlsAcceptor) {
    let signed = rcgen::generate_simple_self_signed([name.to_owned()]).expect("a certificate");
    let certificate = signed.cert.der().clone();
    let key = PrivatePkcs8KeyDer::from(signed.signing_key.serialize_der());
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![certificate.clone()], PrivateKeyDer::Pkcs8(key))
        .expect("a certificate and its key");
    (certificate, TlsAcceptor::from(Arc::new(config)))
}
