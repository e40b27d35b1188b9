//! [`Database`], a new store with an organization, and the shortest forms of its actions.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::Duration,
};

use refsync::SyncRunStats;
use refsync_service::{
    ids,
    records::{Change, Direction, Globs, Name, Org, Priority, Repo, SyncId, SyncRun, Target, Time},
    store::{
        Claimed, Claimer, Completed, DatabaseAddress, Failure, Job, NewRepo, NewRun, NewTarget,
        NewUpstream, Page, Refused, RunLimits, Store,
    },
};
use sqlx::{PgPool, SqlitePool};
use tempfile::TempDir;

use crate::postgres;

/// The time at which the cases begin.
pub(crate) const START: Time = Time(1_700_000_000_000);
pub(crate) const LEASE: Duration = Duration::from_secs(60);
pub(crate) const NODE: &str = "one";

pub(crate) struct Database {
    pub(crate) store: Store,
    pub(crate) org: Org,
    pub(crate) address: DatabaseAddress,
    raw: Raw,
    folder: TempDir,
}

/// A connection past the store.
enum Raw {
    Sqlite(SqlitePool),
    Postgres(PgPool),
}

macro_rules! raw {
    ($db:expr, $c:ident => $e:expr) => {
        match &$db.raw {
            Raw::Sqlite($c) => $e.await,
            Raw::Postgres($c) => $e.await,
        }
    };
}

/// Runs a case on each database that the service has.
pub(crate) fn on_each_database(case: impl AsyncFn(Database)) {
    on_sqlite(&case);
    let Some(address) = postgres::database() else {
        return;
    };
    run(async {
        let raw = PgPool::connect(&address).await.expect("a connection");
        let address: DatabaseAddress = address.parse().expect("an address");
        case(Database::new(memory_folder(), address, Raw::Postgres(raw)).await).await;
    });
}

/// Runs a case on a file of SQLite.
pub(crate) fn on_sqlite(case: impl AsyncFn(Database)) {
    run(async {
        let folder = memory_folder();
        let file = folder.path().join("refsyncd.db");
        let options = sqlx::sqlite::SqliteConnectOptions::new().filename(&file);
        let raw = sqlx::sqlite::SqlitePoolOptions::new().connect_lazy_with(options);
        case(Database::new(folder, file.into(), Raw::Sqlite(raw)).await).await;
    });
}

fn run(case: impl Future<Output = ()>) {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_all().build().expect("a runtime");
    runtime.block_on(case);
}

/// A folder in memory where there is one: the cases are not about durability.
pub(crate) fn memory_folder() -> TempDir {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() {
        return tempfile::tempdir_in(memory).expect("a folder in memory");
    }
    tempfile::tempdir().expect("a folder")
}

/// The time `seconds` after the start.
pub(crate) fn at(seconds: i64) -> Time {
    Time(START.0 + seconds * 1_000)
}

pub(crate) fn name(text: &str) -> Name {
    Name::new(text).expect("a name")
}

pub(crate) fn page(after: Option<String>, limit: u32) -> Page {
    Page { after, limit }
}

pub(crate) fn claimer(worker: &str) -> Claimer {
    Claimer {
        node: NODE.into(),
        worker: worker.into(),
        per_host: 4,
    }
}

pub(crate) fn upstream(host: &str) -> NewUpstream {
    NewUpstream {
        url: format!("https://{host}/r.git"),
        origin: format!("https://{host}"),
        host: host.into(),
        schedule: Change::Keep,
        auth: Change::Keep,
    }
}

/// Stats with so many refs, all with one outcome.
pub(crate) fn stats(refs: usize, outcome: &str) -> SyncRunStats {
    let id = "1".repeat(40);
    let before = (outcome == "unchanged").then_some(&id);
    let refs: Vec<_> = (0..refs)
        .map(|number| {
            serde_json::json!({
                "name": format!("refs/heads/b{number:06}"), "before": before, "after": id, "source": id,
                "outcome": outcome,
            })
        })
        .collect();
    serde_json::from_value(serde_json::json!({ "refs": refs })).expect("stats")
}

pub(crate) fn failure(code: &str) -> Failure {
    Failure {
        error: format!("it failed: {code}"),
        code: code.into(),
        ..Failure::default()
    }
}

pub(crate) fn completed(stats: SyncRunStats) -> Completed {
    Completed {
        stats,
        ..Completed::default()
    }
}

impl Database {
    async fn new(folder: TempDir, address: DatabaseAddress, raw: Raw) -> Self {
        let store = Store::open(&address).await.expect("a store");
        let org = store.create_org(&name("acme"), "Acme", START).await;
        Database {
            org: org.expect("stored").expect("not taken"),
            store,
            address,
            raw,
            folder,
        }
    }

    /// The path of a file beside the database.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The address of another, empty database of the same kind.
    pub(crate) fn another_address(&self) -> DatabaseAddress {
        match &self.raw {
            Raw::Sqlite(_) => self.file("new.db").into(),
            Raw::Postgres(_) => {
                let address = postgres::database().expect("a server");
                address.parse().expect("an address")
            }
        }
    }

    pub(crate) async fn another_org(&self, slug: &str) -> Org {
        let org = self.store.create_org(&name(slug), slug, START).await;
        org.expect("stored").expect("not taken")
    }

