//! Many runs while processes are killed and stand still, and the database restarts: each run ends once, its events are
//! its history, no two attempts work on a repository at a time, and nothing is left over.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread::{scope, sleep},
    time::{Duration, Instant},
};

use nix::sys::signal::Signal;
use serde_json::json;

use crate::{
    aftermath::{check, check_deliveries, doctor, overlaps},
    engine::git,
    fleet::Fleet,
    support::{Receiver, Upstream, postgres},
    world::{GoOn, SOON},
};

const CONFIG: &str =
    "[retry]\nfirst_wait_seconds = 1\n[queue]\nrunning_per_host = 64\nhook_seconds = 1\n";
const ARGUMENTS: &[&str] = &["--workers", "4", "--lease", "3"];
/// Longer than a lease, and the time in which somebody looks for lost ones.
const STALL: Duration = Duration::from_millis(5_000);
/// The distance of the upstreams.
const ROUND_TRIP: Duration = Duration::from_millis(30);
/// Longer than a stall: an attempt that stood still finds another one in its place, and would go on beside it.
const HELD: Duration = Duration::from_millis(6_000);
/// The threads that use the service, and the repositories of each.
const USERS: usize = 6;
const REPOS: usize = 4;

/// Something bad.
#[derive(Clone, Copy)]
enum Blow {
    /// A node gets SIGKILL and is started again.
    Kill,
    /// A node stands still for longer than its leases last.
    Stall,
    /// PostgreSQL restarts, as this signal does it.
    Restart(&'static str),
}

/// The size of a storm: the runs that clients ask for at least, and the blows meanwhile.
struct Storm {
    runs: usize,
    kills: usize,
    stalls: usize,
    restarts: &'static [&'static str],
}

impl Storm {
    /// The blows, the rarer ones evenly among the others.
    fn blows(&self) -> Vec<Blow> {
        let mut blows = vec![Blow::Kill; self.kills];
        let restarts = self.restarts.iter().map(|signal| Blow::Restart(signal));
        for rarer in [vec![Blow::Stall; self.stalls], restarts.collect()] {
            let (among, count) = (blows.len(), rarer.len());
            for (number, blow) in rarer.into_iter().enumerate() {
                blows.insert((number + 1) * among / (count + 1) + number, blow);
            }
        }
        blows
    }
}

/// A hold on the answer to the next attempt of one node at its upstream, so that a blow falls into it. It has the number
/// of the node and one, or zero.
#[derive(Default)]
struct Trap(AtomicUsize);

impl Trap {
    fn set(&self, node: usize) {
        self.0.store(node + 1, Ordering::SeqCst);
    }

    fn is_set(&self) -> bool {
        self.0.load(Ordering::SeqCst) > 0
    }

    fn springs(&self, node: usize) -> bool {
        let sprung = self
            .0
            .compare_exchange(node + 1, 0, Ordering::SeqCst, Ordering::SeqCst);
        sprung.is_ok()
    }

    /// Holds answers of these repositories.
    fn lay(self: &Arc<Self>, upstream: &Upstream, repos: &[Repo]) {
        let trap = Arc::clone(self);
        let home = |repo: &Repo| (format!("/{}.git/git-upload-pack", repo.name), repo.home);
        let homes: BTreeMap<String, usize> = repos.iter().map(home).collect();
        upstream.server.intercept(move |head| {
            let is_listing = head.command().as_deref() == Some("ls-refs");
            let home = homes.get(&head.path).filter(|_| is_listing);
            if home.is_some_and(|home| trap.springs(*home)) {
                sleep(HELD);
            }
            None
        });
    }
}

/// A repository and what is around it.
pub struct Repo {
    pub name: String,
    pub id: String,
    /// The number of its home.
    pub home: usize,
    pub upstream: git::Repo,
    /// The path of the address that its upstream calls, and the secret.
    hook: (String, String),
}

impl Repo {
    pub fn syncs(&self) -> String {
        format!("/v1/default/{}/upstream/syncs", self.name)
    }
}

