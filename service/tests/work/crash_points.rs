//! The process dies at each point of what is not a run: requests that queue and cancel, deliveries, retention. A client
//! that repeats its request gets what it would have got, and the next process ends what was begun.

use std::{fs, path::Path, time::Duration};

use refsync_service::{
    records::{Repo, Status, SyncRun},
    store::{Page, Store},
};
use serde_json::json;

use crate::{
    daemon::{Crash, Daemon, Scene, copy},
    support::{Answer, Client, Receiver},
    world::{SOON, events_of, memory_folder},
};

const WITHOUT_WORK: [&str; 3] = ["--workers", "0", "--no-deliveries"];

/// Kills at each point of a request in turn, and lets the client repeat it to the next process. `check` sees what that
/// leaves after a third one, which has workers.
async fn sweep_request(
    scene: &Scene,
    request: impl Fn(&Client) -> Result<Answer, ureq::Error>,
    check: impl AsyncFn(&Path, &Store, &str),
) -> u64 {
    let mut survived = 0;
    for at in 1.. {
        let folder = memory_folder();
        let data = folder.path().join("data");
        copy(scene.data.path(), &data);
        let file = folder.path().join("count");
        let crash = Crash {
            after: Some(&file),
            ..Crash::at(at)
        };
        let mut daemon = Daemon::start(&data, crash, &WITHOUT_WORK);
        let client = scene.client(&mut daemon);
        fs::write(&file, "").expect("a file");
        let first = request(&client);
        drop(daemon);
        let mut daemon = Daemon::start(&data, Crash::NONE, &WITHOUT_WORK);
        let second = request(&scene.client(&mut daemon)).expect("an answer");
        assert!(second.status < 500, "{at}: {}", second.text);
        drop(daemon);
        let store = scene.store(&data).await;
        scene.recover(&data, &store).await;
        check(&data, &store, &format!("point {at}, {first:?}")).await;
        store.close().await;
        // The work of a start may still be counted at the first one that a process survives.
        survived += u64::from(first.is_ok());
        if survived == 2 {
            return at - 2;
        }
    }
    unreachable!("a request has no end");
}

async fn runs(store: &Store, repo: &Repo) -> Vec<SyncRun> {
    let page = Page {
        after: None,
        limit: 100,
    };
    store.sync_runs(&repo.id, page).await.expect("read").rows
}

