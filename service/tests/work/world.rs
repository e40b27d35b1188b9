//! [`World`], a service without its HTTP, and upstreams of real git.

use std::{
    collections::BTreeMap,
    future::Future,
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use refsync::NetworkPolicy;
use refsync_service::{
    Service, clock,
    config::Config,
    ids,
    records::{Change, Direction, Globs, Name, Org, Priority, Repo, Status, SyncId, SyncRun},
    secrets::{MasterKey, Sealer},
    store::{NewRepo, NewRun, NewUpstream, RunLimits, Store},
    work::{self, Engine, RepoFolders, Report, Task},
};
use serde_json::Value;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use crate::engine::{
    git::{self, ObjectFormat, Sandbox},
    server::GitServer,
};

/// A generous bound on what takes milliseconds.
pub const SOON: Duration = Duration::from_secs(60);

pub struct World {
    pub service: Service,
    pub server: GitServer,
    pub upstreams: Sandbox,
    pub org: Org,
    pub data: TempDir,
}

/// A folder in memory where there is one: the tests are not about durability.
pub fn memory_folder() -> TempDir {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() {
        return tempfile::tempdir_in(memory).expect("a folder in memory");
    }
    tempfile::tempdir().expect("a folder")
}

impl World {
    pub async fn new() -> Self {
        Self::with(|_| ()).await
    }

    pub async fn with(change: impl FnOnce(&mut Config)) -> Self {
        let data = memory_folder();
        let mut config = Config {
            data: data.path().to_owned(),
            database: data.path().join("refsyncd.db").into(),
            network: NetworkPolicy::any(),
            workers: 2,
            ..Config::default()
        };
        change(&mut config);
        let service = open(config).await;
        let slug = Name::new("acme").expect("a name");
        let made = service.store.create_org(&slug, "Acme", clock::now()).await;
        let org = made.expect("stored").expect("not taken");
        let upstreams = Sandbox::new();
        let server = GitServer::builder(upstreams.path())
            .receive_pack(true)
            .start();
        World {
            service,
            server,
            upstreams,
            org,
            data,
        }
    }

    /// A repository whose upstream is `<name>.git`, which is made with one commit on `main`.
    pub async fn repo(&self, name: &str) -> Repo {
        let upstream = self
            .upstreams
            .init_bare(&format!("{name}.git"), ObjectFormat::Sha1);
        upstream.commit("main", &[], "one", &[("a", "1")], 1_700_000_000);
        self.repo_at(name, &self.server.url(&format!("{name}.git")))
            .await
    }

    pub async fn repo_at(&self, name: &str, url: &str) -> Repo {
        let origin = format!("http://localhost:{}", self.server.address().port());
        let new = NewRepo {
            id: ids::new(),
            org: self.org.id.clone(),
            name: Name::new(name).expect("a name"),
            default_bookmark: "main".into(),
            default_given: false,
            tags: BTreeMap::new(),
            home: self.service.config.node.clone(),
            upstream: Some(NewUpstream {
                url: url.to_owned(),
                host: "localhost".into(),
                origin,
                schedule: Change::Keep,
                auth: Change::Keep,
            }),
        };
        let made = self.service.store.create_repo(new, clock::now()).await;
        made.expect("stored").expect("not taken")
    }

    pub fn upstream(&self, name: &str) -> git::Repo {
        self.upstreams.repo(&format!("{name}.git"))
    }

    pub fn local(&self, repo: &Repo) -> git::Repo {
        git::Repo::at(self.service.repos.path(&repo.id))
    }

    pub async fn read(&self, repo: &Repo) -> Repo {
        let read = self.service.store.repo(&repo.id).await;
        read.expect("read").expect("the repository")
    }

    pub async fn queue(&self, repo: &Repo, direction: Direction) -> SyncRun {
        self.queue_with(repo, direction, Globs::default(), false)
            .await
    }

    pub async fn queue_with(
        &self,
        repo: &Repo,
        direction: Direction,
        globs: Globs,
        dry_run: bool,
    ) -> SyncRun {
        let new = NewRun {
            repo,
            direction,
            globs,
            dry_run,
            priority: Priority::Api,
        };
        let queued = self
            .service
            .store
            .enqueue(new, RunLimits::default(), clock::now())
            .await;
        queued.expect("stored").expect("queued")
    }

    pub async fn run(&self, repo: &Repo, id: &SyncId) -> SyncRun {
        let read = self.service.store.sync_run(&repo.id, id).await;
        read.expect("read").expect("the run")
    }

    /// Waits until the run fulfils `wanted`.
    pub async fn until(
        &self,
        repo: &Repo,
        id: &SyncId,
        wanted: impl Fn(&SyncRun) -> bool,
    ) -> SyncRun {
        let began = Instant::now();
        loop {
            let run = self.run(repo, id).await;
            if wanted(&run) {
                return run;
            }
            assert!(began.elapsed() < SOON, "{run:?}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    pub async fn ended(&self, repo: &Repo, id: &SyncId) -> SyncRun {
        self.until(repo, id, |run| run.status.is_end()).await
    }

    /// Runs one sync to its end.
    pub async fn sync(&self, repo: &Repo, direction: Direction) -> SyncRun {
        let run = self.queue(repo, direction).await;
        self.ended(repo, &run.id).await
    }

    /// The file of the database.
    pub fn file(&self) -> &Path {
        self.service.config.database.file().expect("a file")
    }

    /// The types of the events, in their order.
    pub async fn kinds(&self) -> Vec<String> {
        events_of(self.file(), "%").await
    }

    /// Lets workers with `engine` do something until `then` is over.
    pub async fn with_workers<T>(&self, engine: impl Engine, then: impl Future<Output = T>) -> T {
        let workers = work::start_with(self.service.clone(), Arc::new(engine));
        let done = then.await;
        workers.stop().await;
        done
    }

    /// The same with the engine that syncs.
    pub async fn working<T>(&self, then: impl Future<Output = T>) -> T {
        let workers = work::start(self.service.clone());
        let done = then.await;
        workers.stop().await;
        done
    }
}

pub async fn open(config: Config) -> Service {
    let store = Store::open(&config.database).await.expect("a database");
    let key = MasterKey::generate().expect("a key");
    Service {
        metrics: store.metrics().clone(),
        store,
        sealer: Arc::new(Sealer::new(&key, &[])),
        repos: RepoFolders::open(config.data.join("repos")).expect("a folder"),
        config: Arc::new(config),
        stop: CancellationToken::new(),
    }
}

/// An engine that a test has written.
pub struct Scripted<F>(pub F);

impl<F> Engine for Scripted<F>
where
    F: Fn(&Task) -> Result<Report, refsync::Error> + Send + Sync + 'static,
{
    fn run(&self, task: &Task) -> Result<Report, refsync::Error> {
        self.0(task)
    }
}

/// Lets something go on or end with a test, also with one that fails: a runtime and a scope wait for their threads.
pub struct GoOn(pub Arc<AtomicBool>);

impl Drop for GoOn {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// The runs that an engine works on at the moment, and the most on one repository.
#[derive(Default)]
pub struct Overlaps(Mutex<BTreeMap<String, usize>>, Mutex<usize>);

impl Overlaps {
    pub fn enter(&self, task: &Task) {
        let mut now = self.0.lock().expect("a lock");
        let count = now.entry(task.repo.id.to_string()).or_default();
        *count += 1;
        let mut most = self.1.lock().expect("a lock");
        *most = (*most).max(*count);
    }

    pub fn leave(&self, task: &Task) {
        *self
            .0
            .lock()
            .expect("a lock")
            .entry(task.repo.id.to_string())
            .or_default() -= 1;
    }

    pub fn most(&self) -> usize {
        *self.1.lock().expect("a lock")
    }
}

/// The outcome of each ref of a run.
pub fn outcomes(run: &SyncRun) -> Vec<(String, String)> {
    let stats = run.stats.as_ref().expect("stats");
    let stats: Value = serde_json::from_str(stats.get()).expect("JSON");
    let refs = stats["refs"].as_array().expect("refs");
    let word = |value: &Value| value.as_str().expect("a text").to_owned();
    refs.iter()
        .map(|r| (word(&r["name"]), word(&r["outcome"])))
        .collect()
}

#[track_caller]
pub fn completed(run: &SyncRun) {
    assert_eq!(run.status, Status::Completed, "{run:?}");
}

#[track_caller]
pub fn failed(run: &SyncRun, code: &str) {
    assert_eq!(
        (run.status, run.error_code.as_deref()),
        (Status::Failed, Some(code)),
        "{run:?}"
    );
}

/// The types of the events of a repository, in their order.
pub async fn events_of(database: &Path, repo: &str) -> Vec<String> {
    let options = sqlx::sqlite::SqliteConnectOptions::new()
        .filename(database)
        .read_only(true);
    let pool = sqlx::SqlitePool::connect_with(options)
        .await
        .expect("the database");
    let kinds = sqlx::query_scalar("select type from events where repo like $1 order by sequence");
    let kinds = kinds.bind(repo).fetch_all(&pool).await.expect("events");
    pool.close().await;
    kinds
}
