//! Good tokens, and one bad token of each kind.

use ring::signature::{Ed25519KeyPair, KeyPair as _};
use serde_json::{Value, json};

use super::*;

const NOW: i64 = 1_800_000_000;

fn pair(seed: u8) -> Ed25519KeyPair {
    Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).expect("a key")
}

fn public(pair: &Ed25519KeyPair) -> PublicKey {
    pair.public_key().as_ref().try_into().expect("32 bytes")
}

fn header(pair: &Ed25519KeyPair) -> Value {
    let x = URL_SAFE_NO_PAD.encode(pair.public_key());
    json!({ "alg": "EdDSA", "typ": "mesa-at+jwt", "jwk": { "kty": "OKP", "crv": "Ed25519", "x": x } })
}

fn payload() -> Value {
    json!({ "iss": "default", "aud": "mesa-api", "admin": true, "iat": NOW - 10, "exp": NOW + 890, "jti": "a" })
}

/// `base` with `changes`, where null removes a member.
fn with(mut base: Value, changes: &Value) -> Value {
    for (name, value) in changes.as_object().expect("changes") {
        let members = base.as_object_mut().expect("an object");
        match value {
            Value::Null => members.remove(name),
            value => members.insert(name.clone(), value.clone()),
        };
    }
    base
}

fn signed(pair: &Ed25519KeyPair, header: &str, payload: &str) -> String {
    let text = [header, payload].map(|part| URL_SAFE_NO_PAD.encode(part));
    let text = text.join(".");
    let signature = URL_SAFE_NO_PAD.encode(pair.sign(text.as_bytes()));
    format!("{text}.{signature}")
}

fn judged(token: &str) -> Result<Claims, BadToken> {
    Token::read(token)?.verified(&public(&pair(1)), NOW)
}

/// The judgement of a token whose header or payload has these changes.
fn changed(head: &Value, body: &Value) -> Result<Claims, BadToken> {
    let (head, body) = (with(header(&pair(1)), head), with(payload(), body));
    judged(&signed(&pair(1), &head.to_string(), &body.to_string()))
}

fn with_payload(body: Value) -> Result<Claims, BadToken> {
    changed(&json!({}), &body)
}

#[test]
fn good_tokens() {
    let admin = Claims {
        grant: Grant::Admin,
        expires: NOW + 890,
    };
    for body in [
        json!({}),
        json!({ "authors": [{ "name": "A", "email": null }] }),
        json!({ "nbf": NOW }),
        json!({ "iat": NOW + AHEAD }),
        json!({ "iat": NOW + 890 - MAX_LIFE }),
    ] {
        assert_eq!(with_payload(body.clone()), Ok(admin.clone()), "{body}");
    }
    let access = json!({ "App": "read-repo", "app": "write-repo", "b": "read-repo" });
    let claims = with_payload(json!({ "admin": null, "access": access })).expect("a good token");
    let expected = [("app", Level::Write), ("b", Level::Read)];
    let expected = expected.map(|(name, level)| (name.to_owned(), level));
    assert_eq!(claims.grant, Grant::Repos(expected.into()));
    let text = signed(
        &pair(1),
        &header(&pair(1)).to_string(),
        &payload().to_string(),
    );
    let token = Token::read(&text).expect("a token");
    assert_eq!(token.issuer(), "default");
    assert_eq!(token.public_key(), &public(&pair(1)));
}

#[test]
fn headers_that_are_refused() {
    let x = URL_SAFE_NO_PAD.encode(pair(1).public_key());
    for (head, reason) in [
        (json!({ "alg": "none" }), BadToken::Header),
        (json!({ "alg": "HS256" }), BadToken::Header),
        (json!({ "alg": "eddsa" }), BadToken::Header),
        (json!({ "alg": null }), BadToken::Form),
        (json!({ "typ": "JWT" }), BadToken::Header),
        (json!({ "typ": null }), BadToken::Form),
        (json!({ "crit": [] }), BadToken::Header),
        (json!({ "jwk": null }), BadToken::Form),
        (json!({ "jwk": ["OKP", "Ed25519", x] }), BadToken::Form),
        (
            json!({ "jwk": { "kty": "RSA", "crv": "Ed25519", "x": x } }),
            BadToken::Header,
        ),
        (
            json!({ "jwk": { "kty": "OKP", "crv": "X25519", "x": x } }),
            BadToken::Header,
        ),
        (
            json!({ "jwk": { "kty": "OKP", "crv": "Ed25519", "x": "AA" } }),
            BadToken::Header,
        ),
        (
            json!({ "jwk": { "kty": "OKP", "crv": "Ed25519", "x": format!("{x}=") } }),
            BadToken::Header,
        ),
        (
            json!({ "jwk": { "kty": "OKP", "crv": "Ed25519", "x": x, "d": x } }),
            BadToken::Form,
        ),
    ] {
        assert_eq!(changed(&head, &json!({})), Err(reason), "{head}");
    }
}

