//! Requests that can't be meant: each is refused with the form of an error and a code, and changes nothing.

use serde_json::{Value, json};

use crate::support::{Client, Server};

const REPOS: &str = "/v1/default/repos";
const REPO: &str = "/v1/default/app";
const SYNCS: &str = "/v1/default/app/upstream/syncs";
const KEYS: &str = "/v1/default/api-keys";
const TARGETS: &str = "/v1/default/webhook-targets";

fn server() -> Server {
    let server = Server::start_with(|config| {
        config.workers = 0;
        config.deliveries = false;
    });
    let upstream = json!({ "url": "https://git.example.com/a.git" });
    server.repo(json!({ "name": "app", "tags": { "a": "b" }, "upstream": upstream }));
    server
}

/// Everything that a wrong request could have changed.
fn state(client: &Client) -> Vec<Value> {
    [REPOS, SYNCS, KEYS, TARGETS]
        .iter()
        .map(|path| client.get(path).ok(200))
        .collect()
}

#[test]
fn bodies_that_are_no_json_objects() {
    let server = server();
    let client = server.client();
    let before = state(&client);
    let deep = format!("{{\"name\":{}", "[".repeat(10_000));
    for (method, path) in [
        ("POST", REPOS),
        ("PATCH", REPO),
        ("POST", SYNCS),
        ("POST", KEYS),
        ("POST", TARGETS),
    ] {
        for (body, code) in [
            ("", "INVALID_JSON"),
            ("{", "INVALID_JSON"),
            ("{} x", "INVALID_JSON"),
            ("{'a':1}", "INVALID_JSON"),
            ("\u{feff}{}", "INVALID_JSON"),
            (&deep, "INVALID_JSON"),
            ("[]", "INVALID_BODY"),
            ("null", "INVALID_BODY"),
            ("true", "INVALID_BODY"),
            ("1", "INVALID_BODY"),
            ("\"text\"", "INVALID_BODY"),
            ("{\"unknown\":1}", "INVALID_BODY"),
            ("{\"name\":\"a\\u0000b\"}", "INVALID_BODY"),
            ("{\"a\\u0000b\":1}", "INVALID_BODY"),
            ("{\"name\":\"a\",\"name\":\"b\"}", "INVALID_BODY"),
            ("{\"name\":{}}", "INVALID_BODY"),
        ] {
            client.with_text(method, path, body).refused(400, code);
        }
        let json = ("content-type", "application/json");
        let latin = client.call(method, path, Some(b"{\"name\":\"\xe4\"}"), &[json]);
        latin.refused(400, "INVALID_JSON");
    }
    assert_eq!(state(&client), before);
}

