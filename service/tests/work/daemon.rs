//! `refsyncd` as a process that may die, and what it works on.

use std::{
    fs::{self, File},
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, ExitStatus, Stdio},
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use refsync_service::{
    clock, ids,
    records::{Change, Direction, Globs, Name, Priority, Repo, Status, SyncRun},
    store::{NewRepo, NewRun, NewUpstream, RunLimits, Store},
};
use tempfile::TempDir;

use crate::{
    engine::{
        git::{self, ObjectFormat, Sandbox},
        server::GitServer,
    },
    support::Client,
    world::{SOON, events_of, memory_folder},
};

/// A lease and a wait between attempts that are ten times as long as any test waits: what is done within a test has
/// waited for neither.
const LEASE: &str = "600";
const CONFIG: &str = "[retry]\nfirst_wait_seconds = 600\n[retention]\nruns = 1\nmost_runs = 1\n";

/// The point at which a process dies.
#[derive(Default)]
pub struct Crash<'a> {
    /// Its number.
    pub at: Option<u64>,
    /// The file from whose appearance on points are counted.
    pub after: Option<&'a Path>,
}

impl Crash<'_> {
    pub const NONE: Crash<'static> = Crash {
        at: None,
        after: None,
    };

    pub fn at(at: u64) -> Self {
        Crash {
            at: Some(at),
            after: None,
        }
    }
}

/// The file beside the data that all processes write their log to.
fn log(data: &Path) -> File {
    let file = File::options()
        .append(true)
        .create(true)
        .open(data.join("log"));
    file.expect("a file")
}

/// A process of `refsyncd`, which is killed when it is dropped.
pub struct Daemon {
    child: Child,
    out: BufReader<ChildStdout>,
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

impl Daemon {
    pub fn start(data: &Path, crash: Crash<'_>, arguments: &[&str]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_refsyncd"));
        command
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .arg("--data")
            .arg(data)
            .arg("--config")
            .arg(data.join("config.toml"))
            .args(["--listen", "127.0.0.1:0", "--network", "any"])
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log(data));
        if !arguments.contains(&"--lease") {
            command.args(["--lease", LEASE]);
        }
        if let Some(at) = crash.at {
            command.env("REFSYNCD_CRASH_AT", at.to_string());
        }
        if let Some(file) = crash.after {
            command.env("REFSYNCD_CRASH_AFTER", file);
        }
        let mut child = command.spawn().expect("refsyncd starts");
        let out = BufReader::new(child.stdout.take().expect("its output"));
        Daemon { child, out }
    }

    /// The rest of the next line of output that begins with `start`; `None` if the process ends before.
    pub fn line(&mut self, start: &str) -> Option<String> {
        loop {
            let mut line = String::new();
            if self.out.read_line(&mut line).expect("a line") == 0 {
                return None;
            }
            if let Some(rest) = line.strip_prefix(start) {
                return Some(rest.trim_end().to_owned());
            }
        }
    }

    /// The address, once it listens.
    pub fn url(&mut self) -> String {
        self.line("listening on ").expect("it listens")
    }

    pub fn signal(&self, signal: Signal) {
        let id = i32::try_from(self.child.id()).expect("an id");
        kill(Pid::from_raw(id), signal).expect("sent");
    }

    /// Ends it as an operator does, and waits for its end.
    pub fn stop(mut self) {
        self.signal(Signal::SIGTERM);
        let ended = self.wait();
        assert!(ended.success(), "{ended}");
    }

