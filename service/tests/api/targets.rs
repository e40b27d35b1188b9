//! Webhook targets and their deliveries through the API.

use serde_json::{Value, json};

use crate::support::{Receiver, Server};

const TARGETS: &str = "/v1/default/webhook-targets";

fn text(value: &Value) -> &str {
    value.as_str().expect("a string")
}

#[test]
fn a_target_is_made_read_changed_and_removed() {
    let server = Server::start();
    let client = server.client();
    let made = client
        .post(TARGETS, json!({ "url": "https://hooks.example.com/x?y=z" }))
        .ok(201);
    assert!(text(&made["secret"]).starts_with("whsec_"));
    assert_eq!(made["events"], json!(["push"]), "the default");
    assert_eq!(
        (&made["name"], &made["repo_ids"]),
        (&Value::Null, &Value::Null)
    );
    let path = format!("{TARGETS}/{}", text(&made["id"]));
    let mut read = client.get(&path).ok(200);
    assert_eq!(read.get("secret"), None);
    read["secret"] = made["secret"].clone();
    assert_eq!(read, made);

    let repo = server.repo(json!({ "name": "app" }));
    let change = json!({
        "url": "https://hooks.example.com/new", "name": "ci", "enabled": false,
        "events": ["sync.failed", "repo.push", "sync.failed"], "repo_ids": [repo["id"]],
    });
    let changed = client.patch(&path, change).ok(200);
    assert_eq!(changed["url"], "https://hooks.example.com/new");
    assert_eq!(changed["name"], "ci");
    assert_eq!(changed["enabled"], false);
    assert_eq!(changed["events"], json!(["repo.push", "sync.failed"]));
    assert_eq!(changed["repo_ids"], json!([repo["id"]]));
    let cleared = client
        .patch(&path, json!({ "name": null, "repo_ids": null }))
        .ok(200);
    assert_eq!(
        (&cleared["name"], &cleared["repo_ids"]),
        (&Value::Null, &Value::Null)
    );
    assert_eq!(cleared["events"], changed["events"]);

    client
        .post(TARGETS, json!({ "url": "https://hooks.example.com/2" }))
        .ok(201);
    assert_eq!(client.all(TARGETS, "webhook_targets", 1).len(), 2);
    client.delete(&path).ok(200);
    client.delete(&path).refused(404, "NOT_FOUND");
    client.get(&path).refused(404, "NOT_FOUND");
}

#[test]
fn addresses_and_events_that_no_target_can_have() {
    let server = Server::start_with(|config| config.network = refsync::NetworkPolicy::public());
    let client = server.client();
    for (url, code) in [
        ("http://hooks.example.com/", "URL_NOT_ALLOWED"),
        ("https://127.0.0.1/", "URL_NOT_ALLOWED"),
        ("https://[::1]:8443/", "URL_NOT_ALLOWED"),
        ("https://me:pw@hooks.example.com/", "INVALID_URL"),
        ("https://hooks.example.com/#x", "INVALID_URL"),
        ("ftp://hooks.example.com/", "INVALID_URL"),
        ("", "INVALID_URL"),
    ] {
        client
            .post(TARGETS, json!({ "url": url }))
            .refused(400, code);
    }
    for events in [
        json!([]),
        json!(["unknown"]),
        json!(["push", "repo.created"]),
    ] {
        let body = json!({ "url": "https://hooks.example.com/", "events": events });
        client.post(TARGETS, body).refused(400, "INVALID_BODY");
    }
    assert_eq!(client.get(TARGETS).ok(200)["webhook_targets"], json!([]));
}

#[test]
fn a_test_event_is_delivered_and_can_be_delivered_again() {
    let (server, receiver) = (Server::start(), Receiver::start());
    let client = server.client();
    let body = json!({ "url": receiver.url(), "events": ["sync.completed"] });
    let target = client.post(TARGETS, body).ok(201);
    let path = format!("{TARGETS}/{}", text(&target["id"]));
    let delivery = client
        .call("POST", &format!("{path}/test"), None, &[])
        .ok(201);
    assert_eq!(
        delivery["type"], "sync.completed",
        "a type that was asked for"
    );
    let first = receiver.wait_for(1)[0].json();
    assert_eq!(first["id"], delivery["event_id"]);
    assert_eq!(first["type"], "sync.completed");

    let again = format!("{path}/deliveries/{}/redeliver", text(&delivery["id"]));
    let again = client.call("POST", &again, None, &[]).ok(200);
    assert_eq!(again["event_id"], delivery["event_id"]);
    let received = receiver.wait_for(2);
    assert_eq!(received[1].json(), first, "the same event with the same id");
    let unknown = format!("{path}/deliveries/whd_00000000000000000000000000000000/redeliver");
    client
        .call("POST", &unknown, None, &[])
        .refused(404, "NOT_FOUND");
    let rows = client.all(&format!("{path}/deliveries"), "deliveries", 1);
    assert!(
        rows.iter()
            .all(|row| row["event_id"] == delivery["event_id"]),
        "{rows:?}"
    );
}

#[test]
fn a_disabled_target_gets_nothing() {
    let server = Server::start();
    let client = server.client();
    let made = client
        .post(TARGETS, json!({ "url": "https://hooks.example.com/" }))
        .ok(201);
    let path = format!("{TARGETS}/{}", text(&made["id"]));
    client.patch(&path, json!({ "enabled": false })).ok(200);
    let test = client.call("POST", &format!("{path}/test"), None, &[]);
    test.refused(409, "TARGET_DISABLED");
    assert_eq!(
        client.get(&format!("{path}/deliveries")).ok(200)["deliveries"],
        json!([])
    );
}

#[test]
fn a_new_secret_is_shown_once() {
    let server = Server::start();
    let client = server.client();
    let made = client
        .post(TARGETS, json!({ "url": "https://hooks.example.com/" }))
        .ok(201);
    let path = format!("{TARGETS}/{}", text(&made["id"]));
    let rotated = client
        .call("POST", &format!("{path}/rotate-secret"), None, &[])
        .ok(200);
    let secret = text(&rotated["secret"]);
    assert!(secret.starts_with("whsec_") && rotated["secret"] != made["secret"]);
    for path in [TARGETS, &path] {
        assert!(!client.get(path).text.contains("whsec_"), "{path}");
    }
}
