//! Upstreams that are synced by themselves, until they refuse too often.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::{Server, Upstream};

const PATH: &str = "/v1/default/app";
const SYNCS: &str = "/v1/default/app/upstream/syncs";

/// A generous bound on what takes a second.
const SOON: Duration = Duration::from_secs(60);

/// Lets the time of all schedules come now: an interval is a minute at least.
fn come(server: &Server) {
    let file = server.data().join("refsyncd.db");
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(file);
    server.block_on(async {
        let pool = sqlx::SqlitePool::connect_with(options)
            .await
            .expect("a connection");
        let sql = "update upstreams set next_run_at = 0 where next_run_at is not null";
        sqlx::query(sql).execute(&pool).await.expect("written");
        pool.close().await;
    });
}

fn runs(server: &Server) -> Vec<Value> {
    server.client().all(SYNCS, "syncs", 100)
}

fn upstream(server: &Server) -> Value {
    server.client().get(PATH).ok(200)["upstream"].take()
}

/// The newest run after its end, once there are so many.
#[track_caller]
fn ended(server: &Server, count: usize) -> Value {
    let began = Instant::now();
    loop {
        let runs = runs(server);
        if runs.len() == count {
            return server.ended("app", runs[0]["id"].as_str().expect("an id"));
        }
        assert!(began.elapsed() < SOON, "{count}: {runs:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn an_upstream_is_pulled_by_its_schedule() {
    let (server, upstreams) = (Server::start(), Upstream::start());
    let source = upstreams.repo("up.git");
    let schedule = json!({ "direction": "pull", "interval_seconds": 60 });
    let wanted = json!({ "url": upstreams.url("up.git"), "schedule": schedule });
    server.repo(json!({ "name": "app", "upstream": wanted }));
    come(&server);
    let run = ended(&server, 1);
    assert_eq!(
        json!([run["status"], run["source"], run["direction"]]),
        json!(["completed", "schedule", "pull"]),
        "{run}"
    );
    let main = source.git(&["rev-parse", "main"]);
    source.commit("main", &[&main], "two", &[("file", "2\n")], 1_700_000_100);
    come(&server);
    let run = ended(&server, 2);
    let tip = source.git(&["rev-parse", "main"]);
    assert_eq!(run["stats"]["refs"][0]["after"], json!(tip), "{run}");
    let health = upstream(&server)["health"].take();
    assert_eq!(
        json!([health["state"], health["failures"]]),
        json!(["ok", 0])
    );
    assert!(health["next_run_at"].is_string(), "{health}");
}

#[test]
fn an_upstream_that_refuses_is_parked_and_resumed() {
    let upstreams = Upstream::start_with(|server| server.auth("me", "right"));
    upstreams.repo("up.git");
    let server = Server::start_with(|config| config.park_after = 2);
    let client = server.client();
    let with = |password: &str| {
        let auth = json!({ "kind": "username_password", "username": "me", "password": password });
        let schedule = json!({ "direction": "pull", "interval_seconds": 60 });
        json!({ "url": upstreams.url("up.git"), "auth": auth, "schedule": schedule })
    };
    server.repo(json!({ "name": "app", "upstream": with("wrong") }));
    for (number, state) in [(1, "failing"), (2, "parked")] {
        come(&server);
        let run = ended(&server, number);
        assert_eq!(run["error_code"], "authentication", "{run}");
        let health = upstream(&server)["health"].take();
        assert_eq!(
            json!([health["state"], health["failures"], health["reason"]]),
            json!([state, number, "authentication"])
        );
        assert_eq!(
            health["next_run_at"].is_null(),
            state == "parked",
            "{health}"
        );
    }
    // Nothing is due any more. A run that is asked for goes to the upstream, and is the only one.
    upstreams.server.reset_counts();
    come(&server);
    let asked = server.sync("app", json!({ "direction": "pull" }));
    assert_eq!(asked["error_code"], "authentication", "{asked}");
    assert_eq!(runs(&server).len(), 3);
    assert_eq!(upstream(&server)["health"]["state"], "parked", "again");
    let refused = upstreams.server.requests().len();

    let change = json!({ "upstream": with("right") });
    let resumed = client.patch(PATH, change).ok(200);
    let health = &resumed["upstream"]["health"];
    assert_eq!(
        json!([health["state"], health["failures"]]),
        json!(["ok", 0])
    );
    come(&server);
    let run = ended(&server, 4);
    assert_eq!(
        json!([run["status"], run["source"]]),
        json!(["completed", "schedule"]),
        "{run}"
    );
    assert!(upstreams.server.requests().len() > refused);
    assert_eq!(upstream(&server)["health"]["state"], "ok");
}