    pub(crate) async fn repo(&self, text: &str) -> Repo {
        self.repo_of(&self.org, text, "host").await
    }

    pub(crate) async fn repo_of(&self, org: &Org, text: &str, host: &str) -> Repo {
        self.repo_at(NODE, org, text, host).await
    }

    pub(crate) async fn repo_at(&self, node: &str, org: &Org, text: &str, host: &str) -> Repo {
        let new = NewRepo {
            id: ids::new(),
            org: org.id.clone(),
            name: name(text),
            default_bookmark: "main".into(),
            default_given: false,
            tags: BTreeMap::new(),
            home: node.into(),
            upstream: Some(upstream(host)),
        };
        let made = self.store.create_repo(new, START).await;
        made.expect("stored").expect("not taken")
    }

    /// A target that asks for these events.
    pub(crate) async fn target(&self, events: &[&str]) -> Target {
        let new = NewTarget {
            id: ids::new(),
            org: self.org.id.clone(),
            url: "https://target".into(),
            name: None,
            events: events.iter().map(|event| (*event).into()).collect(),
            repo_ids: None,
            secret: "sealed".into(),
        };
        self.store.create_target(new, START).await.expect("stored")
    }

    pub(crate) async fn queue(&self, repo: &Repo, direction: Direction, now: Time) -> SyncRun {
        let queued = self.queue_with(repo, direction, Priority::Api, now).await;
        queued.expect("not refused")
    }

    pub(crate) async fn queue_with(
        &self,
        repo: &Repo,
        direction: Direction,
        priority: Priority,
        now: Time,
    ) -> Result<SyncRun, Refused> {
        let new = NewRun {
            repo,
            direction,
            globs: Globs::default(),
            dry_run: false,
            priority,
        };
        let queued = self.store.enqueue(new, RunLimits::default(), now).await;
        queued.expect("queued")
    }

    /// The next run and the lease that it got; a lock is never taken.
    pub(crate) async fn claim(&self, now: Time) -> Option<Job> {
        self.claim_as(&claimer("a"), now).await
    }

    pub(crate) async fn claim_as(&self, claimer: &Claimer, now: Time) -> Option<Job> {
        let until = now.plus(LEASE);
        let lock = |_: &_| Ok(Some(()));
        match self.store.claim(claimer, now, until, lock).await {
            Ok(Claimed::Run(job, ())) => Some(*job),
            Ok(Claimed::Nothing { .. }) => None,
            Err(err) => panic!("{err:?}"),
        }
    }

    /// Queues a pull, claims it and completes it.
    pub(crate) async fn pull(&self, repo: &Repo, stats: SyncRunStats, now: Time) -> SyncId {
        let run = self.queue(repo, Direction::Pull, now).await;
        let job = self.claim(now).await.expect("the run");
        assert_eq!(job.run.id, run.id);
        assert!(self.complete(&job, completed(stats), now).await);
        run.id
    }

    pub(crate) async fn complete(&self, job: &Job, done: Completed, now: Time) -> bool {
        let ended = self.store.complete(&job.fence, done, now).await;
        ended.expect("written")
    }

    pub(crate) async fn read(&self, run: &SyncRun) -> SyncRun {
        let read = self.store.sync_run(&run.repo_id, &run.id).await;
        read.expect("read").expect("the run")
    }

    /// The number that a statement selects.
    pub(crate) async fn number(&self, sql: &'static str) -> i64 {
        let number = raw!(self, c => sqlx::query_scalar(sql).fetch_one(c));
        number.expect("a number")
    }

    /// The texts that a statement selects for its parameter.
    pub(crate) async fn texts(&self, sql: &'static str, parameter: &str) -> Vec<String> {
        let texts = raw!(self, c => sqlx::query_scalar(sql).bind(parameter).fetch_all(c));
        texts.expect("texts")
    }

    /// The types of the events of a run or a repository, the oldest first.
    pub(crate) async fn events(&self, subject: &str) -> Vec<String> {
        let sql = "select type from events where subject = $1 order by sequence";
        self.texts(sql, subject).await
    }

    /// Runs a statement behind the store's back.
    pub(crate) async fn execute(&self, sql: &'static str) {
        assert!(!self.refuses(sql).await, "{sql}");
    }

    /// Runs the one of two statements that is in the language of the database.
    pub(crate) async fn execute_either(&self, sqlite: &'static str, postgres: &'static str) {
        let sql = if self.has_many_writers() {
            postgres
        } else {
            sqlite
        };
        self.execute(sql).await;
    }

    pub(crate) fn has_many_writers(&self) -> bool {
        matches!(self.raw, Raw::Postgres(_))
    }

    /// Whether the database refuses a statement.
    pub(crate) async fn refuses(&self, sql: &'static str) -> bool {
        raw!(self, c => async { sqlx::query(sql).execute(c).await.is_err() })
    }

    /// Whether the counters of each organization are the numbers of its runs.
    pub(crate) async fn assert_counted(&self) {
        let wrong = "select count(*) from work w where
            w.queued <> (select count(*) from sync_runs r where r.org = w.org and r.home = w.home and r.run_at is not null)
            or w.running <> (select count(*) from sync_runs r where r.org = w.org and r.home = w.home
                and r.lease_until is not null)";
        assert_eq!(self.number(wrong).await, 0, "a counter of runs is wrong");
    }
}
