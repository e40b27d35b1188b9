//! Repositories and their upstreams.

use serde_json::{Value, json};

use crate::support::Server;

const URL: &str = "https://example.com/a.git";

fn upstream(auth: Option<Value>) -> Value {
    let mut upstream = json!({ "url": URL });
    if let Some(auth) = auth {
        upstream["auth"] = auth;
    }
    json!({ "upstream": upstream })
}

#[test]
fn auth_has_three_values() {
    let server = Server::start();
    server.repo(json!({ "name": "app" }));
    let client = server.client();
    let token = json!({ "kind": "token", "token": "t" });
    let login = json!({ "kind": "username_password", "username": "u", "password": "p" });
    for (auth, kind) in [
        (None, json!(null)),
        (Some(token.clone()), json!("token")),
        (None, json!("token")),
        (Some(login), json!("username_password")),
        (None, json!("username_password")),
        (Some(json!(null)), json!(null)),
        (None, json!(null)),
    ] {
        let repo = client
            .patch("/v1/default/app", upstream(auth.clone()))
            .ok(200);
        assert_eq!(repo["upstream"]["auth_kind"], kind, "{auth:?}");
    }
    client
        .patch("/v1/default/app", upstream(Some(token)))
        .ok(200);
    // Another path of the same origin keeps the credential; another origin does not take it along.
    let there = json!({ "upstream": { "url": "https://example.com/b.git" } });
    client.patch("/v1/default/app", there).ok(200);
    for url in [
        "https://example.org/a.git",
        "http://example.com/a.git",
        "https://example.com:8443/a.git",
    ] {
        let away = json!({ "upstream": { "url": url } });
        client
            .patch("/v1/default/app", away)
            .refused(409, "ORIGIN_CHANGED");
    }
    let repo = client.get("/v1/default/app").ok(200);
    assert_eq!(repo["upstream"]["url"], "https://example.com/b.git");
    let cleared = json!({ "upstream": { "url": "https://example.org/a.git", "auth": null } });
    client.patch("/v1/default/app", cleared).ok(200);
    let gone = client
        .patch("/v1/default/app", json!({ "upstream": null }))
        .ok(200);
    assert_eq!(gone["upstream"], Value::Null);
}

#[test]
fn creating_with_an_upstream_is_creating_and_changing() {
    let server = Server::start();
    let auth = json!({ "kind": "token", "token": "t", "token_username": "x" });
    let upstream = json!({ "url": URL, "auth": auth });
    let at_once = server.repo(json!({ "name": "one", "upstream": upstream }));
    server.repo(json!({ "name": "two" }));
    let change = json!({ "upstream": upstream });
    let later = server.client().patch("/v1/default/two", change).ok(200);
    assert_eq!(at_once["upstream"], later["upstream"]);
}

#[test]
fn a_repository_is_changed_and_removed() {
    let server = Server::start();
    let made = server.repo(json!({}));
    let id = made["id"].as_str().expect("an id");
    assert_eq!(made["name"], format!("repo-{}", &id[id.len() - 8..]));
    assert_eq!(made["default_bookmark"], "main");
    assert_eq!(made["head_change_id"], "z".repeat(32));
    let path = format!("/v1/default/{}", made["name"].as_str().expect("a name"));
    let client = server.client();
    let change =
        json!({ "name": "New", "default_bookmark": "trunk", "tags": { "a": "1", "b": "2" } });
    let changed = client.patch(&path, change).ok(200);
    assert_eq!(changed["tags"], json!({ "a": "1", "b": "2" }));
    client.get(&path).refused(404, "NOT_FOUND");
    // Names are compared without case.
    let changed = client
        .patch(
            "/v1/default/new",
            json!({ "tags": { "a": null, "c": "3" } }),
        )
        .ok(200);
    assert_eq!(changed["tags"], json!({ "b": "2", "c": "3" }));
    assert_eq!(changed["default_bookmark"], "trunk");
    client.delete("/v1/default/new").ok(200);
    client.get("/v1/default/new").refused(404, "NOT_FOUND");
    server.repo(json!({ "name": "new" }));
}

#[test]
fn labels_are_counted_in_the_end() {
    let server = Server::start();
    let tags: serde_json::Map<_, _> = (0..50).map(|n| (n.to_string(), json!("x"))).collect();
    server.repo(json!({ "name": "app", "tags": tags }));
    let client = server.client();
    let one_more = json!({ "tags": { "50": "x" } });
    client
        .patch("/v1/default/app", one_more)
        .refused(400, "INVALID_BODY");
    let another = json!({ "tags": { "50": "x", "0": null } });
    client.patch("/v1/default/app", another).ok(200);
}

#[test]
fn pages_lead_through_all_rows() {
    let server = Server::start();
    for n in 0..7 {
        server.repo(json!({ "name": format!("r{n}") }));
    }
    let rows = server.client().all("/v1/default/repos", "repos", 3);
    assert_eq!(rows.len(), 7);
}

#[test]
fn equal_runs_that_are_queued_are_one() {
    let server = Server::start_with(|config| config.workers = 0);
    server.repo(json!({ "name": "app", "upstream": { "url": URL } }));
    let client = server.client();
    let syncs = "/v1/default/app/upstream/syncs";
    let first = client.post(syncs, json!({ "direction": "pull" })).ok(201);
    assert_eq!(
        json!([first["status"], first["attempt"]]),
        json!(["queued", 0])
    );
    let again = json!({ "direction": "pull", "ref_globs": { "branches": "*", "tags": "*" } });
    assert_eq!(client.post(syncs, again).ok(201)["id"], first["id"]);
    let other = client
        .post(
            syncs,
            json!({ "direction": "pull", "ref_globs": { "tags": "v*" } }),
        )
        .ok(201);
    assert_ne!(other["id"], first["id"]);
    assert_eq!(other["ref_globs"], json!({ "branches": "", "tags": "v*" }));
    let id = first["id"].as_str().expect("an id");
    let cancelled = client
        .post(&format!("{syncs}/{id}/cancel"), json!({}))
        .ok(200);
    assert_eq!(
        json!([cancelled["status"], cancelled["error_code"]]),
        json!(["failed", "cancelled"])
    );
    client
        .post(&format!("{syncs}/{id}/cancel"), json!({}))
        .ok(409);
    let newest = client.get(&format!("{syncs}?limit=1")).ok(200);
    assert_eq!(newest["syncs"][0]["id"], other["id"]);
}
