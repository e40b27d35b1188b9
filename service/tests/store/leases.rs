//! Leases: fences, cancels, lost workers.

use std::time::Duration;

use refsync_service::{
    records::{Direction, RetryPolicy, Status},
    store::{Cancel, Claimed, Job, Lease, LongestWaits},
};

use crate::database::{
    Database, LEASE, NODE, at, claimer, completed, failure, on_each_database, stats,
};

async fn running(db: &Database) -> Job {
    let repo = db.repo("r").await;
    db.queue(&repo, Direction::Pull, at(0)).await;
    db.claim(at(0)).await.expect("the run")
}

async fn reap(db: &Database, seconds: i64, policy: &RetryPolicy) -> u64 {
    let reaped = db.store.reap(at(seconds), policy, 0.5).await;
    reaped.expect("reaped")
}

#[test]
fn a_repository_has_one_lease() {
    on_each_database(async |db| {
        let first = running(&db).await;
        db.queue(&first.repo, Direction::Push, at(1)).await;
        assert!(db.claim_as(&claimer("b"), at(2)).await.is_none());
        // The index says so even where the search does not.
        let leased = "update sync_runs set lease_until = 1, run_at = null where direction = 'push'";
        assert!(db.refuses(leased).await, "two leases of one repository");
        assert!(
            db.complete(&first, completed(stats(1, "updated")), at(3))
                .await
        );
        let second = db.claim_as(&claimer("b"), at(4)).await.expect("the push");
        assert_eq!(second.run.direction, Direction::Push);
    });
}

#[test]
fn a_worker_that_has_lost_its_lease_writes_nothing() {
    on_each_database(async |db| {
        let late = running(&db).await;
        assert_eq!(reap(&db, 61, &RetryPolicy::default()).await, 1);
        let now = db.claim(at(120)).await.expect("the next attempt");
        assert_eq!((now.run.attempt, now.tries), (2, 1));
        let events = db.events(now.run.id.as_str()).await;

        let store = &db.store;
        let renewed = store.renew(&late.fence, at(900)).await.expect("asked");
        assert_eq!(renewed, Lease::Lost);
        assert!(
            !db.complete(&late, completed(stats(1, "updated")), at(121))
                .await
        );
        let failed = store.fail(&late.fence, failure("network"), at(121)).await;
        assert!(!failed.expect("asked"));
        let retried = store.retry(&late.fence, failure("network"), at(130), at(121));
        assert!(!retried.await.expect("asked"));
        assert!(!store.give_back(&late.fence, at(121)).await.expect("asked"));

        let run = db.read(&now.run).await;
        assert_eq!((run.status, run.attempt), (Status::InProgress, 2));
        assert_eq!(db.events(now.run.id.as_str()).await, events);
        assert!(
            db.complete(&now, completed(stats(1, "updated")), at(122))
                .await
        );
        db.assert_counted().await;
    });
}

#[test]
fn nothing_happens_after_the_end() {
    on_each_database(async |db| {
        let job = running(&db).await;
        assert!(
            db.complete(&job, completed(stats(1, "updated")), at(1))
                .await
        );
        assert!(
            !db.complete(&job, completed(stats(1, "updated")), at(2))
                .await
        );
        let failed = db.store.fail(&job.fence, failure("network"), at(2)).await;
        assert!(!failed.expect("asked"));
        let ended = db.store.cancel(&job.repo.id, &job.run.id, at(2)).await;
        assert!(matches!(ended, Ok(Cancel::Ended(run)) if run.status == Status::Completed));
        let events = db.events(job.run.id.as_str()).await;
        assert_eq!(
            events,
            ["sync.queued", "sync.in_progress", "sync.completed"]
        );
    });
}

#[test]
fn a_repeated_attempt_keeps_its_start_and_sends_no_event() {
    on_each_database(async |db| {
        let job = running(&db).await;
        let retried = db
            .store
            .retry(&job.fence, failure("network"), at(10), at(1));
        assert!(retried.await.expect("written"));
        let waiting = db.read(&job.run).await;
        assert_eq!(waiting.status, Status::InProgress);
        assert_eq!(waiting.next_attempt_at, Some(at(10)));
        assert!(db.claim(at(9)).await.is_none());
        let again = db.claim(at(10)).await.expect("the run");
        assert_eq!((again.run.attempt, again.tries), (2, 1));
        assert_eq!(again.run.started_at, Some(at(0)));
        // A stop of the process is no failure.
        assert!(
            db.store
                .give_back(&again.fence, at(11))
                .await
                .expect("written")
        );
        let third = db.claim(at(11)).await.expect("the run");
        assert_eq!((third.run.attempt, third.tries), (3, 1));
        let failed = db
            .store
            .fail(&third.fence, failure("network"), at(12))
            .await;
        assert!(failed.expect("written"));
        let events = db.events(job.run.id.as_str()).await;
        assert_eq!(events, ["sync.queued", "sync.in_progress", "sync.failed"]);
    });
}