#[test]
fn values_of_a_wrong_type_and_null_where_it_has_no_meaning() {
    let server = server();
    let client = server.client();
    let before = state(&client);
    let url = "https://git.example.com/b.git";
    for (method, path, body) in [
        ("POST", REPOS, json!({ "name": null })),
        ("POST", REPOS, json!({ "name": 1 })),
        ("POST", REPOS, json!({ "default_bookmark": null })),
        ("POST", REPOS, json!({ "default_bookmark": "a..b" })),
        ("POST", REPOS, json!({ "default_bookmark": "" })),
        ("POST", REPOS, json!({ "tags": null })),
        ("POST", REPOS, json!({ "tags": [] })),
        ("POST", REPOS, json!({ "tags": { "a": null } })),
        ("POST", REPOS, json!({ "tags": { "a": 1 } })),
        ("POST", REPOS, json!({ "tags": { "": "a" } })),
        ("POST", REPOS, json!({ "tags": { "a": "x".repeat(513) } })),
        ("POST", REPOS, json!({ "upstream": null })),
        ("POST", REPOS, json!({ "upstream": [] })),
        ("POST", REPOS, json!({ "upstream": [url] })),
        ("POST", REPOS, json!({ "upstream": {} })),
        ("POST", REPOS, json!({ "upstream": { "url": null } })),
        (
            "POST",
            REPOS,
            json!({ "upstream": { "url": url, "more": 1 } }),
        ),
        (
            "POST",
            REPOS,
            json!({ "upstream": { "url": url, "health": null } }),
        ),
        (
            "POST",
            REPOS,
            json!({ "upstream": { "url": url, "auth": [] } }),
        ),
        (
            "POST",
            REPOS,
            json!({ "upstream": { "url": url, "auth": {} } }),
        ),
        (
            "POST",
            REPOS,
            json!({ "upstream": { "url": url, "auth": { "kind": "token" } } }),
        ),
        (
            "POST",
            REPOS,
            json!({ "upstream": { "url": url, "auth": { "kind": "token", "token": null } } }),
        ),
        (
            "POST",
            REPOS,
            json!({ "upstream": { "url": url, "auth": { "kind": "token", "token": "" } } }),
        ),
        (
            "POST",
            REPOS,
            json!({ "upstream": { "url": url, "auth": { "kind": "none" } } }),
        ),
        ("PATCH", REPO, json!({ "name": null })),
        ("PATCH", REPO, json!({ "default_bookmark": null })),
        ("PATCH", REPO, json!({ "tags": null })),
        ("PATCH", REPO, json!({ "tags": { "a": 1 } })),
        ("PATCH", REPO, json!({ "upstream": { "auth": null } })),
        ("PATCH", REPO, json!({ "upstream": [] })),
        (
            "PATCH",
            REPO,
            json!({ "id": "repo_00000000000000000000000000000000" }),
        ),
        ("POST", SYNCS, json!({})),
        ("POST", SYNCS, json!({ "direction": null })),
        ("POST", SYNCS, json!({ "direction": "Pull" })),
        (
            "POST",
            SYNCS,
            json!({ "direction": "pull", "dry_run": true }),
        ),
        (
            "POST",
            SYNCS,
            json!({ "direction": "pull", "ref_globs": null }),
        ),
        (
            "POST",
            SYNCS,
            json!({ "direction": "pull", "ref_globs": [] }),
        ),
        (
            "POST",
            SYNCS,
            json!({ "direction": "pull", "ref_globs": "*" }),
        ),
        (
            "POST",
            SYNCS,
            json!({ "direction": "pull", "ref_globs": { "branches": null } }),
        ),
        (
            "POST",
            SYNCS,
            json!({ "direction": "pull", "ref_globs": { "branches": "*", "x": "" } }),
        ),
        ("POST", KEYS, json!({ "name": "" })),
        ("POST", KEYS, json!({ "name": "x".repeat(101) })),
        ("POST", KEYS, json!({ "scopes": [] })),
        ("POST", KEYS, json!({ "scopes": "read" })),
        ("POST", KEYS, json!({ "scopes": ["root"] })),
        ("POST", KEYS, json!({ "scopes": null })),
        ("POST", KEYS, json!({ "repo_ids": null })),
        ("POST", KEYS, json!({ "repo_ids": ["app"] })),
        ("POST", KEYS, json!({ "expires_in_seconds": 99 })),
        ("POST", KEYS, json!({ "expires_in_seconds": -1 })),
        ("POST", KEYS, json!({ "expires_in_seconds": 1.5 })),
        ("POST", KEYS, json!({ "expires_in_seconds": "100" })),
        ("POST", KEYS, json!({ "public_key": "x" })),
        ("POST", TARGETS, json!({})),
        ("POST", TARGETS, json!({ "url": null })),
        (
            "POST",
            TARGETS,
            json!({ "url": "https://a.example/", "enabled": true }),
        ),
        (
            "POST",
            TARGETS,
            json!({ "url": "https://a.example/", "events": null }),
        ),
        (
            "POST",
            TARGETS,
            json!({ "url": "https://a.example/", "repo_ids": null }),
        ),
        (
            "POST",
            TARGETS,
            json!({ "url": "https://a.example/", "secret": "mine" }),
        ),
    ] {
        client
            .with_text(method, path, &body.to_string())
            .refused(400, "INVALID_BODY");
    }
    let nothing = json!({ "direction": "pull", "ref_globs": {} });
    client.post(SYNCS, nothing).refused(400, "INVALID_GLOB");
    let broken = json!({ "direction": "pull", "ref_globs": { "branches": "{a" } });
    client.post(SYNCS, broken).refused(400, "INVALID_GLOB");
    let long = json!({ "direction": "pull", "ref_globs": { "tags": "a".repeat(1_001) } });
    client.post(SYNCS, long).refused(400, "INVALID_GLOB");
    assert_eq!(state(&client), before);
}

