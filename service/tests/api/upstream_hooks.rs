//! Calls by upstreams, as they would make them.

use std::{fmt::Write as _, time::Duration};

use refsync_service::store::Counters;
use ring::hmac;
use serde_json::{Value, json};

use crate::support::{Answer, Client, Server, Upstream};

const HOOK: &str = "/v1/default/app/upstream/hook";
const SYNCS: &str = "/v1/default/app/upstream/syncs";

/// A hook as its upstream knows it.
struct Hook {
    caller: Client,
    path: String,
    secret: String,
}

impl Hook {
    #[track_caller]
    fn made(server: &Server, provider: &str) -> Self {
        let made = server
            .client()
            .post(HOOK, json!({ "provider": provider }))
            .ok(201);
        let text = |key: &str| made[key].as_str().expect(key).to_owned();
        let path = text("url")
            .strip_prefix(&server.url())
            .expect("our address")
            .to_owned();
        Hook {
            caller: server.stranger(),
            path,
            secret: text("secret"),
        }
    }

    fn digits(&self, body: &str) -> String {
        let key = hmac::Key::new(hmac::HMAC_SHA256, self.secret.as_bytes());
        let mut digits = String::new();
        for byte in hmac::sign(&key, body.as_bytes()).as_ref() {
            write!(digits, "{byte:02x}").expect("digits");
        }
        digits
    }

    #[track_caller]
    fn sent(&self, body: &str, headers: &[(&str, &str)]) -> Answer {
        self.caller
            .call("POST", &self.path, Some(body.as_bytes()), headers)
    }

    /// A call as GitHub makes it.
    #[track_caller]
    fn github(&self, event: &str) -> Answer {
        let body = r#"{"zen":"Anything added dilutes everything else."}"#;
        let signature = format!("sha256={}", self.digits(body));
        let headers = [
            ("content-type", "application/x-www-form-urlencoded"),
            ("x-github-event", event),
            ("x-hub-signature-256", signature.as_str()),
        ];
        self.sent(body, &headers)
    }
}

/// A server whose repository `app` has an upstream, and that runs nothing.
fn idle() -> Server {
    let server = Server::start_with(|config| {
        config.workers = 0;
        config.deliveries = false;
    });
    let url = "https://git.example.com/app.git";
    server.repo(json!({ "name": "app", "upstream": { "url": url } }));
    server
}

fn runs(server: &Server) -> Vec<Value> {
    server.client().all(SYNCS, "syncs", 100)
}

#[test]
fn a_call_of_each_service_starts_a_pull() {
    for provider in ["github", "gitlab", "gitea", "bitbucket"] {
        let server = idle();
        let hook = Hook::made(&server, provider);
        let body = "not JSON";
        let digits = hook.digits(body);
        let prefixed = format!("sha256={digits}");
        let (event, name, value) = match provider {
            "github" => (("x-github-event", "push"), "x-hub-signature-256", &prefixed),
            "gitlab" => (
                ("x-gitlab-event", "Tag Push Hook"),
                "x-gitlab-token",
                &hook.secret,
            ),
            "gitea" => (("x-gitea-event", "create"), "x-gitea-signature", &digits),
            _ => (("x-event-key", "repo:push"), "x-hub-signature", &prefixed),
        };
        for wrong in ["", "0", &format!("{value}0"), "sha256=", &"0".repeat(64)] {
            let refused = hook.sent(body, &[event, (name, wrong)]);
            refused.refused(403, "FORBIDDEN");
        }
        hook.sent(body, &[event]).refused(403, "FORBIDDEN");
        assert_eq!(runs(&server).len(), 0, "{provider}");
        let answer = hook.sent(body, &[event, (name, value)]).ok(202);
        let runs = runs(&server);
        assert_eq!(runs.len(), 1, "{provider}");
        let run = &runs[0];
        assert_eq!(answer["sync_id"], run["id"]);
        assert_eq!(
            json!([run["direction"], run["source"], run["ref_globs"]]),
            json!(["pull", "hook", { "branches": "*", "tags": "*" }])
        );
    }
}

