//! Health of upstreams by the ends of their runs, and parking.

use refsync_service::{
    records::{Change, Direction, Globs, HealthState, Priority, Repo, RetryPolicy, Time},
    store::{Changed, Completed, NewRun, Refused, RepoChange, RunLimits},
};

use crate::{
    database::{Database, at, failure, on_each_database, upstream},
    schedules::{REFUSED, every, fail, fails, health, is, minutely, queued, set, start},
};

async fn queue_dry_run(db: &Database, repo: &Repo, now: Time) {
    let dry = NewRun {
        repo,
        direction: Direction::Pull,
        globs: Globs::default(),
        dry_run: true,
        priority: Priority::Api,
    };
    let dry = db.store.enqueue(dry, RunLimits::default(), now).await;
    dry.expect("queued").expect("not refused");
}

#[test]
fn failures_double_the_interval_and_a_run_that_completes_ends_them() {
    on_each_database(async |db| {
        let repo = minutely(&db, "r").await;
        for (failures, seconds) in [(1, 108..=132), (2, 216..=264), (3, 432..=528)] {
            fails(&db, &repo, "network", at(10)).await;
            let health = health(&db, &repo).await;
            is(
                &health,
                HealthState::Failing,
                failures,
                Some((at(10), seconds)),
            );
            assert_eq!(health.reason.as_deref(), Some("network"));
        }
        // A run by the schedule waits as long for the one after it.
        assert_eq!(queued(&db, at(600)).await, 1);
        is(
            &health(&db, &repo).await,
            HealthState::Failing,
            3,
            Some((at(600), 432..=528)),
        );
        let job = db.claim(at(600)).await.expect("the run");
        let retried = db
            .store
            .retry(&job.fence, failure("network"), at(610), at(600));
        assert!(retried.await.expect("written"));
        is(
            &health(&db, &repo).await,
            HealthState::Failing,
            3,
            Some((at(600), 432..=528)),
        );
        let job = db.claim(at(610)).await.expect("the run");
        assert!(db.complete(&job, Completed::default(), at(620)).await);
        is(
            &health(&db, &repo).await,
            HealthState::Ok,
            0,
            Some((at(620), 54..=66)),
        );
        assert_eq!(health(&db, &repo).await.reason, None);
    });
}

#[test]
fn a_lost_worker_is_a_failure_once_attempts_are_used_up() {
    on_each_database(async |db| {
        let repo = minutely(&db, "r").await;
        start(&db, &repo, Direction::Pull, at(0)).await;
        let mut policy = RetryPolicy::default();
        policy.attempts = 1;
        let reaped = db.store.reap(at(100), &policy, 0.5).await;
        assert_eq!(reaped.expect("reaped"), 1);
        let health = health(&db, &repo).await;
        is(&health, HealthState::Failing, 1, Some((at(100), 108..=132)));
        assert_eq!(health.reason.as_deref(), Some("worker_lost"));
    });
}

#[test]
fn ends_that_say_nothing_about_the_upstream_do_not_count() {
    on_each_database(async |db| {
        let repo = minutely(&db, "r").await;
        fails(&db, &repo, REFUSED, at(0)).await;
        let before = health(&db, &repo).await;

        let queued = db.queue(&repo, Direction::Pull, at(1)).await;
        db.store
            .cancel(&repo.id, &queued.id, at(1))
            .await
            .expect("cancelled");
        for fails in [true, false] {
            let job = start(&db, &repo, Direction::Pull, at(1)).await;
            db.store
                .cancel(&repo.id, &job.run.id, at(1))
                .await
                .expect("asked");
            if fails {
                fail(&db, &job, REFUSED, at(1)).await;
            } else {
                assert!(db.complete(&job, Completed::default(), at(1)).await);
            }
        }
        for fails in [true, false] {
            queue_dry_run(&db, &repo, at(1)).await;
            let push = start(&db, &repo, Direction::Push, at(1));
            let dry = db.claim(at(1)).await.expect("the dry run");
            if fails {
                fail(&db, &dry, REFUSED, at(1)).await;
                fail(&db, &push.await, "permission_denied", at(1)).await;
            } else {
                assert!(db.complete(&dry, Completed::default(), at(1)).await);
                assert!(db.complete(&push.await, Completed::default(), at(1)).await);
            }
        }
        assert_eq!(health(&db, &repo).await, before);

        // Without a schedule both directions count.
        let other = db.repo("other").await;
        fails(&db, &other, REFUSED, at(2)).await;
        let push = start(&db, &other, Direction::Push, at(2)).await;
        fail(&db, &push, "permission_denied", at(2)).await;
        is(&health(&db, &other).await, HealthState::Failing, 2, None);
    });
}

