//! Organizations that a claim sets aside: how few it looks at, and what lets it look again.

use std::{cell::Cell, time::Duration};

use refsync_service::{
    records::{Change, Direction, Globs, Next, Org, Priority, Repo, RetryPolicy},
    store::{Claimed, Claimer, Completed, Job, LongestWaits, NewRun, RepoChange, RunLimits},
};

use crate::database::{Database, NODE, at, claimer, failure, on_each_database, upstream};

/// More organizations than a claim looks at in one go.
const CROWD: usize = 40;

/// The organizations that the next claim looks at.
const LOOKED_AT: &str = "select count(*) from work where queued > 0 and look_at = 0";

fn one_at_a_host() -> Claimer {
    Claimer {
        per_host: 1,
        ..claimer("a")
    }
}

/// Organizations with a run of one repository each.
async fn crowd(db: &Database, host: &str) -> Vec<Org> {
    let mut orgs = Vec::new();
    for number in 0..CROWD {
        let org = db.another_org(&format!("{host}{number}")).await;
        let repo = db.repo_of(&org, "r", host).await;
        db.queue(&repo, Direction::Pull, at(0)).await;
        orgs.push(org);
    }
    orgs
}

/// Lets a host ask to wait.
async fn throttle(db: &Database, host: &str, now: i64, until: i64) {
    let repo = db.repo_of(&db.org, &format!("t{now}"), host).await;
    db.queue_with(&repo, Direction::Push, Priority::Hook, at(now))
        .await
        .expect("queued");
    let job = db.claim(at(now)).await.expect("a run");
    assert_eq!(job.repo.id, repo.id);
    let mut failed = failure("rate_limited");
    failed.host_not_before = Some(at(until));
    let written = db.store.fail(&job.fence, failed, at(now)).await;
    assert!(written.expect("written"));
}

/// The time of the next look of a claim that finds nothing.
async fn nothing(db: &Database, claimer: &Claimer, now: i64) -> Option<i64> {
    let lock = |_: &_| Ok(Some(()));
    let claimed = db.store.claim(claimer, at(now), at(now + 60), lock).await;
    let Claimed::Nothing { next_at } = claimed.expect("asked") else {
        panic!("a run is found at {now}");
    };
    next_at.map(|next_at| (next_at.0 - at(0).0) / 1_000)
}

async fn complete(db: &Database, job: &Job, now: i64) {
    assert!(db.complete(job, Completed::default(), at(now)).await);
}

#[test]
fn a_crowd_behind_a_throttled_host_is_looked_at_once() {
    on_each_database(async |db| {
        throttle(&db, "slow", 0, 100).await;
        let orgs = crowd(&db, "slow").await;
        assert_eq!(db.number(LOOKED_AT).await, 40);
        assert_eq!(nothing(&db, &claimer("a"), 1).await, Some(100));
        assert_eq!(db.number(LOOKED_AT).await, 0, "all are set aside");
        let before = db.store.counters();
        assert_eq!(nothing(&db, &claimer("a"), 99).await, Some(100));
        assert_eq!(db.store.counters().commits, before.commits);

        // What comes meanwhile is found, in an organization that was set aside as in another one.
        for (org, name) in [(&orgs[0], "b"), (&db.org, "a")] {
            let repo = db.repo_of(org, name, "fast").await;
            let run = db.queue(&repo, Direction::Pull, at(2)).await;
            let job = db.claim(at(3)).await.expect("a run");
            assert_eq!(job.run.id, run.id);
            complete(&db, &job, 3).await;
        }
        // The host asks for more, so that the time is up too early, and then for no more.
        db.execute("update hosts set not_before = not_before + 50000")
            .await;
        assert_eq!(nothing(&db, &claimer("a"), 100).await, Some(150));
        assert_eq!(db.number(LOOKED_AT).await, 0);
        for _ in 0..CROWD {
            let job = db.claim(at(150)).await.expect("a run");
            complete(&db, &job, 150).await;
        }
        assert_eq!(nothing(&db, &claimer("a"), 151).await, None);
        db.assert_counted().await;
    });
}

