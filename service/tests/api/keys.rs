//! API keys.

use refsync_service::records::{KeyId, Scope, Time};
use serde_json::{Value, json};

use crate::support::Server;

const KEYS: &str = "/v1/default/api-keys";

#[test]
fn a_secret_is_shown_once() {
    let server = Server::start();
    let client = server.client();
    let body = json!({ "name": "ci", "scopes": ["write", "read", "write"] });
    let made = client.post(KEYS, body).ok(201);
    let secret = made["key"].as_str().expect("a secret");
    assert!(secret.starts_with("rsk_") && secret.len() == 47);
    assert_eq!(made["scopes"], json!(["read", "write"]));
    assert_eq!(made["repo_ids"], Value::Null);
    assert_eq!(made["expires_at"], Value::Null);
    let list = client.get(KEYS);
    assert!(!list.text.contains(secret));
    let rows = list.ok(200)["api_keys"].take();
    let rows = rows.as_array().expect("rows");
    assert!(rows.len() == 2 && rows.iter().any(|key| key["id"] == made["id"]));

    let me = server.client_with(secret).get("/v1/whoami").ok(200);
    assert_eq!(me["key_id"], made["id"]);
    assert_eq!(me["key_name"], "ci");
    assert_eq!(me["scopes"], json!(["read", "write"]));
    assert_eq!(me["org"]["slug"], "default");
}

#[test]
fn a_revoked_key_opens_nothing() {
    let server = Server::start();
    let client = server.client();
    let made = client.post(KEYS, json!({})).ok(201);
    let default = json!(["read", "write"]);
    assert_eq!(made["scopes"], default, "as the clients document it");
    let writer = server.client_with(made["key"].as_str().expect("a secret"));
    writer.get("/v1/default/repos").ok(200);
    let path = format!("{KEYS}/{}", made["id"].as_str().expect("an id"));
    client.delete(&path).ok(200);
    writer.get("/v1/default/repos").refused(401, "UNAUTHORIZED");
    client.delete(&path).refused(404, "NOT_FOUND");
}

#[test]
fn an_expired_key_opens_nothing() {
    let server = Server::start();
    let client = server.client();
    let made = client
        .post(KEYS, json!({ "expires_in_seconds": 100 }))
        .ok(201);
    assert!(made["expires_at"].is_string());
    let me = client.get("/v1/whoami").ok(200);
    let org = me["org"]["id"].as_str().expect("an id");
    let secret = "rsk_of_a_key_that_has_ended";
    let new = refsync_service::store::NewKey {
        id: KeyId::from_bits(7),
        name: None,
        proof: refsync_service::store::Proof::Hash(refsync_service::secrets::api_key::hash(secret)),
        scopes: vec![Scope::Admin],
        repo_ids: None,
        expires_at: Some(Time(1)),
    };
    let org = org.parse().expect("an id");
    let made = server.service().store.create_key(&org, new, Time(0));
    server.block_on(made).expect("stored").expect("a key");
    let ended = server.client_with(secret).get("/v1/whoami");
    ended.refused(401, "UNAUTHORIZED");
    for (status, rows) in [("all", 3), ("active", 2), ("expired", 1), ("revoked", 0)] {
        let list = client.get(&format!("{KEYS}?status={status}")).ok(200);
        assert_eq!(
            list["api_keys"].as_array().map(Vec::len),
            Some(rows),
            "{status}"
        );
    }
    client
        .get(&format!("{KEYS}?status=gone"))
        .refused(400, "INVALID_QUERY");
}

#[test]
fn a_key_gives_no_more_than_it_has() {
    let server = Server::start();
    let id = |repo: Value| repo["id"].as_str().expect("an id").to_owned();
    let one = id(server.repo(json!({ "name": "one" })));
    let two = id(server.repo(json!({ "name": "two" })));
    let limited = server.client_of(&["admin"], &[&one]);
    let made = limited.post(KEYS, json!({ "scopes": ["admin"] })).ok(201);
    assert_eq!(
        made["repo_ids"],
        json!([one]),
        "the maker's limit is the key's"
    );
    for ids in [json!([two]), json!([one, two]), json!([])] {
        let refused = limited.post(KEYS, json!({ "repo_ids": ids }));
        refused.refused(400, "INVALID_BODY");
    }
    // It neither sees nor revokes a key that has more than it has itself.
    let rows = limited.get(KEYS).ok(200)["api_keys"].take();
    let rows = rows.as_array().expect("rows");
    assert!(
        rows.iter().all(|key| key["repo_ids"] == json!([one])),
        "{rows:?}"
    );
    let all = server.client().get(KEYS).ok(200)["api_keys"].take();
    let mut all = all.as_array().expect("rows").iter();
    let first = all.find(|key| key["repo_ids"].is_null()).expect("a key");
    let path = format!("{KEYS}/{}", first["id"].as_str().expect("an id"));
    limited.delete(&path).refused(404, "NOT_FOUND");
    server.client().get("/v1/whoami").ok(200);
    let unknown = json!({ "repo_ids": ["repo_00000000000000000000000000000000"] });
    server
        .client()
        .post(KEYS, unknown)
        .refused(400, "INVALID_BODY");
}
