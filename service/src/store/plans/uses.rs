//! Uses of a store, one of each kind.

use std::time::Duration;

use super::super::*;
use crate::{
    clock,
    config::Retention,
    ids,
    records::{
        Change, Direction, Globs, Name, Org, Priority, Provider, Repo, RetryPolicy, Schedule,
        Scope, Time,
    },
};

const NODE: &str = "one";

pub(super) async fn org_and_repo(store: &Store) -> (Org, Repo) {
    let (slug, now) = (Name::new("acme").expect("a name"), clock::now());
    let node = NewNode {
        name: NODE.into(),
        folder: "f".into(),
        process: "p".into(),
        public_url: "http://localhost".into(),
    };
    assert!(store.enter_node(&node, now).await.expect("written"));
    assert!(store.see_node(&node, now).await.expect("written"));
    let home = store.emptiest_node("other", now).await.expect("read");
    let org = store.create_org(&slug, "Acme", now).await;
    let org = org.expect("written").expect("free");
    let schedule = Schedule {
        direction: Direction::Pull,
        interval_seconds: 60,
        ref_globs: Globs::default(),
    };
    let new = NewRepo {
        id: ids::new(),
        org: org.id.clone(),
        name: Name::new("r").expect("a name"),
        default_bookmark: "main".into(),
        default_given: false,
        tags: Default::default(),
        home,
        upstream: Some(NewUpstream {
            url: "http://localhost/r.git".into(),
            origin: "http://localhost:80".into(),
            host: "localhost".into(),
            schedule: Change::Set(schedule),
            auth: Change::Keep,
        }),
    };
    let repo = store.create_repo(new, now).await;
    (org, repo.expect("written").expect("free"))
}

/// The requests of clients of the API.
pub(super) async fn requests(store: &Store, org: &Org, repo: &Repo) {
    let (now, hash) = (clock::now(), [7; 32]);
    let key = NewKey {
        id: ids::new(),
        name: None,
        proof: Proof::Hash(hash),
        scopes: vec![Scope::Admin],
        repo_ids: None,
        expires_at: None,
    };
    let page = || Page {
        after: None,
        limit: 10,
    };
    store.create_key(&org.id, key, now).await.expect("written");
    store.key_by_hash(&hash).await.expect("read");
    store.key_and_repo(&hash, "r").await.expect("read");
    store.org_by_slug("acme").await.expect("read");
    store.repo_by_name(&org.id, "r").await.expect("read");
    store.repo(&repo.id).await.expect("read");
    store.repos(&org.id, None, page()).await.expect("read");
    let only = [repo.id.clone()];
    let some = store.repos(&org.id, Some(&only), page());
    some.await.expect("read");
    let names = store.repo_ids_of(&org.id, ["r"].into_iter());
    names.await.expect("read");
    store.latest_sync(&repo.id).await.expect("read");
    store.sync_runs(&repo.id, page()).await.expect("read");
    let head = store.set_head(&repo.id, "main", Some("1"));
    head.await.expect("written");
    let hook = NewHook {
        id: ids::new(),
        provider: Provider::Github,
        token: hash,
        secret: String::new(),
    };
    store.put_hook(repo, &hook, now).await.expect("written");
    let called = store.called_hook(&hook.id, &hash, now).await.expect("read");
    let (called, distance) = (called.expect("a hook"), Duration::ZERO);
    let limits = RunLimits::default();
    let by_hook = store.queue_by_hook(&hook.id, &called, limits, distance, now);
    by_hook.await.expect("written");
    let new = NewRun {
        repo,
        direction: Direction::Pull,
        globs: Globs::default(),
        dry_run: false,
        priority: Priority::Api,
    };
    let equal = store.enqueue(new, limits, now).await.expect("written");
    let run = equal.expect("queued");
    store.sync_run(&repo.id, &run.id).await.expect("read");
    store.sync_run_full(&repo.id, &run.id).await.expect("read");
}