#[test]
fn a_cancel_ends_what_waits_and_asks_what_runs() {
    on_each_database(async |db| {
        let store = &db.store;
        let repo = db.repo("queued").await;
        let queued = db.queue(&repo, Direction::Pull, at(0)).await;
        let ended = store.cancel(&repo.id, &queued.id, at(1)).await;
        let Ok(Cancel::Done(run)) = ended else {
            panic!("{ended:?}");
        };
        assert_eq!(run.status, Status::Failed);
        assert_eq!(run.error_code.as_deref(), Some("cancelled"));
        assert_eq!(
            db.events(queued.id.as_str()).await,
            ["sync.queued", "sync.failed"]
        );

        let job = running(&db).await;
        let mut cancels = store.cancels();
        let asked = store.cancel(&job.repo.id, &job.run.id, at(1)).await;
        assert!(matches!(asked, Ok(Cancel::Requested(_))));
        assert_eq!(cancels.try_recv(), Ok(job.run.id.clone()));
        let renewed = store.renew(&job.fence, at(70)).await.expect("asked");
        assert_eq!(renewed, Lease::Held { cancelled: true });
        // A worker that fails then does not start another attempt.
        let retried = store.retry(&job.fence, failure("network"), at(10), at(2));
        assert!(retried.await.expect("written"));
        let run = db.read(&job.run).await;
        assert_eq!(run.status, Status::Failed);
        assert_eq!(run.error_code.as_deref(), Some("cancelled"));

        // One that fails for good has been cancelled all the same.
        let again = db.queue(&job.repo, Direction::Pull, at(2)).await;
        let job = db.claim(at(2)).await.expect("the run");
        let asked = store.cancel(&job.repo.id, &again.id, at(2)).await;
        assert!(matches!(asked, Ok(Cancel::Requested(_))));
        let failed = store.fail(&job.fence, failure("network"), at(2));
        assert!(failed.await.expect("written"));
        let run = db.read(&again).await;
        assert_eq!(run.error_code.as_deref(), Some("cancelled"));

        let waits = db.queue(&job.repo, Direction::Pull, at(3)).await;
        let job = db.claim(at(3)).await.expect("the run");
        let retried = store.retry(&job.fence, failure("network"), at(100), at(4));
        assert!(retried.await.expect("written"));
        let ended = store.cancel(&job.repo.id, &waits.id, at(5)).await;
        assert!(matches!(ended, Ok(Cancel::Done(_))));
        let unknown = store.cancel(&repo.id, &waits.id, at(5)).await;
        assert!(
            matches!(unknown, Ok(Cancel::Unknown)),
            "of another repository"
        );
        db.assert_counted().await;
    });
}

#[test]
fn a_run_that_had_moved_refs_when_it_was_cancelled_is_completed() {
    on_each_database(async |db| {
        let job = running(&db).await;
        let asked = db.store.cancel(&job.repo.id, &job.run.id, at(1)).await;
        assert!(matches!(asked, Ok(Cancel::Requested(_))));
        assert!(
            db.complete(&job, completed(stats(1, "updated")), at(2))
                .await
        );
        assert_eq!(db.read(&job.run).await.status, Status::Completed);
    });
}

#[test]
fn lost_workers_cost_a_try_and_in_the_end_the_run() {
    on_each_database(async |db| {
        let mut policy = RetryPolicy::default();
        policy.attempts = 2;
        let job = running(&db).await;
        assert_eq!(
            reap(&db, 60, &policy).await,
            0,
            "the lease is held until its end"
        );
        assert!(matches!(
            db.store.renew(&job.fence, at(100)).await,
            Ok(Lease::Held { .. })
        ));
        assert_eq!(reap(&db, 99, &policy).await, 0, "it was renewed");
        assert_eq!(reap(&db, 101, &policy).await, 1);
        let waiting = db.read(&job.run).await;
        assert_eq!(waiting.next_attempt_at, Some(at(111)));
        assert!(db.claim(at(111)).await.is_some());
        assert_eq!(reap(&db, 300, &policy).await, 1);
        let run = db.read(&job.run).await;
        assert_eq!((run.status, run.attempt), (Status::Failed, 2));
        assert_eq!(run.error_code.as_deref(), Some("worker_lost"));
        assert_eq!(reap(&db, 900, &policy).await, 0);
        db.assert_counted().await;
    });
}

