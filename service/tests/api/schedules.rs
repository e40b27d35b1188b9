//! Schedules of upstreams and their health.

use serde_json::{Value, json};

use crate::support::{Client, Server};

const PATH: &str = "/v1/default/app";
const URL: &str = "https://git.example.com/acme/app.git";

/// A service that queues nothing while a test looks: its schedules begin hours later.
fn idle_server() -> Server {
    Server::start_with(|config| config.workers = 0)
}

fn daily() -> Value {
    json!({ "direction": "pull", "interval_seconds": 86_400 })
}

fn upstream(client: &Client) -> Value {
    client.get(PATH).ok(200)["upstream"].take()
}

#[test]
fn a_schedule_has_three_values() {
    let server = idle_server();
    let client = server.client();
    server.repo(json!({ "name": "app", "upstream": { "url": URL } }));
    let well = json!({ "state": "ok", "failures": 0, "reason": null, "next_run_at": null });
    assert_eq!(upstream(&client)["schedule"], Value::Null);
    assert_eq!(upstream(&client)["health"], well);
    let change = |upstream: Value| {
        let mut repo = client.patch(PATH, json!({ "upstream": upstream })).ok(200);
        repo["upstream"].take()
    };
    let all = json!({ "branches": "*", "tags": "*" });
    let set = change(json!({ "url": URL, "schedule": daily() }));
    let expected = json!({ "direction": "pull", "interval_seconds": 86_400, "ref_globs": all });
    assert_eq!(set["schedule"], expected);
    assert!(set["health"]["next_run_at"].is_string(), "{set}");
    let kept = change(json!({ "url": URL }));
    assert_eq!(kept, set, "left out, it stays, and so does its time");
    let other =
        json!({ "direction": "push", "interval_seconds": 60, "ref_globs": { "tags": "v*" } });
    let other = change(json!({ "url": URL, "schedule": other }));
    let globs = json!({ "branches": "", "tags": "v*" });
    assert_eq!(
        other["schedule"],
        json!({ "direction": "push", "interval_seconds": 60, "ref_globs": globs }),
        "an object replaces it as a whole"
    );
    client.patch(PATH, json!({ "tags": { "a": "b" } })).ok(200);
    assert_eq!(upstream(&client)["schedule"], other["schedule"]);
    let cleared = change(json!({ "url": URL, "schedule": null }));
    assert_eq!(cleared["schedule"], Value::Null);
    assert_eq!(cleared["health"], well);
    change(json!({ "url": URL, "schedule": daily() }));
    client.patch(PATH, json!({ "upstream": null })).ok(200);
    let anew = change(json!({ "url": URL }));
    assert_eq!(anew["schedule"], Value::Null, "it goes with its upstream");
}

#[test]
fn creating_with_a_schedule_is_creating_and_changing() {
    let server = idle_server();
    let client = server.client();
    for schedule in [Value::Null, daily()] {
        let wanted = json!({ "upstream": { "url": URL, "schedule": schedule } });
        let mut one = server.repo(wanted.clone());
        let two = server.repo(json!({}));
        let path = format!("/v1/default/{}", two["name"].as_str().expect("a name"));
        let mut two = client.patch(&path, wanted).ok(200);
        for repo in [&mut one, &mut two] {
            let next = repo["upstream"]["health"]["next_run_at"].take();
            assert_eq!(next.is_string(), schedule.is_object(), "{next}");
        }
        assert_eq!(one["upstream"], two["upstream"]);
    }
    let listed = client.get("/v1/default/repos").ok(200);
    assert_eq!(
        listed["repos"][2]["upstream"]["schedule"]["direction"],
        "pull"
    );
}

#[test]
fn schedules_that_are_refused() {
    let server = idle_server();
    let client = server.client();
    server.repo(json!({ "name": "app", "upstream": { "url": URL, "schedule": daily() } }));
    let before = client.get("/v1/default/repos").ok(200);
    let with = |key: &str, value: Value| {
        let mut schedule = daily();
        schedule[key] = value;
        schedule
    };
    for (schedule, code) in [
        (json!([]), "INVALID_BODY"),
        (json!(["pull", 3600]), "INVALID_BODY"),
        (json!("hourly"), "INVALID_BODY"),
        (json!(3600), "INVALID_BODY"),
        (json!(true), "INVALID_BODY"),
        (json!({}), "INVALID_BODY"),
        (json!({ "direction": "pull" }), "INVALID_BODY"),
        (json!({ "interval_seconds": 3600 }), "INVALID_BODY"),
        (with("direction", json!("both")), "INVALID_BODY"),
        (with("direction", Value::Null), "INVALID_BODY"),
        (with("interval_seconds", Value::Null), "INVALID_BODY"),
        (with("interval_seconds", json!("60")), "INVALID_BODY"),
        (with("interval_seconds", json!(60.5)), "INVALID_BODY"),
        (with("interval_seconds", json!(-60)), "INVALID_BODY"),
        (with("interval_seconds", json!(1_u64 << 32)), "INVALID_BODY"),
        (with("interval_seconds", json!(1e30)), "INVALID_BODY"),
        (with("interval_seconds", json!(0)), "INVALID_SCHEDULE"),
        (with("interval_seconds", json!(59)), "INVALID_SCHEDULE"),
        (with("interval_seconds", json!(86_401)), "INVALID_SCHEDULE"),
        (with("ref_globs", Value::Null), "INVALID_BODY"),
        (with("ref_globs", json!("*")), "INVALID_BODY"),
        (with("ref_globs", json!(["*", "*"])), "INVALID_BODY"),
        (
            with("ref_globs", json!({ "branches": null })),
            "INVALID_BODY",
        ),
        (
            with("ref_globs", json!({ "tags": "*", "x": "" })),
            "INVALID_BODY",
        ),
        (with("ref_globs", json!({})), "INVALID_GLOB"),
        (
            with("ref_globs", json!({ "branches": "{a" })),
            "INVALID_GLOB",
        ),
        (
            with("next_run_at", json!("2026-01-01T00:00:00Z")),
            "INVALID_BODY",
        ),
        (with("dry_run", json!(true)), "INVALID_BODY"),
    ] {
        let upstream = json!({ "url": URL, "schedule": schedule });
        let create = client.post("/v1/default/repos", json!({ "upstream": upstream }));
        create.refused(400, code);
        let change = client.patch(PATH, json!({ "upstream": upstream, "tags": { "a": "b" } }));
        change.refused(400, code);
    }
    // An address is needed beside it, and it is no key of a repository.
    let alone = json!({ "upstream": { "schedule": daily() } });
    client.patch(PATH, alone).refused(400, "INVALID_BODY");
    let outside = json!({ "schedule": daily() });
    client.patch(PATH, outside).refused(400, "INVALID_BODY");
    assert_eq!(client.get("/v1/default/repos").ok(200), before);
}
