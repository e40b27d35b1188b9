//! The audit of what gives access: who has changed it, in the order of the changes, and no secret.

use serde_json::{Value, json};

use crate::support::Server;

#[test]
fn what_gives_access_is_audited() {
    let server = Server::start_with(|config| config.deliveries = false);
    let client = server.client();
    let id = |value: &Value| value["id"].as_str().expect("an id").to_owned();
    let caller = client.get("/v1/whoami").ok(200);
    let caller = caller["key_id"].as_str().expect("an id").to_owned();

    let key = client
        .post("/v1/default/api-keys", json!({ "scopes": ["read"] }))
        .ok(201);
    let path = format!("/v1/default/api-keys/{}", id(&key));
    client.delete(&path).ok(200);
    client.delete(&path).ok(404);

    let target = json!({ "url": "https://hooks.example.com/canary" });
    let target = client.post("/v1/default/webhook-targets", target).ok(201);
    let path = format!("/v1/default/webhook-targets/{}", id(&target));
    for change in [
        json!({ "name": "new" }),
        json!({}),
        json!({ "name": "new", "enabled": true }),
        json!({ "url": "https://hooks.example.com/canary2", "events": ["sync.failed"], "enabled": false }),
    ] {
        client.patch(&path, change).ok(200);
    }
    client
        .post(&format!("{path}/rotate-secret"), json!({}))
        .ok(200);
    client.delete(&path).ok(200);

    let url = "https://upstream.example.com/r.git";
    let other = "https://upstream.example.com/other.git";
    let token = json!({ "kind": "token", "token": "canary" });
    let password =
        json!({ "kind": "username_password", "username": "canary", "password": "canary" });
    let upstream = json!({ "url": url, "auth": token });
    let repo = server.repo(json!({ "name": "app", "upstream": upstream }));
    let hook = "/v1/default/app/upstream/hook";
    client.post(hook, json!({ "provider": "gitea" })).ok(201);
    client.delete(hook).ok(200);
    client.delete(hook).ok(404);
    for upstream in [
        json!({ "url": url, "auth": password }),
        // Kept.
        json!({ "url": url }),
        json!({ "url": other }),
        json!({ "url": url, "auth": password }),
        json!({ "url": url, "auth": null }),
        // There was none.
        json!({ "url": url, "auth": null }),
        json!({ "url": other, "auth": null }),
        json!({ "url": url, "auth": token }),
        Value::Null,
        Value::Null,
    ] {
        client
            .patch("/v1/default/app", json!({ "upstream": upstream }))
            .ok(200);
    }
    for upstream in [json!({ "url": url }), Value::Null, json!({ "url": url })] {
        client
            .patch("/v1/default/app", json!({ "upstream": upstream }))
            .ok(200);
        if upstream != Value::Null {
            client.post(hook, json!({ "provider": "github" })).ok(201);
        }
    }
    client.delete("/v1/default/app").ok(200);

    let store = &server.service().store;
    let rows = server.block_on(async {
        let org = store.org_by_slug("default").await.expect("an answer");
        store.audit(&org.expect("the organization").id, 0).await
    });
    let rows = rows.expect("the audit");
    let (of_start, of_caller) = rows.split_at(2);
    let actions = of_start
        .iter()
        .map(|row| (row.actor.as_str(), row.action.as_str()));
    let actions: Vec<_> = actions.collect();
    assert_eq!(
        actions,
        [("refsyncd", "org.created"), ("refsyncd", "key.created")]
    );
    let (key, target, repo) = (id(&key), id(&target), id(&repo));
    let expected = [
        ("key.created", &key, Some(r#"["read"]"#)),
        ("key.removed", &key, None),
        ("target.created", &target, None),
        ("target.changed", &target, Some("name")),
        ("target.changed", &target, Some("url, events, disabled")),
        ("target.secret_rotated", &target, None),
        ("target.removed", &target, None),
        ("upstream.auth", &repo, Some("token")),
        ("upstream.hook", &repo, Some("gitea")),
        ("upstream.hook", &repo, Some("none")),
        ("upstream.auth", &repo, Some("username_password")),
        ("upstream.url", &repo, Some(other)),
        ("upstream.url", &repo, Some(url)),
        ("upstream.auth", &repo, Some("username_password")),
        ("upstream.auth", &repo, Some("none")),
        ("upstream.url", &repo, Some(url)),
        ("upstream.auth", &repo, Some("token")),
        ("upstream.auth", &repo, Some("none")),
        ("upstream.hook", &repo, Some("github")),
        ("upstream.hook", &repo, Some("none")),
        ("upstream.hook", &repo, Some("github")),
        ("repository.removed", &repo, None),
        ("upstream.hook", &repo, Some("none")),
    ];
    let found: Vec<_> = of_caller
        .iter()
        .map(|row| (row.action.as_str(), &row.subject, row.detail.as_deref()))
        .collect();
    assert_eq!(found, expected);
    for row in of_caller {
        assert_eq!(row.actor, caller, "{row:?}");
        assert!(!format!("{row:?}").contains("canary"), "{row:?}");
    }
}
