//! Hooks of upstreams: one for a repository, which goes with its upstream.

use std::time::Duration;

use refsync_service::{
    ids,
    records::{Change, Direction, Globs, HookId, Priority, Provider, Repo, SyncRun, Time},
    store::{Completed, NewHook, RepoChange, RunLimits},
};

use crate::database::{Database, at, on_each_database, upstream};

const TOKEN: [u8; 32] = [7; 32];

fn hook(provider: Provider) -> NewHook {
    NewHook {
        id: ids::new(),
        provider,
        token: TOKEN,
        secret: "sealed".into(),
    }
}

async fn is_there(db: &Database, id: &HookId) -> bool {
    let called = db.store.called_hook(id, &TOKEN, at(0)).await;
    called.expect("an answer").is_some()
}

async fn change_upstream(
    db: &Database,
    repo: &refsync_service::records::RepoId,
    host: Option<&str>,
) {
    let change = RepoChange {
        upstream: host.map_or(Change::Clear, |host| Change::Set(upstream(host))),
        ..RepoChange::default()
    };
    db.store
        .change_repo(repo, change, at(0))
        .await
        .expect("changed");
}

#[test]
fn a_hook_is_found_by_its_id_and_token() {
    on_each_database(async |db| {
        let repo = db.repo("r").await;
        let first = hook(Provider::Gitlab);
        assert!(
            db.store
                .put_hook(&repo, &first, at(0))
                .await
                .expect("stored")
        );
        let called = db.store.called_hook(&first.id, &TOKEN, at(0)).await;
        let called = called.expect("an answer").expect("the hook");
        assert_eq!(called.provider, Provider::Gitlab);
        assert_eq!(called.repo, repo.id);
        assert_eq!(called.secret, "sealed");
        assert_eq!(called.globs, Globs::default());
        assert_eq!(called.queued, None);
        let wrong = db.store.called_hook(&first.id, &[8; 32], at(0)).await;
        assert!(wrong.expect("an answer").is_none());

        let second = hook(Provider::Github);
        assert!(
            db.store
                .put_hook(&repo, &second, at(0))
                .await
                .expect("stored")
        );
        assert!(!is_there(&db, &first.id).await && is_there(&db, &second.id).await);
        assert!(db.store.delete_hook(&repo, at(0)).await.expect("removed"));
        assert!(!db.store.delete_hook(&repo, at(0)).await.expect("an answer"));
        assert!(!is_there(&db, &second.id).await);
    });
}

#[test]
fn a_hook_goes_with_its_upstream_and_not_with_its_address() {
    on_each_database(async |db| {
        let repo = db.repo("r").await;
        let kept = hook(Provider::Gitea);
        assert!(
            db.store
                .put_hook(&repo, &kept, at(0))
                .await
                .expect("stored")
        );
        change_upstream(&db, &repo.id, Some("other")).await;
        assert!(is_there(&db, &kept.id).await);
        change_upstream(&db, &repo.id, None).await;
        assert!(!is_there(&db, &kept.id).await);
        let none = hook(Provider::Gitea);
        assert!(
            !db.store
                .put_hook(&repo, &none, at(0))
                .await
                .expect("an answer")
        );
        change_upstream(&db, &repo.id, Some("other")).await;
        assert!(!is_there(&db, &kept.id).await);
        assert!(
            db.store
                .put_hook(&repo, &none, at(0))
                .await
                .expect("stored")
        );
        assert!(
            db.store
                .delete_repo(&repo.id, at(0))
                .await
                .expect("removed")
        );
        assert!(!is_there(&db, &none.id).await);
    });
}

