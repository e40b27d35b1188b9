//! Recorded answers, played back from memory with one fault in them.

use super::http::{self, RequestHead};
use std::collections::HashMap;
use std::io::{self, BufRead, BufReader, Cursor, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

/// A request and its answer, byte for byte.
#[derive(Clone, Default)]
pub struct Exchange {
    pub request: Vec<u8>,
    pub response: Vec<u8>,
}

/// A fault of one exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    pub exchange: usize,
    pub way: Way,
    /// After how many bytes of the request or the response.
    pub at: usize,
    pub kind: Kind,
    /// Whether nobody answers any more from then on.
    pub for_good: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    Request,
    Response,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The server's side ends in good order (FIN).
    Cut,
    /// The connection is torn down, and what is on the way may be lost with it (RST).
    Reset,
    /// Nothing more comes, and the connection stays.
    Stall,
    /// The body ends here, and HTTP says that this is all of it. `at` counts the body only.
    Shorten,
}

/// Every exchange of one run against the server at `address`, one after the other.
pub fn record(address: SocketAddr, run: impl FnOnce(SocketAddr)) -> Vec<Exchange> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a loopback port");
    let own = listener.local_addr().expect("its address");
    let log = Arc::new(Mutex::new(Vec::<Exchange>::new()));
    let (over, recorded) = (Arc::new(AtomicBool::new(false)), Arc::clone(&log));
    let stop = Arc::clone(&over);
    let accepting = thread::spawn(move || {
        let mut relays = Vec::new();
        for client in listener.incoming() {
            if stop.load(Ordering::SeqCst) {
                break;
            }
            let client = client.expect("a connection");
            let server = TcpStream::connect(address).expect("the server");
            let both = [
                (client.try_clone(), server.try_clone()),
                (Ok(server), Ok(client)),
            ];
            for (is_response, (from, to)) in both.into_iter().enumerate() {
                let (from, to) = (from.expect("a socket"), to.expect("a socket"));
                let log = Arc::clone(&log);
                relays.push(thread::spawn(move || {
                    relay(from, to, is_response == 1, &log)
                }));
            }
        }
        for relay in relays {
            relay.join().expect("a relay ends");
        }
    });
    run(own);
    over.store(true, Ordering::SeqCst);
    TcpStream::connect(own).ok();
    accepting.join().expect("the recording ends");
    recorded.lock().expect("the recording").clone()
}

fn relay(mut from: TcpStream, mut to: TcpStream, is_response: bool, log: &Mutex<Vec<Exchange>>) {
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(length @ 1..) = from.read(&mut buffer) {
        let bytes = &buffer[..length];
        {
            let mut log = log.lock().expect("the recording");
            if !is_response && log.last().is_none_or(|last| !last.response.is_empty()) {
                log.push(Exchange::default());
            }
            let last = log.last_mut().expect("a request before its answer");
            match is_response {
                true => last.response.extend_from_slice(bytes),
                false => last.request.extend_from_slice(bytes),
            }
        }
        if to.write_all(bytes).is_err() {
            break;
        }
    }
    to.shutdown(Shutdown::Write).ok();
}

/// Answers each request as it was answered when recorded, but for the fault.
///
/// Of a remote's state it knows whether a push has arrived in full: then it answers from the
/// recording that was made after one.
pub struct Replay {
    address: SocketAddr,
    state: Arc<State>,
}

struct State {
    recorded: Vec<Exchange>,
    answers: HashMap<String, Vec<u8>>,
    after_push: HashMap<String, Vec<u8>>,
    fault: Mutex<Option<Fault>>,
    begun: AtomicUsize,
    pushed: AtomicBool,
    is_dead: AtomicBool,
    is_over: AtomicBool,
}

impl Replay {
    pub fn start(recorded: &[Exchange], after_push: &[Exchange]) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a loopback port");
        let address = listener.local_addr().expect("its address");
        let state = Arc::new(State {
            recorded: recorded.to_vec(),
            answers: by_request(recorded),
            after_push: by_request(after_push),
            fault: Mutex::new(None),
            begun: AtomicUsize::new(0),
            pushed: AtomicBool::new(false),
            is_dead: AtomicBool::new(false),
            is_over: AtomicBool::new(false),
        });
        let shared = Arc::clone(&state);
        thread::spawn(move || {
            for socket in listener.incoming() {
                if shared.is_over.load(Ordering::SeqCst) {
                    break;
                }
                let (Ok(socket), state) = (socket, Arc::clone(&shared)) else {
                    continue;
                };
                // A broken connection is the client's to report.
                thread::spawn(move || serve(&state, &socket).ok());
            }
        });
        Replay { address, state }
    }

    pub fn url(&self, repository: &str) -> String {
        format!("http://localhost:{}/{repository}", self.address.port())
    }

    /// The next request is the first one again, and the push has not happened.
    pub fn arm(&self, fault: Option<Fault>) {
        *self.state.fault.lock().expect("the fault") = fault;
        self.state.begun.store(0, Ordering::SeqCst);
        self.state.pushed.store(false, Ordering::SeqCst);
        self.state.is_dead.store(false, Ordering::SeqCst);
    }

    /// Whether a push has arrived in full.
    pub fn has_taken_a_push(&self) -> bool {
        self.state.pushed.load(Ordering::SeqCst)
    }
}