#[test]
fn a_crowd_whose_runs_are_not_due_is_looked_at_once() {
    on_each_database(async |db| {
        crowd(&db, "host").await;
        for number in 0..40 {
            let job = db.claim(at(0)).await.expect("a run");
            let run_at = at(50 + number % 2);
            let retried = db
                .store
                .retry(&job.fence, failure("network"), run_at, at(0));
            assert!(retried.await.expect("written"));
        }
        assert_eq!(db.number(LOOKED_AT).await, 40);
        nothing(&db, &claimer("a"), 1).await;
        assert_eq!(db.number(LOOKED_AT).await, 0);
        for _ in 0..CROWD {
            let job = db.claim(at(51)).await.expect("a run");
            complete(&db, &job, 51).await;
        }
        db.assert_counted().await;
    });
}

#[test]
fn a_place_of_a_busy_host_goes_to_the_crowd_at_once() {
    on_each_database(async |db| {
        // Each waits for two hosts, so that a place of either may start it.
        let one = one_at_a_host();
        for org in crowd(&db, "one").await {
            let repo = db.repo_of(&org, "s", "two").await;
            db.queue(&repo, Direction::Pull, at(0)).await;
        }
        let mut running = Vec::new();
        for _ in 0..2 {
            running.push(db.claim_as(&one, at(1)).await.expect("a run"));
        }
        assert_eq!(nothing(&db, &one, 1).await, None);
        assert_eq!(db.number(LOOKED_AT).await, 0);
        for round in 0..2 * CROWD - 2 {
            // The second host has its turns until nobody waits for it.
            let host = if round < CROWD - 1 { "two" } else { "one" };
            let place = running.iter().position(|job| job.upstream.host == host);
            let ended = running.swap_remove(place.expect("a run of the host"));
            complete(&db, &ended, 2).await;
            let before = db.store.counters();
            let job = db.claim_as(&one, at(2)).await.expect("another run");
            let after = db.store.counters();
            assert_eq!(job.upstream.host, ended.upstream.host, "{round}");
            assert!(after.commits - before.commits <= 2, "{round}");
            running.push(job);
            assert_eq!(nothing(&db, &one, 2).await, None);
            assert_eq!(db.number(LOOKED_AT).await, 0);
        }
        for job in running {
            complete(&db, &job, 3).await;
        }
        assert_eq!(nothing(&db, &one, 3).await, None);
        assert_eq!(db.number("select count(*) from waits").await, 0);
        db.assert_counted().await;
    });
}

#[test]
fn a_free_place_goes_to_whoever_was_served_longest_ago() {
    on_each_database(async |db| {
        let one = one_at_a_host();
        let mut busy = Vec::new();
        for host in ["a", "z"] {
            let repo = db.repo_of(&db.org, host, host).await;
            db.queue(&repo, Direction::Pull, at(0)).await;
            busy.push(db.claim_as(&one, at(0)).await.expect("a run"));
        }
        crowd(&db, "a").await;
        let repo = db.repo_of(&db.another_org("z").await, "other", "z").await;
        db.queue(&repo, Direction::Pull, at(0)).await;
        assert_eq!(nothing(&db, &one, 1).await, None);
        db.execute("update waits set served_at = 1 where host = 'a'")
            .await;
        for job in &busy {
            complete(&db, job, 2).await;
        }
        let job = db.claim_as(&one, at(2)).await.expect("a run");
        assert_eq!(
            job.repo.id, repo.id,
            "a host with an earlier name is free, too"
        );
    });
}

