//! Pushes, against `git push` in the same run.
//!
//! ```sh
//! REFSYNC_MIRRORS=/path/to/mirrors cargo bench --bench push
//! ```
//! The two take turns, each to a remote of its own that is made anew. `REFSYNC_MIRRORS` holds a bare
//! `git+git/repo` with its full history; without it there are only the pushes that find nothing to do
//! and, on Linux, the memory that a push of 300 MB takes. What a push of all refs takes is mostly the
//! remote's listing, so there is a bare request for that beside it.

#![allow(
    missing_docs,
    clippy::print_stdout,
    reason = "a program that prints figures"
)]

#[path = "../tests/support/mod.rs"]
mod support;

use std::{
    io::{self, Write},
    net::TcpStream,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use refsync::{LocalStore, NetworkPolicy, Outcome, RefGlobs, SmartHttp, SyncOptions, sync};
use support::{GitServer, ObjectFormat, Repo, Sandbox, ref_heavy};

const ROUNDS: usize = 5;
const ROUNDS_OF_THE_WHOLE: usize = 3;
const REFS: usize = 50_000;
const COMMITS: usize = 20_000;
const ALL: [&str; 2] = ["refs/heads/*", "refs/tags/*"];

/// In the environment of the process whose memory is looked at: where it pushes from and to.
const CHILD: &str = "REFSYNC_BENCH_PUSH";

fn main() {
    if let Ok(ends) = std::env::var(CHILD) {
        let (source, url) = ends.split_once(' ').expect("a path and a URL");
        return push(&Repo::at(source), url, RefGlobs::default());
    }
    if cfg!(target_os = "linux") {
        memory();
    }
    println!("| push | git, median s | refsync | x git | x its bytes |\n|---|---|---|---|---|");
    nothing_to_do();
    if let Some(mirrors) = std::env::var_os("REFSYNC_MIRRORS") {
        real_history(&PathBuf::from(mirrors).join("git+git/repo"));
    }
}

fn nothing_to_do() {
    let sandbox = Sandbox::new();
    let source = sandbox.init_bare("source.git", ObjectFormat::Sha1);
    ref_heavy(&source, REFS, COMMITS);
    let remote = sandbox.init_bare("remote.git", ObjectFormat::Sha1);
    source.link_to(&remote);
    let name = format!("nothing to do, {REFS} refs");
    compare(&sandbox, &name, &source, &remote, &ALL, ROUNDS);
    let name = format!("nothing to do, release/* of {REFS} refs");
    compare(
        &sandbox,
        &name,
        &source,
        &remote,
        &["refs/heads/release/*"],
        ROUNDS,
    );
    bare_listing(&sandbox);
}

/// The remote's listing, asked for and thrown away.
fn bare_listing(sandbox: &Sandbox) {
    let server = GitServer::builder(sandbox.path())
        .receive_pack(true)
        .start();
    let request = "GET /remote.git/info/refs?service=git-receive-pack HTTP/1.1\r\n\
                   Host: localhost\r\nConnection: close\r\n\r\n";
    let times = (0..ROUNDS).map(|_| {
        timed(|| {
            let mut stream = TcpStream::connect(server.address()).expect("a connection");
            stream.write_all(request.as_bytes()).expect("sent");
            let received = io::copy(&mut stream, &mut io::sink()).expect("an answer");
            assert!(received > 50 * REFS as u64, "{received}");
        })
    });
    let bare = median(times.collect()).as_secs_f64();
    println!("| the bare listing of {REFS} refs | | {bare:.3} | | |");
}

/// Three files of 100 MB that nothing compresses, and 3000 of 1 kB to 100 kB.
fn memory() {
    let sandbox = Sandbox::new();
    let server = GitServer::builder(sandbox.path())
        .receive_pack(true)
        .start();
    println!("| push of 300 MB | git, peak MiB | refsync |\n|---|---|---|");
    for (name, sizes) in [
        ("3 files", vec![100_000_000; 3]),
        (
            "6000 files",
            (0..6000).map(|n| 1000 + n % 100 * 1000).collect(),
        ),
    ] {
        let folder = name.replace(' ', "-");
        let source = sandbox.init_worktree(&folder, ObjectFormat::Sha1);
        let mut noise = 1_u64;
        for (number, size) in sizes.iter().enumerate() {
            let mut content = Vec::with_capacity(size + 8);
            while content.len() < *size {
                noise ^= noise << 13;
                noise ^= noise >> 7;
                noise ^= noise << 17;
                content.extend(noise.to_le_bytes());
            }
            std::fs::write(source.path.join(format!("file-{number}")), content).expect("a file");
        }
        source.git(&["add", "."]);
        source.git(&["commit", "-qm", "Add noise"]);
        let peaks = ["git", "refsync"].map(|who| {
            let target = format!("{folder}-{who}.git");
            sandbox.init_bare(&target, ObjectFormat::Sha1);
            let url = server.url(&target);
            let child = match who {
                "git" => {
                    let mut git = support::git::command(&source.path);
                    git.args(["push", "-q", &url, "main"]);
                    git
                }
                _ => {
                    let this = std::env::current_exe().expect("the path of this program");
                    let mut this = std::process::Command::new(this);
                    this.env(CHILD, format!("{} {url}", source.path.display()));
                    this
                }
            };
            peak(child) / 1024
        });
        println!("| {name} | {} | {} |", peaks[0], peaks[1]);
    }
    println!();
}

/// The highest resident set in kB of any of the processes that this one leads to.
fn peak(mut command: std::process::Command) -> u64 {
    let mut child = command.spawn().expect("a process");
    let mut peak = 0;
    loop {
        let over = child.try_wait().expect("a process of ours");
        peak = peak.max(peak_of_tree(child.id()));
        if let Some(status) = over {
            assert!(status.success());
            return peak;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

fn peak_of_tree(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let own = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
    let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
    let children = children.unwrap_or_default();
    let children = children
        .split_whitespace()
        .filter_map(|pid| pid.parse().ok());
    children.map(peak_of_tree).fold(own.unwrap_or(0), u64::max)
}

fn real_history(mirror: &Path) {
    let sandbox = Sandbox::new();
    let mirror = Repo::at(mirror);
    let head = mirror.git(&["rev-parse", "HEAD"]);
    let whole = sandbox.init_bare("whole.git", ObjectFormat::Sha1);
    let url = mirror.path.to_str().expect("a path in UTF-8").to_owned();
    whole.git(&[
        "fetch",
        "-q",
        &url,
        "+refs/heads/*:refs/heads/*",
        "+refs/tags/*:refs/tags/*",
    ]);
    for commits in [1, 100] {
        let old = whole.git(&["rev-parse", &format!("{head}~{commits}")]);
        let source = sandbox.init_bare(&format!("source-{commits}.git"), ObjectFormat::Sha1);
        let remote = sandbox.init_bare(&format!("remote-{commits}.git"), ObjectFormat::Sha1);
        let from = whole.path.to_str().expect("a path in UTF-8").to_owned();
        for repo in [&source, &remote] {
            repo.git(&["fetch", "-q", &from, &format!("{old}:refs/heads/main")]);
        }
        let keep_loose = "fetch.unpackLimit=1000000";
        source.git(&[
            "-c",
            keep_loose,
            "fetch",
            "-q",
            &from,
            &format!("+{head}:refs/heads/main"),
        ]);
        compare(
            &sandbox,
            &format!("{commits} commits, loose"),
            &source,
            &remote,
            &ALL,
            ROUNDS,
        );
        source.git(&["repack", "-adq"]);
        compare(
            &sandbox,
            &format!("{commits} commits, packed"),
            &source,
            &remote,
            &ALL,
            ROUNDS,
        );
    }
    let empty = sandbox.init_bare("empty.git", ObjectFormat::Sha1);
    compare(
        &sandbox,
        "all of it",
        &whole,
        &empty,
        &ALL,
        ROUNDS_OF_THE_WHOLE,
    );
}

fn compare(
    sandbox: &Sandbox,
    name: &str,
    source: &Repo,
    remote: &Repo,
    refs: &[&str],
    rounds: usize,
) {
    let server = GitServer::builder(sandbox.path())
        .receive_pack(true)
        .start();
    let refspecs: Vec<_> = refs.iter().map(|refs| format!("{refs}:{refs}")).collect();
    let glob = |namespace| refs.iter().find_map(|refs| refs.strip_prefix(namespace));
    let globs = RefGlobs::new(glob("refs/heads/"), glob("refs/tags/")).expect("globs");
    let mut times = [const { Vec::new() }; 2];
    let mut bytes = [0; 2];
    for _ in 0..rounds {
        for (turn, times) in times.iter_mut().enumerate() {
            let target = sandbox.init_bare("target.git", ObjectFormat::Sha1);
            remote.link_to(&target);
            let url = server.url("target.git");
            server.reset_counts();
            times.push(timed(|| match turn {
                0 => {
                    let mut push = vec!["push", "-q", &url];
                    push.extend(refspecs.iter().map(String::as_str));
                    source.git(&push);
                }
                _ => push(source, &url, globs.clone()),
            }));
            let (received, sent) = server.wire_bytes();
            bytes[turn] = received + sent;
            assert_eq!(target.for_each_ref(), source.for_each_ref());
            std::fs::remove_dir_all(&target.path).expect("a folder of ours");
        }
    }
    let [git, ours] = times.map(|times| median(times).as_secs_f64());
    let (ratio, [git_bytes, our_bytes]) = (ours / git, bytes.map(|bytes| bytes as f64));
    let byte_ratio = our_bytes / git_bytes;
    println!("| {name} | {git:.3} | {ours:.3} | {ratio:.2} | {byte_ratio:.4} |");
}

fn push(source: &Repo, url: &str, globs: RefGlobs) {
    let store = LocalStore::open(&source.path).expect("a repository");
    let remote = SmartHttp::new(url).expect("a URL");
    let remote = remote.with_network_policy(NetworkPolicy::any());
    let mut options = SyncOptions::default();
    options.globs = globs;
    let stats = sync(&store, &remote, &options).expect("a push");
    assert_eq!(stats.count(Outcome::Rejected), 0);
}

fn timed(work: impl FnOnce()) -> Duration {
    let start = Instant::now();
    work();
    start.elapsed()
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}
