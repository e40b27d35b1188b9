//! `refsyncd` as a process.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpStream,
    path::Path,
    process::{Child, ChildStdout, Command, Output, Stdio},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tempfile::TempDir;

use crate::support::Client;

/// A temporary folder, in memory where there is a place for that.
pub(crate) fn folder() -> TempDir {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() {
        tempfile::tempdir_in(memory)
    } else {
        tempfile::tempdir()
    }
    .expect("a folder")
}

/// The program with its data in `folder`, and nothing of this process's environment but the path.
pub(crate) fn program(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_refsyncd"));
    command.env_clear().current_dir(folder);
    command.envs(std::env::var_os("PATH").map(|value| ("PATH", value)));
    command
}

/// Runs a command to its end.
pub(crate) fn run(folder: &Path, arguments: &[&str]) -> Output {
    program(folder)
        .args(arguments)
        .output()
        .expect("the program")
}

/// The text of a refusal: one line, no panic, not the code of success.
#[track_caller]
pub(crate) fn refusal(output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success(), "it was done");
    assert!(
        output.stdout.is_empty(),
        "{}",
        String::from_utf8_lossy(&output.stdout)
    );
    assert!(!text.contains("panicked"), "{text}");
    text
}

/// The output of a successful command.
#[track_caller]
pub(crate) fn printed(output: &Output) -> String {
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

pub(crate) struct Daemon {
    pub(crate) child: Child,
    /// Kept, so that the program can print.
    out: BufReader<ChildStdout>,
    pub(crate) address: String,
}

impl Daemon {
    pub(crate) fn start(folder: &Path, arguments: &[&str]) -> Self {
        Self::of(program(folder), arguments)
    }

    pub(crate) fn of(mut command: Command, arguments: &[&str]) -> Self {
        command
            .args(["serve", "--listen", "127.0.0.1:0"])
            .args(arguments);
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("the program");
        let mut daemon = Daemon {
            out: BufReader::new(child.stdout.take().expect("a pipe")),
            child,
            address: String::new(),
        };
        let line = daemon.line();
        let address = line.strip_prefix("listening on http://");
        daemon.address = address.unwrap_or_else(|| panic!("{line:?}")).to_owned();
        daemon
    }

    /// The next line on standard output.
    pub(crate) fn line(&mut self) -> String {
        let mut line = String::new();
        self.out.read_line(&mut line).expect("a line");
        line.trim_end().to_owned()
    }

    pub(crate) fn get(&self, path: &str, headers: &str) -> String {
        let mut tcp = TcpStream::connect(&self.address).expect("a connection");
        let request =
            format!("GET {path} HTTP/1.1\r\nhost: a\r\n{headers}connection: close\r\n\r\n");
        tcp.write_all(request.as_bytes()).expect("written");
        let mut answer = String::new();
        tcp.read_to_string(&mut answer).expect("an answer");
        answer
    }

    /// A client with this key.
    pub(crate) fn client(&self, key: &str) -> Client {
        Client::new(&format!("http://{}", self.address), Some(key))
    }

    /// Whether the key is known: a repository that is not there is 404 with it, and 401 without.
    pub(crate) fn knows(&self, key: &str, org: &str) -> bool {
        use base64::Engine as _;
        let basic = base64::engine::general_purpose::STANDARD.encode(format!("x:{key}"));
        let path = format!("/{org}/none.git/info/refs?service=git-upload-pack");
        let answer = self.get(&path, &format!("authorization: Basic {basic}\r\n"));
        match &answer[..12] {
            "HTTP/1.1 404" => true,
            "HTTP/1.1 401" => false,
            _ => panic!("{answer}"),
        }
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let id = i32::try_from(self.child.id()).expect("an id");
        kill(Pid::from_raw(id), signal).expect("sent");
    }

    /// Stops it as an operator does.
    #[track_caller]
    pub(crate) fn stop(mut self) {
        self.signal(Signal::SIGTERM);
        let status = self.child.wait().expect("an end");
        assert!(status.success(), "{status}");
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}
