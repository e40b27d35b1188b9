//! A program whose system calls are counted, and made to fail or to be its last ones.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::{env, fs};

/// Those that change something on disk, and those that speak to a remote.
const CHANGING: &str = "openat,mkdir,mkdirat,write,writev,pwrite64,copy_file_range,rename,renameat,\
    renameat2,unlink,unlinkat,rmdir,link,linkat,fsync,fdatasync,ftruncate,chmod,fchmod,fchmodat,flock,\
    connect,sendto,recvfrom";

/// The `number`th call of `name` in one of a program's threads.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Call {
    pub name: String,
    pub number: usize,
}

/// The fate of a system call.
#[derive(Clone, Copy, Debug)]
pub enum Fate {
    Kill,
    /// It does nothing and fails with this error.
    Fail(&'static str),
}

/// Whether strace is there and may trace: a container can forbid it.
pub fn is_usable() -> bool {
    let mut strace = Command::new("strace");
    strace.args(["-o", "/dev/null", "true"]);
    let strace = strace.stdout(Stdio::null()).stderr(Stdio::null());
    strace.status().is_ok_and(|status| status.success())
}

/// The calls of a run that is left alone and that change something in `folder`.
///
/// With a folder that is a socket's name, those that go to the network.
#[track_caller]
pub fn calls(test: &str, set: &[(&str, &str)], folder: &Path, log: &Path) -> Vec<Call> {
    let status = trace(test, set, &["-e", &format!("trace={CHANGING}")], log);
    assert!(status.success(), "the run that is left alone: {status}");
    let folder = folder.to_string_lossy();
    let mut seen = BTreeMap::new();
    let mut found = BTreeSet::new();
    let log = fs::read_to_string(log).expect("the log");
    for line in log.lines().filter_map(Line::parse) {
        let number = seen.entry((line.thread, line.name)).or_insert(0);
        *number += 1;
        if line.changes(&folder) {
            let name = line.name.to_owned();
            found.insert(Call {
                name,
                number: *number,
            });
        }
    }
    found.into_iter().collect()
}

/// Runs it with this fate for a call, and says whether the call was one that changes `folder`.
pub fn run(
    test: &str,
    set: &[(&str, &str)],
    (call, fate): (&Call, Fate),
    folder: &Path,
    log: &Path,
) -> (ExitStatus, bool) {
    let what = match fate {
        Fate::Kill => "signal=KILL".to_owned(),
        Fate::Fail(error) => format!("error={error}"),
    };
    let Call { name, number } = call;
    let inject = format!("inject={name}:{what}:when={number}");
    let only = format!("trace={name}");
    let status = trace(test, set, &["-e", &only, "-e", &inject], log);
    let log = fs::read_to_string(log).expect("the log");
    let folder = folder.to_string_lossy();
    let is_hit = |line: &&str| match fate {
        Fate::Kill => line.ends_with("= ?"),
        Fate::Fail(_) => line.ends_with("(INJECTED)"),
    };
    let mut hit = log.lines().filter(is_hit).filter_map(Line::parse);
    (status, hit.any(|line| line.changes(&folder)))
}

/// A test of this binary, as a program.
pub fn trace(test: &str, set: &[(&str, &str)], expressions: &[&str], log: &Path) -> ExitStatus {
    let mut strace = Command::new("strace");
    strace.args(["-f", "-y", "-o"]).arg(log).args(expressions);
    strace.arg(env::current_exe().expect("this binary"));
    strace.args(["--exact", "--ignored", test]);
    strace.envs(set.iter().copied());
    let said = fs::File::create(log.with_extension("said")).expect("a file for what it says");
    let strace = strace.stdout(Stdio::null()).stderr(said);
    strace.status().expect("strace runs")
}

struct Line<'a> {
    thread: &'a str,
    name: &'a str,
    rest: &'a str,
}

impl<'a> Line<'a> {
    fn parse(line: &'a str) -> Option<Self> {
        let (thread, rest) = line.split_once(' ')?;
        let (name, rest) = rest.trim_start().split_once('(')?;
        // A call that another thread interrupted is listed twice, the second time in <brackets>.
        let is_name = name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        is_name.then_some(Line { thread, name, rest })
    }

    fn changes(&self, folder: &str) -> bool {
        let is_opened_to_read = self.name == "openat" && !self.rest.contains("O_CREAT");
        self.rest.contains(folder) && !is_opened_to_read
    }
}