fn repos(fleet: &Fleet, upstream: &Upstream) -> Vec<Repo> {
    let make = |number: usize| {
        let name = format!("r{number}");
        let source = upstream.repo(&format!("{name}.git"));
        let mut given = json!({ "url": upstream.url(&format!("{name}.git")) });
        if number.is_multiple_of(3) {
            given["schedule"] = json!({ "direction": "pull", "interval_seconds": 60 });
        }
        let body = json!({ "name": name, "upstream": given });
        let made = fleet
            .call(number, "POST", "/v1/default/repos", Some(&body))
            .ok(201);
        let is_home = |url: &str| {
            made["clone_url"]
                .as_str()
                .is_some_and(|at| at.starts_with(url))
        };
        let home = fleet
            .nodes
            .iter()
            .position(|node| is_home(node.client().base()));
        let path = format!("/v1/default/{name}/upstream/hook");
        let hook = fleet
            .call(
                number,
                "POST",
                &path,
                Some(&json!({ "provider": "gitlab" })),
            )
            .ok(201);
        let text = |key: &str| hook[key].as_str().expect(key).to_owned();
        let url = text("url");
        let at = url.find("/v1/hooks/").expect("an address of hooks");
        Repo {
            id: made["id"].as_str().expect("an id").to_owned(),
            home: home.expect("a home"),
            upstream: source,
            hook: (url[at..].to_owned(), text("secret")),
            name,
        }
    };
    (0..USERS * REPOS).map(make).collect()
}

/// Changes the upstream of a repository, and asks for runs of it in one way or another. The path of a run.
fn step(fleet: &Fleet, repo: &Repo, number: usize) -> Option<String> {
    let tip = repo.upstream.git(&["rev-parse", "main"]);
    let file = number.to_string();
    let commit = repo
        .upstream
        .commit("main", &[&tip], "next", &[("file", &file)], 1_700_000_000);
    if number.is_multiple_of(5) {
        repo.upstream
            .set_ref(&format!("refs/tags/v{number}"), &commit);
    }
    if number.is_multiple_of(3) {
        let secret = [
            ("x-gitlab-token", repo.hook.1.as_str()),
            ("x-gitlab-event", "Push Hook"),
        ];
        // An upstream calls once: a call that fails is made up for by the runs that others ask for.
        let client = fleet.nodes[number % fleet.nodes.len()].client();
        client
            .try_call("POST", &repo.hook.0, Some(b"{}"), &secret)
            .ok();
    }
    let path = format!(
        "/default/{}.git/info/refs?service=git-upload-pack",
        repo.name
    );
    if let Ok((status, text)) = fleet.nodes[repo.home].client().try_git(&path) {
        assert!(matches!(status, 200 | 404 | 503), "{status}: {text}");
    }
    let body = match number % 4 {
        0 => json!({ "direction": "push" }),
        1 => json!({ "direction": "pull", "ref_globs": { "branches": "*", "tags": "v*" } }),
        _ => json!({ "direction": "pull" }),
    };
    let answer = fleet.call(number, "POST", &repo.syncs(), Some(&body));
    if answer.status == 429 {
        return None;
    }
    let run = answer.ok(201);
    Some(format!(
        "{}/{}",
        repo.syncs(),
        run["id"].as_str().expect("an id")
    ))
}

/// One user, who has a few runs under way at a time.
fn use_it(fleet: &Fleet, repos: &[Repo], asked: &AtomicUsize, is_over: impl Fn() -> bool) {
    let mut waiting = Vec::new();
    let mut known = BTreeSet::new();
    for number in 0.. {
        if is_over() {
            break;
        }
        let Some(path) = step(fleet, &repos[number % repos.len()], number) else {
            continue;
        };
        // An equal one that is queued is given instead of a second one.
        if known.insert(path.clone()) {
            asked.fetch_add(1, Ordering::Relaxed);
            waiting.push(path);
        }
        if waiting.len() > 3 {
            fleet.ended(number, &waiting.remove(0));
        }
    }
}

/// The numbers of what was lost, which a process takes with it.
#[derive(Debug, Default)]
struct Losses {
    workers: u64,
    leases: u64,
}

impl Losses {
    fn add(&mut self, fleet: &Fleet, at: usize) {
        let Ok((200, text)) = fleet.nodes[at].client().try_git("/metrics") else {
            return;
        };
        let number = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name));
            line.and_then(|number| number.trim().parse::<u64>().ok())
                .unwrap_or(0)
        };
        self.workers += number("refsyncd_workers_lost_total ");
        self.leases += number("refsyncd_leases_lost_total ");
    }
}

fn wait_until(is_done: impl Fn() -> bool) {
    let began = Instant::now();
    while !is_done() {
        assert!(began.elapsed() < 2 * SOON, "nothing goes on");
        sleep(Duration::from_millis(5));
    }
}

/// Does each blow when its share of the runs was asked for.
fn strike(
    storm: &Storm,
    fleet: &Fleet,
    mut server: Option<&mut postgres::Server>,
    asked: &AtomicUsize,
    trap: &Trap,
) -> Losses {
    let blows = storm.blows();
    let mut losses = Losses::default();
    for (number, blow) in blows.iter().enumerate() {
        let due = (number + 1) * storm.runs / (blows.len() + 1);
        wait_until(|| asked.load(Ordering::Relaxed) >= due);
        let at = number % fleet.nodes.len();
        if !matches!(blow, Blow::Restart(_)) {
            trap.set(at);
            wait_until(|| !trap.is_set());
        }
        match blow {
            Blow::Kill => {
                losses.add(fleet, at);
                fleet.restart(at, drop);
            }
            Blow::Stall => {
                let daemon = fleet.nodes[at].daemon();
                let daemon = daemon.as_ref().expect("a process");
                daemon.signal(Signal::SIGSTOP);
                sleep(STALL);
                daemon.signal(Signal::SIGCONT);
            }
            Blow::Restart(signal) => {
                let server = server.as_mut().expect("a server of the test");
                server.restart(signal);
            }
        }
    }
    losses
}