#[test]
fn a_call_pulls_what_the_schedule_pulls() {
    let server = idle();
    let hook = Hook::made(&server, "github");
    let client = server.client();
    let globs = json!({ "branches": "main", "tags": "" });
    let all = json!({ "branches": "*", "tags": "*" });
    for (direction, expected) in [("push", all), ("pull", globs)] {
        let schedule = json!({
            "direction": direction, "interval_seconds": 86_400, "ref_globs": { "branches": "main" },
        });
        let upstream = json!({ "url": "https://git.example.com/app.git", "schedule": schedule });
        let change = json!({ "upstream": upstream });
        client.patch("/v1/default/app", change).ok(200);
        let answer = hook.github("push").ok(202);
        assert_eq!(hook.github("push").ok(202), answer, "a burst is one run");
        let run = &runs(&server)[0];
        assert_eq!(run["id"], answer["sync_id"]);
        assert_eq!(
            json!([run["direction"], run["ref_globs"]]),
            json!(["pull", expected])
        );
    }
}

#[test]
fn a_call_of_a_parked_upstream_is_taken_and_starts_nothing() {
    let server = idle();
    let hook = Hook::made(&server, "github");
    let file = server.data().join("refsyncd.db");
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(file);
    server.block_on(async {
        let pool = sqlx::SqlitePool::connect_with(options).await;
        let pool = pool.expect("a connection");
        let sql = "update upstreams set is_parked = true";
        sqlx::query(sql).execute(&pool).await.expect("written");
        pool.close().await;
    });
    assert_eq!(hook.github("push").ok(202)["sync_id"], Value::Null);
    assert_eq!(runs(&server).len(), 0);
    let upstream = json!({ "url": "https://git.example.com/app.git" });
    let change = json!({ "upstream": upstream });
    server.client().patch("/v1/default/app", change).ok(200);
    assert!(hook.github("push").ok(202)["sync_id"].is_string());
}

#[test]
fn a_burst_becomes_one_run_and_writes_once() {
    let server = idle();
    let hook = Hook::made(&server, "github");
    let first = hook.github("push").ok(202);
    let before = server.service().store.counters();
    for _ in 0..20 {
        assert_eq!(hook.github("push").ok(202), first);
    }
    let reads = before.reads + 20;
    assert_eq!(
        server.service().store.counters(),
        Counters { reads, ..before },
        "a call of many only reads, once"
    );
    assert_eq!(runs(&server).len(), 1);
    // A client's run that waits is raised, not doubled.
    let (server, body) = (idle(), json!({ "direction": "pull" }));
    let hook = Hook::made(&server, "github");
    let queued = server.client().post(SYNCS, body).ok(201);
    assert_eq!(hook.github("push").ok(202)["sync_id"], queued["id"]);
    assert_eq!(runs(&server)[0]["source"], "hook");
}

/// It is taken all the same: the caller did what it should.
#[test]
fn a_call_of_a_parked_upstream_starts_nothing() {
    let server = idle();
    let hook = Hook::made(&server, "github");
    server.block_on(async {
        let file = server.data().join("refsyncd.db");
        let options = sqlx::sqlite::SqliteConnectOptions::new().filename(file);
        let pool = sqlx::SqlitePool::connect_with(options)
            .await
            .expect("a pool");
        let sql = "update upstreams set is_parked = true, next_run_at = null";
        sqlx::query(sql).execute(&pool).await.expect("parked");
        pool.close().await;
    });
    let parked = hook.github("push").ok(202);
    assert_eq!(parked, json!({ "sync_id": null }));
    assert_eq!(runs(&server).len(), 0);
}

#[test]
fn events_that_move_no_refs_start_nothing() {
    let server = idle();
    let hook = Hook::made(&server, "github");
    for event in ["ping", "issues", "star", "delete", ""] {
        let answer = hook.github(event).ok(202);
        assert_eq!(answer, json!({ "sync_id": null }), "{event}");
    }
    assert_eq!(runs(&server).len(), 0);
}

