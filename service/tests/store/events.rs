//! Events and deliveries, which are written with what they tell.

use refsync_service::{
    ids,
    records::{Change, Direction, EventId, PushUpdate, RefAction, Repo},
    store::{Attempted, Completed, DueDelivery, RepoChange, TargetChange},
};
use serde_json::Value;

use crate::database::{Database, at, completed, on_each_database, page, stats};

fn update() -> PushUpdate {
    PushUpdate {
        name: "refs/heads/main".into(),
        bookmark: "main".into(),
        before: "0".repeat(40),
        after: "1".repeat(40),
        action: RefAction::Created,
    }
}

async fn due(db: &Database, seconds: i64) -> Vec<DueDelivery> {
    let (now, until) = (at(seconds), at(seconds + 60));
    let due = db.store.due_deliveries("one", now, until, 10, &[]).await;
    due.expect("read")
}

fn kind(due: &DueDelivery) -> String {
    let body: Value = serde_json::from_str(&due.body).expect("JSON");
    body["type"].as_str().expect("a type").to_owned()
}

#[test]
fn a_transition_that_is_not_committed_has_no_event_and_no_delivery() {
    on_each_database(async |db| {
        db.target(&["sync.queued", "sync.in_progress", "sync.completed"])
            .await;
        let repo = db.repo("r").await;
        db.queue(&repo, Direction::Pull, at(0)).await;
        let job = db.claim(at(0)).await.expect("the run");
        // The delivery is what fails, so that the transition and the event are written before.
        db.execute_either(
            "create trigger no_more before insert on deliveries begin select raise(abort, 'full'); end",
            "alter table deliveries add constraint no_more check (id = '') not valid",
        )
        .await;
        let ended = db
            .store
            .complete(&job.fence, completed(stats(1, "updated")), at(1))
            .await;
        assert!(ended.is_err());
        assert!(db.read(&job.run).await.finished_at.is_none());
        let events = db.events(job.run.id.as_str()).await;
        assert_eq!(events, ["sync.queued", "sync.in_progress"]);
        db.assert_counted().await;
        db.execute_either(
            "drop trigger no_more",
            "alter table deliveries drop constraint no_more",
        )
        .await;
        assert!(
            db.complete(&job, completed(stats(1, "updated")), at(2))
                .await
        );
        assert_eq!(db.number("select count(*) from deliveries").await, 3);
    });
}

#[test]
fn the_events_of_a_run_reach_a_target_in_order() {
    on_each_database(async |db| {
        db.target(&["sync.queued", "sync.completed"]).await;
        let repo = db.repo("r").await;
        db.pull(&repo, stats(1, "updated"), at(0)).await;
        let first = due(&db, 1).await;
        assert_eq!(first.iter().map(kind).collect::<Vec<_>>(), ["sync.queued"]);
        assert!(due(&db, 2).await.is_empty(), "it is under way");
        let refused = Attempted {
            status: Some(500),
            error: "refused".into(),
            body: None,
        };
        let failed = db
            .store
            .delivery_failed(&first[0].id, refused, Some(at(20)), at(3));
        assert_eq!(failed.await.expect("written"), Some(at(3)));
        assert!(due(&db, 19).await.is_empty(), "the later event waits");
        assert_eq!(
            db.store.next_due_delivery(at(4)).await.expect("read"),
            Some(at(20))
        );
        let again = due(&db, 20).await.remove(0);
        assert_eq!((&again.id, again.attempt), (&first[0].id, 2));
        assert_eq!(again.event_id, first[0].event_id);
        db.store
            .delivered(&again.id, 200, "", at(21))
            .await
            .expect("written");
        let last = due(&db, 21).await;
        assert_eq!(
            last.iter().map(kind).collect::<Vec<_>>(),
            ["sync.completed"]
        );
    });
}

#[test]
fn a_process_that_died_leaves_its_deliveries_due() {
    on_each_database(async |db| {
        db.target(&["push"]).await;
        let repo = db.repo("r").await;
        let emitted = db
            .store
            .emit_push(ids::new(), &repo, &[update()], None, at(0))
            .await;
        assert!(emitted.expect("written"));
        assert_eq!(due(&db, 0).await.len(), 1);
        assert!(due(&db, 1).await.is_empty());
        let ended = db.store.end_delivery_leases("one", at(2)).await;
        assert_eq!(ended.expect("ended"), 1);
        assert_eq!(due(&db, 2).await.len(), 1);
        assert_eq!(due(&db, 62).await.len(), 1, "or when its lease has ended");
    });
}

