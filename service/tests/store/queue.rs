//! Queueing and the order of work.

use refsync_service::{
    records::{Direction, Globs, Priority, Status},
    store::{Claimed, Claimer, Completed, NewRun, Refused, RunLimits},
};

use crate::database::{at, claimer, completed, failure, on_each_database, stats};

#[test]
fn an_equal_queued_run_is_returned_and_takes_the_higher_priority() {
    on_each_database(async |db| {
        let repo = db.repo("r").await;
        let first = db.queue_with(&repo, Direction::Pull, Priority::Schedule, at(0));
        let first = first.await.expect("queued");
        for (priority, source) in [
            (Priority::Schedule, "schedule"),
            (Priority::Hook, "hook"),
            (Priority::Api, "hook"),
        ] {
            let again = db.queue_with(&repo, Direction::Pull, priority, at(1)).await;
            let again = again.expect("queued");
            assert_eq!((&again.id, again.source), (&first.id, source));
        }
        assert_eq!(db.events(first.id.as_str()).await, ["sync.queued"]);

        // Other directions, globs and dry runs are other runs; so is one after the first has started.
        let push = db.queue(&repo, Direction::Push, at(1)).await;
        assert_ne!(push.id, first.id);
        for (globs, dry_run) in [("a", false), ("*", true)] {
            let new = NewRun {
                repo: &repo,
                direction: Direction::Pull,
                globs: Globs::of_request(Some(globs.into()), Some("*".into())).expect("globs"),
                dry_run,
                priority: Priority::Api,
            };
            let other = db.store.enqueue(new, RunLimits::default(), at(1)).await;
            assert_ne!(other.expect("queued").expect("not refused").id, first.id);
        }
        assert_eq!(db.claim(at(2)).await.expect("a run").run.id, first.id);
        let next = db.queue(&repo, Direction::Pull, at(3)).await;
        assert_ne!(next.id, first.id);
        db.assert_counted().await;
    });
}

#[test]
fn queues_have_limits() {
    on_each_database(async |db| {
        let (one, two) = (db.repo("one").await, db.repo("two").await);
        let limits = RunLimits {
            per_repo: 2,
            per_org: 3,
        };
        let queue = async |repo, globs: &str| {
            let new = NewRun {
                repo,
                direction: Direction::Pull,
                globs: Globs::of_request(Some(globs.into()), None).expect("globs"),
                dry_run: false,
                priority: Priority::Api,
            };
            let queued = db.store.enqueue(new, limits, at(0)).await.expect("queued");
            queued.map(|_| ()).err()
        };
        assert_eq!(queue(&one, "a").await, None);
        assert_eq!(queue(&one, "b").await, None);
        assert_eq!(queue(&one, "c").await, Some(Refused::RepoFull));
        assert_eq!(
            queue(&one, "b").await,
            None,
            "an equal run is no further one"
        );
        assert_eq!(queue(&two, "a").await, None);
        assert_eq!(queue(&two, "b").await, Some(Refused::OrgFull));
    });
}

#[test]
fn one_run_of_another_organization_does_not_wait_behind_many() {
    on_each_database(async |db| {
        let other = db.another_org("other").await;
        for number in 0..6 {
            let host = format!("host{number}");
            let repo = db.repo_of(&db.org, &format!("r{number}"), &host).await;
            db.queue(&repo, Direction::Pull, at(0)).await;
        }
        assert!(db.claim(at(1)).await.is_some());
        assert!(db.claim(at(1)).await.is_some());
        let late = db.repo_of(&other, "late", "elsewhere").await;
        let late = db.queue(&late, Direction::Pull, at(2)).await;
        assert_eq!(db.claim(at(3)).await.expect("a run").run.id, late.id);
        db.assert_counted().await;
    });
}