#[test]
fn refusals_park_an_upstream_until_a_caller_asks_for_a_run() {
    on_each_database(async |db| {
        let repo = minutely(&db, "r").await;
        let codes = [
            "authentication",
            "network",
            "permission_denied",
            "not_found",
            REFUSED,
        ];
        for (number, code) in (1..).zip(codes) {
            fails(&db, &repo, code, at(number)).await;
            is(
                &health(&db, &repo).await,
                HealthState::Failing,
                number,
                Some((at(number), 108..=2_112)),
            );
        }
        let audit = "select count(*) from audit where action = 'upstream.parked'";
        assert_eq!(db.number(audit).await, 0);
        fails(&db, &repo, REFUSED, at(10)).await;
        is(&health(&db, &repo).await, HealthState::Parked, 6, None);
        assert_eq!(db.number(audit).await, 1);
        let detail = "select detail from audit where subject = $1";
        assert_eq!(db.texts(detail, repo.id.as_str()).await, [REFUSED]);

        // Nothing starts by itself; a dry run changes nothing.
        assert_eq!(queued(&db, at(1_000_000)).await, 0);
        for priority in [Priority::Hook, Priority::Schedule] {
            let refused = db
                .queue_with(&repo, Direction::Pull, priority, at(20))
                .await;
            assert_eq!(refused.err(), Some(Refused::Parked));
        }
        queue_dry_run(&db, &repo, at(20)).await;
        let dry = db.claim(at(20)).await.expect("the dry run");
        assert!(db.complete(&dry, Completed::default(), at(20)).await);
        is(&health(&db, &repo).await, HealthState::Parked, 6, None);

        // The same failure parks it again, and at once.
        let job = start(&db, &repo, Direction::Pull, at(30)).await;
        is(
            &health(&db, &repo).await,
            HealthState::Failing,
            6,
            Some((at(30), 3_456..=4_224)),
        );
        fail(&db, &job, REFUSED, at(31)).await;
        is(&health(&db, &repo).await, HealthState::Parked, 7, None);
        assert_eq!(db.number(audit).await, 2);

        let job = start(&db, &repo, Direction::Pull, at(40)).await;
        assert!(db.complete(&job, Completed::default(), at(41)).await);
        is(
            &health(&db, &repo).await,
            HealthState::Ok,
            0,
            Some((at(41), 54..=66)),
        );
        assert_eq!(queued(&db, at(120)).await, 1);
    });
}

#[test]
fn a_run_of_the_upstream_before_does_not_count() {
    on_each_database(async |db| {
        let repo = minutely(&db, "r").await;
        for change in [Change::Set(upstream("elsewhere")), Change::Clear] {
            fails(&db, &repo, REFUSED, at(0)).await;
            let job = start(&db, &repo, Direction::Pull, at(0)).await;
            let was_cleared = change == Change::Clear;
            let change = RepoChange {
                upstream: change,
                ..RepoChange::default()
            };
            let changed = db.store.change_repo(&repo.id, change, at(1)).await;
            assert!(matches!(changed, Ok(Changed::Done(_))));
            if was_cleared {
                set(&db, &repo, Change::Set(every(60)), at(1)).await;
            }
            fail(&db, &job, REFUSED, at(2)).await;
            is(
                &health(&db, &repo).await,
                HealthState::Ok,
                0,
                Some((at(1), 0..=6)),
            );
        }
    });
}