#[test]
fn a_push_is_told_once() {
    on_each_database(async |db| {
        db.target(&["push", "repo.push"]).await;
        let repo = db.repo("r").await;
        let id: EventId = ids::new();
        for expected in [true, false] {
            let head = expected.then_some("1");
            let emitted = db
                .store
                .emit_push(id.clone(), &repo, &[update()], head, at(0))
                .await;
            assert_eq!(emitted.expect("asked"), expected);
        }
        assert_eq!(db.events(repo.id.as_str()).await, ["push"]);
        assert_eq!(due(&db, 1).await.len(), 1);
        let read = db.store.repo(&repo.id).await.expect("read");
        assert_eq!(read.expect("there").head.as_deref(), Some("1"));

        // A pull that moves refs tells it together with its end.
        db.queue(&repo, Direction::Pull, at(2)).await;
        let job = db.claim(at(2)).await.expect("the run");
        let done = Completed {
            push: Some(vec![update()]),
            head: Some("2".into()),
            branch: "main".into(),
            ..completed(stats(1, "updated"))
        };
        assert!(db.complete(&job, done, at(3)).await);
        assert_eq!(db.events(repo.id.as_str()).await, ["push", "push"]);
        // One that moves none does not.
        db.pull(&repo, stats(1, "unchanged"), at(4)).await;
        assert_eq!(db.events(repo.id.as_str()).await, ["push", "push"]);
    });
}

#[test]
fn a_disabled_target_gets_nothing_and_the_audit_says_why() {
    on_each_database(async |db| {
        let target = db.target(&["sync.queued"]).await;
        let repo = db.repo("r").await;
        db.queue(&repo, Direction::Pull, at(0)).await;
        let disabled = db
            .store
            .disable_target(&target.id, &target.url, "410", at(1))
            .await;
        disabled.expect("written");
        db.queue(&repo, Direction::Push, at(2)).await;
        assert!(due(&db, 3).await.is_empty());
        let deliveries = db.store.deliveries(&target.id, page(None, 10)).await;
        assert_eq!(deliveries.expect("read").rows.len(), 1);
        let audit =
            "select action || ' ' || detail from audit where subject = $1 and detail is not null";
        assert_eq!(
            db.texts(audit, target.id.as_str()).await,
            ["target.disabled 410"]
        );
    });
}

#[test]
fn a_target_that_is_narrowed_forgets_what_it_may_not_see() {
    on_each_database(async |db| {
        let target = db.target(&["sync.queued"]).await;
        let (seen, hidden) = (db.repo("seen").await, db.repo("hidden").await);
        for repo in [&seen, &hidden] {
            db.queue(repo, Direction::Pull, at(0)).await;
        }
        let change = TargetChange {
            repo_ids: Change::Set(vec![seen.id.clone()]),
            ..TargetChange::default()
        };
        let changed = db
            .store
            .change_target(&target.id, None, change, at(1))
            .await;
        changed.expect("written").expect("there");
        let listed = db.store.deliveries(&target.id, page(None, 10)).await;
        assert_eq!(listed.expect("read").rows.len(), 1);
        let due = due(&db, 2).await;
        assert_eq!(due.len(), 1);
        let body: Value = serde_json::from_str(&due[0].body).expect("JSON");
        assert_eq!(body["repository"]["id"], seen.id.as_str());
    });
}

#[test]
fn failures_of_another_address_do_not_count() {
    on_each_database(async |db| {
        let target = db.target(&["sync.queued"]).await;
        let repo = db.repo("r").await;
        db.queue(&repo, Direction::Pull, at(0)).await;
        let first = due(&db, 0).await.remove(0);
        let failed = Attempted::default();
        let since = db
            .store
            .delivery_failed(&first.id, failed.clone(), Some(at(5)), at(1));
        assert_eq!(since.await.expect("written"), Some(at(1)));
        let change = TargetChange {
            url: Some("https://new.example/".into()),
            ..TargetChange::default()
        };
        let changed = db
            .store
            .change_target(&target.id, None, change, at(2))
            .await;
        changed.expect("written").expect("there");
        let again = due(&db, 6).await.remove(0);
        let since = db
            .store
            .delivery_failed(&again.id, failed, Some(at(60)), at(7));
        assert_eq!(since.await.expect("written"), Some(at(7)));
        // An answer of the address before says nothing of this one.
        let old = &first.target.url;
        let disabled = db.store.disable_target(&target.id, old, "410", at(8)).await;
        disabled.expect("written");
        let read = db.store.target(&db.org.id, &target.id).await;
        assert!(read.expect("read").expect("there").enabled);
    });
}

#[test]
fn what_a_busy_target_has_yet_to_get_hides_nothing() {
    on_each_database(async |db| {
        let busy = db.target(&["push"]).await;
        let repo = db.repo("r").await;
        let push = async |second| {
            let updates = [update()];
            let told = db
                .store
                .emit_push(ids::new(), &repo, &updates, None, at(second));
            assert!(told.await.expect("written"));
        };
        for _ in 0..100 {
            push(0).await;
        }
        let free = db.target(&["push"]).await;
        push(1).await;
        for (busy, expected) in [
            (&[][..], vec![&busy.id]),
            (&[busy.id.clone()][..], vec![&free.id]),
            (&[busy.id.clone(), free.id.clone()][..], vec![]),
        ] {
            let due = db.store.due_deliveries("one", at(2), at(60), 10, busy);
            let due = due.await.expect("read");
            let targets: Vec<_> = due.iter().map(|due| &due.target.id).collect();
            assert_eq!(targets, expected);
        }
    });
}