#[test]
fn payloads_that_are_refused() {
    let many: BTreeMap<_, _> = (0..=MAX_ACCESS)
        .map(|n| (format!("r{n}"), "read-repo"))
        .collect();
    for (body, reason) in [
        (json!({ "iss": null }), BadToken::Form),
        (json!({ "iss": 1 }), BadToken::Form),
        (json!({ "aud": null }), BadToken::Form),
        (json!({ "aud": "other" }), BadToken::Audience),
        (json!({ "aud": ["mesa-api"] }), BadToken::Form),
        (json!({ "admin": null }), BadToken::Access),
        (json!({ "admin": false }), BadToken::Access),
        (json!({ "access": { "a": "read-repo" } }), BadToken::Access),
        (json!({ "admin": null, "access": {} }), BadToken::Access),
        (json!({ "admin": null, "access": many }), BadToken::Access),
        (
            json!({ "admin": null, "access": { "a": "admin" } }),
            BadToken::Form,
        ),
        (
            json!({ "admin": null, "access": [["a", "read-repo"]] }),
            BadToken::Form,
        ),
        (json!({ "iat": null }), BadToken::Form),
        (json!({ "exp": null }), BadToken::Form),
        (json!({ "exp": "later" }), BadToken::Form),
        (json!({ "exp": NOW as f64 + 0.5 }), BadToken::Form),
        (json!({ "jti": null }), BadToken::Form),
        (json!({ "jti": "" }), BadToken::Form),
        (json!({ "jti": "a".repeat(MAX_JTI + 1) }), BadToken::Form),
        (json!({ "iat": NOW - 900, "exp": NOW }), BadToken::Expired),
        (
            json!({ "iat": NOW - 900, "exp": NOW - 1 }),
            BadToken::Expired,
        ),
        (json!({ "iat": NOW + AHEAD + 1 }), BadToken::NotYet),
        (json!({ "nbf": NOW + AHEAD + 1 }), BadToken::NotYet),
        (json!({ "exp": NOW - 10 + MAX_LIFE + 1 }), BadToken::Life),
        (json!({ "exp": NOW - 10 }), BadToken::Life),
        (json!({ "iat": i64::MIN, "exp": i64::MAX }), BadToken::Life),
        (json!({ "iat": -1, "exp": 1 }), BadToken::Life),
        (json!({ "jti": "\0" }), BadToken::Form),
    ] {
        assert_eq!(with_payload(body.clone()), Err(reason), "{body}");
    }
}

#[test]
fn texts_that_are_refused() {
    let (head, body) = (header(&pair(1)).to_string(), payload().to_string());
    let good = signed(&pair(1), &head, &body);
    assert!(judged(&good).is_ok());
    let twice = |text: &str, member: &str| text.replacen('{', &format!("{{{member},"), 1);
    for (text, reason) in [
        (String::new(), BadToken::Form),
        ("..".into(), BadToken::Form),
        ("a.b.c".into(), BadToken::Form),
        (format!("{good}="), BadToken::Form),
        (format!("{good}."), BadToken::Form),
        (format!(" {good}"), BadToken::Form),
        (
            good.rsplit_once('.').expect("parts").0.to_owned(),
            BadToken::Form,
        ),
        (
            format!("{}.", good.rsplit_once('.').expect("parts").0),
            BadToken::Signature,
        ),
        (
            signed(&pair(1), &twice(&head, r#""alg":"none""#), &body),
            BadToken::Form,
        ),
        (
            signed(&pair(1), &head, &twice(&body, r#""admin":true"#)),
            BadToken::Form,
        ),
        (
            signed(&pair(1), &head, &twice(&body, r#""x":{"y":1,"y":1}"#)),
            BadToken::Form,
        ),
        (
            signed(&pair(1), &format!("[{head}]"), &body),
            BadToken::Form,
        ),
        (signed(&pair(1), &head, "[]"), BadToken::Form),
        (signed(&pair(1), &head, "{}"), BadToken::Form),
        // The header names its own key, and is not believed.
        (
            signed(&pair(2), &header(&pair(2)).to_string(), &body),
            BadToken::Signature,
        ),
        (signed(&pair(2), &head, &body), BadToken::Signature),
        ("a".repeat(MAX_TOKEN + 1), BadToken::TooLong),
    ] {
        assert_eq!(judged(&text), Err(reason), "{text:.200}");
    }
}

#[test]
fn no_bit_can_be_flipped() {
    let good = signed(
        &pair(1),
        &header(&pair(1)).to_string(),
        &payload().to_string(),
    );
    for at in 0..good.len() {
        for bit in 0..8 {
            let mut flipped = good.clone().into_bytes();
            flipped[at] ^= 1 << bit;
            if let Ok(flipped) = String::from_utf8(flipped) {
                assert!(judged(&flipped).is_err(), "{at} {bit}");
            }
        }
    }
}
