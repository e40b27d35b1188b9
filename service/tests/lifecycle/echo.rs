//! A hostile upstream repeats the credential that it gets, in each text that a service may keep.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::json;

use crate::support::{Receiver, Server, Upstream, engine::server::Answer};

const USER: &str = "someone-secret";
const PASSWORD: &str = "can/ary-3f9c1d77e2";

/// The first answer to a client that shows its credential.
fn answer(path: &str, authorization: &str) -> Answer {
    let encoded = authorization.strip_prefix("Basic ").expect("the scheme");
    let both = String::from_utf8(STANDARD.decode(encoded).expect("base64")).expect("text");
    let escaped = both.replace('/', "%2F");
    let text = if path.contains("cut") {
        // The engine cuts texts: a part of the credential is left.
        format!("{}{both}", "x".repeat(380))
    } else {
        format!("no {authorization}, no {both}, no https://{escaped}@host/")
    };
    if path.contains("refused") {
        return raw("403 No", "text/plain", text.as_bytes());
    }
    let line = format!("ERR {text}");
    let packet = format!("{:04x}{line}", line.len() + 4);
    raw(
        "200 OK",
        "application/x-git-upload-pack-advertisement",
        packet.as_bytes(),
    )
}

fn raw(status: &str, kind: &str, body: &[u8]) -> Answer {
    let length = body.len();
    let head =
        format!("HTTP/1.1 {status}\r\ncontent-type: {kind}\r\ncontent-length: {length}\r\n\r\n");
    Answer::Raw([head.as_bytes(), body].concat())
}

#[test]
fn a_server_that_repeats_the_credential_is_not_repeated() {
    let upstream = Upstream::start();
    upstream.server.intercept(|head| {
        let authorization = head.header("authorization")?;
        Some(answer(&head.path, authorization))
    });
    let (server, receiver) = (Server::start(), Receiver::start());
    let target = json!({ "url": receiver.url(), "events": ["sync.failed"] });
    let client = server.client();
    client.post("/v1/default/webhook-targets", target).ok(201);
    let auth = json!({ "kind": "username_password", "username": USER, "password": PASSWORD });
    let names = ["refused", "error", "cut"];
    let mut texts = Vec::new();
    for name in names {
        let url = upstream.url(&format!("{name}.git"));
        server.repo(json!({ "name": name, "upstream": { "url": url, "auth": auth } }));
        let run = server.sync(name, json!({ "direction": "pull" }));
        assert_eq!(run["status"], "failed", "{run}");
        texts.push(run.to_string());
        let list = client.get(&format!("/v1/default/{name}/upstream/syncs"));
        texts.push(list.ok(200).to_string());
    }
    // It did say something that was worth a search.
    assert!(texts[2].contains("[credential]"), "{}", texts[2]);
    assert!(texts[4].contains("[credential]"), "{}", texts[4]);
    let received = receiver.wait_for(names.len());
    texts.extend(received.into_iter().map(|one| one.body));
    for file in server.data().read_dir().expect("a folder").flatten() {
        let bytes = std::fs::read(file.path()).unwrap_or_default();
        texts.push(String::from_utf8_lossy(&bytes).into_owned());
    }
    let encoded = STANDARD.encode(format!("{USER}:{PASSWORD}"));
    let escaped = PASSWORD.replace('/', "%2F");
    for secret in [USER, PASSWORD, &escaped, &encoded[..16], &PASSWORD[..12]] {
        for text in &texts {
            let at = text.find(secret);
            assert_eq!(
                at,
                None,
                "{secret}: {}",
                &text[at.unwrap_or(0)..].get(..80).unwrap_or_default()
            );
        }
    }
}