#[tokio::test(flavor = "multi_thread")]
async fn a_post_that_is_repeated_makes_one_run() {
    let scene = Scene::new();
    let store = scene.store(scene.data.path()).await;
    let repo = scene.repo(&store, "app").await;
    store.close().await;
    let post = |client: &Client| {
        let json = ("content-type", "application/json");
        let body = br#"{"direction":"pull"}"#;
        client.try_call(
            "POST",
            "/v1/default/app/upstream/syncs",
            Some(body),
            &[json],
        )
    };
    let points = sweep_request(&scene, post, async |data, store, what| {
        let mut runs = runs(store, &repo).await;
        assert_eq!(runs.len(), 1, "{what}: {runs:?}");
        let run = (repo.clone(), runs.remove(0));
        scene.check(data, store, &run, what).await;
    })
    .await;
    assert!(points > 5, "{points}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancel_that_is_repeated_makes_one_end() {
    let scene = Scene::new();
    let store = scene.store(scene.data.path()).await;
    let (repo, run) = scene.queue(&store, "app").await;
    store.close().await;
    let path = format!("/v1/default/app/upstream/syncs/{}/cancel", run.id);
    let cancel = |client: &Client| client.try_call("POST", &path, None, &[]);
    let points = sweep_request(&scene, cancel, async |data, store, what| {
        let run = runs(store, &repo).await.remove(0);
        let end = (run.status, run.error_code.as_deref(), run.attempt);
        assert_eq!(end, (Status::Failed, Some("cancelled"), 0), "{what}");
        let events = events_of(&data.join("refsyncd.db"), repo.id.as_str()).await;
        assert_eq!(events, ["sync.queued", "sync.failed"], "{what}");
    })
    .await;
    assert!(points > 4, "{points}");
}

/// The first column of the rows of a query, as text.
async fn rows(data: &Path, sql: &'static str) -> Vec<String> {
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(data.join("refsyncd.db"));
    let pool = sqlx::SqlitePool::connect_with(options)
        .await
        .expect("the database");
    let rows = sqlx::query_scalar(sql).fetch_all(&pool).await;
    pool.close().await;
    rows.expect("rows")
}

/// Waits until a process has died, or `sql` gives `expected`; whether it has died.
async fn died_before(
    daemon: &mut Daemon,
    data: &Path,
    sql: &'static str,
    expected: &[String],
) -> bool {
    let began = std::time::Instant::now();
    loop {
        if daemon.has_died() {
            return true;
        }
        let found = rows(data, sql).await;
        if found == expected {
            return false;
        }
        assert!(began.elapsed() < SOON, "{found:?} instead of {expected:?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Kills a process at each point of its work in turn; the next one has to come to `expected`.
async fn sweep_work(
    scene: &Scene,
    arguments: &[&str],
    (sql, expected): (&'static str, &[String]),
    check: impl AsyncFn(&Path, &str),
) -> u64 {
    for at in 1.. {
        let folder = memory_folder();
        let data = folder.path().join("data");
        copy(scene.data.path(), &data);
        let mut daemon = Daemon::start(&data, Crash::at(at), arguments);
        let died = died_before(&mut daemon, &data, sql, expected).await;
        drop(daemon);
        let mut daemon = Daemon::start(&data, Crash::NONE, arguments);
        assert!(!died_before(&mut daemon, &data, sql, expected).await);
        drop(daemon);
        check(&data, &format!("point {at}")).await;
        if !died {
            return at - 1;
        }
    }
    unreachable!("the work has no end");
}

#[tokio::test(flavor = "multi_thread")]
async fn deliveries_are_made_at_least_once_and_in_order() {
    let scene = Scene::new();
    let receiver = Receiver::start();
    let mut daemon = Daemon::start(scene.data.path(), Crash::NONE, &WITHOUT_WORK);
    let events = ["sync.queued", "sync.in_progress", "sync.completed", "push"];
    let body = json!({ "url": receiver.url(), "events": events });
    let client = scene.client(&mut daemon);
    client.post("/v1/default/webhook-targets", body).ok(201);
    drop(daemon);
    let store = scene.store(scene.data.path()).await;
    let run = scene.queue(&store, "app").await;
    let working = ["--workers", "1", "--no-deliveries"];
    let daemon = Daemon::start(scene.data.path(), Crash::NONE, &working);
    loop {
        let length = store.queue_length().await.expect("read");
        if length.queued + length.running == 0 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    drop(daemon);
    store.close().await;
    let seen = std::cell::Cell::new(0);
    let sql = "select state from deliveries order by sequence";
    let expected = vec!["delivered".to_owned(); 4];
    let points = sweep_work(
        &scene,
        &["--workers", "0"],
        (sql, &expected),
        async |_, what| {
            let received = receiver.received();
            let mut ids = Vec::new();
            let mut kinds = Vec::new();
            for one in &received[seen.replace(received.len())..] {
                let event = one.json();
                if event["type"] == "push" {
                    continue;
                }
                assert_eq!(event["data"]["sync"]["id"], json!(run.1.id), "{what}");
                if !ids.contains(&event["id"]) {
                    ids.push(event["id"].clone());
                    kinds.push(event["type"].clone());
                }
            }
            assert_eq!(json!(kinds), json!(events[..3]), "{what}");
        },
    )
    .await;
    assert!(points > 10, "{points}");
}

#[tokio::test(flavor = "multi_thread")]
async fn retention_that_is_broken_off_is_taken_up() {
    const LEFT: &str = "select id from sync_runs union all select id from repos
        union all select host from hosts order by 1";
    let scene = Scene::new();
    let store = scene.store(scene.data.path()).await;
    let (app, gone) = (
        scene.repo(&store, "app").await,
        scene.repo(&store, "gone").await,
    );
    store.close().await;
    let mut daemon = Daemon::start(scene.data.path(), Crash::NONE, &["--workers", "1"]);
    let client = scene.client(&mut daemon);
    for name in ["app", "gone", "app", "app"] {
        let syncs = format!("/v1/default/{name}/upstream/syncs");
        let run = client.post(&syncs, json!({ "direction": "pull" })).ok(201);
        let id = run["id"].as_str().expect("an id");
        client.get(&format!("{syncs}/{id}?wait=60")).ok(200);
    }
    client.delete("/v1/default/gone").ok(200);
    drop(daemon);
    // The last that retention removes.
    rows(
        scene.data.path(),
        "insert into hosts (host, not_before) values ('old', 1) returning host",
    )
    .await;
    assert_eq!(rows(scene.data.path(), LEFT).await.len(), 7);

    // The last run, and the one that has its stats.
    let mut expected: Vec<String> = rows(
        scene.data.path(),
        "select r.id from sync_runs r join repos p on p.id = r.repo where p.name = 'app' order by r.id",
    )
    .await;
    expected.remove(0);
    expected.push(app.id.to_string());
    expected.sort();
    let points = sweep_work(
        &scene,
        &WITHOUT_WORK,
        (LEFT, &expected),
        async |data, what| {
            assert!(
                data.join(format!("repos/{}.git", app.id)).exists(),
                "{what}"
            );
            assert!(
                !data.join(format!("repos/{}.git", gone.id)).exists(),
                "{what}"
            );
            let mut daemon = Daemon::start(data, Crash::NONE, &WITHOUT_WORK);
            let client = scene.client(&mut daemon);
            let page = client.get("/v1/default/app/upstream/syncs").ok(200);
            assert_eq!(page["syncs"].as_array().map(Vec::len), Some(2), "{what}");
            for run in page["syncs"].as_array().expect("runs") {
                let id = run["id"].as_str().expect("an id");
                let run = client
                    .get(&format!("/v1/default/app/upstream/syncs/{id}"))
                    .ok(200);
                assert_eq!(
                    run["stats"]["refs"].as_array().map(Vec::len),
                    Some(2),
                    "{what}: {run}"
                );
            }
        },
    )
    .await;
    assert!(points > 8, "{points}");
}
