//! Schedules of upstreams.

use std::ops::RangeInclusive;

use refsync_service::{
    ErrorKind,
    records::{
        Change, Direction, Globs, Health, HealthState, Priority, Repo, Schedule, SyncRun, Time,
        Upstream,
    },
    store::{Changed, Completed, Job, LongestWaits, NewRun, RepoChange, RunLimits, Scheduled},
};

use crate::database::{Database, LEASE, NODE, at, failure, on_each_database, upstream};

pub(crate) const REFUSED: &str = "authentication";

pub(crate) fn every(interval_seconds: u32) -> Schedule {
    Schedule {
        direction: Direction::Pull,
        interval_seconds,
        ref_globs: Globs::default(),
    }
}

/// Sets the upstream as it is, with a change of its schedule.
pub(crate) async fn set(
    db: &Database,
    repo: &Repo,
    schedule: Change<Schedule>,
    now: Time,
) -> Upstream {
    let mut new = upstream("host");
    new.schedule = schedule;
    let change = RepoChange {
        upstream: Change::Set(new),
        ..RepoChange::default()
    };
    let changed = db.store.change_repo(&repo.id, change, now).await;
    let Ok(Changed::Done(repo)) = changed else {
        panic!("{changed:?}");
    };
    repo.upstream.expect("an upstream")
}

pub(crate) async fn minutely(db: &Database, name: &str) -> Repo {
    let repo = db.repo(name).await;
    set(db, &repo, Change::Set(every(60)), at(0)).await;
    repo
}

pub(crate) async fn health(db: &Database, repo: &Repo) -> Health {
    let repo = db.store.repo(&repo.id).await.expect("read").expect("there");
    repo.upstream.expect("an upstream").health
}

/// Asserts the state, the failures, and the seconds from `now` to the next run.
#[track_caller]
pub(crate) fn is(
    health: &Health,
    state: HealthState,
    failures: i64,
    next: Option<(Time, RangeInclusive<i64>)>,
) {
    assert_eq!(
        (health.state(), health.failures),
        (state, failures),
        "{health:?}"
    );
    match next {
        None => assert_eq!(health.next_run_at, None),
        Some((now, seconds)) => {
            let wait = health.next_run_at.expect("a next run").0 - now.0;
            let millis = seconds.start() * 1_000..=seconds.end() * 1_000;
            assert!(millis.contains(&wait), "{wait} ms: {health:?}");
        }
    }
}

async fn look(db: &Database, limits: RunLimits, now: Time) -> Scheduled {
    let scheduled = db.store.queue_scheduled(NODE, limits, now).await;
    scheduled.expect("looked at")
}

/// The number of runs that are queued at `now`.
pub(crate) async fn queued(db: &Database, now: Time) -> u64 {
    look(db, RunLimits::default(), now).await.queued
}

async fn runs(db: &Database, repo: &Repo) -> Vec<SyncRun> {
    let page = crate::database::page(None, 100);
    db.store.sync_runs(&repo.id, page).await.expect("read").rows
}

/// Queues a run that a caller asks for, and starts it.
pub(crate) async fn start(db: &Database, repo: &Repo, direction: Direction, now: Time) -> Job {
    let run = db.queue(repo, direction, now).await;
    let job = db.claim(now).await.expect("a run");
    assert_eq!(job.run.id, run.id);
    job
}

pub(crate) async fn fail(db: &Database, job: &Job, code: &str, now: Time) {
    let failed = db.store.fail(&job.fence, failure(code), now).await;
    assert!(failed.expect("written"));
}

/// Lets a run that a caller asks for fail.
pub(crate) async fn fails(db: &Database, repo: &Repo, code: &str, now: Time) {
    let job = start(db, repo, Direction::Pull, now).await;
    fail(db, &job, code, now).await;
}