#[test]
fn runs_of_an_organization_start_by_priority_then_by_their_time() {
    on_each_database(async |db| {
        let mut expected = Vec::new();
        for (number, priority, time) in [
            (3, Priority::Schedule, 0),
            (2, Priority::Api, 1),
            (1, Priority::Api, 0),
            (0, Priority::Hook, 2),
        ] {
            let host = format!("host{number}");
            let repo = db.repo_of(&db.org, &format!("r{number}"), &host).await;
            let run = db.queue_with(&repo, Direction::Pull, priority, at(time));
            expected.push((number, run.await.expect("queued").id));
        }
        expected.sort();
        for (number, id) in expected {
            assert_eq!(db.claim(at(5)).await.expect("a run").run.id, id, "{number}");
        }
        assert!(db.claim(at(5)).await.is_none());
    });
}

#[test]
fn a_throttled_host_is_waited_for_and_others_are_not() {
    on_each_database(async |db| {
        let (slow, fast) = (
            db.repo_of(&db.org, "slow", "slow").await,
            db.repo_of(&db.org, "fast", "fast").await,
        );
        db.queue(&slow, Direction::Pull, at(0)).await;
        let job = db.claim(at(0)).await.expect("a run");
        let done = Completed {
            host_not_before: Some(at(100)),
            ..completed(stats(1, "updated"))
        };
        assert!(db.complete(&job, done, at(1)).await);

        let waits = db.queue(&slow, Direction::Pull, at(2)).await;
        let free = db.queue(&fast, Direction::Pull, at(3)).await;
        assert_eq!(db.claim(at(4)).await.expect("a run").run.id, free.id);
        let lock = |_: &_| Ok(Some(()));
        let nothing = db.store.claim(&claimer("a"), at(4), at(64), lock).await;
        let Claimed::Nothing { next_at } = nothing.expect("asked") else {
            panic!("the host is throttled");
        };
        assert_eq!(next_at, Some(at(100)));
        assert_eq!(db.claim(at(100)).await.expect("a run").run.id, waits.id);
    });
}

/// More runs than the claim looks at one by one wait in front: of a host that has asked to wait, of one that has all the
/// runs it may have, or of a repository that is worked on.
#[test]
fn many_runs_that_cannot_start_hide_none_that_can() {
    on_each_database(async |db| {
        let (hub, free) = (
            db.repo_of(&db.org, "hub", "hub").await,
            db.repo_of(&db.org, "free", "a-free-one").await,
        );
        let many = RunLimits {
            per_repo: 1_000,
            per_org: 1_000,
        };
        for number in 0..100 {
            let new = NewRun {
                repo: &hub,
                direction: Direction::Pull,
                globs: Globs::of_request(Some(format!("b{number}")), None).expect("globs"),
                dry_run: false,
                priority: Priority::Api,
            };
            let queued = db.store.enqueue(new, many, at(0)).await.expect("stored");
            queued.expect("not refused");
        }
        let one = Claimer {
            per_host: 1,
            ..claimer("a")
        };
        let working = db.claim_as(&one, at(1)).await.expect("a run");
        assert_eq!(working.repo.id, hub.id);
        for per_host in [1, 4] {
            let claimer = Claimer {
                per_host,
                ..claimer("b")
            };
            assert!(db.claim_as(&claimer, at(2)).await.is_none(), "{per_host}");
            let waits = db.queue(&free, Direction::Pull, at(2)).await;
            let job = db.claim_as(&claimer, at(2)).await.expect("a run");
            assert_eq!(job.run.id, waits.id, "{per_host}");
            assert!(db.complete(&job, Completed::default(), at(2)).await);
        }
        let throttled = Completed {
            host_not_before: Some(at(100)),
            ..Completed::default()
        };
        assert!(db.complete(&working, throttled, at(3)).await);
        assert!(db.claim(at(4)).await.is_none());
        let waits = db.queue(&free, Direction::Pull, at(4)).await;
        assert_eq!(db.claim(at(4)).await.expect("a run").run.id, waits.id);
        let next = db.claim(at(100)).await.expect("a run");
        assert_eq!(next.repo.id, hub.id);
        db.assert_counted().await;
    });
}