#[test]
fn queries_that_are_refused() {
    let server = server();
    let client = server.client();
    let before = state(&client);
    for path in [REPOS, SYNCS, KEYS, TARGETS] {
        for (query, code) in [
            ("limit=0", "INVALID_QUERY"),
            ("limit=101", "INVALID_QUERY"),
            ("limit=-1", "INVALID_QUERY"),
            ("limit=1.5", "INVALID_QUERY"),
            ("limit=", "INVALID_QUERY"),
            ("limit=a", "INVALID_QUERY"),
            ("limit=99999999999999999999", "INVALID_QUERY"),
            ("limit=1&limit=2", "INVALID_QUERY"),
            ("unknown=1", "INVALID_QUERY"),
            ("cursor=", "INVALID_CURSOR"),
            ("cursor=x", "INVALID_CURSOR"),
            ("cursor=%27%20or%201=1", "INVALID_CURSOR"),
            ("cursor=%00", "INVALID_QUERY"),
            ("cursor=a%00b", "INVALID_QUERY"),
        ] {
            client.get(&format!("{path}?{query}")).refused(400, code);
        }
    }
    server.repo(json!({ "name": "other" }));
    let page = client.get(&format!("{REPOS}?limit=1")).ok(200);
    let cursor = page["next_cursor"].as_str().expect("a cursor");
    let foreign = format!("{SYNCS}?cursor={cursor}");
    client.get(&foreign).refused(400, "INVALID_CURSOR");
    client.delete("/v1/default/other").ok(200);

    let pull = json!({ "direction": "pull" });
    for query in [
        "dry_run=1",
        "dry_run=",
        "dry_run=TRUE",
        "dryrun=true",
        "dry_run=true&dry_run=true",
    ] {
        let refused = client.post(&format!("{SYNCS}?{query}"), pull.clone());
        refused.refused(400, "INVALID_QUERY");
    }
    let sync = format!("{SYNCS}/sync_00000000000000000000000000000000");
    for query in [
        "wait=-1",
        "wait=61",
        "wait=a",
        "wait=1.5",
        "wait=99999999999999999999",
    ] {
        client
            .get(&format!("{sync}?{query}"))
            .refused(400, "INVALID_QUERY");
    }
    assert_eq!(state(&client), before);
}

#[test]
fn addresses_that_lead_nowhere() {
    let server = server();
    let client = server.client();
    for path in [
        "/",
        "/v1",
        "/v1/",
        "/v1/default",
        "/v1/default/",
        "/v1/default/app/",
        "/v1/default/app/upstream",
        "/v1/default/app/upstream/syncs/",
        "/v1/default/app/upstream/hooks",
        "/v1/default/unknown",
        "/v1/default/app/upstream/syncs/1",
        "/v1/default/app/upstream/syncs/sync_0000000000000000000000000000000G",
        "/v1/default/webhook-targets/1",
        "/v1/default/a%2Fb",
        "/v1/default/..%2f..",
        "/v2/whoami",
        "/V1/whoami",
    ] {
        client.get(path).refused(404, "NOT_FOUND");
    }
    client
        .delete(&format!("{KEYS}/1"))
        .refused(404, "NOT_FOUND");
    for path in [
        "/v1/default/a%00b",
        "/v1/%00/repos",
        "/%00",
        "/v1/default/%ff",
        "/v1/%ff/repos",
    ] {
        client.get(path).refused(400, "INVALID_PATH");
    }
    let long = format!("/v1/default/{}", "a".repeat(3_000));
    client.get(&long).refused(414, "URI_TOO_LONG");
    client
        .get(&format!("{REPOS}?cursor={}", "a".repeat(3_000)))
        .refused(414, "URI_TOO_LONG");
}

