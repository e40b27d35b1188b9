//! The queue and the API beside the work itself, printed as figures: `cargo bench -p refsync-service --bench queue`.
//!
//! 1. The queue alone: runs through workers whose engine does nothing, beside a loop of the same transactions of the
//!    store on the same file, and the time of an fsync there.
//! 2. Syncs without changes through the API of a `refsyncd`, eight at a time, with its CPU time, beside the bare engine
//!    in this process.

#![allow(missing_docs, clippy::print_stdout, unreachable_pub)]

#[path = "../tests/support/engine.rs"]
mod engine;

use std::{
    fs::{self, File},
    io::{BufRead as _, BufReader, Write as _},
    path::Path,
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use refsync::{LocalStore, NetworkPolicy, ServerProfile, SmartHttp, SyncOptions};
use refsync_service::{
    Service, clock,
    config::Config,
    ids,
    metrics::Metrics,
    records::{Change, Direction, Globs, Name, Priority, Repo},
    secrets::{MasterKey, Sealer},
    store::{Claimed, Claimer, Completed, NewRepo, NewRun, NewUpstream, RunLimits, Store},
    work::{self, Engine, RepoFolders, Report, Task},
};
use serde_json::{Value, json};

use engine::{
    git::{ObjectFormat, Sandbox},
    server::GitServer,
};

/// The runs of the queue alone.
const RUNS: usize = 2_000;
/// The repositories and syncs through the API.
const REPOS: usize = 200;
const SYNCS: usize = 1_000;
const AT_A_TIME: usize = 8;

fn main() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(queue_alone());
    syncs_without_changes();
}

struct Nothing;

impl Engine for Nothing {
    fn run(&self, _: &Task) -> Result<Report, refsync::Error> {
        Ok(Report::default())
    }
}

async fn queue_alone() {
    let folder = tempfile::tempdir_in(".").expect("a folder on a disk");
    let service = open(folder.path()).await;
    let org = Name::new("acme").expect("a name");
    let org = service.store.create_org(&org, "Acme", clock::now()).await;
    let org = org.expect("stored").expect("not taken");
    let mut repos = Vec::new();
    for at in 0..REPOS {
        let made = service
            .store
            .create_repo(new_repo(&org.id, at), clock::now())
            .await;
        repos.push(made.expect("stored").expect("not taken"));
    }
    println!("fsync: {:?}", fsync_time(folder.path()));

    fill(&service.store, &repos).await;
    let began = Instant::now();
    let claimer = Claimer {
        node: "local".into(),
        worker: "loop".into(),
        per_host: i64::MAX,
    };
    let mut count = 0;
    loop {
        let (now, until) = (clock::now(), clock::now().plus(Duration::from_secs(60)));
        let claimed = service
            .store
            .claim(&claimer, now, until, |_| Ok(Some(())))
            .await;
        let Claimed::Run(job, ()) = claimed.expect("an answer") else {
            break;
        };
        let done = service
            .store
            .complete(&job.fence, Completed::default(), clock::now())
            .await;
        assert!(done.expect("written"));
        count += 1;
    }
    let alone = per_second(count, began.elapsed());

    fill(&service.store, &repos).await;
    let mut ended = service.store.ended();
    let began = Instant::now();
    let workers = work::start_with(service.clone(), Arc::new(Nothing));
    for _ in 0..RUNS {
        // A receiver that is behind has missed some: the queue is asked below.
        ended.recv().await.ok();
        if service
            .store
            .queue_length()
            .await
            .is_ok_and(|left| left.queued + left.running == 0)
        {
            break;
        }
    }
    let worked = per_second(RUNS, began.elapsed());
    workers.stop().await;
    println!(
        "loop of the same transactions: {alone:.0} runs/s; 4 workers: {worked:.0} runs/s; {:.2}",
        worked / alone
    );
}

/// Queues all runs.
async fn fill(store: &Store, repos: &[Repo]) {
    for at in 0..RUNS {
        let globs = Globs {
            branches: format!("b{}", at / repos.len()),
            tags: String::new(),
        };
        let new = NewRun {
            repo: &repos[at % repos.len()],
            direction: Direction::Pull,
            globs,
            dry_run: false,
            priority: Priority::Api,
        };
        let limits = RunLimits {
            per_repo: i64::MAX,
            per_org: i64::MAX,
        };
        store
            .enqueue(new, limits, clock::now())
            .await
            .expect("stored")
            .expect("queued");
    }
}

async fn open(data: &Path) -> Service {
    let mut config = Config {
        data: data.to_owned(),
        database: data.join("refsyncd.db").into(),
        workers: 4,
        ..Config::default()
    };
    config.queue.running_per_host = u32::MAX;
    Service {
        store: Store::open(&config.database).await.expect("a database"),
        sealer: Arc::new(Sealer::new(&MasterKey::generate().expect("a key"), &[])),
        repos: RepoFolders::open(data.join("repos")).expect("a folder"),
        config: Arc::new(config),
        metrics: Metrics::default(),
    }
}

fn new_repo(org: &refsync_service::records::OrgId, at: usize) -> NewRepo {
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
            auth: Change::Keep,
        }),
    }
}

fn fsync_time(folder: &Path) -> Duration {
    let mut file = File::create(folder.join("fsync")).expect("a file");
    let began = Instant::now();
    for _ in 0..100 {
        file.write_all(&[0; 4096]).expect("written");
        file.sync_data().expect("synced");
    }
    began.elapsed() / 100
}

fn per_second(count: usize, time: Duration) -> f64 {
    count as f64 / time.as_secs_f64()
}