#[test]
fn a_cancelled_run_whose_worker_is_lost_has_ended() {
    on_each_database(async |db| {
        let job = running(&db).await;
        let asked = db.store.cancel(&job.repo.id, &job.run.id, at(1)).await;
        assert!(matches!(asked, Ok(Cancel::Requested(_))));
        assert_eq!(reap(&db, 61, &RetryPolicy::default()).await, 1);
        let run = db.read(&job.run).await;
        assert_eq!(run.error_code.as_deref(), Some("cancelled"));
    });
}

#[test]
fn a_node_ends_its_own_leases_when_it_starts() {
    on_each_database(async |db| {
        let job = running(&db).await;
        let policy = RetryPolicy::default();
        let other = db.store.end_leases_of("two", &policy, at(1)).await;
        assert_eq!(other.expect("ended"), 0);
        let own = db.store.end_leases_of(NODE, &policy, at(1)).await;
        assert_eq!(own.expect("ended"), 1);
        let again = db.claim(at(1)).await.expect("due at once");
        assert_eq!((again.run.id, again.run.attempt), (job.run.id, 2));
        db.assert_counted().await;
    });
}

#[test]
fn a_lease_does_not_begin_before_the_wait_for_the_database() {
    on_each_database(async |db| {
        let job = running(&db).await;
        let other = db.repo("other").await;
        db.queue(&other, Direction::Pull, at(1)).await;
        let wait = Duration::from_millis(200);
        // What takes long between the question and the lease: here the lock, otherwise another writer.
        let slow = |_: &_| {
            std::thread::sleep(wait);
            Ok(Some(()))
        };
        let claimer = claimer("b");
        let claim = db.store.claim(&claimer, at(1), at(61), slow);
        // On SQLite it waits for the claim.
        let renewal = db.store.renew(&job.fence, at(61));
        let (claimed, renewed) = tokio::join!(claim, renewal);
        assert!(matches!(claimed, Ok(Claimed::Run(_, ()))));
        assert!(matches!(renewed, Ok(Lease::Held { .. })));
        let late = "select count(*) from sync_runs where lease_until >= 1700000061200";
        assert_eq!(at(61).plus(wait).0, 1_700_000_061_200);
        // Elsewhere a renewal does not wait for the claim of another repository.
        let expected = if db.has_many_writers() { 1 } else { 2 };
        assert_eq!(db.number(late).await, expected);
    });
}

#[test]
fn what_a_clock_that_was_ahead_has_written_is_brought_back() {
    on_each_database(async |db| {
        let (longest, ahead) = (
            LongestWaits {
                attempt: Duration::from_secs(24 * 3600),
                lease: LEASE,
            },
            1_000_000,
        );
        let mend = async |second| {
            let mended = db.store.mend_times(NODE, longest, at(second)).await;
            mended.expect("mended")
        };
        // A run, a lease, a delivery and a host from the future, and what has to wait as it is.
        db.target(&["sync.queued"]).await;
        let leased = db.repo_of(&db.org, "leased", "slow").await;
        db.queue(&leased, Direction::Pull, at(ahead)).await;
        let lost = db.claim(at(ahead)).await.expect("a run");
        let throttling = db.repo_of(&db.org, "throttling", "slow").await;
        db.queue(&throttling, Direction::Pull, at(ahead)).await;
        let job = db.claim(at(ahead)).await.expect("a run");
        let mut failed = failure("rate_limited");
        failed.host_not_before = Some(at(ahead + 900));
        let written = db.store.fail(&job.fence, failed, at(ahead)).await;
        assert!(written.expect("written"));
        let queued = db.repo_of(&db.org, "queued", "slow").await;
        let queued = db.queue(&queued, Direction::Pull, at(ahead)).await;
        let waiting = db.repo("waiting").await;
        db.queue(&waiting, Direction::Pull, at(0)).await;
        let job = db.claim(at(0)).await.expect("the run of now");
        let day = at(24 * 3600);
        let retried = db
            .store
            .retry(&job.fence, failure("rate_limited"), day, at(0));
        assert!(retried.await.expect("written"));

        assert!(db.claim(at(1)).await.is_none());
        // One run, one lease, one host, and the deliveries of three runs.
        assert_eq!(mend(1).await, 6);
        assert_eq!(mend(1).await, 0);
        assert_eq!(db.claim(at(1)).await.expect("due").run.id, queued.id);
        let due = db.store.due_deliveries(NODE, at(1), at(60), 10, &[]).await;
        assert_eq!(due.expect("read").len(), 1, "one to a target at a time");
        assert_eq!(reap(&db, 62, &RetryPolicy::default()).await, 2);
        assert_eq!(db.read(&lost.run).await.next_attempt_at, Some(at(72)));
        assert_eq!(db.read(&job.run).await.next_attempt_at, Some(day));
    });
}
