//! Real responses: `git http-backend`, run as CGI.

use super::super::git;
use super::Settings;
use super::http::{self, RequestHead};
use std::collections::HashMap;
use std::io::{self, BufReader, Read, Write};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;

/// A response whose body is read while git still writes it.
pub(super) struct Response {
    pub(super) status: u16,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Box<dyn Read>,
    /// The body's length if it is known; it is sent in chunks if not.
    pub(super) length: Option<usize>,
}

impl Response {
    pub(super) fn whole(status: u16, headers: Vec<(String, String)>, body: Vec<u8>) -> Self {
        let length = Some(body.len());
        Self {
            status,
            headers,
            body: Box::new(io::Cursor::new(body)),
            length,
        }
    }
}

/// The backends that are running.
#[derive(Clone, Default)]
pub(super) struct Backends(Arc<Mutex<Running>>);

#[derive(Default)]
struct Running {
    /// Once set nothing is started, or it could outlive `kill_all`.
    over: bool,
    children: HashMap<u32, Child>,
}

impl Backends {
    pub(super) fn run(&self, settings: &Settings, head: RequestHead) -> io::Result<Response> {
        let (stdout, id) = self.start(cgi(settings, &head), head.body)?;
        let stdout = BufReader::new(stdout);
        let mut body = BackendOutput {
            stdout,
            id,
            backends: self.clone(),
        };
        let mut headers = http::read_headers(&mut body.stdout)?;
        let status = match http::find(&headers, "status") {
            None => 200,
            Some(line) => line
                .get(..3)
                .and_then(|code| code.parse().ok())
                .unwrap_or(500),
        };
        headers.retain(|(name, _)| {
            !["status", "content-length"].contains(&name.to_ascii_lowercase().as_str())
        });
        Ok(Response {
            status,
            headers,
            body: Box::new(body),
            length: None,
        })
    }

    pub(super) fn kill_all(&self) {
        let mut running = self.0.lock().expect("the running backends");
        running.over = true;
        for child in running.children.values_mut() {
            kill(child);
        }
    }

    fn start(&self, mut cgi: Command, body: Vec<u8>) -> io::Result<(ChildStdout, u32)> {
        let mut running = self.0.lock().expect("the running backends");
        if running.over {
            return Err(io::ErrorKind::Interrupted.into());
        }
        let mut child = cgi.spawn()?;
        let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
        let (mut stdin, stdout) = stdin.zip(stdout).expect("a piped stdin and stdout");
        // Apart from the reading, which may have to go on before git takes the rest. It ends with
        // the backend at the latest.
        thread::spawn(move || stdin.write_all(&body).ok());
        let id = child.id();
        running.children.insert(id, child);
        Ok((stdout, id))
    }

    fn wait(&self, id: u32) {
        let child = self
            .0
            .lock()
            .expect("the running backends")
            .children
            .remove(&id);
        child.expect("a running backend").wait().ok();
    }
}

/// Runs its backend to the end even if nobody wants the rest, so that what a request does to the
/// refs never depends on when its client went away.
struct BackendOutput {
    stdout: BufReader<ChildStdout>,
    id: u32,
    backends: Backends,
}

impl Read for BackendOutput {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.stdout.read(buffer)
    }
}

impl Drop for BackendOutput {
    fn drop(&mut self) {
        io::copy(&mut self.stdout, &mut io::sink()).ok();
        self.backends.wait(self.id);
    }
}

fn cgi(settings: &Settings, head: &RequestHead) -> Command {
    let mut cgi = git::command(&settings.root);
    cgi.args([
        "-c",
        &format!("http.receivepack={}", settings.receive_pack),
        "http-backend",
    ])
    .env("GIT_PROJECT_ROOT", &settings.root)
    .env("GIT_HTTP_EXPORT_ALL", "1")
    .env("REMOTE_ADDR", "127.0.0.1")
    .env("REQUEST_METHOD", &head.method)
    .env("PATH_INFO", percent_decoded(&head.path))
    .env("QUERY_STRING", &head.query)
    .env("CONTENT_LENGTH", head.body.len().to_string())
    .stdin(Stdio::piped())
    .stdout(Stdio::piped())
    .stderr(Stdio::null());
    let protocol = head
        .header("git-protocol")
        .and_then(|sent| lowered(sent, settings));
    let optional = [
        ("CONTENT_TYPE", head.header("content-type")),
        ("HTTP_CONTENT_ENCODING", head.header("content-encoding")),
        ("GIT_PROTOCOL", protocol),
        (
            "REMOTE_USER",
            settings
                .credentials
                .as_ref()
                .map(|known| known.user.as_str()),
        ),
    ];
    cgi.envs(
        optional
            .into_iter()
            .filter_map(|(name, value)| Some((name, value?))),
    );
    in_own_group(&mut cgi);
    cgi
}

fn lowered<'a>(sent: &'a str, settings: &Settings) -> Option<&'a str> {
    match settings.max_protocol {
        0 => None,
        1 => Some("version=1"),
        _ => Some(sent),
    }
}

fn percent_decoded(path: &str) -> String {
    let mut parts = path.split('%');
    let mut decoded = parts.next().unwrap_or_default().as_bytes().to_vec();
    for part in parts {
        match part
            .get(..2)
            .and_then(|digits| u8::from_str_radix(digits, 16).ok())
        {
            Some(byte) => {
                decoded.push(byte);
                decoded.extend_from_slice(&part.as_bytes()[2..]);
            }
            None => decoded.extend_from_slice(format!("%{part}").as_bytes()),
        }
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

#[cfg(unix)]
fn in_own_group(cgi: &mut Command) {
    std::os::unix::process::CommandExt::process_group(cgi, 0);
}

#[cfg(not(unix))]
fn in_own_group(_: &mut Command) {}

/// With its whole group: a hook or `upload-pack` would go on, and hold the pipe that is being read.
fn kill(backend: &mut Child) {
    if cfg!(unix) {
        let group = format!("kill -KILL -{}", backend.id());
        Command::new("sh")
            .args(["-c", &group])
            .stderr(Stdio::null())
            .status()
            .ok();
    }
    backend.kill().ok();
}
