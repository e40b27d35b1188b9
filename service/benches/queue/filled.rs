//! [`Filled`], a service with repositories and without a program around it.

use std::{path::Path, sync::Arc, time::Duration};

use refsync_service::{
    Service, clock,
    config::Config,
    ids,
    metrics::Metrics,
    records::{Change, Direction, Globs, Name, OrgId, Priority, Repo},
    secrets::{MasterKey, Sealer},
    store::{Claimed, Claimer, Completed, NewRepo, NewRun, NewUpstream, RunLimits, Store},
    work::{self, Engine, RepoFolders, Report, Task},
};
use tokio_util::sync::CancellationToken;

use super::place::address;

/// The home of all repositories.
pub const NODE: &str = "local";
pub const WORKERS: usize = 4;
/// The time between two looks at whether the queue is empty.
const LOOKED_AFTER: Duration = Duration::from_millis(5);

/// An engine that does nothing.
struct Nothing;

impl Engine for Nothing {
    fn run(&self, _: &Task) -> Result<Report, refsync::Error> {
        Ok(Report::default())
    }
}

/// A database with an organization and repositories.
pub struct Filled {
    pub service: Service,
    repos: Vec<Repo>,
}

impl Filled {
    pub async fn open(database: &str, folder: &Path, repos: usize) -> Self {
        let mut config = Config {
            data: folder.to_owned(),
            database: address(database),
            workers: WORKERS,
            ..Config::default()
        };
        config.queue.running_per_host = u32::MAX;
        let service = Service {
            store: Store::open(&config.database).await.expect("a database"),
            sealer: Arc::new(Sealer::new(&MasterKey::generate().expect("a key"), &[])),
            repos: RepoFolders::open(folder.join("repos")).expect("a folder"),
            config: Arc::new(config),
            metrics: Metrics::default(),
            stop: CancellationToken::new(),
        };
        let (store, slug) = (&service.store, Name::new("acme").expect("a name"));
        let org = store.create_org(&slug, "Acme", clock::now()).await;
        let org = org.expect("stored").expect("not taken");
        let mut made = Vec::new();
        for at in 0..repos {
            let repo = store.create_repo(new_repo(&org.id, at), clock::now()).await;
            made.push(repo.expect("stored").expect("not taken"));
        }
        Filled {
            service,
            repos: made,
        }
    }

    /// Queues so many runs, of each repository in turn.
    pub async fn queue(&self, runs: usize) {
        let limits = RunLimits {
            per_repo: i64::MAX,
            per_org: i64::MAX,
        };
        for at in 0..runs {
            let new = NewRun {
                repo: &self.repos[at % self.repos.len()],
                direction: Direction::Pull,
                globs: Globs {
                    branches: format!("b{}", at / self.repos.len()),
                    tags: String::new(),
                },
                dry_run: false,
                priority: Priority::Api,
            };
            let queued = self.service.store.enqueue(new, limits, clock::now()).await;
            queued.expect("stored").expect("queued");
        }
    }

    /// Queues so many runs; the time in which workers carry them through.
    pub async fn worked(&self, runs: usize) -> Duration {
        self.queue(runs).await;
        let began = std::time::Instant::now();
        let workers = work::start_with(self.service.clone(), Arc::new(Nothing));
        loop {
            tokio::time::sleep(LOOKED_AFTER).await;
            let left = self.service.store.queue_length().await.expect("counted");
            if left.queued + left.running == 0 {
                break;
            }
        }
        let time = began.elapsed();
        workers.stop().await;
        time
    }

    /// Carries the queued run through, by the store alone; `claimed` is called in between.
    pub async fn run_one(&self, claimed: impl FnOnce()) {
        let claimer = Claimer {
            node: NODE.into(),
            worker: "local-1".into(),
            per_host: i64::MAX,
        };
        let (store, now) = (&self.service.store, clock::now());
        let until = now.plus(self.service.config.lease);
        let found = store.claim(&claimer, now, until, |_| Ok(Some(()))).await;
        let Claimed::Run(job, ()) = found.expect("an answer") else {
            panic!("a run is queued");
        };
        claimed();
        let done = store.complete(&job.fence, Completed::default(), clock::now());
        assert!(done.await.expect("written"));
    }
}

pub fn new_repo(org: &OrgId, at: usize) -> NewRepo {
    NewRepo {
        id: ids::new(),
        org: org.clone(),
        name: Name::new(format!("r{at}")).expect("a name"),
        default_bookmark: "main".into(),
        default_given: false,
        tags: Default::default(),
        home: NODE.into(),
        upstream: Some(NewUpstream {
            url: "http://localhost/r.git".into(),
            origin: "http://localhost:80".into(),
            host: "localhost".into(),
            schedule: Change::Keep,
            auth: Change::Keep,
        }),
    }
}