#[test]
fn a_run_is_queued_at_its_time_with_the_next_time_in_one_transaction() {
    on_each_database(async |db| {
        let repo = minutely(&db, "r").await;
        let first = health(&db, &repo).await;
        is(&first, HealthState::Ok, 0, Some((at(0), 0..=6)));
        let first = first.next_run_at.expect("a time");
        assert_eq!(queued(&db, Time(first.0 - 1)).await, 0);

        let before = db.store.counters().commits;
        let due = Time(first.0.max(at(1).0));
        assert_eq!(queued(&db, due).await, 1);
        assert_eq!(db.store.counters().commits - before, 1);
        let next = health(&db, &repo).await;
        is(&next, HealthState::Ok, 0, Some((due, 54..=66)));
        assert_eq!(queued(&db, due).await, 0, "not a second time");
        let run = runs(&db, &repo).await.remove(0);
        assert_eq!((run.source, run.direction), ("schedule", Direction::Pull));
        assert_eq!(db.events(run.id.as_str()).await, ["sync.queued"]);

        // A caller who asks for the same gets this run, at his priority.
        let same = db.queue(&repo, Direction::Pull, due).await;
        assert_eq!((same.id, same.source), (run.id, "api"));
        let job = db.claim(due).await.expect("the run");
        assert!(db.complete(&job, Completed::default(), due).await);
        assert_eq!(
            health(&db, &repo).await,
            next,
            "an end without news moves nothing"
        );
        db.assert_counted().await;
    });
}

#[test]
fn a_run_of_its_kind_that_is_under_way_is_enough() {
    on_each_database(async |db| {
        let repo = minutely(&db, "r").await;
        db.queue(&repo, Direction::Pull, at(0)).await;
        assert_eq!(queued(&db, at(10)).await, 0, "it is queued");
        is(
            &health(&db, &repo).await,
            HealthState::Ok,
            0,
            Some((at(10), 54..=66)),
        );
        let job = db.claim(at(10)).await.expect("a run");
        assert_eq!(queued(&db, at(100)).await, 0, "it runs");
        let waits = db
            .store
            .retry(&job.fence, failure("network"), at(900), at(100));
        assert!(waits.await.expect("written"));
        assert_eq!(
            queued(&db, at(200)).await,
            0,
            "it waits for its next attempt"
        );
        is(
            &health(&db, &repo).await,
            HealthState::Ok,
            0,
            Some((at(200), 54..=66)),
        );
        assert_eq!(runs(&db, &repo).await.len(), 1);

        // Other directions, globs and dry runs are other runs.
        let push = Schedule {
            direction: Direction::Push,
            ..every(60)
        };
        let some = Globs::of_request(Some("main".into()), None).expect("globs");
        let some = Schedule {
            ref_globs: some,
            ..every(60)
        };
        for (number, schedule) in [(2, push), (3, some)] {
            set(&db, &repo, Change::Set(schedule), at(200)).await;
            assert_eq!(queued(&db, at(300)).await, 1);
            assert_eq!(runs(&db, &repo).await.len(), number);
        }
        let other = minutely(&db, "other").await;
        let dry = NewRun {
            repo: &other,
            direction: Direction::Pull,
            globs: Globs::default(),
            dry_run: true,
            priority: Priority::Api,
        };
        let dry = db.store.enqueue(dry, RunLimits::default(), at(300)).await;
        dry.expect("queued").expect("not refused");
        assert_eq!(queued(&db, at(300)).await, 1);
        db.assert_counted().await;
    });
}

#[test]
fn a_full_queue_puts_a_run_off_and_loses_none() {
    on_each_database(async |db| {
        let repo = minutely(&db, "r").await;
        let blocker = db.queue(&repo, Direction::Push, at(0)).await;
        let free = RunLimits::default();
        for limits in [
            RunLimits {
                per_repo: 1,
                ..free
            },
            RunLimits { per_org: 1, ..free },
        ] {
            db.execute("update upstreams set next_run_at = 0 where next_run_at is not null")
                .await;
            assert_eq!(look(&db, limits, at(10)).await, Scheduled::default());
            is(
                &health(&db, &repo).await,
                HealthState::Ok,
                0,
                Some((at(10), 54..=66)),
            );
            assert_eq!(look(&db, limits, at(10)).await, Scheduled::default());
        }
        let cancelled = db.store.cancel(&repo.id, &blocker.id, at(20)).await;
        assert!(cancelled.is_ok());
        let limits = RunLimits {
            per_repo: 1,
            per_org: 1,
        };
        assert_eq!(look(&db, limits, at(80)).await.queued, 1);
        db.assert_counted().await;
    });
}

