//! Each number of `/metrics`, beside what was done.

use std::{collections::BTreeMap, time::Duration};

use refsync_service::{
    clock,
    records::RetryPolicy,
    store::{Claimed, Claimer},
};
use serde_json::json;

use crate::support::{Receiver, Server, Upstream, engine::server::Answer};

/// The numbers, by their names with labels. The number of processes and times are left to the tests of their parts.
fn numbers(server: &Server) -> BTreeMap<String, f64> {
    let text = server.stranger().get("/metrics").text;
    assert!(text.ends_with("# EOF\n"), "{text}");
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let number = |line: &str| {
        let (name, value) = line.rsplit_once(' ').expect("a number");
        let name = name.strip_prefix("refsyncd_").expect("the prefix");
        (name.to_owned(), value.parse().expect("a number"))
    };
    lines.map(number).collect()
}

/// Waits until the numbers are these. A number that is not named is not looked at.
#[track_caller]
fn expect(server: &Server, expected: &[(&str, f64)]) {
    let began = std::time::Instant::now();
    loop {
        let found = numbers(server);
        let differs = |(name, value): &&(&str, f64)| found.get(*name) != Some(value);
        let Some(different) = expected.iter().find(differs) else {
            return;
        };
        let is_late = began.elapsed() > Duration::from_secs(30);
        assert!(!is_late, "{different:?} in {found:#?}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn ends_of_runs_and_their_attempts() {
    let upstream = Upstream::start();
    upstream.repo("up.git");
    upstream.server.intercept(|head| {
        head.path.contains("busy").then(|| {
            let mut answer = Answer::status(503);
            if let Answer::Status { headers, .. } = &mut answer {
                headers.push(("Retry-After".into(), "3600".into()));
            }
            answer
        })
    });
    let server = Server::start();
    for (name, path) in [
        ("app", "up.git"),
        ("none", "none.git"),
        ("busy", "busy.git"),
    ] {
        server.repo(json!({ "name": name, "upstream": { "url": upstream.url(path) } }));
    }
    server.sync("app", json!({ "direction": "pull" }));
    server.sync("app", json!({ "direction": "pull" }));
    server.sync("app", json!({ "direction": "push" }));
    server.sync("none", json!({ "direction": "pull" }));
    let completed = r#"runs_total{direction="pull",status="completed",error_code="none"}"#;
    expect(
        &server,
        &[
            (completed, 2.0),
            (
                r#"runs_total{direction="push",status="completed",error_code="none"}"#,
                1.0,
            ),
            (
                r#"runs_total{direction="pull",status="failed",error_code="not_found"}"#,
                1.0,
            ),
            (r#"run_seconds_count{direction="pull"}"#, 3.0),
            (r#"run_seconds_count{direction="push"}"#, 1.0),
            ("runs_running", 0.0),
            ("queue_length", 0.0),
            ("queue_age_seconds", 0.0),
            ("host_waits_total", 0.0),
            ("hosts_throttled", 0.0),
            ("leases_lost_total", 0.0),
            ("workers_lost_total", 0.0),
        ],
    );

    // The host asks to wait, for all of its repositories.
    let syncs = "/v1/default/busy/upstream/syncs";
    let run = server
        .client()
        .post(syncs, json!({ "direction": "pull" }))
        .ok(201);
    expect(
        &server,
        &[
            (r#"run_retries_total{error_code="server_error"}"#, 1.0),
            ("host_waits_total", 1.0),
            ("hosts_throttled", 1.0),
            ("queue_length", 1.0),
            // It is not due yet.
            ("queue_age_seconds", 0.0),
        ],
    );
    // A run that ends without a worker has ended, too.
    let path = format!("{syncs}/{}/cancel", run["id"].as_str().expect("an id"));
    server.client().call("POST", &path, None, &[]).ok(200);
    expect(
        &server,
        &[
            (
                r#"runs_total{direction="pull",status="failed",error_code="cancelled"}"#,
                1.0,
            ),
            (r#"run_seconds_count{direction="pull"}"#, 3.0),
            ("queue_length", 0.0),
        ],
    );
    let text = server.stranger().get("/metrics").text;
    for word in ["app", "busy", "default", "repo_", "127.0.0.1", "localhost"] {
        assert!(!text.contains(word), "{word} in\n{text}");
    }
}

#[test]
fn the_queue_and_lost_workers() {
    let upstream = Upstream::start();
    upstream.repo("up.git");
    let server = Server::start_with(|config| config.workers = 0);
    server.repo(json!({ "name": "app", "upstream": { "url": upstream.url("up.git") } }));
    let body = json!({ "direction": "pull" });
    server
        .client()
        .post("/v1/default/app/upstream/syncs", body)
        .ok(201);
    std::thread::sleep(Duration::from_millis(20));
    expect(&server, &[("queue_length", 1.0)]);
    let age = numbers(&server)["queue_age_seconds"];
    assert!(age >= 0.02, "{age}");

    let store = &server.service().store;
    let claimer = Claimer {
        node: "local".into(),
        worker: "lost".into(),
        per_host: 1,
    };
    let now = clock::now();
    let claimed = store.claim(&claimer, now, now, |_| Ok(Some(())));
    let claimed = server.block_on(claimed).expect("an answer");
    assert!(matches!(claimed, Claimed::Run(..)));
    expect(&server, &[("queue_length", 0.0)]);
    let mut policy = RetryPolicy::default();
    policy.attempts = 1;
    let later = now.plus(Duration::from_secs(1));
    let reaped = server.block_on(store.reap(later, &policy, 0.5));
    assert_eq!(reaped.expect("an answer"), 1);
    expect(
        &server,
        &[
            ("workers_lost_total", 1.0),
            (
                r#"runs_total{direction="pull",status="failed",error_code="worker_lost"}"#,
                1.0,
            ),
        ],
    );
}

#[test]
fn deliveries() {
    let (good, bad) = (Receiver::start(), Receiver::answering(|_| 500));
    let server = Server::start();
    for receiver in [&good, &bad] {
        let body = json!({ "url": receiver.url(), "events": ["push"] });
        let target = server
            .client()
            .post("/v1/default/webhook-targets", body)
            .ok(201);
        let id = target["id"].as_str().expect("an id");
        let path = format!("/v1/default/webhook-targets/{id}/test");
        server.client().call("POST", &path, None, &[]);
    }
    expect(
        &server,
        &[
            (r#"deliveries_total{outcome="delivered"}"#, 1.0),
            (r#"deliveries_total{outcome="failed"}"#, 1.0),
            ("deliveries_pending", 1.0),
        ],
    );
}

#[test]
fn requests_of_git() {
    let server = Server::start();
    server.repo(json!({ "name": "app" }));
    for (key, path, status) in [
        (None, "app", 401),
        (Some("x"), "app", 200),
        (Some("x"), "none", 404),
    ] {
        use base64::Engine as _;
        let password = format!("x:{}", server.admin_key());
        let basic = base64::engine::general_purpose::STANDARD.encode(password);
        let basic = format!("Basic {basic}");
        let headers = key.map(|_| ("authorization", basic.as_str()));
        let headers = headers.as_slice();
        let path = format!("/default/{path}.git/info/refs?service=git-upload-pack");
        let answer = server.stranger().call("GET", &path, None, headers);
        assert_eq!(answer.status, status, "{}", answer.text);
    }
    let name =
        |status| format!(r#"git_requests_total{{service="git-upload-pack",status="{status}"}}"#);
    expect(
        &server,
        &[
            (&name(200), 1.0),
            (&name(401), 1.0),
            (&name(404), 1.0),
            ("git_processes", 0.0),
        ],
    );
}