#[test]
fn a_failed_attempt_throttles_its_host_and_a_shorter_wait_shortens_nothing() {
    on_each_database(async |db| {
        let repo = db.repo("r").await;
        db.queue(&repo, Direction::Pull, at(0)).await;
        let job = db.claim(at(0)).await.expect("a run");
        let mut failed = failure("rate_limited");
        failed.host_not_before = Some(at(50));
        let written = db.store.retry(&job.fence, failed, at(10), at(1)).await;
        assert!(written.expect("written"));
        assert!(db.claim(at(20)).await.is_none(), "the host is throttled");
        let job = db.claim(at(50)).await.expect("the run");
        let mut failed = failure("network");
        failed.host_not_before = Some(at(40));
        assert!(
            db.store
                .fail(&job.fence, failed, at(51))
                .await
                .expect("written")
        );
        assert_eq!(db.number("select not_before from hosts").await, at(50).0);
    });
}

#[test]
fn a_host_has_a_number_of_runs_at_a_time() {
    on_each_database(async |db| {
        for number in 0..3 {
            let repo = db.repo(&format!("r{number}")).await;
            db.queue(&repo, Direction::Pull, at(0)).await;
        }
        let claimer = Claimer {
            per_host: 2,
            ..claimer("a")
        };
        let first = db.claim_as(&claimer, at(1)).await.expect("a run");
        assert!(db.claim_as(&claimer, at(1)).await.is_some());
        assert!(db.claim_as(&claimer, at(1)).await.is_none());
        assert!(db.complete(&first, Completed::default(), at(2)).await);
        assert!(db.claim_as(&claimer, at(2)).await.is_some());
    });
}

#[test]
fn a_run_whose_lock_is_taken_is_moved_and_the_next_one_starts() {
    on_each_database(async |db| {
        let (locked, free) = (db.repo("locked").await, db.repo("free").await);
        let waits = db.queue(&locked, Direction::Pull, at(0)).await;
        let next = db.queue(&free, Direction::Pull, at(1)).await;
        let lock = |id: &_| Ok((*id != locked.id).then_some(()));
        let claimed = db.store.claim(&claimer("a"), at(2), at(62), lock).await;
        let Claimed::Run(job, ()) = claimed.expect("claimed") else {
            panic!("the other run is due");
        };
        assert_eq!(job.run.id, next.id);
        let waits = db.read(&waits).await;
        assert_eq!((waits.status, waits.attempt), (Status::Queued, 0));
        assert!(db.claim(at(2)).await.is_none(), "it has been moved");
        assert!(db.claim(at(10)).await.is_some());
        db.assert_counted().await;
    });
}

#[test]
fn a_run_takes_three_commits_and_so_many_statements() {
    on_each_database(async |db| {
        let repo = db.repo("r").await;
        db.pull(&repo, stats(3, "unchanged"), at(0)).await;
        let before = db.store.counters();
        db.pull(&repo, stats(3, "unchanged"), at(1)).await;
        let after = db.store.counters();
        assert_eq!(after.commits - before.commits, 3);
        // PostgreSQL: the locks of each transition, and the candidate that a claim locks.
        let most = if db.has_many_writers() { 18 } else { 12 };
        assert!(
            after.statements - before.statements <= most,
            "{before:?} {after:?}"
        );
    });
}

#[test]
fn the_length_of_the_queue_is_counted() {
    on_each_database(async |db| {
        for (number, time) in [(0, 5), (1, 3), (2, 4)] {
            let repo = db.repo(&format!("r{number}")).await;
            db.queue(&repo, Direction::Pull, at(time)).await;
        }
        assert!(db.claim(at(6)).await.is_some());
        let length = db.store.queue_length().await.expect("counted");
        assert_eq!((length.queued, length.running), (2, 1));
        assert_eq!(length.due_since, Some(at(4)));
    });
}