#[test]
fn upstreams_are_looked_at_in_batches_by_their_own_node() {
    on_each_database(async |db| {
        for number in 0..130 {
            minutely(&db, &format!("r{number}")).await;
        }
        db.execute("update upstreams set home = 'two' where repo in (select repo from upstreams order by repo limit 10)")
            .await;
        let free = RunLimits::default();
        let mut seen = Vec::new();
        for _ in 0..3 {
            let scheduled = look(&db, free, at(10)).await;
            seen.push((scheduled.queued, scheduled.has_more));
        }
        assert_eq!(seen, [(100, true), (20, false), (0, false)]);
        let other = db.store.queue_scheduled("two", free, at(10)).await;
        assert_eq!(other.expect("looked at").queued, 10);
        db.assert_counted().await;
    });
}

#[test]
fn a_row_that_the_database_refuses_keeps_no_other_from_its_run() {
    on_each_database(async |db| {
        // The second run with these globs is refused, as a damaged row would be.
        db.execute("create unique index one_only on sync_runs (tags) where tags = 'refused'")
            .await;
        let (first, second) = (minutely(&db, "first").await, minutely(&db, "second").await);
        for number in 0..3 {
            minutely(&db, &format!("other{number}")).await;
        }
        db.execute("update upstreams set schedule_tags = 'refused' where repo in (select id from repos where name in ('first', 'second'))")
            .await;
        let scheduled = look(&db, RunLimits::default(), at(10)).await;
        assert_eq!(scheduled.queued, 4);
        let count = runs(&db, &first).await.len() + runs(&db, &second).await.len();
        assert_eq!(count, 1, "one of them is refused");
        for repo in [&first, &second] {
            is(
                &health(&db, repo).await,
                HealthState::Ok,
                0,
                Some((at(10), 54..=66)),
            );
        }
        assert_eq!(
            look(&db, RunLimits::default(), at(10)).await,
            Scheduled::default()
        );
        db.assert_counted().await;
    });
}

/// On PostgreSQL the refusal is an error of the disk, which another attempt might not meet.
#[test]
fn a_row_that_cannot_be_written_keeps_no_other_from_its_run() {
    on_each_database(async |db| {
        let refused = minutely(&db, "refused").await;
        for number in 0..3 {
            minutely(&db, &format!("other{number}")).await;
        }
        let of_refused = "update upstreams set schedule_tags = 'refused' where repo in (select id from repos where name = 'refused')";
        db.execute(of_refused).await;
        if db.has_many_writers() {
            db.execute(
                "create function refuse() returns trigger language plpgsql as
                'begin raise exception ''unread'' using errcode = ''58030''; end'",
            )
            .await;
        }
        db.execute_either(
            "create trigger refused before update on upstreams when old.schedule_tags = 'refused'
                begin select raise(abort, 'unread'); end",
            "create trigger refused before update on upstreams for each row
                when (old.schedule_tags = 'refused') execute function refuse()",
        )
        .await;
        assert_eq!(queued(&db, at(10)).await, 3);
        assert!(runs(&db, &refused).await.is_empty());
        // Nothing else is due, so the next look could do nothing.
        let limits = RunLimits::default();
        let alone = db.store.queue_scheduled(NODE, limits, at(10)).await;
        assert!(alone.is_err());
        db.assert_counted().await;
    });
}