#[allow(clippy::print_stdout, reason = "the figures are what it is asked for")]
fn weather(storm: &Storm, fleet: &Fleet, server: Option<&mut postgres::Server>) {
    let began = Instant::now();
    let upstream = Upstream::start_with(|server| server.round_trip(ROUND_TRIP));
    let receiver = Receiver::start();
    let types = [
        "sync.queued",
        "sync.in_progress",
        "sync.completed",
        "sync.failed",
        "push",
    ];
    let target = json!({ "url": receiver.url(), "events": types });
    fleet
        .call(0, "POST", "/v1/default/webhook-targets", Some(&target))
        .ok(201);
    let repos = repos(fleet, &upstream);
    let trap = Arc::new(Trap::default());
    trap.lay(&upstream, &repos);
    let asked = AtomicUsize::new(0);
    let has_struck = Arc::new(AtomicBool::new(false));
    let is_over =
        || has_struck.load(Ordering::Relaxed) && asked.load(Ordering::Relaxed) >= storm.runs;
    let mut losses = scope(|scope| {
        for repos in repos.chunks(REPOS) {
            let (asked, is_over) = (&asked, &is_over);
            scope.spawn(move || use_it(fleet, repos, asked, is_over));
        }
        let _has_struck = GoOn(Arc::clone(&has_struck));
        strike(storm, fleet, server, &asked, &trap)
    });
    for (number, repo) in repos.iter().enumerate() {
        let path = format!("/v1/default/{}", repo.name);
        let url = upstream.url(&format!("{}.git", repo.name));
        let body = json!({ "upstream": { "url": url, "schedule": null } });
        fleet.call(number, "PATCH", &path, Some(&body)).ok(200);
        let body = json!({ "direction": "pull" });
        fleet
            .call(number, "POST", &repo.syncs(), Some(&body))
            .ok(201);
    }
    fleet.until_empty();
    let time = began.elapsed();
    let requests = upstream.server.requests();
    let asked = requests
        .iter()
        .map(|request| (request.path.as_str(), request.connection));
    assert_eq!(overlaps(asked), [""; 0]);
    let (runs, again) = check(fleet, &repos);
    check_deliveries(fleet, &receiver);
    for at in 0..fleet.nodes.len() {
        losses.add(fleet, at);
    }
    doctor(fleet);
    println!(
        "{runs} runs, {} requests, {} deliveries, {} kills, {} stalls, {} restarts: {:.0} s; {again} runs took more \
         than one attempt, {losses:?}",
        requests.len(),
        receiver.received().len(),
        storm.kills,
        storm.stalls,
        storm.restarts.len(),
        time.as_secs_f64(),
    );
}

fn on_postgresql(storm: &Storm) {
    let Some(mut server) = postgres::Server::start() else {
        return;
    };
    let database = server.database("refsyncd");
    let fleet = Fleet::start(Some(database), &["a", "b", "c"], CONFIG, ARGUMENTS);
    weather(storm, &fleet, Some(&mut server));
}

fn on_sqlite(storm: &Storm) {
    let fleet = Fleet::start(None, &["local"], CONFIG, ARGUMENTS);
    weather(storm, &fleet, None);
}

#[test]
fn a_small_storm_on_postgresql() {
    on_postgresql(&Storm {
        runs: 60,
        kills: 3,
        stalls: 1,
        restarts: &["QUIT"],
    });
}

#[test]
fn a_small_storm_on_sqlite() {
    on_sqlite(&Storm {
        runs: 40,
        kills: 3,
        stalls: 1,
        restarts: &[],
    });
}

#[test]
#[ignore = "takes minutes; a small storm is the same with fewer runs"]
fn a_storm_on_postgresql() {
    on_postgresql(&Storm {
        runs: 1_500,
        kills: 18,
        stalls: 4,
        restarts: &["INT", "QUIT"],
    });
}

#[test]
#[ignore = "takes minutes; a small storm is the same with fewer runs"]
fn a_storm_on_sqlite() {
    on_sqlite(&Storm {
        runs: 1_500,
        kills: 18,
        stalls: 4,
        restarts: &[],
    });
}