impl Drop for Replay {
    fn drop(&mut self) {
        self.state.is_over.store(true, Ordering::SeqCst);
        TcpStream::connect(self.address).ok();
    }
}

fn by_request(recorded: &[Exchange]) -> HashMap<String, Vec<u8>> {
    let mut answers = HashMap::new();
    for exchange in recorded {
        let mut request = BufReader::new(Cursor::new(exchange.request.clone()));
        let head = http::read_request(&mut request).ok().flatten();
        let key = key(&head.expect("a whole request"));
        answers
            .entry(key)
            .or_insert_with(|| exchange.response.clone());
    }
    answers
}

fn key(head: &RequestHead) -> String {
    let RequestHead {
        method,
        path,
        query,
        ..
    } = head;
    format!("{method} {path} {query} {:?}", head.command())
}

fn is_push(head: &RequestHead) -> bool {
    head.path.ends_with("/git-receive-pack") && head.body != b"0000"
}

impl State {
    fn begin(&self) -> Option<Fault> {
        let number = self.begun.fetch_add(1, Ordering::SeqCst);
        let fault = *self.fault.lock().expect("the fault");
        let fault = fault.filter(|fault| fault.exchange == number)?;
        self.is_dead.store(fault.for_good, Ordering::SeqCst);
        Some(fault)
    }

    fn answer(&self, head: &RequestHead) -> Option<&[u8]> {
        let key = key(head);
        let later = self
            .pushed
            .load(Ordering::SeqCst)
            .then(|| self.after_push.get(&key));
        if is_push(head) {
            self.pushed.store(true, Ordering::SeqCst);
        }
        let found = later.flatten().or_else(|| self.answers.get(&key));
        found.map(Vec::as_slice)
    }
}

fn serve(state: &State, mut socket: &TcpStream) -> io::Result<()> {
    socket.set_nodelay(true)?;
    while socket.peek(&mut [0])? > 0 {
        if state.is_dead.load(Ordering::SeqCst) {
            return Ok(());
        }
        let Some(fault) = state.begin() else {
            let mut stream = BufReader::new(Limited {
                socket,
                left: usize::MAX,
            });
            let Some(head) = http::read_request(&mut stream)? else {
                return Ok(());
            };
            let unknown = b"HTTP/1.1 404 \r\nContent-Length: 0\r\n\r\n";
            socket.write_all(state.answer(&head).unwrap_or(unknown))?;
            continue;
        };
        let recorded = &state.recorded[fault.exchange];
        // To close a socket that has something to read resets the connection.
        let readable = match (fault.way, fault.kind) {
            (Way::Request, _) => fault.at,
            (Way::Response, Kind::Reset) => recorded.request.len() - 1,
            (Way::Response, _) => usize::MAX,
        };
        let mut stream = BufReader::new(Limited {
            socket,
            left: readable,
        });
        if let Ok(Some(head)) = http::read_request(&mut stream) {
            state.answer(&head);
        } else if fault.way == Way::Response {
            let pushes =
                recorded.request.starts_with(b"POST ")
                    && recorded.request.lines().next().is_some_and(|line| {
                        line.is_ok_and(|line| line.contains("/git-receive-pack "))
                    });
            state.pushed.fetch_or(pushes, Ordering::SeqCst);
        }
        if fault.way == Way::Response {
            match fault.kind {
                Kind::Shorten => socket.write_all(&shortened(&recorded.response, fault.at))?,
                _ => socket.write_all(&recorded.response[..fault.at])?,
            }
        }
        match fault.kind {
            Kind::Shorten => continue,
            Kind::Reset => return socket.peek(&mut [0]).map(drop),
            Kind::Cut => socket.shutdown(Shutdown::Write)?,
            Kind::Stall => {}
        }
        return io::copy(&mut socket, &mut io::sink()).map(drop);
    }
    Ok(())
}

struct Limited<'a> {
    socket: &'a TcpStream,
    left: usize,
}

impl Read for Limited<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = buffer.len().min(self.left);
        if most == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let length = self.socket.read(&mut buffer[..most])?;
        self.left -= length;
        Ok(length)
    }
}

impl Write for Limited<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.socket.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.socket.flush()
    }
}

/// The length of the body of a recorded answer.
pub fn body_length(response: &[u8]) -> usize {
    parts(response).1.len()
}

fn shortened(response: &[u8], length: usize) -> Vec<u8> {
    let (head, body) = parts(response);
    let mut out = head;
    out.extend_from_slice(format!("Content-Length: {length}\r\n\r\n").as_bytes());
    out.extend_from_slice(&body[..length]);
    out
}

/// The head without what says how long the body is, and the body.
fn parts(response: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let mut stream = BufReader::new(Cursor::new(response));
    let mut head = Vec::new();
    stream.read_until(b'\n', &mut head).expect("a status line");
    let headers = http::read_headers(&mut stream).expect("headers");
    let body = http::read_body(&mut stream, &headers).expect("a body");
    for (name, value) in headers {
        let lower = name.to_ascii_lowercase();
        if !["content-length", "transfer-encoding"].contains(&&*lower) {
            head.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
        }
    }
    (head, body)
}
