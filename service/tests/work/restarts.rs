//! PostgreSQL: the service dies at each statement of a run, and the server restarts while runs are worked on.

use std::time::{Duration, Instant};

use refsync_service::{
    clock,
    records::{Name, Repo, Status, SyncRun},
    store::{DatabaseAddress, Store},
};
use serde_json::{Value, json};

use crate::{
    daemon::{Crash, Daemon, Scene},
    engine::git,
    support::{Client, Server, Upstream, postgres},
    world::SOON,
};

fn address(text: &str) -> DatabaseAddress {
    text.parse().expect("an address")
}

/// The types of the events of each run or repository, in their order.
pub async fn events_of(database: &str, subject: &str) -> Vec<String> {
    let pool = sqlx::PgPool::connect(database).await.expect("a connection");
    let sql = "select type from events where subject = $1 order by sequence";
    let types = sqlx::query_scalar(sql).bind(subject).fetch_all(&pool).await;
    pool.close().await;
    types.expect("events")
}

/// Waits until nothing is queued or in progress.
pub async fn until_empty(store: &Store, what: &str) {
    let began = Instant::now();
    loop {
        let length = store.queue_length().await.expect("read");
        if length.queued + length.running == 0 {
            return;
        }
        assert!(began.elapsed() < SOON, "{what}: {length:?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn check(scene: &Scene, database: &str, store: &Store, (repo, run): &(Repo, SyncRun)) {
    let read = store.sync_run(&repo.id, &run.id).await.expect("read");
    let read = read.expect("the run");
    assert_eq!(read.status, Status::Completed, "{read:?}");
    let expected = ["sync.queued", "sync.in_progress", "sync.completed"];
    assert_eq!(events_of(database, run.id.as_str()).await, expected);
    assert_eq!(events_of(database, repo.id.as_str()).await, ["push"]);
    let folder = scene.data.path().join("repos");
    let local = git::Repo::at(folder.join(format!("{}.git", repo.id)));
    local.fsck();
    let upstream = scene.upstreams.repo(&format!("{}.git", repo.name));
    assert_eq!(local.for_each_ref(), upstream.for_each_ref());
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_every_statement_of_a_run_on_postgresql() {
    let scene = Scene::new();
    let mut at = 1;
    loop {
        let Some(database) = postgres::database() else {
            return;
        };
        let store = Store::open(&address(&database)).await.expect("a database");
        let slug = Name::new("default").expect("a name");
        let made = store.create_org(&slug, "Default", clock::now()).await;
        made.expect("stored");
        let run = scene.queue(&store, &format!("app{at}")).await;
        let arguments = ["--workers", "2", "--database", &database];
        let mut daemon = Daemon::start(scene.data.path(), Crash::at(at), &arguments);
        let died = daemon.dies_at_work(&store, at).await;
        drop(daemon);
        let again = Daemon::start(scene.data.path(), Crash::NONE, &arguments);
        until_empty(&store, &format!("statement {at}")).await;
        drop(again);
        check(&scene, &database, &store, &run).await;
        store.close().await;
        if !died {
            break;
        }
        // A sample: each of the other points is one of the same transactions.
        at += 2;
    }
    assert!(at > 10, "{at}");
}

/// Calls until the service answers with something else than that it is not ready.
fn patient(client: &Client, method: &str, path: &str, body: Option<&Value>) -> Value {
    let began = Instant::now();
    loop {
        let bytes = body.map(|body| body.to_string().into_bytes());
        let kind = [("content-type", "application/json")];
        let kind = if body.is_some() { &kind[..] } else { &[] };
        let answer = client.call(method, path, bytes.as_deref(), kind);
        if answer.status != 503 {
            assert!(answer.status < 300, "{}: {}", answer.request, answer.text);
            return answer.json;
        }
        assert!(began.elapsed() < SOON, "{}", answer.text);
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn runs_go_on_when_the_server_restarts() {
    let Some(mut server) = postgres::Server::start() else {
        return;
    };
    let database = server.database("refsyncd");
    let upstream = Upstream::start();
    let service = Server::start_with(|config| {
        config.database = address(&database);
        // A claim whose commit was lost with the connection waits for the end of its lease.
        config.lease = Duration::from_secs(3);
        config.retry.first_wait = Duration::from_millis(10);
        config.workers = 3;
    });
    let client = service.client();
    let names: Vec<String> = (0..6).map(|number| format!("r{number}")).collect();
    for name in &names {
        upstream.repo(&format!("{name}.git"));
        let url = upstream.url(&format!("{name}.git"));
        let body = json!({ "name": name, "upstream": { "url": url } });
        patient(&client, "POST", "/v1/default/repos", Some(&body));
    }
    let mut runs = Vec::new();
    for (round, signal) in ["INT", "QUIT", "INT", ""].into_iter().enumerate() {
        for name in &names {
            let path = format!("/v1/default/{name}/upstream/syncs");
            // Other globs in each round: none is equal to one that waits.
            let globs = json!({ "branches": "*", "tags": format!("v{round}*") });
            let body = json!({ "direction": "pull", "ref_globs": globs });
            let run = patient(&client, "POST", &path, Some(&body));
            runs.push(format!("{path}/{}", run["id"].as_str().expect("an id")));
        }
        if !signal.is_empty() {
            server.restart(signal);
        }
    }
    for path in &runs {
        let began = Instant::now();
        let run = loop {
            let run = patient(&client, "GET", path, None);
            if run["finished_at"].is_string() {
                break run;
            }
            assert!(began.elapsed() < SOON, "{run}");
            std::thread::sleep(Duration::from_millis(20));
        };
        assert_eq!(run["status"], "completed", "{run}");
        let subject = run["id"].as_str().expect("an id");
        let events = service.block_on(events_of(&database, subject));
        let expected = ["sync.queued", "sync.in_progress", "sync.completed"];
        assert_eq!(events, expected, "{run}");
    }
    assert_eq!(client.get("/readyz").status, 200);
    drop(server);
    assert_eq!(client.get("/readyz").status, 503);
    assert_eq!(client.get("/healthz").status, 200);
}