    /// Waits for its end.
    #[track_caller]
    pub fn wait(&mut self) -> ExitStatus {
        let began = Instant::now();
        loop {
            if let Some(ended) = self.child.try_wait().expect("its state") {
                return ended;
            }
            assert!(began.elapsed() < SOON, "it lives on");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    pub fn has_died(&mut self) -> bool {
        self.child.try_wait().expect("its state").is_some()
    }

    /// Waits for the end of the process at the crash point `at`, or for an empty queue; whether it has died.
    pub async fn dies_at_work(&mut self, store: &Store, at: u64) -> bool {
        let began = Instant::now();
        while !self.has_died() {
            let length = store.queue_length().await.expect("read");
            if length.queued + length.running == 0 {
                return false;
            }
            assert!(began.elapsed() < SOON, "{at}: {length:?}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        true
    }
}

/// An upstream and a data folder with repositories whose runs are queued.
pub struct Scene {
    pub upstreams: Sandbox,
    pub server: GitServer,
    pub data: TempDir,
    key: String,
}

impl Scene {
    pub fn new() -> Self {
        let upstreams = Sandbox::new();
        let server = GitServer::builder(upstreams.path())
            .receive_pack(true)
            .start();
        let data = memory_folder();
        fs::write(data.path().join("config.toml"), CONFIG).expect("a file");
        let mut first = Daemon::start(data.path(), Crash::NONE, &["--workers", "0"]);
        let key = first.line("admin key: ").expect("the key");
        Scene {
            upstreams,
            server,
            data,
            key,
        }
    }

    /// A client of a process, with all rights.
    pub fn client(&self, daemon: &mut Daemon) -> Client {
        Client::new(&daemon.url(), Some(&self.key))
    }

    pub async fn store(&self, data: &Path) -> Store {
        Store::open(&data.join("refsyncd.db"))
            .await
            .expect("a database")
    }

    /// A repository with an upstream.
    pub async fn repo(&self, store: &Store, name: &str) -> Repo {
        let upstream = self
            .upstreams
            .init_bare(&format!("{name}.git"), ObjectFormat::Sha1);
        upstream.commit("main", &[], "one", &[("a", "1")], 1_700_000_000);
        upstream.tag_annotated("v1", "main");
        let org = store
            .org_by_slug("default")
            .await
            .expect("read")
            .expect("the organization");
        let new = NewRepo {
            id: ids::new(),
            org: org.id,
            name: Name::new(name).expect("a name"),
            default_bookmark: "main".into(),
            default_given: false,
            tags: Default::default(),
            home: "local".into(),
            upstream: Some(NewUpstream {
                url: self.server.url(&format!("{name}.git")),
                host: "localhost".into(),
                origin: format!("http://localhost:{}", self.server.address().port()),
                schedule: Change::Keep,
                auth: Change::Keep,
            }),
        };
        let made = store.create_repo(new, clock::now()).await;
        made.expect("stored").expect("not taken")
    }

    /// A repository with one queued pull.
    pub async fn queue(&self, store: &Store, name: &str) -> (Repo, SyncRun) {
        let repo = self.repo(store, name).await;
        let new = NewRun {
            repo: &repo,
            direction: Direction::Pull,
            globs: Globs::default(),
            dry_run: false,
            priority: Priority::Api,
        };
        let run = store.enqueue(new, RunLimits::default(), clock::now()).await;
        let run = run.expect("stored").expect("queued");
        (repo, run)
    }

    /// Starts the service once more and waits until nothing is queued or in progress; the time that it took.
    pub async fn recover(&self, data: &Path, store: &Store) -> Duration {
        let began = Instant::now();
        let _daemon = Daemon::start(data, Crash::NONE, &["--workers", "2"]);
        loop {
            let length = store.queue_length().await.expect("read");
            if length.queued + length.running == 0 {
                return began.elapsed();
            }
            // Neither the end of a lease nor a wait for the next attempt has helped.
            assert!(began.elapsed() < SOON, "{length:?}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Checks the run, its events, and the repository.
    pub async fn check(
        &self,
        data: &Path,
        store: &Store,
        (repo, run): &(Repo, SyncRun),
        what: &str,
    ) {
        let run = store
            .sync_run(&repo.id, &run.id)
            .await
            .expect("read")
            .expect("the run");
        assert_eq!(run.status, Status::Completed, "{what}: {run:?}");
        let events = events_of(&data.join("refsyncd.db"), repo.id.as_str()).await;
        let expected = ["sync.queued", "sync.in_progress", "sync.completed", "push"];
        assert_eq!(events, expected, "{what}");
        let local = git::Repo::at(data.join("repos").join(format!("{}.git", repo.id)));
        local.fsck();
        let upstream = self.upstreams.repo(&format!("{}.git", repo.name));
        assert_eq!(local.for_each_ref(), upstream.for_each_ref(), "{what}");
        let head = store
            .repo(&repo.id)
            .await
            .expect("read")
            .expect("the repository")
            .head;
        assert_eq!(head, Some(upstream.git(&["rev-parse", "main"])), "{what}");
    }
}

/// Copies a folder with everything in it.
pub fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a folder");
    for entry in from.read_dir().expect("a folder") {
        let entry = entry.expect("an entry");
        let to: PathBuf = to.join(entry.file_name());
        if entry.file_type().expect("a type").is_dir() {
            copy(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), to).expect("a copy");
        }
    }
}
