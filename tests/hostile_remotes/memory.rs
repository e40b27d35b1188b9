//! The memory of a million refs, measured by the system in a process of its own.

use super::raw::{ID, Raw, Request, announced, capabilities, head, packet};
use super::support::{GitServer, ObjectFormat, Sandbox};
use refsync::{
    ErrorKind, LocalStore, NetworkPolicy, Outcome, RefSource as _, Service, SmartHttp, SyncContext,
    SyncOptions,
};
use std::fmt::Write as _;
use std::fs;
use std::io::{self, Write};
use std::process::Command;

const REFS: usize = 1_000_000;
/// The number of refs in the listing that is over the limit.
const FEW: usize = 1_000;
const MOST: u64 = 128 * 1024 * 1024;

/// A whole run, whatever is listed.
const MOST_OF_A_RUN: u64 = 256 * 1024 * 1024;

/// Set for the child process that is this test once more.
const CHILD: &str = "REFSYNC_TEST_OF_MEMORY";

#[test]
#[cfg(target_os = "linux")]
fn a_million_refs_in_v2() {
    measure(
        "memory::a_million_refs_in_v2",
        Service::UploadPack,
        |request, stream| {
            let mut stream = io::BufWriter::with_capacity(1 << 16, stream);
            stream.write_all(head(request, "Connection: close\r\n").as_bytes())?;
            match request.is_listing() {
                true => stream.write_all(&capabilities())?,
                false => write_refs(request, &mut stream)?,
            }
            stream.flush()?;
            Err(io::ErrorKind::ConnectionAborted.into())
        },
    );
}

#[test]
#[cfg(target_os = "linux")]
fn a_million_refs_in_v0() {
    measure(
        "memory::a_million_refs_in_v0",
        Service::UploadPack,
        |request, stream| {
            let mut stream = io::BufWriter::with_capacity(1 << 16, stream);
            stream.write_all(head(request, "").as_bytes())?;
            stream.write_all(&announced())?;
            stream.write_all(&packet(format!("{ID} HEAD\0side-band-64k\n")))?;
            write_refs(request, &mut stream)?;
            stream.flush()?;
            Err(io::ErrorKind::ConnectionAborted.into())
        },
    );
}

#[test]
#[cfg(target_os = "linux")]
fn a_million_refs_for_a_push() {
    measure(
        "memory::a_million_refs_for_a_push",
        Service::ReceivePack,
        |request, stream| {
            let mut stream = io::BufWriter::with_capacity(1 << 16, stream);
            stream.write_all(head(request, "").as_bytes())?;
            stream.write_all(&packet("# service=git-receive-pack\n"))?;
            stream.write_all(b"0000")?;
            stream.write_all(&packet(format!("{ID} .have\0report-status\n")))?;
            write_refs(request, &mut stream)?;
            stream.flush()?;
            Err(io::ErrorKind::ConnectionAborted.into())
        },
    );
}

/// With names of 40 bytes, in no order. A repository of another name has fewer of them.
fn write_refs(request: &Request, stream: &mut impl Write) -> io::Result<()> {
    let count = match request.target().contains("few.git") {
        true => FEW,
        false => REFS,
    };
    // HEAD is one of the million in v0.
    for number in (1..count).map(|number| number * 7_919 % REFS) {
        // The length of a packet (gitprotocol-common): so many bytes are in every line.
        writeln!(stream, "0056{ID} refs/heads/{number:029}")?;
    }
    stream.write_all(b"0000")
}

#[cfg(target_os = "linux")]
fn measure(
    test: &str,
    service: Service,
    answer: fn(&Request, &mut std::net::TcpStream) -> io::Result<()>,
) {
    if let Ok(url) = std::env::var(CHILD) {
        let context = SyncContext::new(&SyncOptions::default());
        let list = quiet(&url).list(service, &[], &context);
        let list = list.expect("a list");
        assert!(list.iter().is_sorted_by(|a, b| a.name < b.name));
        let is_long = |name: &[u8]| name.len() == 40;
        let long = list.iter().filter(|listed| is_long(listed.name));
        assert_eq!(long.count(), REFS - 1);
        let peak = peak();
        assert!(peak <= MOST, "{peak} bytes");

        let mut options = SyncOptions::default();
        options.limits.refs = FEW - 2;
        let few = url.replace("repo.git", "few.git");
        let listed = quiet(&few).list(service, &[], &SyncContext::new(&options));
        let err = listed.expect_err("one too many");
        assert_eq!(err.kind(), ErrorKind::BudgetExceeded);
        return;
    }
    let server = Raw::start(answer);
    in_a_child(test, &server.url());
}

