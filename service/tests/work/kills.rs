//! The process dies in the middle of a run: at each statement, and at any moment. After the next start each run has
//! exactly one end, the events are those of its history, and nothing waits.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
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
    world::{events_of, memory_folder},
};

/// The bound on the time in which a restarted service empties its queue: less than the lease, so that nothing but the
/// restart can have helped.
const EMPTIED: Duration = Duration::from_secs(30);

/// A process of `refsyncd`, which is killed when it is dropped.
struct Daemon(Child);

impl Drop for Daemon {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

impl Daemon {
    /// Starts one that dies at the statement or commit with the number `crash_at`.
    fn start(data: &Path, crash_at: Option<u64>) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_refsyncd"));
        command
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .arg("--data")
            .arg(data)
            .args([
                "--listen",
                "127.0.0.1:0",
                "--network",
                "any",
                "--workers",
                "2",
            ])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        if let Some(at) = crash_at {
            command.env("REFSYNCD_CRASH_AT", at.to_string());
        }
        Daemon(command.spawn().expect("refsyncd starts"))
    }

    fn wait_until_it_listens(&mut self) {
        let out = self.0.stdout.take().expect("its output");
        let mut lines = BufReader::new(out).lines();
        let line = lines.find(|line| {
            line.as_ref()
                .is_ok_and(|line| line.starts_with("listening on"))
        });
        line.expect("it listens").expect("a line");
    }

    fn has_died(&mut self) -> bool {
        self.0.try_wait().expect("its state").is_some()
    }
}

/// An upstream and a data folder with repositories whose runs are queued.
struct Scene {
    upstreams: Sandbox,
    server: GitServer,
    data: TempDir,
}

impl Scene {
    fn new() -> Self {
        let upstreams = Sandbox::new();
        let server = GitServer::builder(upstreams.path())
            .receive_pack(true)
            .start();
        let data = memory_folder();
        Daemon::start(data.path(), None).wait_until_it_listens();
        Scene {
            upstreams,
            server,
            data,
        }
    }

    async fn store(&self, data: &Path) -> Store {
        Store::open(&data.join("refsyncd.db"))
            .await
            .expect("a database")
    }

    /// A repository with one queued pull.
    async fn queue(&self, store: &Store, name: &str) -> (Repo, SyncRun) {
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
                auth: Change::Keep,
            }),
        };
        let repo = store
            .create_repo(new, clock::now())
            .await
            .expect("stored")
            .expect("not taken");
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

    /// Starts the service once more and waits until nothing is queued or in progress.
    async fn recover(&self, data: &Path, store: &Store) {
        let _daemon = Daemon::start(data, None);
        let began = Instant::now();
        loop {
            let length = store.queue_length().await.expect("read");
            if length.queued + length.running == 0 {
                return;
            }
            assert!(began.elapsed() < EMPTIED, "{length:?}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Checks the run, its events, and the repository.
    async fn check(&self, data: &Path, store: &Store, (repo, run): &(Repo, SyncRun), what: &str) {
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

fn copy(from: &Path, to: &Path) {
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

/// Kills at the statement with the number `at`; false if the run had ended before.
async fn kill_at(scene: &Scene, template: &Path, run: &(Repo, SyncRun), at: u64) -> bool {
    let folder = memory_folder();
    let data = folder.path().join("data");
    copy(template, &data);
    let store = scene.store(&data).await;
    let mut daemon = Daemon::start(&data, Some(at));
    let began = Instant::now();
    let died = loop {
        if daemon.has_died() {
            break true;
        }
        let length = store.queue_length().await.expect("read");
        if length.queued + length.running == 0 {
            break false;
        }
        assert!(began.elapsed() < EMPTIED, "{at}: {length:?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    };
    drop(daemon);
    scene.recover(&data, &store).await;
    scene
        .check(&data, &store, run, &format!("statement {at}"))
        .await;
    store.close().await;
    died
}

/// A template of a data folder with one queued pull.
async fn template() -> (Scene, (Repo, SyncRun)) {
    let scene = Scene::new();
    let store = scene.store(scene.data.path()).await;
    let run = scene.queue(&store, "app").await;
    store.close().await;
    (scene, run)
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_every_statement_of_a_run() {
    let (scene, run) = template().await;
    let mut at = 1;
    while kill_at(&scene, scene.data.path(), &run, at).await {
        at += 1;
    }
    assert!(at > 10, "{at}");
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_any_moment_with_several_runs() {
    let scene = Scene::new();
    let data = scene.data.path();
    let store = scene.store(data).await;
    let mut runs = Vec::new();
    for at in 0..6 {
        runs.push(scene.queue(&store, &format!("r{at}")).await);
    }
    // Different moments, the same in each run of the test as far as a clock allows.
    for millis in [40, 90, 150, 220] {
        let daemon = Daemon::start(data, None);
        tokio::time::sleep(Duration::from_millis(millis)).await;
        drop(daemon);
    }
    scene.recover(data, &store).await;
    for run in &runs {
        scene.check(data, &store, run, "any moment").await;
    }
}
