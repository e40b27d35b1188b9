//! The queue alone: workers whose engine does nothing, beside a tight loop of the same statements on the same file.

use std::{
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

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
use tokio::sync::broadcast::error::RecvError;

use super::{
    figures::{folder, fsync_time, median, millis, per_second, verdict},
    peers::REPOS,
    tight_loop::TightLoop,
};

/// Short rounds, and many: the time of an `fsync` changes with whatever else writes to the disk.
const ROUNDS: usize = 9;
const RUNS: usize = 500;
const WORKERS: usize = 4;
/// The least rate of the workers, as a part of that of the loop.
const BAR: f64 = 0.4;

pub fn bench() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let folder = folder();
        let filled = Filled::open(folder.path(), REPOS).await;
        // Each repository gets the first of its runs, which stores more than the later ones.
        filled.worked(REPOS).await;
        let mut tight = TightLoop::open(filled.service.config.database.file().expect("a file")).await;
        println!("{RUNS} runs of {REPOS} repositories, an engine that does nothing\n");
        println!("| tight loop, runs/s | {WORKERS} workers, runs/s | part | fsync, ms |\n|---|---|---|---|");
        let mut parts = Vec::new();
        for _ in 0..ROUNDS {
            filled.queue(RUNS).await;
            let began = Instant::now();
            for _ in 0..RUNS {
                assert!(tight.run().await, "as many as were queued");
            }
            let alone = per_second(RUNS, began.elapsed());
            let worked = per_second(RUNS, filled.worked(RUNS).await);
            let fsync = millis(fsync_time(folder.path()));
            println!("| {alone:.0} | {worked:.0} | {:.2} | {fsync:.2} |", worked / alone);
            parts.push(worked / alone);
        }
        let part = median(&parts);
        println!("\n{part:.2} of the loop, at least {BAR}: {}", verdict(part >= BAR));
    });
}

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
    pub async fn open(folder: &Path, repos: usize) -> Self {
        let mut config = Config {
            data: folder.to_owned(),
            database: folder.join("refsyncd.db").into(),
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
    async fn worked(&self, runs: usize) -> Duration {
        self.queue(runs).await;
        let mut ended = self.service.store.ended();
        let began = Instant::now();
        let workers = work::start_with(self.service.clone(), Arc::new(Nothing));
        let mut left = runs as u64;
        while left > 0 {
            left -= match ended.recv().await {
                Ok(_) => 1,
                Err(RecvError::Lagged(missed)) => missed,
                Err(RecvError::Closed) => panic!("the store is gone"),
            };
        }
        let time = began.elapsed();
        workers.stop().await;
        time
    }

    /// Carries the queued run through, by the store alone; `claimed` is called in between.
    pub async fn run_one(&self, claimed: impl FnOnce()) {
        let claimer = Claimer {
            node: "local".into(),
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

fn new_repo(org: &OrgId, at: usize) -> NewRepo {
    NewRepo {
        id: ids::new(),
        org: org.clone(),
        name: Name::new(format!("r{at}")).expect("a name"),
        default_bookmark: "main".into(),
        default_given: false,
        tags: Default::default(),
        home: "local".into(),
        upstream: Some(NewUpstream {
            url: "http://localhost/r.git".into(),
            origin: "http://localhost:80".into(),
            host: "localhost".into(),
            schedule: Change::Keep,
            auth: Change::Keep,
        }),
    }
}