#[test]
fn a_delivery_whose_event_is_gone_ends() {
    on_each_database(async |db| {
        let target = db.target(&["push"]).await;
        let repo = db.repo("r").await;
        let updates = [update()];
        let told = db.store.emit_push(ids::new(), &repo, &updates, None, at(0));
        assert!(told.await.expect("written"));
        db.execute("delete from events").await;
        assert!(due(&db, 1).await.is_empty());
        let open = "select count(*) from deliveries where state = 'pending'";
        assert_eq!(db.number(open).await, 0);
        let kept = db.store.deliveries(&target.id, page(None, 10)).await;
        let error = kept.expect("read").rows.remove(0).last_error;
        assert_eq!(error.as_deref(), Some("the event is gone"));
    });
}

#[test]
fn a_redelivery_holds_up_no_newer_event() {
    on_each_database(async |db| {
        let target = db.target(&["push"]).await;
        let repo = db.repo("r").await;
        let push = async |second| {
            let id = ids::new();
            let updates = [update()];
            let told = db.store.emit_push(id, &repo, &updates, None, at(second));
            assert!(told.await.expect("written"));
        };
        push(0).await;
        let first = due(&db, 0).await.remove(0);
        let told = db.store.delivered(&first.id, 204, "", at(1)).await;
        told.expect("written");
        let again = db.store.redeliver(&target.id, None, &first.id, at(2)).await;
        let again = again.expect("written").expect("a delivery");
        assert_eq!(due(&db, 3).await.remove(0).id, again.id);
        let refused =
            db.store
                .delivery_failed(&again.id, Attempted::default(), Some(at(900)), at(4));
        refused.await.expect("written");
        push(5).await;
        assert_eq!(due(&db, 6).await.len(), 1);
    });
}

#[test]
fn the_tip_of_a_branch_that_is_no_longer_the_default_is_not_the_head() {
    on_each_database(async |db| {
        let repo = db.repo("r").await;
        let change = RepoChange {
            default_bookmark: Some("trunk".into()),
            ..RepoChange::default()
        };
        let known = db.store.set_head(&repo.id, "main", Some("0")).await;
        known.expect("written");
        db.queue(&repo, Direction::Pull, at(0)).await;
        let job = db.claim(at(0)).await.expect("the run");
        let changed = db.store.change_repo(&repo.id, change, at(1)).await;
        changed.expect("written");
        let done = Completed {
            head: Some("1".into()),
            branch: "main".into(),
            found_branch: true,
            ..completed(stats(1, "updated"))
        };
        assert!(db.complete(&job, done, at(2)).await);
        // The same of a push that began before the change.
        let told = db
            .store
            .emit_push(ids::new(), &repo, &[update()], Some("2"), at(3))
            .await;
        assert!(told.expect("written"));
        let read = db.store.repo(&repo.id).await.expect("read").expect("there");
        assert_eq!((read.default_bookmark.as_str(), read.head), ("trunk", None));
    });
}

#[test]
fn a_key_changes_no_target_that_has_come_to_see_more() {
    on_each_database(async |db| {
        let target = db.target(&["sync.queued"]).await;
        let (seen, other) = (db.repo("seen").await, db.repo("other").await);
        db.queue(&seen, Direction::Pull, at(0)).await;
        let delivery = due(&db, 0).await.remove(0).id;
        let (own, store) = ([seen.id.clone()], &db.store);
        let limit_to = async |ids: &[&Repo], second| {
            let ids = ids.iter().map(|repo| repo.id.clone()).collect();
            let change = TargetChange {
                repo_ids: Change::Set(ids),
                ..TargetChange::default()
            };
            let changed = store.change_target(&target.id, None, change, at(second));
            changed.await.expect("written").expect("there");
        };
        // What a limited key may do with a target, with the answer whether it was done.
        let all = async |second| {
            let (id, own, now) = (&target.id, Some(&own[..]), at(second));
            let change = TargetChange::default();
            let changed = store.change_target(id, own, change, now).await;
            let rotated = store.rotate_secret(id, own, "sealed".into(), now).await;
            let emitted = store.emit_test(id, own, now).await;
            let again = store.redeliver(id, own, &delivery, now).await;
            let deleted = store.delete_target(id, own, now).await;
            [
                changed.expect("asked").is_some(),
                rotated.expect("asked"),
                emitted.expect("asked").is_some(),
                again.expect("asked").is_some(),
                deleted.expect("asked"),
            ]
        };
        assert_eq!(all(1).await, [false; 5], "it sees all");
        limit_to(&[&seen, &other], 2).await;
        assert_eq!(all(3).await, [false; 5], "it sees another one");
        limit_to(&[&seen], 4).await;
        assert_eq!(all(5).await, [true; 5]);
    });
}