#[test]
fn methods_that_an_address_does_not_take() {
    let server = server();
    let client = server.client();
    let before = state(&client);
    for (method, path) in [
        ("DELETE", REPOS),
        ("PUT", REPO),
        ("POST", REPO),
        ("OPTIONS", REPO),
        ("PATCH", SYNCS),
        ("POST", "/v1/whoami"),
        ("DELETE", "/v1/openapi.json"),
        (
            "GET",
            "/v1/default/api-keys/key_00000000000000000000000000000000",
        ),
        ("POST", "/healthz"),
        ("BREW", REPO),
    ] {
        let answer = client.call(method, path, None, &[]);
        let allow = answer.headers.get("allow").cloned();
        answer.refused(405, "METHOD_NOT_ALLOWED");
        assert!(
            allow.is_some_and(|allow| !allow.is_empty()),
            "{method} {path}"
        );
    }
    let head = client.call("HEAD", REPO, None, &[]);
    assert_eq!((head.status, head.text.as_str()), (200, ""));
    assert_eq!(state(&client), before);
}

#[test]
fn headers_that_are_refused() {
    let server = server();
    let client = server.client();
    let before = state(&client);
    let body = Some(&b"{\"name\":\"new\"}"[..]);
    for kind in [
        "",
        "text/plain",
        "application/x-www-form-urlencoded",
        "application/jsonp",
    ] {
        let answer = client.call("POST", REPOS, body, &[("content-type", kind)]);
        answer.refused(415, "UNSUPPORTED_MEDIA_TYPE");
    }
    for accept in [
        "text/html",
        "application/xml, text/*",
        "application/json;q=0",
        "x",
    ] {
        let json = ("content-type", "application/json");
        let answer = client.call("POST", REPOS, body, &[json, ("accept", accept)]);
        answer.refused(406, "NOT_ACCEPTABLE");
        let answer = client.call("GET", REPOS, None, &[("accept", accept)]);
        answer.refused(406, "NOT_ACCEPTABLE");
    }
    for accept in ["*/*", "application/*", "text/html, application/json;q=0.1"] {
        client
            .call("GET", REPOS, None, &[("accept", accept)])
            .ok(200);
    }
    let kind = ("content-type", "Application/JSON; charset=utf-8");
    let patch = client.call("PATCH", REPO, Some(b"{}"), &[kind]);
    patch.ok(200);
    assert_eq!(state(&client), before);
}

#[test]
fn bodies_have_a_limit() {
    let server = server();
    let client = server.client();
    let before = state(&client);
    let padded = |length: usize| format!("{}{{}}", " ".repeat(length - 2));
    client.with_text("PATCH", REPO, &padded(64 << 10)).ok(200);
    let more = client.with_text("PATCH", REPO, &padded((64 << 10) + 1));
    more.refused(413, "PAYLOAD_TOO_LARGE");
    let run = client.post(SYNCS, json!({ "direction": "pull" })).ok(201);
    let cancel = format!("{SYNCS}/{}/cancel", run["id"].as_str().expect("an id"));
    client
        .with_text("POST", &cancel, "{\"x\":1}")
        .refused(400, "INVALID_BODY");
    let large = client.with_text("POST", &cancel, &padded((64 << 10) + 1));
    large.refused(413, "PAYLOAD_TOO_LARGE");
    client
        .with_text("POST", &cancel, "{ \"a\": 1 }")
        .refused(400, "INVALID_BODY");
    client.with_text("POST", &cancel, "{}").ok(200);
    client
        .with_text("POST", &cancel, "{ }")
        .refused(409, "SYNC_ENDED");
    let after = state(&client);
    assert_eq!(after[2..], before[2..]);
}

#[test]
fn health_needs_no_key() {
    let server = server();
    let stranger = server.stranger();
    assert_eq!(stranger.get("/healthz").ok(200), json!({ "status": "ok" }));
    assert_eq!(
        stranger.get("/readyz").ok(200),
        json!({ "status": "ready" })
    );
}
