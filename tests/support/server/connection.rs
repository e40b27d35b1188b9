//! One client connection: its requests, one after the other.

use super::backend::Response;
use super::http::{self, RequestHead};
use super::record::{CountedSocket, Entry};
use super::{Answer, Shared};
use rustls::{ServerConnection, StreamOwned};
use std::collections::HashMap;
use std::io::{self, BufReader, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;

pub(super) trait Stream: Read + Write {
    /// Tells the client that the end is meant, where the protocol can.
    fn announce_end(&mut self) -> io::Result<()>;
}

impl Stream for CountedSocket {
    fn announce_end(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Stream for StreamOwned<ServerConnection, CountedSocket> {
    fn announce_end(&mut self) -> io::Result<()> {
        self.conn.send_close_notify();
        self.flush()
    }
}

/// The open sockets, to cut when the server goes.
#[derive(Default)]
pub(super) struct Connections(Mutex<HashMap<usize, TcpStream>>);

impl Connections {
    pub(super) fn add(&self, number: usize, socket: &TcpStream) {
        // A socket that is gone already has nothing to cut.
        if let Ok(socket) = socket.try_clone() {
            self.sockets().insert(number, socket);
        }
    }

    pub(super) fn cut_all(&self) {
        for socket in self.sockets().values() {
            socket.shutdown(Shutdown::Both).ok();
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.sockets().is_empty()
    }

    fn sockets(&self) -> MutexGuard<'_, HashMap<usize, TcpStream>> {
        self.0.lock().expect("the open sockets")
    }
}

pub(super) fn serve(shared: &Shared, number: usize, socket: TcpStream) {
    let _cut = CutAtEnd {
        connections: &shared.connections,
        number,
    };
    // A broken connection is the client's to report.
    exchange(shared, number, socket).ok();
}

/// A panic too must not leave the client waiting on a socket that `Connections` still holds.
struct CutAtEnd<'a> {
    connections: &'a Connections,
    number: usize,
}

impl Drop for CutAtEnd<'_> {
    fn drop(&mut self) {
        if let Some(socket) = self.connections.sockets().remove(&self.number) {
            socket.shutdown(Shutdown::Both).ok();
        }
    }
}

fn exchange(shared: &Shared, number: usize, socket: TcpStream) -> io::Result<()> {
    socket.set_nodelay(true)?;
    let socket = CountedSocket {
        socket,
        wire: Arc::clone(&shared.wire),
    };
    let stream: Box<dyn Stream> = match &shared.identity {
        None => Box::new(socket),
        Some(identity) => {
            let session = ServerConnection::new(Arc::clone(&identity.config));
            Box::new(StreamOwned::new(session.map_err(io::Error::other)?, socket))
        }
    };
    let mut stream = BufReader::new(stream);
    let round_trip = shared.settings.round_trip;
    thread::sleep(round_trip);
    while let Some(mut head) = http::read_request(&mut stream)? {
        thread::sleep(round_trip);
        let entry = shared.log.add(&mut head, number);
        let is_last = head.is_last();
        let mut reply = Reply {
            shared,
            entry,
            stream: stream.get_mut().as_mut(),
        };
        match reply.answer(head)? {
            Next::Cut => return Ok(()),
            Next::Request if !is_last => {}
            Next::Request | Next::Close => break,
        }
    }
    stream.get_mut().announce_end()
}

/// The next step of a connection after an answer.
enum Next {
    Request,
    Close,
    Cut,
}

struct Reply<'a> {
    shared: &'a Shared,
    entry: Entry,
    stream: &'a mut dyn Stream,
}

impl Reply<'_> {
    fn answer(&mut self, head: RequestHead) -> io::Result<Next> {
        let script = Arc::clone(&self.shared.script.read().expect("an unpoisoned script"));
        match script(&head) {
            None => self.send(self.respond(head)?),
            Some(Answer::Status {
                code,
                headers,
                body,
            }) => self.send(Response::whole(code, headers, body)),
            Some(Answer::Garble(change)) => {
                let Response {
                    status,
                    headers,
                    mut body,
                    ..
                } = self.respond(head)?;
                let mut whole = Vec::new();
                body.read_to_end(&mut whole)?;
                change(&mut whole);
                self.send(Response::whole(status, headers, whole))
            }
            Some(Answer::Raw(bytes)) => {
                self.send_content(&bytes, &bytes)?;
                Ok(Next::Close)
            }
            Some(Answer::TruncateAfter(limit)) => {
                self.send_part(self.respond(head)?, limit)?;
                Ok(Next::Cut)
            }
            Some(Answer::Stall) => self.hold_open(),
            Some(Answer::StallAfter(limit)) => {
                self.send_part(self.respond(head)?, limit)?;
                self.hold_open()
            }
        }
    }

    fn respond(&self, head: RequestHead) -> io::Result<Response> {
        let settings = &self.shared.settings;
        let credentials = settings.credentials.as_ref();
        if credentials.is_some_and(|credentials| !credentials.admit(&head)) {
            let challenge = (
                "WWW-Authenticate".to_owned(),
                "Basic realm=\"git\"".to_owned(),
            );
            return Ok(Response::whole(
                401,
                vec![challenge],
                b"who are you?\n".to_vec(),
            ));
        }
        self.shared.backends.run(settings, head)
    }

    fn send(&mut self, response: Response) -> io::Result<Next> {
        self.send_head(&response)?;
        let chunked = response.length.is_none();
        self.send_body(response.body, chunked)?;
        if chunked {
            self.stream.write_all(b"0\r\n\r\n")?;
            self.stream.flush()?;
        }
        Ok(Next::Request)
    }

    /// In chunks and without the last one, so that it is a part even if it is all there is.
    fn send_part(&mut self, mut response: Response, limit: u64) -> io::Result<()> {
        response.length = None;
        self.send_head(&response)?;
        self.send_body(response.body.as_mut().take(limit), true)
    }

    fn send_head(&mut self, response: &Response) -> io::Result<()> {
        self.entry.lock().expect("an entry").status = Some(response.status);
        let mut head = format!("HTTP/1.1 {} \r\n", response.status);
        for (name, value) in &response.headers {
            head += &format!("{name}: {value}\r\n");
        }
        head += &match response.length {
            Some(length) => format!("Content-Length: {length}\r\n\r\n"),
            None => "Transfer-Encoding: chunked\r\n\r\n".to_owned(),
        };
        self.stream.write_all(head.as_bytes())?;
        self.stream.flush()
    }

    fn send_body(&mut self, mut body: impl Read, chunked: bool) -> io::Result<()> {
        let mut buffer = vec![0; 64 * 1024];
        loop {
            let content = match body.read(&mut buffer)? {
                0 => return Ok(()),
                length => &buffer[..length],
            };
            if chunked {
                let size = format!("{:x}\r\n", content.len());
                self.send_content(content, &[size.as_bytes(), content, b"\r\n"].concat())?;
            } else {
                self.send_content(content, content)?;
            }
        }
    }

    /// Counts before it sends: a client that has the bytes may look at the count at once.
    fn send_content(&mut self, content: &[u8], framed: &[u8]) -> io::Result<()> {
        self.entry.lock().expect("an entry").response_bytes += content.len() as u64;
        self.stream.write_all(framed)?;
        self.stream.flush()
    }

    /// Until the client hangs up, or the server goes and cuts the connection.
    fn hold_open(&mut self) -> io::Result<Next> {
        let mut ignored = [0; 1024];
        while self.stream.read(&mut ignored)? > 0 {}
        Ok(Next::Cut)
    }
}