#[test]
fn those_in_front_that_have_nothing_are_not_looked_at_again() {
    on_each_database(async |db| {
        throttle(&db, "slow", 0, 100).await;
        crowd(&db, "slow").await;
        let org = db.another_org("last").await;
        let repo = db.repo_of(&org, "r", "fast").await;
        for round in 0..3 {
            let run = db.queue(&repo, Direction::Pull, at(1)).await;
            let before = db.store.counters();
            let job = db.claim(at(1)).await.expect("a run");
            let commits = db.store.counters().commits - before.commits;
            assert_eq!(job.run.id, run.id);
            complete(&db, &job, 1).await;
            // It has been served, so all others are in front from now on.
            assert!(round < 1 || db.number(LOOKED_AT).await == 0);
            assert!(round < 2 || commits == 1, "{commits}");
        }
        // Those whose time has come are in front of one that was served before.
        db.queue(&repo, Direction::Pull, at(100)).await;
        let job = db.claim(at(100)).await.expect("a run");
        assert_ne!(job.org.id, org.id);
        db.assert_counted().await;
    });
}

/// A run that a host keeps from starting until 900.
async fn throttled(db: &Database) -> Repo {
    throttle(db, "slow", 0, 900).await;
    let repo = db.repo_of(&db.org, "r", "slow").await;
    db.queue(&repo, Direction::Pull, at(1)).await;
    nothing(db, &claimer("a"), 1).await;
    repo
}

/// A run whose next attempt is at 900.
async fn retried(db: &Database) {
    let repo = db.repo("r").await;
    db.queue(&repo, Direction::Pull, at(0)).await;
    let job = db.claim(at(0)).await.expect("a run");
    let retried = db
        .store
        .retry(&job.fence, failure("network"), at(900), at(0));
    assert!(retried.await.expect("written"));
    nothing(db, &claimer("a"), 1).await;
}

/// Whether the run of a repository is found.
async fn finds(db: &Database, repo: &Repo, now: i64) -> bool {
    let job = db.claim(at(now)).await;
    job.is_some_and(|job| job.repo.id == repo.id)
}

#[test]
fn another_host_lets_a_claim_look_again() {
    on_each_database(async |db| {
        let repo = throttled(&db).await;
        let change = RepoChange {
            upstream: Change::Set(upstream("fast")),
            ..RepoChange::default()
        };
        let changed = db.store.change_repo(&repo.id, change, at(2)).await;
        changed.expect("changed");
        assert!(finds(&db, &repo, 2).await);
    });
}

/// The claim reads the host of before, and sets the organization aside or not before the change can be seen.
#[test]
fn a_host_that_changes_during_a_claim_lets_the_next_one_look_again() {
    on_each_database(async |db| {
        throttle(&db, "slow", 0, 900).await;
        for round in 0..20 {
            let org = db.another_org(&format!("o{round}")).await;
            let repo = db.repo_of(&org, "r", "slow").await;
            db.queue(&repo, Direction::Pull, at(1)).await;
            let change = RepoChange {
                upstream: Change::Set(upstream("fast")),
                ..RepoChange::default()
            };
            let (changed, found) = tokio::join!(
                db.store.change_repo(&repo.id, change, at(2)),
                db.claim(at(2))
            );
            changed.expect("changed");
            let found = match found {
                Some(job) => Some(job),
                None => db.claim(at(2)).await,
            };
            let job = found.unwrap_or_else(|| panic!("round {round}: nothing is found"));
            assert_eq!(job.repo.id, repo.id);
            complete(&db, &job, 3).await;
        }
    });
}

#[test]
fn a_run_that_is_asked_for_again_lets_a_claim_look_again() {
    on_each_database(async |db| {
        let repo = db.repo("r").await;
        let run = db.queue(&repo, Direction::Pull, at(0)).await;
        let broken =
            |_: &_| -> std::io::Result<Option<()>> { Err(std::io::ErrorKind::Other.into()) };
        let moved = db.store.claim(&claimer("a"), at(0), at(60), broken).await;
        assert!(matches!(moved, Ok(Claimed::Nothing { .. })));
        assert_eq!(nothing(&db, &claimer("a"), 1).await, Some(10));
        assert_eq!(db.queue(&repo, Direction::Pull, at(2)).await.id, run.id);
        assert!(finds(&db, &repo, 2).await);
    });
}