#[test]
fn a_call_finds_the_run_that_will_see_what_it_is_about() {
    on_each_database(async |db| {
        let repo = db.repo("r").await;
        let hook = hook(Provider::Github);
        assert!(
            db.store
                .put_hook(&repo, &hook, at(0))
                .await
                .expect("stored")
        );
        let queued = async || {
            let called = db.store.called_hook(&hook.id, &TOKEN, at(1)).await;
            called.expect("an answer").expect("the hook").queued
        };
        // A run of a client has a lower priority, and one of the other direction is another one.
        db.queue(&repo, Direction::Push, at(2)).await;
        let run = db.queue(&repo, Direction::Pull, at(0)).await;
        assert_eq!(queued().await, None);
        let raised = db
            .queue_with(&repo, Direction::Pull, Priority::Hook, at(0))
            .await;
        assert_eq!(raised.expect("queued").id, run.id);
        assert_eq!(queued().await, Some(run.id.clone()));
        // One that has started may have looked at the upstream before.
        let job = db.claim(at(1)).await.expect("a run");
        assert_eq!(job.run.id, run.id);
        assert_eq!(queued().await, None);
    });
}

const DISTANCE: Duration = Duration::from_secs(10);

/// Does what a call does at `now`. The run and whether a call of before has queued it.
async fn call(db: &Database, hook: &HookId, now: Time) -> (SyncRun, bool) {
    let called = db.store.called_hook(hook, &TOKEN, now.plus(DISTANCE)).await;
    let called = called.expect("an answer").expect("the hook");
    if let Some(queued) = &called.queued {
        let run = db.store.sync_run(&called.repo, queued).await;
        return (run.expect("read").expect("the run"), true);
    }
    let limits = RunLimits::default();
    let run = db.store.queue_by_hook(hook, &called, limits, DISTANCE, now);
    let run = run.await.expect("queued").expect("the hook");
    (run.expect("not refused"), false)
}

async fn hooked(db: &Database) -> (Repo, HookId) {
    let (repo, hook) = (db.repo("r").await, hook(Provider::Github));
    assert!(
        db.store
            .put_hook(&repo, &hook, at(0))
            .await
            .expect("stored")
    );
    (repo, hook.id)
}

#[test]
fn two_runs_of_calls_have_a_distance_and_no_call_is_lost() {
    on_each_database(async |db| {
        let (repo, hook) = hooked(&db).await;
        let (first, _) = call(&db, &hook, at(0)).await;
        let job = db.claim(at(0)).await.expect("the first one starts at once");
        assert_eq!(job.run.id, first.id);
        let (second, _) = call(&db, &hook, at(1)).await;
        assert_ne!(second.id, first.id);
        assert!(db.complete(&job, Completed::default(), at(2)).await);
        for seconds in [3, 9] {
            let (same, was_queued) = call(&db, &hook, at(seconds)).await;
            assert_eq!((same.id, was_queued), (second.id.clone(), true));
            assert!(db.claim(at(seconds)).await.is_none(), "{seconds}");
        }
        let job = db.claim(at(10)).await.expect("the second one");
        assert_eq!(job.run.id, second.id);
        assert!(db.complete(&job, Completed::default(), at(10)).await);
        // Calls without a pause start one run in each distance.
        let mut started = 0;
        for seconds in 11..=50 {
            call(&db, &hook, at(seconds)).await;
            if let Some(job) = db.claim(at(seconds)).await {
                started += 1;
                assert!(db.complete(&job, Completed::default(), at(seconds)).await);
            }
        }
        assert_eq!(started, 4);
        // After a pause the first one starts at once.
        let (late, _) = call(&db, &hook, at(100)).await;
        let job = db.claim(at(100)).await.expect("the run");
        assert!(job.run.id == late.id || job.run.created_at < at(100));
        db.assert_counted().await;
        assert_eq!(repo.id, job.repo.id);
    });
}

#[test]
fn a_caller_who_asks_for_a_run_waits_for_no_distance() {
    on_each_database(async |db| {
        let (repo, hook) = hooked(&db).await;
        for (begin, number) in [(0, 1), (1, 2)] {
            call(&db, &hook, at(begin)).await;
            if number == 2 {
                assert!(db.claim(at(2)).await.is_none(), "it waits");
                db.queue(&repo, Direction::Pull, at(2)).await;
            }
            let job = db.claim(at(2)).await.expect("a run");
            assert!(db.complete(&job, Completed::default(), at(2)).await);
        }
        // The distance counts from the call, whatever the run before had waited for.
        let (third, _) = call(&db, &hook, at(3)).await;
        assert!(db.claim(at(12)).await.is_none());
        assert_eq!(db.claim(at(13)).await.expect("the run").run.id, third.id);
    });
}
