//! A server on a raw socket, which sends what it likes.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

pub(crate) const ID: &str = "a70a5b7644fc16f36d9c16bed7595efdb804706a";

/// Its threads end with the connections, and with the process.
pub(crate) struct Raw {
    pub(crate) address: SocketAddr,
    seen: Arc<Seen>,
}

#[derive(Default)]
struct Seen {
    connections: AtomicUsize,
    requests: Mutex<Vec<Request>>,
}

#[derive(Debug, Clone)]
pub(crate) struct Request {
    /// The request line and the headers.
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Request {
    pub(crate) fn is_listing(&self) -> bool {
        self.head.starts_with("GET ")
    }

    pub(crate) fn is_ls_refs(&self) -> bool {
        self.body.contains("command=ls-refs")
    }

    /// The path and the query.
    pub(crate) fn target(&self) -> &str {
        self.head.split(' ').nth(1).expect("a request line")
    }
}

impl Raw {
    /// `answer` writes as much as it likes. An error closes the connection.
    pub(crate) fn start(
        answer: impl Fn(&Request, &mut TcpStream) -> io::Result<()> + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a loopback port");
        let address = listener.local_addr().expect("an address");
        let seen = Arc::new(Seen::default());
        let (answer, noted) = (Arc::new(answer), seen.clone());
        thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(mut stream) = stream else { return };
                noted.connections.fetch_add(1, Ordering::SeqCst);
                let (answer, noted) = (answer.clone(), noted.clone());
                thread::spawn(move || {
                    while let Some(request) = read_request(&mut stream) {
                        noted.requests.lock().unwrap().push(request.clone());
                        if answer(&request, &mut stream).is_err() {
                            return;
                        }
                    }
                });
            }
        });
        Raw { address, seen }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://localhost:{}/repo.git", self.address.port())
    }

    pub(crate) fn connections(&self) -> usize {
        self.seen.connections.load(Ordering::SeqCst)
    }

    pub(crate) fn requests(&self) -> Vec<Request> {
        self.seen.requests.lock().unwrap().clone()
    }
}

fn read_request(stream: &mut TcpStream) -> Option<Request> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).ok()?;
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).ok()?;
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        let is_length = name.eq_ignore_ascii_case("content-length");
        is_length.then(|| value.trim().parse().ok())?
    });
    let mut body = vec![0; length.unwrap_or(0)];
    stream.read_exact(&mut body).ok()?;
    let body = String::from_utf8_lossy(&body).into_owned();
    Some(Request { head, body })
}

/// An answer that has this start and then goes on with that for as long as somebody reads it; with
/// nothing to go on with it ends.
#[derive(Debug, Clone, Default)]
pub(crate) struct Talk {
    pub(crate) start: Vec<u8>,
    pub(crate) again: Vec<u8>,
}

impl Talk {
    pub(crate) fn write(&self, stream: &mut TcpStream) -> io::Result<()> {
        stream.write_all(&self.start)?;
        if self.again.is_empty() {
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
        let again = self.again.repeat(1 + 16 * 1024 / self.again.len());
        loop {
            stream.write_all(&again)?;
        }
    }
}

/// A good head of an answer to this request, for a body that ends with the connection.
pub(crate) fn head(request: &Request, more: &str) -> String {
    let service = match request.head.contains("git-receive-pack") {
        true => "git-receive-pack",
        false => "git-upload-pack",
    };
    let kind = if request.is_listing() {
        "advertisement"
    } else {
        "result"
    };
    format!("HTTP/1.1 200 OK\r\nContent-Type: application/x-{service}-{kind}\r\n{more}\r\n")
}

pub(crate) fn packet(content: impl AsRef<[u8]>) -> Vec<u8> {
    let content = content.as_ref();
    [format!("{:04x}", content.len() + 4).as_bytes(), content].concat()
}

pub(crate) fn announced() -> Vec<u8> {
    [&packet("# service=git-upload-pack\n")[..], b"0000"].concat()
}

/// The capabilities of a v2 server.
pub(crate) fn capabilities() -> Vec<u8> {
    let lines = [
        "version 2\n",
        "agent=hostile\n",
        "ls-refs\n",
        "fetch=shallow\n",
    ];
    let lines = lines.iter().flat_map(packet);
    announced()
        .into_iter()
        .chain(lines)
        .chain(*b"0000")
        .collect()
}

/// The listing of an older server up to its first ref.
pub(crate) fn first_ref() -> Vec<u8> {
    let offers = "multi_ack_detailed side-band-64k thin-pack ofs-delta shallow no-progress";
    let line = format!("{ID} refs/heads/main\0{offers}\n");
    [announced(), packet(line)].concat()
}