#[test]
fn the_end_of_an_attempt_lets_a_claim_look_again() {
    on_each_database(async |db| {
        let repo = db.repo("r").await;
        let policy = RetryPolicy::default();
        let Next::Attempt(wait) = policy.after_failure(1, true, None, at(0), 0.5) else {
            panic!("an attempt is left");
        };
        let wait = (wait.0 - at(0).0) / 1_000 + 1;
        // Each time the other run of the repository waits for the end of the first one.
        for (round, end) in ["complete", "fail", "retry", "give back", "lose", "start"]
            .into_iter()
            .enumerate()
        {
            let now = 10_000 * i64::try_from(round).expect("small");
            db.queue(&repo, Direction::Pull, at(now)).await;
            let job = db.claim(at(now)).await.expect("a run");
            db.queue_with(&repo, Direction::Push, Priority::Hook, at(now))
                .await
                .expect("queued");
            assert_eq!(nothing(&db, &claimer("a"), now).await, None);
            assert_eq!(db.number(LOOKED_AT).await, 0);
            let (store, fence) = (&db.store, &job.fence);
            let mut later = now + 100;
            let ended = match end {
                "complete" => store.complete(fence, Completed::default(), at(later)).await,
                "fail" => store.fail(fence, failure("network"), at(later)).await,
                "retry" => {
                    let run_at = at(later + 500);
                    store
                        .retry(fence, failure("network"), run_at, at(later))
                        .await
                }
                "give back" => store.give_back(fence, at(later)).await,
                "lose" => store
                    .reap(at(later), &policy, 0.5)
                    .await
                    .map(|lost| lost == 1),
                _ => {
                    let lost = store.end_leases_of(NODE, &policy, at(later)).await;
                    lost.map(|lost| lost == 1)
                }
            };
            assert!(ended.expect("written"), "{end}");
            let job = db.claim(at(later)).await.expect("the push");
            assert_eq!(job.run.direction, Direction::Push, "{end}");
            complete(&db, &job, later).await;
            later += 500 + wait;
            if let Some(job) = db.claim(at(later)).await {
                assert_eq!(job.run.direction, Direction::Pull, "{end}");
                complete(&db, &job, later).await;
            }
            assert_eq!(nothing(&db, &claimer("a"), later).await, None, "{end}");
        }
        db.assert_counted().await;
    });
}

#[test]
fn a_cancelled_run_lets_a_claim_look_at_the_next_one() {
    on_each_database(async |db| {
        let one = one_at_a_host();
        let (first, second) = (db.repo("first").await, db.repo("second").await);
        let running = db.queue(&first, Direction::Pull, at(0)).await;
        let job = db.claim_as(&one, at(0)).await.expect("a run");
        let waits = db.queue(&first, Direction::Push, at(0)).await;
        db.queue(&second, Direction::Pull, at(1)).await;
        assert_eq!(nothing(&db, &one, 1).await, None);
        for run in [&waits, &running] {
            let cancelled = db.store.cancel(&first.id, &run.id, at(2)).await;
            cancelled.expect("cancelled");
            assert_eq!(nothing(&db, &one, 2).await, None);
        }
        let stopped = db.store.give_back(&job.fence, at(3)).await;
        assert!(stopped.expect("written"));
        let job = db.claim_as(&one, at(3)).await.expect("a run");
        assert_eq!(job.repo.id, second.id);
    });
}

