//! Tokens that clients sign themselves.

use serde_json::{Value, json};

use crate::support::engine::git::Sandbox;
use crate::support::{Server, Signer};

const KEYS: &str = "/v1/default/api-keys";

fn admin() -> Value {
    json!({ "admin": true })
}

#[test]
fn a_public_key_is_registered_once_and_shown() {
    let (server, signer) = (Server::start(), Signer::new(1));
    let client = server.client();
    let made = signer.register(&client, &["admin"]);
    assert_eq!(made["public_key"], json!(signer.public()));
    assert!(made.get("key").is_none(), "there is no secret: {made}");
    let again = json!({ "public_key": format!("{}=", signer.public()) });
    client.post(KEYS, again).refused(409, "KEY_TAKEN");
    for text in ["", "AAAA", "-----BEGIN PUBLIC KEY-----", "rsk_x"] {
        let refused = client.post(KEYS, json!({ "public_key": text }));
        refused.refused(400, "INVALID_BODY");
    }
    let refused = client.post(KEYS, json!({ "public_key": null }));
    refused.refused(400, "INVALID_BODY");

    let me = signer.client(&server, &admin()).get("/v1/whoami").ok(200);
    assert_eq!(me["key_id"], made["id"]);
    assert_eq!(me["scopes"], json!(["admin"]));
}

/// Its bytes are no secret, and are not the secret of an API key either.
#[test]
fn a_public_key_is_no_key_by_itself() {
    let (server, signer) = (Server::start(), Signer::new(1));
    signer.register(&server.client(), &["admin"]);
    let client = server.client_with(&signer.public());
    client.get("/v1/whoami").refused(401, "UNAUTHORIZED");
}

#[test]
fn a_token_ends_with_its_key() {
    let (server, signer) = (Server::start(), Signer::new(1));
    let made = signer.register(&server.client(), &["admin"]);
    let client = signer.client(&server, &admin());
    client.get("/v1/whoami").ok(200);
    // Also by itself.
    let path = format!("{KEYS}/{}", made["id"].as_str().expect("an id"));
    client.delete(&path).ok(200);
    client.get("/v1/whoami").refused(401, "UNAUTHORIZED");
}

#[test]
fn a_token_opens_the_organization_that_has_its_key() {
    let (server, signer) = (Server::start(), Signer::new(1));
    signer.register(&server.client(), &["admin"]);
    server.org("other");
    for org in ["other", "unknown", ""] {
        let claims = json!({ "admin": true, "iss": org });
        let client = signer.client(&server, &claims);
        client.get("/v1/whoami").refused(401, "UNAUTHORIZED");
    }
    let folded = json!({ "admin": true, "iss": "Default" });
    signer.client(&server, &folded).get("/v1/whoami").ok(200);
    let client = signer.client(&server, &admin());
    client.get("/v1/other/repos").refused(404, "NOT_FOUND");
}

#[test]
fn tokens_that_are_refused_say_why() {
    let (server, signer) = (Server::start(), Signer::new(1));
    signer.register(&server.client(), &["admin"]);
    for (claims, words) in [
        (json!({ "admin": true, "iat": 1, "exp": 2 }), "has expired"),
        (
            json!({ "admin": true, "exp": 4_000_000_000_u64 }),
            "four hours",
        ),
        (json!({ "admin": true, "aud": "other" }), "aud"),
        (json!({ "admin": true, "jti": null }), "known form"),
        (json!({}), "admin: true or access"),
    ] {
        let refused = signer.client(&server, &claims).get("/v1/whoami");
        let error = refused.refused(401, "UNAUTHORIZED");
        let message = error["message"].as_str().expect("a message");
        assert!(message.contains(words), "{claims}: {message}");
    }
    let other = Signer::new(2).client(&server, &admin());
    let error = other.get("/v1/whoami").refused(401, "UNAUTHORIZED");
    assert_eq!(
        error["message"],
        "the token is not signed with a registered key"
    );
}

#[test]
fn the_registered_key_bounds_a_token() {
    let (server, signer) = (Server::start(), Signer::new(1));
    let one = server.repo(json!({ "name": "one" }));
    server.repo(json!({ "name": "two" }));
    let body =
        json!({ "public_key": signer.public(), "scopes": ["read"], "repo_ids": [one["id"]] });
    server.client().post(KEYS, body).ok(201);
    for claims in [
        admin(),
        json!({ "access": { "One": "write-repo", "two": "write-repo", "gone": "write-repo" } }),
    ] {
        let client = signer.client(&server, &claims);
        client.get("/v1/default/one").ok(200);
        client
            .patch("/v1/default/one", json!({}))
            .refused(403, "FORBIDDEN");
        client.get("/v1/default/two").refused(404, "NOT_FOUND");
        let repos = client.get("/v1/default/repos").ok(200);
        assert_eq!(repos["repos"].as_array().map(Vec::len), Some(1), "{repos}");
    }
    let nothing = json!({ "access": { "gone": "read-repo" } });
    let repos = signer
        .client(&server, &nothing)
        .get("/v1/default/repos")
        .ok(200);
    assert_eq!(repos["repos"], json!([]), "no repository is not all");
}

/// Else a stolen token would be as good as its key.
#[test]
fn a_key_that_a_token_makes_ends_with_the_token() {
    let (server, signer) = (Server::start(), Signer::new(1));
    signer.register(&server.client(), &["admin"]);
    let client = signer.client(&server, &admin());
    let made = client
        .post(KEYS, json!({ "expires_in_seconds": 3600 }))
        .ok(201);
    let end = |text: &Value| {
        let text = text["expires_at"].as_str().expect("an end").to_owned();
        text.parse::<jiff::Timestamp>().expect("a time").as_second()
    };
    let now = jiff::Timestamp::now().as_second();
    assert!(end(&made) <= now + 60, "{made}");
}

/// The password of git is any key, so a token is one, too, with the level that it has on each repository.
#[test]
fn a_token_is_a_password_of_git() {
    let (server, signer) = (Server::start(), Signer::new(1));
    signer.register(&server.client(), &["write"]);
    for name in ["one", "two", "three"] {
        server.repo(json!({ "name": name }));
    }
    let access = json!({ "access": { "one": "write-repo", "two": "read-repo" } });
    let token = signer.token(&access);
    let address = server.url().replace("http://", "");
    let url = |name: &str| format!("http://any:{token}@{address}/default/{name}.git");
    let work = Sandbox::new();
    work.git(&["init", "-q", "-b", "main"]);
    work.git(&["commit", "-q", "--allow-empty", "-m", "first"]);
    let tries = |args: &[&str]| work.try_git(args).status.success();
    assert!(tries(&["push", "-q", &url("one"), "main"]));
    assert!(tries(&["ls-remote", &url("two")]));
    assert!(
        !tries(&["push", "-q", &url("two"), "main"]),
        "it can only be read"
    );
    assert!(!tries(&["ls-remote", &url("three")]));
    assert!(
        work.git(&["ls-remote", &url("one")])
            .contains("refs/heads/main")
    );
}
