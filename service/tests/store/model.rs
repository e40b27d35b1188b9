//! Random actions, also of workers that are late and of clocks that step, against a plain model of the runs.

use proptest::prelude::*;
use refsync_service::{
    records::{
        Action as Step, Change, Direction, Next, Priority, Repo, RetryPolicy, State, Status,
        SyncRun, Time,
    },
    store::{Cancel, Claimer, Completed, Fence, Lease, Refused, RepoChange},
};

use crate::database::{
    Database, LEASE, NODE, at, claimer, completed, failure, on_each_database, stats, upstream,
};

/// The number of repositories. Two share an organization.
const REPOS: usize = 6;
/// The hosts of upstreams.
const HOSTS: [&str; 2] = ["host", "hub"];
/// The number of runs of one host at a time.
const PER_HOST: usize = 2;

/// An action. Numbers choose among what there is, and a fence may be an old one.
#[derive(Debug, Clone)]
enum Act {
    Queue(usize, Direction, i64),
    Claim,
    Renew(usize),
    /// The fence, and the seconds for which the host asks to wait.
    Complete(usize, Option<i64>),
    Fail(usize),
    Retry(usize, i64),
    GiveBack(usize),
    Cancel(usize),
    Reap,
    NodeStart,
    RemoveUpstream(usize),
    /// The repository, and the number of the host.
    SetUpstream(usize, usize),
    Clock(i64),
}

fn act() -> impl Strategy<Value = Act> {
    let direction = prop_oneof![Just(Direction::Pull), Just(Direction::Push)];
    prop_oneof![
        4 => (0..REPOS, direction, 0..3_i64).prop_map(|(repo, direction, priority)| {
            Act::Queue(repo, direction, priority)
        }),
        6 => Just(Act::Claim),
        1 => any::<usize>().prop_map(Act::Renew),
        3 => (any::<usize>(), proptest::option::weighted(0.3, 1..200_i64))
            .prop_map(|(fence, wait)| Act::Complete(fence, wait)),
        1 => any::<usize>().prop_map(Act::Fail),
        2 => (any::<usize>(), 0..90_i64).prop_map(|(fence, wait)| Act::Retry(fence, wait)),
        1 => any::<usize>().prop_map(Act::GiveBack),
        1 => any::<usize>().prop_map(Act::Cancel),
        1 => Just(Act::Reap),
        1 => Just(Act::NodeStart),
        1 => (0..REPOS).prop_map(Act::RemoveUpstream),
        2 => (0..REPOS, 0..HOSTS.len()).prop_map(|(repo, host)| Act::SetUpstream(repo, host)),
        3 => (-90..150_i64).prop_map(Act::Clock),
    ]
}

struct Run {
    record: SyncRun,
    repo: usize,
    host: usize,
    state: State,
    priority: i64,
    attempt: i64,
    tries: i64,
    claim: i64,
    run_at: Time,
    lease_until: Time,
    is_cancelled: bool,
}

impl Run {
    fn step(&mut self, step: Step) {
        let after = self.state.after(step);
        self.state = after.unwrap_or_else(|| panic!("{:?} {step:?}", self.state));
    }

    fn is_open(&self) -> bool {
        !self.state.is_end()
    }

    fn is_running(&self) -> bool {
        self.state == State::Running
    }

    fn cancel(&mut self) {
        self.is_cancelled |= self.is_running();
        self.step(Step::Cancel);
    }

    /// The attempt is over without a result.
    fn stop(&mut self, run_at: Time) {
        if self.is_cancelled {
            self.step(Step::Fail);
        } else {
            self.step(Step::Retry);
            self.run_at = run_at;
        }
    }

    fn lose_worker(&mut self, now: Time, is_due_at_once: bool) {
        self.tries += 1;
        match RetryPolicy::default().after_failure(self.tries, true, None, now, 0.5) {
            Next::Attempt(_) if is_due_at_once => self.stop(now),
            Next::Attempt(run_at) => self.stop(run_at),
            Next::Fail => self.step(Step::Fail),
        }
    }

    fn events(&self) -> Vec<&'static str> {
        let started = (self.attempt > 0).then_some("sync.in_progress");
        let ended = match self.state {
            State::Completed => Some("sync.completed"),
            State::Failed => Some("sync.failed"),
            _ => None,
        };
        ["sync.queued"]
            .into_iter()
            .chain(started)
            .chain(ended)
            .collect()
    }
}

struct Model {
    db: Database,
    repos: Vec<Repo>,
    /// The hosts of the upstreams.
    hosts: Vec<Option<usize>>,
    /// The times before which no run of a host may start.
    not_before: [Time; HOSTS.len()],
    runs: Vec<Run>,
    fences: Vec<(usize, Fence)>,
    now: Time,
}

