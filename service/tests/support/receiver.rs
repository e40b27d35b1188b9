//! [`Receiver`], a server that takes webhooks.

use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::Duration;

use serde_json::Value;

/// One delivery that came.
#[derive(Debug, Clone)]
pub struct Received {
    pub path: String,
    pub headers: Vec<(String, String)>,
    pub body: String,
}

impl Received {
    /// The value of a header, by its name in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(key, _)| key == name);
        found.map(|(_, value)| value.as_str())
    }

    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).expect("a body of JSON")
    }
}

type Script = dyn Fn(&Received) -> u16 + Send + Sync;

/// A server on loopback that keeps what it gets and answers with 204, or with what its script says.
pub struct Receiver {
    address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    received: Mutex<Vec<Received>>,
    changed: Condvar,
    script: Box<Script>,
}

impl Receiver {
    pub fn start() -> Self {
        Self::answering(|_| 204)
    }

    /// A receiver whose `script` chooses the status of each answer.
    pub fn answering(script: impl Fn(&Received) -> u16 + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a loopback port");
        let address = listener.local_addr().expect("an address");
        let shared = Arc::new(Shared {
            received: Mutex::default(),
            changed: Condvar::new(),
            script: Box::new(script),
        });
        let sharing = Arc::clone(&shared);
        // Ends with the process.
        thread::spawn(move || {
            for connection in listener.incoming().flatten() {
                let shared = Arc::clone(&sharing);
                thread::spawn(move || serve(&shared, connection));
            }
        });
        Receiver { address, shared }
    }

    pub fn url(&self) -> String {
        format!("http://{}/hook", self.address)
    }

    pub fn received(&self) -> Vec<Received> {
        self.shared.received.lock().expect("a list").clone()
    }

    /// Everything that came, once there are `count`.
    #[track_caller]
    pub fn wait_for(&self, count: usize) -> Vec<Received> {
        let received = self.shared.received.lock().expect("a list");
        let too_few = |all: &mut Vec<Received>| all.len() < count;
        let (received, late) = self
            .shared
            .changed
            .wait_timeout_while(received, Duration::from_secs(60), too_few)
            .expect("a list");
        assert!(!late.timed_out(), "only {} of {count} came", received.len());
        received.clone()
    }
}

fn serve(shared: &Shared, connection: TcpStream) {
    let Ok(copy) = connection.try_clone() else {
        return;
    };
    let (mut from, mut to) = (BufReader::new(copy), connection);
    while let Some(received) = read(&mut from) {
        let status = (shared.script)(&received);
        shared.received.lock().expect("a list").push(received);
        shared.changed.notify_all();
        let answer = format!("HTTP/1.1 {status} x\r\ncontent-length: 0\r\n\r\n");
        if to.write_all(answer.as_bytes()).is_err() {
            return;
        }
    }
}

fn read(from: &mut impl BufRead) -> Option<Received> {
    let mut line = String::new();
    from.read_line(&mut line).ok()?;
    let path = line.split(' ').nth(1)?.to_owned();
    let mut headers = Vec::new();
    loop {
        let mut line = String::new();
        from.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim_end().split_once(':') else {
            break;
        };
        headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    let length = headers.iter().find(|(name, _)| name == "content-length")?;
    let mut body = vec![0; length.1.parse().ok()?];
    from.read_exact(&mut body).ok()?;
    Some(Received {
        path,
        headers,
        body: String::from_utf8(body).ok()?,
    })
}
