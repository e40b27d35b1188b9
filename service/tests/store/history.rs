//! Stats as they are stored and read, and what retention keeps.

use std::time::Duration;

use std::sync::atomic::{AtomicUsize, Ordering};

use refsync_service::{
    config::Retention,
    records::{Direction, Status},
    store::StatsJson,
};
use serde_json::Value;

use crate::database::{Database, NODE, at, failure, on_each_database, page, stats};

fn keeping(runs: u32, seconds: u64, most_runs: u32) -> Retention {
    Retention {
        runs,
        run_age: Duration::from_secs(seconds),
        most_runs,
        ..Retention::default()
    }
}

async fn retain(db: &Database, keep: &Retention, seconds: i64) -> u64 {
    let removed = db.store.retain(NODE, keep, at(seconds), || false).await;
    removed.expect("removed")
}

fn all(json: StatsJson) -> Value {
    let pieces: Vec<_> = json.map(|piece| piece.expect("stored")).collect();
    serde_json::from_slice(&pieces.concat()).expect("JSON")
}

#[test]
fn lists_have_capped_stats_and_one_read_has_all() {
    on_each_database(async |db| {
        let repo = db.repo("r").await;
        let id = db.pull(&repo, stats(150, "updated"), at(0)).await;
        let listed = db.store.sync_runs(&repo.id, page(None, 10)).await;
        let listed = listed.expect("read").rows.remove(0);
        let json = listed.stats.as_ref().expect("stats").get();
        let capped: Value = serde_json::from_str(json).expect("JSON");
        assert_eq!(capped["refs"].as_array().map(Vec::len), Some(100));
        assert_eq!(capped["truncated"], true);
        assert_eq!(capped["counts"]["updated"], 150);

        let full = db.store.sync_run_full(&repo.id, &id).await.expect("read");
        let (run, json) = full.expect("the run");
        assert!(run.stats.is_none() && run.status == Status::Completed);
        let full: Value = all(json.expect("stats"));
        assert_eq!(full["refs"].as_array().map(Vec::len), Some(150));
        assert_eq!(full["truncated"], false);

        db.queue(&repo, Direction::Pull, at(1)).await;
        let next = db.claim(at(1)).await.expect("a run");
        let previous = next.previous.expect("stats of the run before");
        assert_eq!(previous.refs.len(), 150);
    });
}

#[test]
fn a_run_that_changes_nothing_refers_to_the_run_before() {
    on_each_database(async |db| {
        let repo = db.repo("r").await;
        let first = db.pull(&repo, stats(150, "unchanged"), at(0)).await;
        let second = db.pull(&repo, stats(150, "unchanged"), at(1)).await;
        let third = db.pull(&repo, stats(150, "unchanged"), at(2)).await;
        let own =
            "select count(*) from sync_runs where stats is not null or full_stats is not null";
        assert_eq!(db.number(own).await, 1);
        let held = "select stats_of from sync_runs where id = $1";
        for id in [&second, &third] {
            assert_eq!(db.texts(held, id.as_str()).await, [first.as_str()]);
        }
        let run = db.store.sync_run(&repo.id, &third).await.expect("read");
        assert!(run.expect("the run").stats.is_some());
        let full = db
            .store
            .sync_run_full(&repo.id, &third)
            .await
            .expect("read");
        let json = full.and_then(|(_, json)| json).expect("stats");
        let full: Value = all(json);
        assert_eq!(full["refs"].as_array().map(Vec::len), Some(150));

        // The holder stays as long as a kept run needs it, also where the next run starts from nothing.
        db.execute("update upstreams set last_pull = null").await;
        assert_eq!(retain(&db, &keeping(1, 0, 1), 100).await, 1);
        let run = db.store.sync_run(&repo.id, &third).await.expect("read");
        assert!(run.expect("the run").stats.is_some());
    });
}

#[test]
fn the_last_runs_and_the_young_ones_are_kept() {
    on_each_database(async |db| {
        let repo = db.repo("r").await;
        let mut ids = Vec::new();
        for seconds in 0..10 {
            ids.push(db.pull(&repo, stats(1, "updated"), at(seconds)).await);
            // Other stats, so that no run is held by another one.
            db.execute("update sync_runs set digest = null where digest is not null")
                .await;
        }
        let left = async || {
            let runs = db.store.sync_runs(&repo.id, page(None, 100)).await;
            let mut runs = runs.expect("read").rows;
            runs.reverse();
            runs.into_iter().map(|run| run.id).collect::<Vec<_>>()
        };
        assert_eq!(
            retain(&db, &keeping(3, 1_000, 10), 100).await,
            0,
            "all are young"
        );
        assert_eq!(
            retain(&db, &keeping(3, 1_000, 8), 100).await,
            2,
            "at most 8"
        );
        assert_eq!(left().await, ids[2..]);
        assert_eq!(
            retain(&db, &keeping(3, 96, 8), 100).await,
            2,
            "4 s are too old"
        );
        assert_eq!(left().await, ids[4..]);
        assert_eq!(
            retain(&db, &keeping(3, 0, 8), 100).await,
            3,
            "the last 3 stay"
        );
        assert_eq!(left().await, ids[7..]);
        assert_eq!(
            retain(&db, &keeping(0, 0, 0), 100).await,
            2,
            "the last run stays"
        );
        assert_eq!(left().await, ids[9..]);
    });
}

