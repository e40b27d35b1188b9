//! Upstreams of repositories and their credentials.

use serde_json::{Value, json};

use crate::support::{Client, Server};

const PATH: &str = "/v1/default/app";
const URL: &str = "https://git.example.com/acme/app.git";

fn token() -> Value {
    json!({ "kind": "token", "token": "canary-token", "token_username": "x-access-token" })
}

fn password() -> Value {
    json!({ "kind": "username_password", "username": "me", "password": "canary-password" })
}

fn idle_server() -> Server {
    Server::start_with(|config| config.workers = 0)
}

fn upstream(client: &Client) -> Value {
    client.get(PATH).ok(200)["upstream"].take()
}

#[test]
fn creating_with_an_upstream_is_creating_and_changing() {
    let server = idle_server();
    let client = server.client();
    for auth in [None, Some(Value::Null), Some(token()), Some(password())] {
        let mut wanted = json!({ "url": URL });
        if let Some(auth) = auth {
            wanted["auth"] = auth;
        }
        let one = server.repo(json!({ "name": "one", "upstream": wanted }));
        server.repo(json!({ "name": "two" }));
        let change = json!({ "upstream": wanted });
        let two = client.patch("/v1/default/two", change).ok(200);
        let facts = |repo: &Value| {
            let mut facts = repo.clone();
            for own in ["id", "name", "created_at", "clone_url"] {
                facts.as_object_mut().expect("an object").remove(own);
            }
            facts
        };
        assert_eq!(facts(&one), facts(&two));
        for name in ["one", "two"] {
            client.delete(&format!("/v1/default/{name}")).ok(200);
        }
    }
}

#[test]
fn auth_has_three_values() {
    let server = idle_server();
    let client = server.client();
    server.repo(json!({ "name": "app", "upstream": { "url": URL, "auth": token() } }));
    let kind = || upstream(&client)["auth_kind"].take();
    let change = |upstream: Value| client.patch(PATH, json!({ "upstream": upstream })).ok(200);
    assert_eq!(kind(), "token");
    change(json!({ "url": format!("{URL}/") }));
    assert_eq!(kind(), "token", "left out, it stays");
    change(json!({ "url": URL, "auth": password() }));
    assert_eq!(kind(), "username_password", "an object replaces it");
    change(json!({ "url": URL, "auth": null }));
    assert_eq!(kind(), Value::Null, "null clears it");
    change(json!({ "url": URL }));
    assert_eq!(kind(), Value::Null, "left out, it stays cleared");
    client.patch(PATH, json!({ "tags": { "a": "b" } })).ok(200);
    assert_eq!(
        upstream(&client)["url"],
        URL,
        "an upstream that is left out stays"
    );
    client.patch(PATH, json!({ "upstream": null })).ok(200);
    assert_eq!(upstream(&client), Value::Null);
}

#[test]
fn a_credential_does_not_follow_the_address_to_another_origin() {
    let server = idle_server();
    let client = server.client();
    server.repo(json!({ "name": "app", "upstream": { "url": URL, "auth": token() } }));
    let before = client.get(PATH).ok(200);
    let others = [
        "https://other.example.com/acme/app.git",
        "http://git.example.com/acme/app.git",
        "https://git.example.com:8443/acme/app.git",
    ];
    for url in others {
        let change = json!({ "upstream": { "url": url }, "name": "renamed", "tags": { "a": "b" } });
        client.patch(PATH, change).refused(409, "ORIGIN_CHANGED");
        assert_eq!(client.get(PATH).ok(200), before, "nothing has changed");
    }
    let same = json!({ "upstream": { "url": "HTTPS://Git.Example.com:443/other" } });
    let same = client.patch(PATH, same).ok(200);
    assert_eq!(same["upstream"]["auth_kind"], "token");
    for upstream in [
        json!({ "url": others[0], "auth": null }),
        json!({ "url": URL }),
        json!({ "url": others[0], "auth": token() }),
    ] {
        client.patch(PATH, json!({ "upstream": upstream })).ok(200);
    }
}

#[test]
fn the_address_is_shown_as_it_is_compared() {
    let server = idle_server();
    let repo = server.repo(json!({ "upstream": { "url": "HTTPS://Git.Example.COM:443/A" } }));
    assert_eq!(repo["upstream"]["url"], "https://git.example.com/A");
    assert_eq!(repo["upstream"]["latest_sync"], Value::Null);
}

#[test]
fn no_answer_has_a_credential() {
    let server = idle_server();
    let client = server.client();
    let repos = "/v1/default/repos";
    let auths = [
        json!("canary"),
        json!(["canary"]),
        json!({ "kind": "canary" }),
        json!({ "kind": "token", "CANARY": 1 }),
        json!({ "kind": "token", "token": { "x": "canary" } }),
        json!({ "kind": "token", "token": "canary\u{0}" }),
        json!({ "kind": "username_password", "username": "canary:x", "password": "x" }),
    ];
    let mut bodies: Vec<_> = auths
        .into_iter()
        .map(|auth| json!({ "upstream": { "url": URL, "auth": auth } }))
        .collect();
    bodies.extend([
        json!({ "name": "app", "upstream": { "url": URL, "auth": token() } }),
        json!({ "upstream": { "url": "https://me:canary@git.example.com/a" } }),
        json!({ "upstream": { "url": "https://git.example.com/a?token=canary" } }),
        json!({ "upstream": "https://me:canary@git.example.com/a" }),
    ]);
    for body in bodies {
        let answer = client.post(repos, body);
        assert!(!answer.text.to_lowercase().contains("canary"), "{answer:?}");
    }
    for path in [repos, PATH] {
        let answer = client.get(path);
        assert!(!answer.text.to_lowercase().contains("canary"), "{answer:?}");
    }
}

#[test]
fn addresses_that_the_network_policy_refuses_are_refused_at_once() {
    let server = Server::start_with(|config| {
        config.network = refsync::NetworkPolicy::public();
        config.workers = 0;
    });
    let client = server.client();
    server.repo(json!({ "name": "app" }));
    for (url, code) in [
        ("https://127.0.0.1/a", "URL_NOT_ALLOWED"),
        ("https://[::1]/a", "URL_NOT_ALLOWED"),
        ("https://localhost/a", "URL_NOT_ALLOWED"),
        ("http://git.example.com/a", "URL_NOT_ALLOWED"),
        ("ssh://git.example.com/a", "INVALID_URL"),
        ("https://me:pw@git.example.com/a", "CREDENTIALS_IN_URL"),
    ] {
        let change = json!({ "upstream": { "url": url } });
        let error = client.patch(PATH, change).refused(400, code);
        let says_auth = error["message"].to_string().contains("upstream.auth");
        assert_eq!(says_auth, code == "CREDENTIALS_IN_URL", "{error}");
    }
    assert_eq!(upstream(&client), Value::Null);
}
