//! Transactions at the same time. SQLite has one writer; PostgreSQL has many, and must come to the same.

use std::{cell::Cell, time::Duration};

use refsync_service::{
    records::{Change, Direction, Priority, Status},
    store::{Claimer, RepoChange, Store, TargetChange},
};

use crate::database::{NODE, at, claimer, completed, on_each_database, stats};

/// The number of attempts to meet a race.
const ROUNDS: i64 = 12;

#[test]
fn no_run_is_left_without_its_upstream() {
    on_each_database(async |db| {
        for round in 0..ROUNDS {
            let repo = db.repo(&format!("r{round}")).await;
            let removal = RepoChange {
                upstream: Change::Clear,
                ..RepoChange::default()
            };
            let (_, removed) = tokio::join!(
                db.queue_with(&repo, Direction::Pull, Priority::Api, at(0)),
                db.store.change_repo(&repo.id, removal, at(0)),
            );
            removed.expect("changed");
        }
        let open = "select count(*) from sync_runs where finished_at is null";
        assert_eq!(db.number(open).await, 0);
        db.assert_counted().await;
    });
}

#[test]
fn two_changes_of_a_repository_both_count() {
    on_each_database(async |db| {
        let repo = db.repo("r").await;
        let tag = |key: String| RepoChange {
            tags: [(key, Some("x".into()))].into(),
            ..RepoChange::default()
        };
        for round in 0..ROUNDS {
            let (one, two) = tokio::join!(
                db.store
                    .change_repo(&repo.id, tag(format!("a{round}")), at(0)),
                db.store
                    .change_repo(&repo.id, tag(format!("b{round}")), at(0)),
            );
            one.and(two).expect("changed");
        }
        let repo = db.store.repo(&repo.id).await.expect("read");
        let tags = i64::try_from(repo.expect("there").tags.len());
        assert_eq!(tags, Ok(2 * ROUNDS));
    });
}

#[test]
fn nothing_is_delivered_to_a_target_that_was_disabled() {
    on_each_database(async |db| {
        let repo = db.repo("r").await;
        for round in 0..ROUNDS {
            let target = db.target(&["sync.queued", "sync.completed"]).await;
            let disabled = TargetChange {
                enabled: Some(false),
                ..TargetChange::default()
            };
            let run = db.queue(&repo, Direction::Pull, at(round)).await;
            let job = db.claim(at(round)).await.expect("the run");
            assert_eq!(job.run.id, run.id);
            let (ended, changed) = tokio::join!(
                db.complete(&job, completed(stats(1, "updated")), at(round)),
                db.store
                    .change_target(&target.id, None, disabled, at(round)),
            );
            assert!(ended && changed.expect("changed").is_some());
        }
        let pending = "select count(*) from deliveries where state = 'pending'";
        assert_eq!(db.number(pending).await, 0);
    });
}

#[test]
fn nodes_share_the_limit_of_a_host() {
    on_each_database(async |db| {
        let two = db.another_org("two").await;
        let nodes = [NODE, "other"].map(|node| Claimer {
            node: node.into(),
            per_host: 1,
            ..claimer("w")
        });
        for round in 0..ROUNDS {
            let host = format!("host{round}");
            for (node, org) in [(&nodes[0], &db.org), (&nodes[1], &two)] {
                let name = format!("r{round}");
                let repo = db.repo_at(&node.node, org, &name, &host).await;
                db.queue(&repo, Direction::Pull, at(0)).await;
            }
            let (first, second) =
                tokio::join!(db.claim_as(&nodes[0], at(1)), db.claim_as(&nodes[1], at(1)),);
            assert!(first.is_some() != second.is_some(), "round {round}");
            // The other one has its turn, so that nothing is left for the next round.
            for job in [first, second].into_iter().flatten() {
                assert!(db.complete(&job, completed(stats(0, "")), at(2)).await);
            }
            for node in &nodes {
                if let Some(job) = db.claim_as(node, at(3)).await {
                    assert!(db.complete(&job, completed(stats(0, "")), at(3)).await);
                }
            }
        }
        db.assert_counted().await;
    });
}

#[test]
fn workers_at_once_end_each_run_once() {
    on_each_database(async |db| {
        db.target(&["sync.completed", "push"]).await;
        let mut runs = Vec::new();
        for number in 0..8 {
            let repo = db.repo(&format!("r{number}")).await;
            runs.push(db.queue(&repo, Direction::Pull, at(0)).await);
            runs.push(db.queue(&repo, Direction::Push, at(0)).await);
        }
        let done = Cell::new(0);
        let work = |worker: usize| {
            let (db, done, runs) = (&db, &done, runs.len());
            async move {
                let claimer = claimer(&format!("w{worker}"));
                // A repository whose other run is under way is passed over, so an empty claim is no end.
                while done.get() < runs {
                    let Some(job) = db.claim_as(&claimer, at(1)).await else {
                        tokio::task::yield_now().await;
                        continue;
                    };
                    let running = "select count(*) from sync_runs where lease_until is not null";
                    assert!(db.number(running).await <= claimer.per_host);
                    assert!(
                        db.complete(&job, completed(stats(1, "updated")), at(2))
                            .await
                    );
                    done.set(done.get() + 1);
                }
            }
        };
        tokio::join!(work(1), work(2), work(3), work(4), work(5), work(6));
        assert_eq!(done.get(), runs.len());
        for run in &runs {
            let run = db.read(run).await;
            assert_eq!((run.status, run.attempt), (Status::Completed, 1));
            assert_eq!(
                db.events(run.id.as_str()).await,
                ["sync.queued", "sync.in_progress", "sync.completed"]
            );
        }
        db.assert_counted().await;
    });
}

#[test]
fn another_process_hears_what_was_committed() {
    on_each_database(async |db| {
        // A file of SQLite has one process.
        if !db.has_many_writers() {
            return;
        }
        let other = Store::open(&db.address).await.expect("a store");
        let queue = other.queue_changed();
        // It listens: what it has missed before may be something to claim.
        soon(queue.notified()).await;
        let repo = db.repo("r").await;
        let run = db.queue(&repo, Direction::Pull, at(0)).await;
        soon(queue.notified()).await;
        let mut ended = other.ended(&run.id);
        let cancelled = db.store.cancel(&repo.id, &run.id, at(1)).await;
        cancelled.expect("cancelled");
        assert_eq!(soon(ended.recv()).await, Ok(run.id));
        other.close().await;
    });
}

/// The output of a future, which would hang without the thing that it waits for.
async fn soon<T>(future: impl Future<Output = T>) -> T {
    let given = tokio::time::timeout(Duration::from_secs(60), future).await;
    given.expect("nobody was told")
}