/// The connection ends both when the run is queued with the others and when it would be queued alone.
#[test]
fn a_server_that_ends_connections_puts_no_schedule_off() {
    on_each_database(async |db| {
        if !db.has_many_writers() {
            return;
        }
        let repo = minutely(&db, "first").await;
        minutely(&db, "other").await;
        let before = health(&db, &repo).await.next_run_at;
        db.execute(
            "create function stop() returns trigger language plpgsql as
            'begin perform pg_terminate_backend(pg_backend_pid()); return new; end'",
        )
        .await;
        db.execute("update upstreams set schedule_tags = 'ends' where repo in (select id from repos where name = 'first')")
            .await;
        db.execute("create trigger ends before insert on sync_runs for each row when (new.tags = 'ends') execute function stop()")
            .await;
        let stopped = db.store.queue_scheduled(NODE, RunLimits::default(), at(10));
        let stopped = stopped.await.expect_err("the connection ends");
        assert_eq!(stopped.kind(), ErrorKind::DatabaseAway, "{stopped:?}");
        assert!(stopped.is_retryable());
        assert_eq!(health(&db, &repo).await.next_run_at, before);
        db.execute("drop trigger ends on sync_runs").await;
        assert_eq!(queued(&db, at(10)).await, 2);
        db.assert_counted().await;
    });
}

#[test]
fn a_change_of_the_upstream_begins_anew() {
    on_each_database(async |db| {
        let repo = minutely(&db, "r").await;
        for number in 1..=5 {
            fails(&db, &repo, REFUSED, at(number)).await;
        }
        is(&health(&db, &repo).await, HealthState::Parked, 5, None);
        let late = start(&db, &repo, Direction::Push, at(9)).await;
        let changed = set(&db, &repo, Change::Keep, at(10)).await;
        assert_eq!(changed.schedule, Some(every(60)), "left out, it stays");
        is(&changed.health, HealthState::Ok, 0, Some((at(10), 0..=6)));
        assert_eq!(changed.health.reason, None);
        assert_eq!(queued(&db, at(20)).await, 1);

        // An upstream that is well keeps its next time, whoever sets it again.
        let before = health(&db, &repo).await;
        for schedule in [Change::Keep, Change::Set(every(60))] {
            assert_eq!(set(&db, &repo, schedule, at(21)).await.health, before);
        }
        let other = set(&db, &repo, Change::Set(every(3_600)), at(22)).await;
        is(&other.health, HealthState::Ok, 0, Some((at(22), 0..=360)));
        let none = set(&db, &repo, Change::Clear, at(23)).await;
        assert_eq!((none.schedule, none.health), (None, Health::default()));
        assert_eq!(queued(&db, at(1_000_000)).await, 0);
        assert!(db.complete(&late, Completed::default(), at(24)).await);
    });
}

#[test]
fn a_time_from_a_clock_that_was_ahead_is_brought_back() {
    on_each_database(async |db| {
        let (repo, other) = (minutely(&db, "r").await, minutely(&db, "other").await);
        set(&db, &other, Change::Set(every(86_400)), at(0)).await;
        let longest = LongestWaits {
            attempt: std::time::Duration::from_secs(2 * 86_400),
            lease: LEASE,
        };
        let mend = async |now| {
            let mended = db.store.mend_times(NODE, longest, now).await;
            mended.expect("mended")
        };
        assert_eq!(queued(&db, at(1_000_000)).await, 2);
        let due = health(&db, &other).await.next_run_at.expect("a time");
        assert_eq!(mend(Time(due.0 - 86_400_000)).await, 0, "within a day");
        assert_eq!(mend(at(100)).await, 4, "two runs and two schedules");
        for repo in [&repo, &other] {
            assert_eq!(health(&db, repo).await.next_run_at, Some(at(100)));
        }
    });
}

#[test]
fn a_removed_repository_has_no_schedule() {
    on_each_database(async |db| {
        let repo = minutely(&db, "r").await;
        assert!(
            db.store
                .delete_repo(&repo.id, at(1))
                .await
                .expect("removed")
        );
        assert_eq!(queued(&db, at(100)).await, 0);
    });
}