#[test]
fn mended_times_let_a_claim_look_again() {
    on_each_database(async |db| {
        let longest = LongestWaits {
            attempt: Duration::from_secs(100),
            lease: Duration::from_secs(60),
        };
        // One that was mended here, and a host that another node has mended.
        retried(&db).await;
        assert_eq!(
            db.store
                .mend_times(NODE, longest, at(2))
                .await
                .expect("mended"),
            1
        );
        let job = db.claim(at(2)).await.expect("the run");
        complete(&db, &job, 2).await;

        let slow = db.repo_of(&db.org, "slow", "slow").await;
        throttle(&db, "slow", 3, 900).await;
        db.queue(&slow, Direction::Pull, at(4)).await;
        nothing(&db, &claimer("a"), 4).await;
        let mended = db.store.mend_times("two", longest, at(5)).await;
        assert_eq!(mended.expect("mended"), 1);
        assert_eq!(nothing(&db, &claimer("a"), 5).await, None);
        assert_eq!(
            db.store
                .mend_times(NODE, longest, at(5))
                .await
                .expect("mended"),
            0
        );
        assert!(finds(&db, &slow, 5).await);
    });
}

#[test]
fn a_clock_that_steps_back_hides_nothing() {
    on_each_database(async |db| {
        let one = one_at_a_host();
        let (first, second) = (db.repo("first").await, db.repo("second").await);
        db.queue(&first, Direction::Pull, at(500)).await;
        let job = db.claim_as(&one, at(500)).await.expect("a run");
        db.queue(&second, Direction::Pull, at(510)).await;
        assert_eq!(nothing(&db, &one, 520).await, None);
        // The clock is right again: the host is free before the time at which the other run was queued.
        complete(&db, &job, 400).await;
        assert_eq!(nothing(&db, &one, 400).await, Some(510));
        let job = db.claim_as(&one, at(510)).await.expect("a run");
        assert_eq!(job.repo.id, second.id);
    });
}

#[test]
fn runs_that_come_and_go_at_once_are_all_found() {
    on_each_database(async |db| {
        let (runs, queued, done) = (120, Cell::new(0), Cell::new(0));
        let nodes = [NODE, "two"].map(|node| Claimer {
            node: node.into(),
            per_host: 2,
            ..claimer(node)
        });
        let (mut orgs, mut repos) = (Vec::new(), Vec::new());
        for number in 0..7 {
            orgs.push(db.another_org(&format!("o{number}")).await);
        }
        for (number, org) in (0..12).zip(orgs.iter().cycle()) {
            let (node, host) = (&nodes[number % 2].node, format!("host{}", number % 3));
            repos.push(db.repo_at(node, org, &format!("r{number}"), &host).await);
        }
        let queue = |worker: usize| {
            let (db, repos, queued) = (&db, &repos, &queued);
            async move {
                while queued.get() < runs {
                    let number = queued.replace(queued.get() + 1);
                    let new = NewRun {
                        repo: &repos[(number * 5 + worker) % repos.len()],
                        direction: Direction::Pull,
                        globs: Globs::of_request(Some(format!("b{number}")), None).expect("globs"),
                        dry_run: false,
                        priority: Priority::Api,
                    };
                    let limits = RunLimits {
                        per_repo: 1_000,
                        per_org: 1_000,
                    };
                    let run = db.store.enqueue(new, limits, at(1)).await;
                    run.expect("stored").expect("not refused");
                }
            }
        };
        let work = |node: usize| {
            let (db, claimer, done) = (&db, &nodes[node % 2], &done);
            async move {
                while done.get() < runs {
                    let Some(job) = db.claim_as(claimer, at(1)).await else {
                        tokio::task::yield_now().await;
                        continue;
                    };
                    complete(db, &job, 1).await;
                    done.set(done.get() + 1);
                }
            }
        };
        let all = async {
            tokio::join!(
                queue(0),
                queue(1),
                work(0),
                work(1),
                work(2),
                work(3),
                work(4),
                work(5)
            )
        };
        // Without an end where a run is never found.
        let ended = tokio::time::timeout(Duration::from_secs(300), all).await;
        assert!(ended.is_ok(), "{} of {runs}", done.get());
        db.assert_counted().await;
    });
}
