//! The requests of a server, its answers, and the bytes of both.

use super::http::RequestHead;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

#[derive(Clone, Debug)]
pub struct Request {
    pub method: String,
    pub path: String,
    pub query: String,
    /// As the client sent it, before `max_protocol`.
    pub git_protocol: Option<String>,
    /// Whether there was an `Authorization` header, right or wrong.
    pub authorization: bool,
    pub user_agent: Option<String>,
    /// `ls-refs` or `fetch`, in protocol v2.
    pub command: Option<String>,
    pub connection: usize,
    pub request_bytes: u64,
    /// None while it is not answered, and if the answer was not made of a status.
    pub status: Option<u16>,
    pub response_bytes: u64,
}

#[derive(Default)]
pub(super) struct Log(Mutex<Vec<Entry>>);

/// A request's place in the log, to fill in while it is answered.
pub(super) type Entry = Arc<Mutex<Request>>;

impl Log {
    /// Also gives the request its number.
    pub(super) fn add(&self, head: &mut RequestHead, connection: usize) -> Entry {
        let entry = Arc::new(Mutex::new(Request {
            method: head.method.clone(),
            path: head.path.clone(),
            query: head.query.clone(),
            git_protocol: head.header("git-protocol").map(str::to_owned),
            authorization: head.header("authorization").is_some(),
            user_agent: head.header("user-agent").map(str::to_owned),
            command: head.command(),
            connection,
            request_bytes: head.body.len() as u64,
            status: None,
            response_bytes: 0,
        }));
        let mut entries = self.entries();
        head.number = entries.len();
        entries.push(Arc::clone(&entry));
        entry
    }

    pub(super) fn requests(&self) -> Vec<Request> {
        self.entries()
            .iter()
            .map(|entry| entry.lock().expect("an entry").clone())
            .collect()
    }

    pub(super) fn reset(&self) {
        self.entries().clear();
    }

    fn entries(&self) -> MutexGuard<'_, Vec<Entry>> {
        self.0.lock().expect("the log")
    }
}

#[derive(Default)]
pub(super) struct Wire {
    received: AtomicU64,
    sent: AtomicU64,
}

impl Wire {
    pub(super) fn bytes(&self) -> (u64, u64) {
        (
            self.received.load(Ordering::SeqCst),
            self.sent.load(Ordering::SeqCst),
        )
    }

    pub(super) fn reset(&self) {
        self.received.store(0, Ordering::SeqCst);
        self.sent.store(0, Ordering::SeqCst);
    }
}

pub(super) struct CountedSocket {
    pub(super) socket: TcpStream,
    pub(super) wire: Arc<Wire>,
}

impl Read for CountedSocket {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.socket.read(buffer)?;
        self.wire.received.fetch_add(read as u64, Ordering::SeqCst);
        Ok(read)
    }
}

impl Write for CountedSocket {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // Counted first: a client that has the bytes may look at the count at once.
        self.wire
            .sent
            .fetch_add(bytes.len() as u64, Ordering::SeqCst);
        let result = self.socket.write(bytes);
        let unsent = bytes.len() - result.as_ref().copied().unwrap_or(0);
        self.wire.sent.fetch_sub(unsent as u64, Ordering::SeqCst);
        result
    }

    fn flush(&mut self) -> io::Result<()> {
        self.socket.flush()
    }
}
