//! The peers of a service: the bare engine, and git.

use std::{
    path::{Path, PathBuf},
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use refsync::{
    LocalStore, NetworkPolicy, ObjectFormat, Outcome, ServerProfile, SmartHttp, SyncOptions,
    SyncRunStats,
};

use super::{engine::git, figures::cpu_of_children};

/// The repositories, the syncs of a round, and those at a time.
pub const REPOS: usize = 200;
pub const SYNCS: usize = 1_000;
pub const AT_A_TIME: usize = 8;

/// Does `sync` [`SYNCS`] times, [`AT_A_TIME`] at once, with numbers that go up.
pub fn round(sync: impl Fn(usize) + Sync) -> Duration {
    let (next, began) = (AtomicUsize::new(0), Instant::now());
    thread::scope(|scope| {
        for _ in 0..AT_A_TIME {
            scope.spawn(|| {
                while let at @ 0..SYNCS = next.fetch_add(1, Ordering::Relaxed) {
                    sync(at);
                }
            });
        }
    });
    began.elapsed()
}

/// The engine as the service calls it: ends made for each run, stats and profile kept from the run before.
pub struct BareEngine {
    url: String,
    repos: Vec<Mutex<Kept>>,
    next: AtomicUsize,
}

struct Kept {
    path: PathBuf,
    profile: Option<ServerProfile>,
    options: SyncOptions,
}

impl BareEngine {
    pub fn new(folder: &Path, url: &str) -> Self {
        let kept = |at| {
            let path = folder.join(format!("{at}.git"));
            LocalStore::init(&path, ObjectFormat::Sha1).expect("a repository");
            Mutex::new(Kept {
                path,
                profile: None,
                options: SyncOptions::default(),
            })
        };
        let engine = BareEngine {
            url: url.to_owned(),
            repos: (0..REPOS).map(kept).collect(),
            next: AtomicUsize::new(0),
        };
        for at in 0..REPOS {
            assert_eq!(engine.sync(at), 1, "the first run pulls");
        }
        engine
    }

    pub fn one(&self) -> Duration {
        let at = self.next.fetch_add(1, Ordering::Relaxed);
        let began = Instant::now();
        assert_eq!(self.sync(at), 0);
        began.elapsed()
    }

    pub fn round(&self) -> Duration {
        round(|at| assert_eq!(self.sync(at), 0))
    }

    /// The number of refs that moved.
    fn sync(&self, at: usize) -> usize {
        let mut kept = self.repos[at % REPOS].lock().expect("a repository");
        let upstream = SmartHttp::new(&self.url).expect("a URL");
        let mut upstream = upstream.with_network_policy(NetworkPolicy::any());
        if let Some(profile) = kept.profile.clone() {
            upstream = upstream.with_profile(profile);
        }
        let store = LocalStore::open(&kept.path).expect("a repository");
        let stats: SyncRunStats =
            refsync::sync(&upstream, &store, &kept.options).expect("a run that does its work");
        let moved = stats.count(Outcome::is_updated);
        kept.options.previous = Some(stats);
        kept.profile = upstream.profile();
        moved
    }
}

/// `git fetch`, a process each time.
pub struct GitFetch {
    url: String,
    folder: PathBuf,
}

impl GitFetch {
    pub fn new(folder: &Path, url: &str) -> Self {
        let git = GitFetch {
            url: url.to_owned(),
            folder: folder.to_owned(),
        };
        for at in 0..REPOS {
            let mut init = git::command(folder);
            init.args(["init", "--quiet", "--bare"]).arg(git.path(at));
            assert!(init.status().expect("git runs").success());
            git.fetch(at);
        }
        git
    }

    /// The time of a round, and the processor time of all its processes.
    pub fn round(&self) -> (Duration, Duration) {
        let before = cpu_of_children();
        let wall = round(|at| self.fetch(at));
        (wall, cpu_of_children() - before)
    }

    fn path(&self, at: usize) -> PathBuf {
        self.folder.join(format!("{at}.git"))
    }

    fn fetch(&self, at: usize) {
        let mut fetch = git::command(&self.path(at % REPOS));
        fetch.args(["-c", "protocol.version=2", "fetch", "-q", "--no-tags"]);
        fetch.args([
            "--no-write-fetch-head",
            "--no-auto-maintenance",
            &self.url,
            "refs/heads/*:refs/heads/*",
            "refs/tags/*:refs/tags/*",
        ]);
        assert!(fetch.status().expect("git runs").success());
    }
}
