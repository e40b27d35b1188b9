//! What a million refs cost, measured by the system in a process of its own.

use super::raw::{ID, Raw, Request, announced, capabilities, head, packet};
use super::remote;
use refsync::{ErrorKind, RefSource as _, Run, Service, SyncOptions};
use std::io::{self, Write};
use std::process::Command;

const REFS: usize = 1_000_000;
const MOST: u64 = 128 * 1024 * 1024;

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
                false => write_refs(&mut stream)?,
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
            write_refs(&mut stream)?;
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
            write_refs(&mut stream)?;
            stream.flush()?;
            Err(io::ErrorKind::ConnectionAborted.into())
        },
    );
}

/// With names of 40 bytes, in no order.
fn write_refs(stream: &mut impl Write) -> io::Result<()> {
    // HEAD is one of the million in v0.
    for number in (1..REFS).map(|number| number * 7_919 % REFS) {
        stream.write_all(&packet(format!("{ID} refs/heads/{number:029}\n")))?;
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
        let run = Run::new(&SyncOptions::default());
        let list = remote(&url).list(service, &[], &run);
        let list = list.expect("a list");
        assert!(list.iter().is_sorted_by(|a, b| a.name < b.name));
        let is_long = |name: &[u8]| name.len() == 40;
        let long = list.iter().filter(|listed| is_long(listed.name));
        assert_eq!(long.count(), REFS - 1);
        let peak = peak();
        assert!(peak <= MOST, "{peak} bytes");

        let mut options = SyncOptions::default();
        options.limits.refs = REFS - 2;
        let listed = remote(&url).list(service, &[], &Run::new(&options));
        let err = listed.expect_err("one too many");
        assert_eq!(err.kind(), ErrorKind::BudgetExceeded);
        return;
    }
    let server = Raw::start(answer);
    let mut child = Command::new(std::env::current_exe().expect("this test"));
    child.args(["--exact", test, "--nocapture"]);
    let done = child.env(CHILD, server.url()).output().expect("a child");
    let said = String::from_utf8_lossy(&done.stderr).into_owned();
    assert!(done.status.success(), "{said}");
}

/// The most memory that this process ever had, in bytes: see proc_pid_status(5).
#[cfg(target_os = "linux")]
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("a status");
    let line = status.lines().find(|line| line.starts_with("VmHWM:"));
    let kib = line.and_then(|line| line.split_ascii_whitespace().nth(1));
    1024 * kib.expect("a peak").parse::<u64>().expect("a number")
}