#[test]
fn an_address_that_is_not_the_hooks_leads_nowhere() {
    let server = idle();
    let hook = Hook::made(&server, "github");
    let stranger = server.stranger();
    let (start, token) = hook.path.rsplit_once('/').expect("a token");
    let unknown = format!("/v1/hooks/hook_{}/{token}", "0".repeat(32));
    for path in [
        format!("{}x", hook.path),
        format!("{start}/{}", "A".repeat(43)),
        format!("/v1/hooks/x/{token}"),
        unknown,
    ] {
        stranger
            .call("POST", &path, Some(b"{}"), &[])
            .refused(404, "NOT_FOUND");
    }
    stranger
        .call("POST", &format!("{start}/"), None, &[])
        .refused(404, "NOT_FOUND");
    stranger.get(&hook.path).refused(405, "METHOD_NOT_ALLOWED");
    hook.github("push").ok(202);
}

#[test]
fn a_body_has_a_limit_and_may_be_large() {
    let server = idle();
    let hook = Hook::made(&server, "github");
    let large = "x".repeat(3 << 20);
    let signature = format!("sha256={}", hook.digits(&large));
    let headers = [
        ("x-github-event", "push"),
        ("x-hub-signature-256", signature.as_str()),
    ];
    hook.sent(&large, &headers).ok(202);
    let larger = "x".repeat((32 << 20) + 1);
    hook.sent(&larger, &headers)
        .refused(413, "PAYLOAD_TOO_LARGE");
}

#[test]
fn a_hook_ends_with_what_it_is_of() {
    let server = idle();
    let client = server.client();
    let first = Hook::made(&server, "github");
    // Another one takes its place.
    let second = Hook::made(&server, "github");
    assert_ne!(first.secret, second.secret);
    first.github("push").refused(404, "NOT_FOUND");
    second.github("push").ok(202);
    // Another address of the upstream keeps it.
    let other = json!({ "upstream": { "url": "https://git.example.com/other.git" } });
    client.patch("/v1/default/app", other.clone()).ok(200);
    second.github("push").ok(202);
    client.delete(HOOK).ok(200);
    second.github("push").refused(404, "NOT_FOUND");
    client.delete(HOOK).refused(404, "NOT_FOUND");

    let third = Hook::made(&server, "github");
    client
        .patch("/v1/default/app", json!({ "upstream": null }))
        .ok(200);
    third.github("push").refused(404, "NOT_FOUND");
    client.delete(HOOK).refused(404, "NOT_FOUND");
    let refused = client.post(HOOK, json!({ "provider": "github" }));
    refused.refused(409, "NO_UPSTREAM");
    // A new upstream is another one: its hook is not that of the old one.
    client.patch("/v1/default/app", other).ok(200);
    third.github("push").refused(404, "NOT_FOUND");
    let last = Hook::made(&server, "github");
    client.delete("/v1/default/app").ok(200);
    last.github("push").refused(404, "NOT_FOUND");
}

#[test]
fn bodies_that_make_no_hook() {
    let server = idle();
    for body in [
        json!({}),
        json!({ "provider": "other" }),
        json!({ "provider": null }),
        json!({ "provider": "github", "secret": "x" }),
    ] {
        server
            .client()
            .post(HOOK, body)
            .refused(400, "INVALID_BODY");
    }
}

/// The run that is under way may have listed the upstream's refs already.
#[test]
fn a_call_during_a_run_starts_one_more_after_it() {
    let server = Server::start_with(|config| config.queue.hook_distance = Duration::ZERO);
    let upstream = Upstream::start();
    let source = upstream.repo("up.git");
    server.repo(json!({ "name": "app", "upstream": { "url": upstream.url("up.git") } }));
    let hook = Hook::made(&server, "github");
    let id = |answer: &Value| answer["sync_id"].as_str().expect("a sync").to_owned();
    let first = id(&hook.github("push").ok(202));
    // The first answer after the start: whether the run has ended by now or not, there is another one.
    loop {
        let run = server.client().get(&format!("{SYNCS}/{first}")).ok(200);
        if run["status"] != "queued" {
            break;
        }
    }
    source.commit("later", &[], "later", &[("file", "2\n")], 1_700_000_100);
    let second = id(&hook.github("push").ok(202));
    assert_ne!(first, second);
    let run = server.ended("app", &second);
    assert_eq!(run["status"], "completed", "{run}");
    let refs = run["stats"]["refs"].as_array().expect("refs");
    let later = refs.iter().any(|one| one["name"] == "refs/heads/later");
    assert!(later, "{run}");
}