impl Model {
    async fn new(db: Database) -> Self {
        let mut repos = vec![db.repo_of(&db.org, "r", HOSTS[0]).await];
        for number in 1..REPOS {
            let host = HOSTS[number % HOSTS.len()];
            let org = db.another_org(&format!("o{number}")).await;
            let org = if number == 1 { &db.org } else { &org };
            repos.push(db.repo_of(org, &format!("r{number}"), host).await);
        }
        Model {
            hosts: (0..REPOS)
                .map(|number| Some(number % HOSTS.len()))
                .collect(),
            not_before: [Time(0); HOSTS.len()],
            repos,
            db,
            runs: Vec::new(),
            fences: Vec::new(),
            now: at(0),
        }
    }

    async fn act(&mut self, act: &Act) {
        match *act {
            Act::Queue(repo, direction, priority) => self.queue(repo, direction, priority).await,
            Act::Claim => self.claim().await,
            Act::Cancel(number) => self.cancel(number).await,
            Act::Reap => self.lose_workers(false).await,
            Act::NodeStart => self.lose_workers(true).await,
            Act::RemoveUpstream(repo) => self.remove_upstream(repo).await,
            Act::SetUpstream(repo, host) => self.set_upstream(repo, Some(host)).await,
            Act::Clock(seconds) => self.now = Time(self.now.0 + seconds * 1_000),
            Act::Renew(fence)
            | Act::Complete(fence, _)
            | Act::Fail(fence)
            | Act::Retry(fence, _)
            | Act::GiveBack(fence) => self.work(fence, act).await,
        }
        // Runs that wait go where the upstream is.
        for run in self.runs.iter_mut().filter(|run| !run.is_running()) {
            run.host = self.hosts[run.repo].unwrap_or(run.host);
        }
        self.check().await;
    }

    async fn queue(&mut self, repo: usize, direction: Direction, priority: i64) {
        let word = Priority::of_number(priority).expect("a priority");
        let queued = self
            .db
            .queue_with(&self.repos[repo], direction, word, self.now);
        let queued = match queued.await {
            Ok(queued) => queued,
            Err(refused) => {
                assert_eq!(refused, Refused::NoUpstream);
                return assert_eq!(self.hosts[repo], None);
            }
        };
        let is_equal = |run: &&mut Run| {
            run.repo == repo && run.record.direction == direction && run.state == State::Queued
        };
        if let Some(run) = self.runs.iter_mut().find(is_equal) {
            assert_eq!(queued.id, run.record.id, "the equal run");
            run.priority = run.priority.min(priority);
            run.run_at = run.run_at.min(self.now);
            return;
        }
        self.runs.push(Run {
            record: queued,
            repo,
            host: self.hosts[repo].expect("an upstream"),
            state: State::Queued,
            priority,
            attempt: 0,
            tries: 0,
            claim: 0,
            run_at: self.now,
            lease_until: Time(0),
            is_cancelled: false,
        });
    }

    /// The runs that may start now.
    fn due(&self) -> impl Iterator<Item = usize> {
        let is_free = |repo| {
            !self
                .runs
                .iter()
                .any(|run| run.repo == repo && run.is_running())
        };
        let has_place = |host| {
            let is_of_host = |run: &&Run| run.host == host && run.is_running();
            let running = self.runs.iter().filter(is_of_host).count();
            running < PER_HOST && self.not_before[host] <= self.now
        };
        (0..self.runs.len()).filter(move |number| {
            let run = &self.runs[*number];
            let waits = run.is_open() && !run.is_running();
            waits && run.run_at <= self.now && is_free(run.repo) && has_place(run.host)
        })
    }

    async fn claim(&mut self) {
        let claimer = Claimer {
            per_host: PER_HOST as i64,
            ..claimer("a")
        };
        let Some(job) = self.db.claim_as(&claimer, self.now).await else {
            return assert_eq!(self.due().count(), 0, "a run is due");
        };
        let is_it = |number: &usize| self.runs[*number].record.id == job.run.id;
        let number = self.due().find(is_it).expect("a run that is due");
        let org = &self.repos[self.runs[number].repo].org;
        let of_org = |number: &usize| self.repos[self.runs[*number].repo].org == *org;
        let highest = self
            .due()
            .filter(of_org)
            .map(|number| self.runs[number].priority);
        assert_eq!(Some(self.runs[number].priority), highest.min());
        let run = &mut self.runs[number];
        run.step(Step::Start);
        run.attempt += 1;
        run.claim = job.fence.claim;
        run.lease_until = self.now.plus(LEASE);
        assert_eq!((job.run.attempt, job.tries), (run.attempt, run.tries));
        self.fences.push((number, job.fence));
    }