/// A remote whose log, a dump of all that it receives, is not searched for secrets.
fn quiet(url: &str) -> SmartHttp {
    let remote = SmartHttp::new(url).expect("a URL");
    remote.with_network_policy(NetworkPolicy::any())
}

#[cfg(target_os = "linux")]
fn in_a_child(test: &str, told: &str) {
    let mut child = Command::new(std::env::current_exe().expect("this test"));
    child.args(["--exact", test, "--nocapture"]);
    let done = child.env(CHILD, told).output().expect("a child");
    let said = String::from_utf8_lossy(&done.stderr).into_owned();
    assert!(done.status.success(), "{said}");
}

/// Into an empty repository, from git. Nothing but the run is in the measured process.
#[test]
#[cfg(target_os = "linux")]
fn a_pull_of_a_million_refs() {
    let names = (0..REFS).map(|number| format!("refs/heads/{number:06}"));
    pull("memory::a_pull_of_a_million_refs", "", names);
}

/// As many as the limit on names allows: each needs two thousand directories.
#[test]
#[cfg(target_os = "linux")]
fn a_pull_of_deep_names() {
    pull("memory::a_pull_of_deep_names", "", deep_names());
}

#[test]
#[cfg(target_os = "linux")]
fn a_pull_of_deep_names_where_case_is_ignored() {
    let settings = "[core]\nignoreCase = true\n";
    let test = "memory::a_pull_of_deep_names_where_case_is_ignored";
    pull(test, settings, deep_names());
}

fn deep_names() -> impl Iterator<Item = String> {
    let directories = "d/".repeat(1940);
    (0..16_900).map(move |number| format!("refs/heads/{directories}{number:05}"))
}

/// Most a run takes that has all of these to create.
#[cfg(target_os = "linux")]
fn pull(test: &str, settings: &str, names: impl Iterator<Item = String>) {
    if let Ok(told) = std::env::var(CHILD) {
        let (url, path) = told.split_once(' ').expect("both ends");
        let store = LocalStore::open(path).expect("a repository");
        let stats = refsync::sync(&quiet(url), &store, &SyncOptions::default());
        let stats = stats.expect("a run");
        assert_eq!(stats.count(Outcome::is_updated), stats.refs.len());
        let peak = peak();
        assert!(peak <= MOST_OF_A_RUN, "{peak} bytes");
        return;
    }
    let sandbox = Sandbox::new();
    let source = sandbox.init_bare("source.git", ObjectFormat::Sha1);
    let tip = source.commit("main", &[], "one", &[], 1_700_000_000);
    let mut packed = "# pack-refs with: peeled fully-peeled sorted \n".to_owned();
    for name in names {
        writeln!(packed, "{tip} {name}").expect("memory");
    }
    fs::write(source.path.join("packed-refs"), packed).expect("written");
    source.git(&["symbolic-ref", "HEAD", "refs/heads/none"]);
    source.git(&["update-ref", "-d", "refs/heads/main"]);
    let mirror = sandbox.init_bare("m", ObjectFormat::Sha1);
    let mut config = fs::read_to_string(mirror.path.join("config")).expect("a file");
    config += settings;
    fs::write(mirror.path.join("config"), config).expect("written");
    let server = GitServer::builder(sandbox.path()).start();
    let (url, path) = (server.url("source.git"), mirror.path.display());
    in_a_child(test, &format!("{url} {path}"));
    // Git takes a while for these, so it is asked for one of them.
    let count = fs::read_to_string(mirror.path.join("packed-refs")).expect("a file");
    let source = fs::read_to_string(source.path.join("packed-refs")).expect("a file");
    assert_eq!(count.lines().count(), source.lines().count());
}

/// The most memory that this process ever had, in bytes: see proc_pid_status(5).
#[cfg(target_os = "linux")]
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("a status");
    let line = status.lines().find(|line| line.starts_with("VmHWM:"));
    let kib = line.and_then(|line| line.split_ascii_whitespace().nth(1));
    1024 * kib.expect("a peak").parse::<u64>().expect("a number")
}
