//! The whole way of an upstream: configured, pulled from, pushed to, watched by a webhook target.

#![cfg(feature = "server")]

mod canary;
mod echo;
mod peers;
mod schedules;
#[path = "../support/mod.rs"]
mod support;

use serde_json::{Value, json};
use support::{Received, Receiver, Server, Upstream};

const REPOS: &str = "/v1/default/repos";

fn types(received: &[Received]) -> Vec<String> {
    let kind = |one: &Received| one.json()["type"].as_str().expect("a type").to_owned();
    received.iter().map(kind).collect()
}

fn target(server: &Server, receiver: &Receiver, events: Value) -> Value {
    let body = json!({ "url": receiver.url(), "events": events });
    server
        .client()
        .post("/v1/default/webhook-targets", body)
        .ok(201)
}

#[test]
fn a_pull_is_told_as_events_in_order() {
    let (server, upstream, receiver) = (Server::start(), Upstream::start(), Receiver::start());
    let source = upstream.repo("up.git");
    let events = json!([
        "sync.queued",
        "sync.in_progress",
        "sync.completed",
        "sync.failed",
        "push"
    ]);
    target(&server, &receiver, events);
    let repo = server.repo(json!({ "name": "app", "upstream": { "url": upstream.url("up.git") } }));
    assert_eq!(repo["upstream"]["latest_sync"], Value::Null);

    let run = server.sync("app", json!({ "direction": "pull" }));
    assert_eq!(run["status"], "completed", "{run}");
    let refs = run["stats"]["refs"].as_array().expect("refs");
    assert_eq!(refs.len(), 1, "{run}");
    let tip = source.git(&["rev-parse", "main"]).trim().to_owned();
    assert_eq!(
        json!([
            refs[0]["name"],
            refs[0]["before"],
            refs[0]["after"],
            refs[0]["outcome"]
        ]),
        json!(["refs/heads/main", null, tip, "updated"])
    );

    let received = receiver.wait_for(4);
    let mut sync = types(&received);
    // The push is another subject than the run.
    let push = sync.iter().position(|kind| kind == "push").expect("a push");
    sync.remove(push);
    assert_eq!(sync, ["sync.queued", "sync.in_progress", "sync.completed"]);
    let push = received[push].json();
    assert_eq!(push["data"]["updates"][0]["after"], json!(tip), "{push}");
    assert_eq!(push["data"]["updates"][0]["action"], "created", "{push}");

    // What a target gets is what a client reads.
    let repo = server.client().get("/v1/default/app").ok(200);
    assert_eq!(repo["upstream"]["latest_sync"]["id"], run["id"]);
    assert_ne!(repo["head_change_id"], "z".repeat(32));
}

#[test]
fn a_pull_that_moves_nothing_emits_no_push() {
    let (server, upstream, receiver) = (Server::start(), Upstream::start(), Receiver::start());
    upstream.repo("up.git");
    server.repo(json!({ "name": "app", "upstream": { "url": upstream.url("up.git") } }));
    server.sync("app", json!({ "direction": "pull" }));
    target(&server, &receiver, json!(["push", "sync.completed"]));
    let run = server.sync("app", json!({ "direction": "pull" }));
    assert_eq!(run["stats"]["refs"][0]["outcome"], "unchanged", "{run}");
    assert_eq!(types(&receiver.wait_for(1)), ["sync.completed"]);
}

#[test]
fn a_push_reaches_the_upstream() {
    let (server, upstream) = (Server::start(), Upstream::start());
    let first = upstream.repo("first.git");
    let second = upstream.empty("second.git");
    server.repo(json!({ "name": "app", "upstream": { "url": upstream.url("first.git") } }));
    server.sync("app", json!({ "direction": "pull" }));
    let change = json!({ "upstream": { "url": upstream.url("second.git") } });
    server.client().patch("/v1/default/app", change).ok(200);
    let run = server.sync(
        "app",
        json!({ "direction": "push", "ref_globs": { "branches": "main" } }),
    );
    assert_eq!(run["status"], "completed", "{run}");
    assert_eq!(run["ref_globs"], json!({ "branches": "main", "tags": "" }));
    assert_eq!(second.for_each_ref(), first.for_each_ref());
}

#[test]
fn a_dry_run_changes_nothing_and_is_never_the_latest() {
    let (server, upstream, receiver) = (Server::start(), Upstream::start(), Receiver::start());
    upstream.repo("up.git");
    target(
        &server,
        &receiver,
        json!(["push", "sync.queued", "sync.completed"]),
    );
    server.repo(json!({ "name": "app", "upstream": { "url": upstream.url("up.git") } }));
    let syncs = "/v1/default/app/upstream/syncs";
    let queued = server
        .client()
        .post(
            &format!("{syncs}?dry_run=true"),
            json!({ "direction": "pull" }),
        )
        .ok(201);
    let run = server.ended("app", queued["id"].as_str().expect("an id"));
    assert_eq!(
        json!([run["status"], run["dry_run"]]),
        json!(["completed", true])
    );
    assert_eq!(run["stats"]["refs"][0]["outcome"], "updated", "{run}");
    let repo = server.client().get("/v1/default/app").ok(200);
    assert_eq!(repo["upstream"]["latest_sync"], Value::Null);
    assert_eq!(repo["head_change_id"], "z".repeat(32));
    let listed = server.client().get(syncs).ok(200);
    assert_eq!(listed["syncs"][0]["id"], run["id"]);
    // A run that is no dry run comes after it, and is the first that anybody is told of.
    let run = server.sync("app", json!({ "direction": "pull" }));
    let first = receiver.wait_for(1)[0].json();
    assert_eq!(first["data"]["sync"]["id"], run["id"]);
}

#[test]
fn an_upstream_that_is_not_there_fails_the_run() {
    let (server, upstream, receiver) = (Server::start(), Upstream::start(), Receiver::start());
    target(&server, &receiver, json!(["sync.failed"]));
    server.repo(json!({ "name": "app", "upstream": { "url": upstream.url("none.git") } }));
    let run = server.sync("app", json!({ "direction": "pull" }));
    assert_eq!(
        json!([run["status"], run["error_code"]]),
        json!(["failed", "not_found"]),
        "{run}"
    );
    assert!(run["error"].is_string());
    let failed = receiver.wait_for(1)[0].json();
    assert_eq!(failed["data"]["sync"]["error"], run["error"]);
}

#[test]
fn a_repository_without_an_upstream_is_not_synced() {
    let server = Server::start();
    server.repo(json!({ "name": "app" }));
    let body = json!({ "direction": "pull" });
    let refused = server.client().post("/v1/default/app/upstream/syncs", body);
    refused.refused(409, "NO_UPSTREAM");
    assert_eq!(
        server.client().get(REPOS).ok(200)["repos"][0]["upstream"],
        Value::Null
    );
}