struct Daemon(Child);

impl Drop for Daemon {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

fn syncs_without_changes() {
    let upstreams = Sandbox::new();
    let upstream = upstreams.init_bare("app.git", ObjectFormat::Sha1);
    upstream.commit("main", &[], "one", &[("a", "1")], 1_700_000_000);
    let server = GitServer::builder(upstreams.path()).start();
    let url = server.url("app.git");
    let folder = tempfile::tempdir_in(".").expect("a folder on a disk");

    let (engine_time, engine_cpu) = bare_engine(&url, &folder.path().join("bare.git"));
    println!("bare engine, one at a time: median {engine_time:?}, {engine_cpu:?} CPU a run");

    let (daemon, base, key) = start(&folder.path().join("data"));
    let agent = ureq::Agent::new_with_defaults();
    let post = |path: &str, body: Value| call(&agent, &base, &key, path, Some(body));
    for at in 0..REPOS {
        let upstream = json!({ "url": url });
        post(
            "/default/repos",
            json!({ "name": format!("r{at}"), "upstream": upstream }),
        );
    }
    let sync = |at: usize| {
        let path = format!("/default/r{}/upstream/syncs", at % REPOS);
        let began = Instant::now();
        let queued = post(&path, json!({ "direction": "pull" }));
        let id = queued["id"].as_str().expect("an id").to_owned();
        let ended = call(&agent, &base, &key, &format!("{path}/{id}?wait=60"), None);
        assert_eq!(ended["status"], "completed", "{ended}");
        began.elapsed()
    };
    for at in 0..REPOS {
        sync(at);
    }
    let mut alone: Vec<_> = (0..100).map(sync).collect();
    alone.sort();
    println!(
        "one at a time from POST to completed: median {:?}",
        alone[alone.len() / 2]
    );

    let (next, before, began) = (AtomicUsize::new(0), cpu_of(daemon.0.id()), Instant::now());
    std::thread::scope(|scope| {
        for _ in 0..AT_A_TIME {
            scope.spawn(|| {
                while let at @ 0..SYNCS = next.fetch_add(1, Ordering::Relaxed) {
                    sync(at);
                }
            });
        }
    });
    let cpu = (cpu_of(daemon.0.id()) - before) / SYNCS as u32;
    println!(
        "{SYNCS} syncs of {REPOS} repositories, {AT_A_TIME} at a time: {:.0} runs/s, {cpu:?} CPU of refsyncd a run",
        per_second(SYNCS, began.elapsed())
    );
}

/// The median time and the CPU time of runs without changes, each with ends of its own and a stored profile.
fn bare_engine(url: &str, path: &Path) -> (Duration, Duration) {
    let mut options = SyncOptions::default();
    LocalStore::init(path, refsync::ObjectFormat::Sha1).expect("a repository");
    let mut profile: Option<ServerProfile> = None;
    let mut times = Vec::new();
    let mut before = Duration::ZERO;
    for at in 0..101 {
        if at == 1 {
            before = cpu_of(std::process::id());
        }
        let began = Instant::now();
        let mut upstream = SmartHttp::new(url)
            .expect("a URL")
            .with_network_policy(NetworkPolicy::any());
        if let Some(profile) = profile.clone() {
            upstream = upstream.with_profile(profile);
        }
        let local = LocalStore::open(path).expect("a repository");
        options.previous = Some(refsync::sync(&upstream, &local, &options).expect("synced"));
        profile = upstream.profile();
        times.push(began.elapsed());
    }
    // The server is in this process, so that this is more than the engine's own.
    let cpu = (cpu_of(std::process::id()) - before) / 100;
    times.sort();
    (times[times.len() / 2], cpu)
}

fn start(data: &Path) -> (Daemon, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_refsyncd"));
    command.arg("--data").arg(data);
    command.args([
        "--listen",
        "127.0.0.1:0",
        "--network",
        "any",
        "--no-git-http",
    ]);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn();
    let mut daemon = Daemon(child.expect("refsyncd starts"));
    let out = daemon.0.stdout.take().expect("its output");
    let (mut base, mut key) = (None, None);
    for line in BufReader::new(out).lines() {
        let line = line.expect("a line");
        if let Some(address) = line.strip_prefix("listening on ") {
            base = Some(format!("{address}/v1"));
        }
        if let Some(made) = line.strip_prefix("admin key: ") {
            key = Some(made.to_owned());
        }
        if base.is_some() && key.is_some() {
            break;
        }
    }
    (daemon, base.expect("an address"), key.expect("a key"))
}

fn call(agent: &ureq::Agent, base: &str, key: &str, path: &str, body: Option<Value>) -> Value {
    let (url, auth) = (format!("{base}{path}"), format!("Bearer {key}"));
    let answer = match body {
        Some(body) => {
            let request = agent.post(url).header("authorization", auth);
            request
                .header("content-type", "application/json")
                .send(body.to_string())
        }
        None => agent.get(url).header("authorization", auth).call(),
    };
    let text = answer
        .expect("an answer")
        .body_mut()
        .read_to_string()
        .expect("a body");
    serde_json::from_str(&text).expect("JSON")
}

/// The CPU time of a process so far.
fn cpu_of(process: u32) -> Duration {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).expect("Linux");
    let rest = stat.rsplit(')').next().expect("fields");
    let ticks: u64 = rest
        .split_whitespace()
        .skip(11)
        .take(2)
        .map(|n| n.parse::<u64>().expect("a number"))
        .sum();
    Duration::from_millis(ticks * 10)
}
