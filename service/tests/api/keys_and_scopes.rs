//! Every operation of openapi.json, asked for with every kind of key.

use refsync_service::{
    clock, ids,
    records::{Name, Org, Scope, Time},
    secrets::api_key,
    store::NewKey,
};
use serde_json::{Value, json};

use crate::support::{Client, Server, openapi::DOCUMENT};

/// The operations, each with the scope that its description names; `None` for one that needs no key.
fn operations() -> Vec<(String, String, Option<Scope>)> {
    let paths = DOCUMENT["paths"].as_object().expect("paths");
    let of_path = |(path, operations): (&String, &Value)| {
        let path = path.clone();
        let operations = operations.as_object().expect("operations").clone();
        operations.into_iter().map(move |(method, operation)| {
            let words = operation["description"].as_str().expect("a description");
            let scope = [Scope::Read, Scope::Write, Scope::Admin]
                .into_iter()
                .find(|scope| words.contains(&format!("Required scope: `{}`", word(*scope))));
            (method.to_ascii_uppercase(), path.clone(), scope)
        })
    };
    paths.iter().flat_map(of_path).collect()
}

fn word(scope: Scope) -> String {
    let word = serde_json::to_value(scope).expect("a word");
    word.as_str().expect("a word").to_owned()
}

/// The address of an operation in the organization `org`, on the repository `repo` and on ids of nothing.
fn address(path: &str, org: &str, repo: &str) -> String {
    let path = path.replace("{org}", org).replace("{repo}", repo);
    let nothing = "0".repeat(32);
    let path = path.replace("{sub_id}", &format!("whd_{nothing}"));
    let kind = ["webhook-targets", "api-keys", "syncs"]
        .into_iter()
        .find(|kind| path.contains(kind));
    let prefix = match kind {
        Some("webhook-targets") => "wht",
        Some("api-keys") => "key",
        _ => "sync",
    };
    format!(
        "/v1{}",
        path.replace("{id}", &format!("{prefix}_{nothing}"))
    )
}

/// Asks without a body; an operation that wants one says so only to who may call it.
fn status(client: &Client, method: &str, address: &str) -> u16 {
    client.call(method, address, None, &[]).status
}

/// The secret of a new key of the organization, with all scopes.
fn key_of(server: &Server, org: &Org, expires_at: Option<Time>) -> String {
    let secret = api_key::generate().expect("a secret");
    let new = NewKey {
        id: ids::new(),
        name: None,
        hash: api_key::hash(&secret),
        scopes: vec![Scope::Admin],
        repo_ids: None,
        expires_at,
    };
    let store = &server.service().store;
    let made = store.create_key(&org.id, new, clock::now());
    server.block_on(made).expect("a key");
    secret.to_string()
}

/// A key that the API would not make.
fn expired_key(server: &Server) -> String {
    let org = server.block_on(server.service().store.org_by_slug("default"));
    let org = org.expect("a database").expect("the first organization");
    key_of(server, &org, Some(clock::now()))
}

/// A key of another organization.
fn key_of_another_org(server: &Server) -> String {
    let store = &server.service().store;
    let slug = Name::new("other").expect("a name");
    let made = server.block_on(store.create_org(&slug, "Other", clock::now()));
    let org = made.expect("a database").expect("a new organization");
    key_of(server, &org, None)
}

#[test]
fn every_operation_with_every_key() {
    let server = Server::start();
    server.repo(json!({ "name": "app" }));
    let other = server.repo(json!({ "name": "other" }));
    let other = other["id"].as_str().expect("an id").to_owned();
    let strangers = [
        server.stranger(),
        server.client_with("rsk_wrong"),
        server.client_with(""),
        server.client_with(&expired_key(&server)),
    ];
    let foreign = server.client_with(&key_of_another_org(&server));
    let keys = [
        (Scope::Read, server.client_of(&["read"], &[])),
        (Scope::Write, server.client_of(&["write"], &[])),
        (Scope::Admin, server.client_of(&["admin"], &[])),
    ];
    let limited = server.client_of(&["admin"], &[&other]);
    let mut seen = 0;
    for (method, path, scope) in operations() {
        seen += 1;
        let address = address(&path, "default", "app");
        let what = format!("{method} {address}");
        let Some(scope) = scope else {
            assert_eq!(status(&server.stranger(), &method, &address), 200, "{what}");
            continue;
        };
        for stranger in &strangers {
            assert_eq!(status(stranger, &method, &address), 401, "{what}");
        }
        if path.contains("{org}") {
            assert_eq!(status(&foreign, &method, &address), 404, "{what}");
        }
        // The two that would end the repository for the others.
        let ends = method == "DELETE" && path == "/{org}/{repo}";
        for (has, client) in &keys {
            if *has < scope {
                assert_eq!(
                    status(client, &method, &address),
                    403,
                    "{what} with {has:?}"
                );
            } else if !ends {
                let status = status(client, &method, &address);
                assert!(
                    ![401, 403].contains(&status),
                    "{what} with {has:?}: {status}"
                );
            }
        }
        if path.contains("{repo}") {
            assert_eq!(status(&limited, &method, &address), 404, "{what}");
        }
    }
    assert_eq!(seen, 23);
    // The limited key sees its own repository, and no other in the list.
    let listed = limited.all("/v1/default/repos", "repos", 100);
    assert_eq!(listed.len(), 1);
    assert_eq!(listed[0]["name"], "other");
    limited.get("/v1/default/other").ok(200);
}

#[test]
fn a_key_gives_no_more_than_it_has() {
    let server = Server::start();
    let one = server.repo(json!({ "name": "one" }))["id"].take();
    let two = server.repo(json!({ "name": "two" }))["id"].take();
    let limited = server.client_of(&["admin"], &[one.as_str().expect("an id")]);
    let keys = "/v1/default/api-keys";
    let wider = json!({ "scopes": ["read"], "repo_ids": [two] });
    limited.post(keys, wider).refused(400, "INVALID_BODY");
    let made = limited.post(keys, json!({ "scopes": ["admin"] })).ok(201);
    assert_eq!(made["repo_ids"], json!([one]));
    limited
        .post("/v1/default/repos", json!({}))
        .refused(403, "FORBIDDEN");
}

#[test]
fn a_key_that_was_removed_is_refused() {
    let server = Server::start();
    let made = server
        .client()
        .post("/v1/default/api-keys", json!({ "name": "x" }))
        .ok(201);
    let client = server.client_with(made["key"].as_str().expect("a key"));
    client.get("/v1/whoami").ok(200);
    let path = format!(
        "/v1/default/api-keys/{}",
        made["id"].as_str().expect("an id")
    );
    server.client().delete(&path).ok(200);
    client.get("/v1/whoami").refused(401, "UNAUTHORIZED");
}