    /// The action of a worker with its fence, which may be an old one.
    async fn work(&mut self, fence: usize, act: &Act) {
        if self.fences.is_empty() {
            return;
        }
        let (number, fence) = &self.fences[fence % self.fences.len()];
        let (run, now) = (&mut self.runs[*number], self.now);
        let (store, is_held) = (&self.db.store, run.is_running() && run.claim == fence.claim);
        let written = match *act {
            Act::Renew(_) => {
                let renewed = store.renew(fence, now.plus(LEASE)).await.expect("asked");
                let cancelled = run.is_cancelled;
                let held = if is_held {
                    Lease::Held { cancelled }
                } else {
                    Lease::Lost
                };
                assert_eq!(renewed, held);
                is_held
            }
            Act::Complete(_, wait) => {
                let done = Completed {
                    host_not_before: wait.map(|wait| Time(now.0 + wait * 1_000)),
                    ..completed(stats(1, "unchanged"))
                };
                store.complete(fence, done, now).await.expect("asked")
            }
            Act::Fail(_) => store
                .fail(fence, failure("network"), now)
                .await
                .expect("asked"),
            Act::Retry(_, wait) => {
                let run_at = Time(now.0 + wait * 1_000);
                let retried = store.retry(fence, failure("network"), run_at, now);
                retried.await.expect("asked")
            }
            _ => store.give_back(fence, now).await.expect("asked"),
        };
        assert_eq!(written, is_held, "{act:?}");
        if !written {
            return;
        }
        match *act {
            Act::Renew(_) => run.lease_until = now.plus(LEASE),
            Act::Complete(_, wait) => {
                run.step(Step::Complete);
                let not_before = &mut self.not_before[run.host];
                let asked = wait.map_or(Time(0), |wait| Time(now.0 + wait * 1_000));
                *not_before = asked.max(*not_before);
            }
            Act::Fail(_) => run.step(Step::Fail),
            Act::Retry(_, wait) => {
                run.tries += 1;
                run.stop(Time(now.0 + wait * 1_000));
            }
            _ => run.stop(now),
        }
    }

    async fn cancel(&mut self, number: usize) {
        if self.runs.is_empty() {
            return;
        }
        let number = number % self.runs.len();
        let run = &mut self.runs[number];
        let cancelled = self
            .db
            .store
            .cancel(&run.record.repo_id, &run.record.id, self.now);
        match cancelled.await.expect("asked") {
            Cancel::Ended(_) => assert!(!run.is_open()),
            Cancel::Requested(_) => assert!(run.is_running()),
            Cancel::Done(_) => assert!(run.is_open() && !run.is_running()),
            Cancel::Unknown => panic!("the run is there"),
        }
        if run.is_open() {
            run.cancel();
        }
    }

    async fn lose_workers(&mut self, is_start: bool) {
        let (policy, now) = (RetryPolicy::default(), self.now);
        let store = &self.db.store;
        let lost = if is_start {
            store.end_leases_of(NODE, &policy, now).await
        } else {
            store.reap(now, &policy, 0.5).await
        };
        let is_lost = |run: &&mut Run| run.is_running() && (is_start || run.lease_until < now);
        let mut count = 0;
        for run in self.runs.iter_mut().filter(is_lost) {
            run.lose_worker(now, is_start);
            count += 1;
        }
        assert_eq!(lost.expect("ended"), count);
    }

    async fn set_upstream(&mut self, repo: usize, host: Option<usize>) {
        self.hosts[repo] = host;
        let change = RepoChange {
            upstream: host.map_or(Change::Clear, |host| Change::Set(upstream(HOSTS[host]))),
            ..RepoChange::default()
        };
        let changed = self
            .db
            .store
            .change_repo(&self.repos[repo].id, change, self.now);
        changed.await.expect("changed");
    }

    async fn remove_upstream(&mut self, repo: usize) {
        self.set_upstream(repo, None).await;
        for run in self
            .runs
            .iter_mut()
            .filter(|run| run.repo == repo && run.is_open())
        {
            run.cancel();
        }
    }

    /// The database says what the model says.
    async fn check(&self) {
        self.db.assert_counted().await;
        for run in &self.runs {
            let read = self.db.read(&run.record).await;
            let status = match run.state {
                State::Queued => Status::Queued,
                State::Running | State::Waiting => Status::InProgress,
                State::Completed => Status::Completed,
                State::Failed => Status::Failed,
            };
            assert_eq!((read.status, read.attempt), (status, run.attempt));
            let next = (run.state == State::Waiting).then_some(run.run_at);
            assert_eq!(read.next_attempt_at, next);
            assert_eq!(read.finished_at.is_some(), !run.is_open());
            assert_eq!(self.db.events(run.record.id.as_str()).await, run.events());
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_database_does_what_the_model_does(acts in proptest::collection::vec(act(), 1..60)) {
        on_each_database(async |db| {
            let mut model = Model::new(db).await;
            for act in &acts {
                model.act(act).await;
            }
        });
    }
}
