//! This program in other roles, so that each side of a comparison is a process of its own.

use std::{
    ffi::OsStr,
    io::{self, BufRead as _, BufReader, Write as _},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

use super::{
    engine::server::GitServer,
    peers::{BareEngine, GitFetch},
    record,
};

const ROLE: &str = "--role";

/// A process that answers each line with a line.
pub struct Role {
    child: Child,
    to: ChildStdin,
    from: BufReader<ChildStdout>,
}

impl Role {
    pub fn start<A: AsRef<OsStr>>(name: &str, arguments: impl IntoIterator<Item = A>) -> Self {
        let this = std::env::current_exe().expect("the path of this program");
        let mut command = Command::new(this);
        command.arg(ROLE).arg(name).args(arguments);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("this program runs");
        Role {
            to: child.stdin.take().expect("a pipe"),
            from: BufReader::new(child.stdout.take().expect("a pipe")),
            child,
        }
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// The next line that it says.
    pub fn line(&mut self) -> String {
        let mut line = String::new();
        self.from.read_line(&mut line).expect("a line");
        assert!(!line.is_empty(), "a process of the bench has ended");
        line.trim_end().to_owned()
    }

    pub fn ask(&mut self, question: &str) -> String {
        writeln!(self.to, "{question}").expect("a process that listens");
        self.line()
    }
}

impl Drop for Role {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// To be called first in `main`: whether this process was started for another role.
pub fn plays_one() -> bool {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        [ROLE, "server", root] => serve(root),
        [ROLE, "engine", folder, url] => {
            let engine = BareEngine::new(folder.as_ref(), url);
            answer(|question| match question {
                "one" => engine.one().as_micros().to_string(),
                _ => engine.round().as_micros().to_string(),
            });
        }
        [ROLE, "git", folder, url] => {
            let git = GitFetch::new(folder.as_ref(), url);
            answer(|_| {
                let (wall, cpu) = git.round();
                format!("{} {}", wall.as_micros(), cpu.as_micros())
            });
        }
        [ROLE, "record", database, folder] => {
            println!("{}", record::record(database, folder.as_ref()));
        }
        _ => return false,
    }
    true
}

fn serve(root: &str) {
    let server = GitServer::builder(root).start();
    println!("{}", server.url("app.git"));
    // Until whoever asked for it has gone.
    io::copy(&mut io::stdin(), &mut io::sink()).ok();
}

/// Says that it is ready, then answers each line.
fn answer(answer: impl Fn(&str) -> String) {
    println!("ready");
    for question in io::stdin().lines() {
        println!("{}", answer(&question.expect("a line")));
    }
}