#[test]
fn open_runs_and_the_base_of_the_next_one_are_kept() {
    on_each_database(async |db| {
        let repo = db.repo("r").await;
        let base = db.pull(&repo, stats(1, "updated"), at(0)).await;
        for seconds in 1..4 {
            let run = db.queue(&repo, Direction::Pull, at(seconds)).await;
            let job = db.claim(at(seconds)).await.expect("a run");
            assert_eq!(job.run.id, run.id);
            let failed = db.store.fail(&job.fence, failure("network"), at(seconds));
            assert!(failed.await.expect("written"));
        }
        let open = db.queue(&repo, Direction::Pull, at(5)).await;
        assert_eq!(retain(&db, &keeping(0, 0, 0), 1_000).await, 3);
        let runs = db.store.sync_runs(&repo.id, page(None, 10)).await;
        let ids: Vec<_> = runs
            .expect("read")
            .rows
            .into_iter()
            .map(|run| run.id)
            .collect();
        assert_eq!(ids, [open.id, base]);
        assert!(db.claim(at(6)).await.expect("a run").previous.is_some());
    });
}

#[test]
fn events_and_deliveries_have_their_ages() {
    on_each_database(async |db| {
        let day = 24 * 3600;
        let repo = db.repo("r").await;
        db.target(&["sync.queued"]).await;
        let keep = Retention::default();
        db.pull(&repo, stats(1, "updated"), at(0)).await;
        let events = "select count(*) from events";
        assert_eq!(db.number(events).await, 3);
        assert_eq!(retain(&db, &keep, 7 * day).await, 0);
        // One of the events is to be delivered.
        assert_eq!(retain(&db, &keep, 8 * day).await, 2);
        let due = db
            .store
            .due_deliveries("one", at(8 * day), at(9 * day), 10, &[]);
        let due = due.await.expect("read").remove(0);
        let delivered = db.store.delivered(&due.id, 200, "", at(8 * day)).await;
        delivered.expect("written");
        assert_eq!(retain(&db, &keep, 8 * day).await, 1);
        assert_eq!(db.number(events).await, 0);
        let deliveries = "select count(*) from deliveries";
        assert_eq!(db.number(deliveries).await, 1);
        assert_eq!(retain(&db, &keep, 31 * day).await, 1);
        assert_eq!(db.number(deliveries).await, 0);
    });
}

#[test]
fn the_audit_has_its_age() {
    on_each_database(async |db| {
        let day = 24 * 3600;
        let rows = "select count(*) from audit";
        assert_eq!(db.number(rows).await, 1, "the organization");
        let repo = db.repo("r").await;
        db.store
            .delete_repo(&repo.id, at(9 * day))
            .await
            .expect("removed");
        let mut keep = Retention::default();
        assert_eq!(retain(&db, &keep, 400 * day).await, 0);
        assert_eq!(retain(&db, &keep, 401 * day).await, 1);
        let left = "select action from audit where action <> $1";
        assert_eq!(db.texts(left, "").await, ["repository.removed"]);
        keep.audit_age = std::time::Duration::from_secs(3600);
        assert_eq!(retain(&db, &keep, 10 * day).await, 1);
        assert_eq!(db.number(rows).await, 0);
    });
}

#[test]
fn a_node_removes_the_runs_of_its_own_repositories() {
    on_each_database(async |db| {
        for node in [NODE, "two", "two"] {
            let count = db.number("select count(*) from repos").await;
            let repo = db
                .repo_at(node, &db.org, &format!("r{count}"), "host")
                .await;
            for second in 0..3 {
                let run = db.queue(&repo, Direction::Pull, at(second)).await;
                let cancelled = db.store.cancel(&repo.id, &run.id, at(second)).await;
                assert!(cancelled.is_ok());
            }
        }
        let reads = || db.store.counters().reads;
        let before = reads();
        assert_eq!(retain(&db, &keeping(3, 0, 3), 100).await, 0);
        assert_eq!(
            reads() - before,
            2,
            "lists: no repository is looked at by itself"
        );
        let keep = keeping(0, 0, 0);
        let before = reads();
        assert_eq!(retain(&db, &keep, 100).await, 2);
        assert_eq!(reads() - before, 3, "one of them has more than is kept");
        let others = db.store.retain("two", &keep, at(100), || false).await;
        assert_eq!(others.expect("removed"), 4);
    });
}

#[test]
fn the_removal_of_history_ends_when_it_is_asked_to() {
    on_each_database(async |db| {
        for number in 0..4 {
            let repo = db.repo(&format!("r{number}")).await;
            for second in 0..3 {
                db.queue(&repo, Direction::Pull, at(second)).await;
                let job = db.claim(at(second)).await.expect("a run");
                let failed = db.store.fail(&job.fence, failure("network"), at(second));
                assert!(failed.await.expect("written"));
            }
        }
        let keep = keeping(0, 0, 0);
        // Asked before each repository and each batch.
        let asked = AtomicUsize::new(0);
        let after_two = || asked.fetch_add(1, Ordering::Relaxed) >= 2;
        let removed = db.store.retain(NODE, &keep, at(100), after_two).await;
        assert_eq!(removed.expect("removed"), 4, "of two repositories");
        let removed = db.store.retain(NODE, &keep, at(100), || true).await;
        assert_eq!(removed.expect("removed"), 0);
        assert_eq!(retain(&db, &keep, 100).await, 4);
    });
}