/// The transitions of runs by workers.
pub(super) async fn work(store: &Store, now: Time) {
    let claimer = Claimer {
        node: NODE.into(),
        worker: "w".into(),
        per_host: 1,
    };
    let claim = async |now: Time| {
        let until = now.plus(Duration::from_secs(60));
        let claimed = store.claim(&claimer, now, until, |_| Ok(Some(()))).await;
        match claimed.expect("an answer") {
            Claimed::Run(job, ()) => Some(job),
            Claimed::Nothing { .. } => None,
        }
    };
    store
        .queue_scheduled(NODE, RunLimits::default(), now)
        .await
        .expect("looked at");
    let taken = store.claim(&claimer, now, now, |_| Ok(None::<()>)).await;
    assert!(matches!(taken, Ok(Claimed::Nothing { .. })));
    let now = now.plus(Duration::from_secs(2));
    let claim = async || claim(now).await;
    let job = claim().await.expect("a run");
    assert!(claim().await.is_none());
    store.renew(&job.fence, now).await.expect("written");
    store.give_back(&job.fence, now).await.expect("written");
    let job = claim().await.expect("a run");
    let retry = store.retry(&job.fence, Failure::default(), now, now);
    retry.await.expect("written");
    let job = claim().await.expect("a run");
    let cancel = store.cancel(&job.run.repo_id, &job.run.id, now);
    cancel.await.expect("written");
    store
        .reap(
            now.plus(Duration::from_secs(90)),
            &RetryPolicy::default(),
            0.0,
        )
        .await
        .expect("written");
    while let Some(job) = claim().await {
        let done = store.complete(&job.fence, Completed::default(), now);
        done.await.expect("written");
    }
}

/// The deliveries to a target.
pub(super) async fn deliver(store: &Store, org: &Org, repo: &Repo, now: Time) {
    let new = NewTarget {
        id: ids::new(),
        org: org.id.clone(),
        url: "http://localhost".into(),
        name: None,
        events: vec!["sync.queued".into()],
        repo_ids: None,
        secret: String::new(),
    };
    let target = store.create_target(new, now).await.expect("written");
    let new = NewRun {
        repo,
        direction: Direction::Push,
        globs: Globs::default(),
        dry_run: false,
        priority: Priority::Api,
    };
    let queued = store.enqueue(new, RunLimits::default(), now);
    queued.await.expect("written").expect("queued");
    for at in 0..3 {
        let now = now.plus(Duration::from_secs(100 * at));
        let until = now.plus(Duration::from_secs(60));
        let due = store.due_deliveries(NODE, now, until, 10, &[]).await;
        for due in due.expect("read") {
            if at == 0 {
                let failed = store.delivery_failed(&due.id, attempted(), Some(now), now);
                failed.await.expect("written");
            } else {
                let done = store.delivered(&due.id, 200, "", now);
                done.await.expect("written");
                let again = store.redeliver(&target.id, None, &due.id, now);
                again.await.expect("written");
            }
        }
    }
    let none = store.due_deliveries(NODE, Time(0), now, 10, &[]).await;
    assert!(none.expect("read").is_empty());
    store.next_due_delivery(now).await.expect("read");
    let page = Page {
        after: None,
        limit: 10,
    };
    store.deliveries(&target.id, page).await.expect("read");
    let ended = store.end_delivery_leases(NODE, now);
    ended.await.expect("written");
    let gone = store.disable_target(&target.id, &target.url, "gone", now);
    gone.await.expect("written");
    let removed = store.delete_repo(&repo.id, now).await;
    assert!(removed.expect("written"));
}

fn attempted() -> Attempted {
    Attempted {
        status: Some(500),
        error: String::new(),
        body: None,
    }
}

/// The upkeep by a node, and the questions of an operator.
pub(super) async fn upkeep(store: &Store, now: Time) {
    let later = now.plus(Duration::from_secs(10_000_000));
    let keep = Retention {
        runs: 0,
        ..Retention::default()
    };
    store
        .retain(NODE, &keep, later, || false)
        .await
        .expect("written");
    store.removed_repos(NODE).await.expect("read");
    let longest = LongestWaits {
        attempt: Duration::ZERO,
        lease: Duration::ZERO,
    };
    store
        .mend_times(NODE, longest, Time(0))
        .await
        .expect("written");
    let policy = RetryPolicy::default();
    store
        .end_leases_of(NODE, &policy, now)
        .await
        .expect("written");
    store.queue_length().await.expect("read");
    store.backlog(now).await.expect("read");
    store.stuck_runs(now, now).await.expect("read");
    assert_eq!(store.miscounted().await.expect("read"), []);
    store.repos_of_home(NODE, None).await.expect("read");
}
