//! Signatures of the calls that upstreams make, each as its service documents it.
//!
//! The headers are read first, then the body is fed in the parts in which it comes; nothing of it is kept.

use axum::http::HeaderMap;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use ring::hmac;

use super::signature::{WEBHOOK_ID, WEBHOOK_SIGNATURE, WEBHOOK_TIMESTAMP};
use crate::{records::Provider, secrets::webhook_secret::PREFIX};

/// The seconds by which the time of a signature may differ from ours, where it has one.
const TOLERANCE: u64 = 300;

/// The longest header that can be right, in bytes: GitLab sends more than one signature while a secret is rotated.
const MAX_HEADER: usize = 1024;

/// The check of one call.
pub enum Check {
    /// The sender has shown the secret itself.
    Shown,
    /// The body has to have one of these signatures.
    Signed {
        /// The HMAC of what came so far.
        context: Box<hmac::Context>,
        /// The signatures.
        expected: Vec<Vec<u8>>,
    },
}

impl Check {
    /// The check of a call with these headers, or `None` where no body can make it right.
    pub fn of(provider: Provider, secret: &str, headers: &HeaderMap, now: i64) -> Option<Self> {
        match provider {
            Provider::Github => hex(
                secret,
                text(headers, "x-hub-signature-256")?.strip_prefix("sha256=")?,
            ),
            Provider::Gitea => hex(secret, text(headers, "x-gitea-signature")?),
            // Data Center can use other digests; its default is this one.
            Provider::Bitbucket => hex(
                secret,
                text(headers, "x-hub-signature")?.strip_prefix("sha256=")?,
            ),
            // A signature that is there has to be right. It protects nobody who has shown the token once: that is the
            // key, too.
            Provider::Gitlab if headers.contains_key(WEBHOOK_SIGNATURE) => {
                standard(secret, headers, now)
            }
            Provider::Gitlab => {
                let shown = text(headers, "x-gitlab-token")?;
                is_equal(shown.as_bytes(), secret.as_bytes()).then_some(Check::Shown)
            }
        }
    }

    /// Takes the next part of the body.
    pub fn update(&mut self, part: &[u8]) {
        if let Check::Signed { context, .. } = self {
            context.update(part);
        }
    }

    /// Whether the call, whose body has ended, is of someone who knows the secret.
    pub fn is_right(self) -> bool {
        match self {
            Check::Shown => true,
            Check::Signed { context, expected } => {
                let tag = context.sign();
                expected.iter().any(|one| is_equal(one, tag.as_ref()))
            }
        }
    }
}

/// The value of a header that is there once.
fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    let value = values.next().filter(|value| value.len() <= MAX_HEADER)?;
    if values.next().is_some() {
        return None;
    }
    value.to_str().ok()
}

fn signed(key: &[u8], expected: Vec<Vec<u8>>) -> Check {
    let key = hmac::Key::new(hmac::HMAC_SHA256, key);
    Check::Signed {
        context: Box::new(hmac::Context::with_key(&key)),
        expected,
    }
}

fn hex(secret: &str, digits: &str) -> Option<Check> {
    if digits.len() != 64 || !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return None;
    }
    let byte = |at: usize| u8::from_str_radix(digits.get(2 * at..2 * at + 2)?, 16).ok();
    let bytes = (0..32).map(byte).collect::<Option<Vec<u8>>>()?;
    Some(signed(secret.as_bytes(), vec![bytes]))
}

/// The signatures of Standard Webhooks, which GitLab makes with a signing token.
fn standard(secret: &str, headers: &HeaderMap, now: i64) -> Option<Check> {
    let (id, at) = (
        text(headers, WEBHOOK_ID)?,
        text(headers, WEBHOOK_TIMESTAMP)?,
    );
    if at.parse::<i64>().ok()?.abs_diff(now) > TOLERANCE {
        return None;
    }
    let key = STANDARD.decode(secret.strip_prefix(PREFIX)?).ok()?;
    let key = zeroize::Zeroizing::new(key);
    let signatures = text(headers, WEBHOOK_SIGNATURE)?.split(' ');
    let signatures = signatures.filter_map(|one| STANDARD.decode(one.strip_prefix("v1,")?).ok());
    let mut check = signed(&key, signatures.collect());
    check.update(format!("{id}.{at}.").as_bytes());
    Some(check)
}

/// Whether the two are equal, in a time that does not say where they differ.
fn is_equal(one: &[u8], other: &[u8]) -> bool {
    // The key is of no matter: what is compared are two digests, by ring.
    let key = hmac::Key::new(hmac::HMAC_SHA256, b"equal");
    hmac::verify(&key, one, hmac::sign(&key, other).as_ref()).is_ok()
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderName, HeaderValue};

    use super::*;

    /// Samples with known signatures; the file says where each one is from.
    const SAMPLES: &str = include_str!("../../tests/fixtures/upstream-hooks.json");

    fn judged(provider: Provider, secret: &str, headers: &[(&str, &str)], body: &[u8]) -> bool {
        let mut all = HeaderMap::new();
        for (name, value) in headers {
            let name: HeaderName = name.parse().expect("a name");
            all.append(name, HeaderValue::from_str(value).expect("a value"));
        }
        let Some(mut check) = Check::of(provider, secret, &all, 1_614_265_330) else {
            return false;
        };
        body.chunks(7).for_each(|part| check.update(part));
        check.is_right()
    }

    #[test]
    fn the_documented_samples() {
        let samples: serde_json::Value = serde_json::from_str(SAMPLES).expect("JSON");
        let samples = samples["samples"].as_array().expect("samples");
        assert_eq!(samples.len(), 5);
        for sample in samples {
            let text = |key: &str| sample[key].as_str().expect("a text");
            let provider = Provider::of_word(text("provider")).expect("a provider");
            let headers = sample["headers"].as_object().expect("headers");
            let headers: Vec<_> = headers
                .iter()
                .map(|(name, value)| (name.as_str(), value.as_str().expect("a value")))
                .collect();
            let (secret, body) = (text("secret"), text("body"));
            assert!(
                judged(provider, secret, &headers, body.as_bytes()),
                "{sample}"
            );
            let other = format!("{secret}x");
            assert!(
                !judged(provider, &other, &headers, body.as_bytes()),
                "another secret: {sample}"
            );
            let shows_secret = headers.iter().any(|(_, value)| *value == secret);
            assert_eq!(
                judged(provider, secret, &headers, format!("{body} ").as_bytes()),
                shows_secret,
                "{sample}"
            );
            for (at, (name, value)) in headers.iter().enumerate() {
                let is_event = *name == provider.event_header();
                let with = |value: &str| {
                    let mut changed = headers.clone();
                    changed[at].1 = value;
                    judged(provider, secret, &changed, body.as_bytes())
                };
                assert_eq!(with(&format!("{value}0")), is_event, "{name} of {sample}");
                assert_eq!(with(""), is_event, "{name} of {sample}");
                let twice = [&headers[..], &[headers[at]]].concat();
                assert_eq!(
                    judged(provider, secret, &twice, body.as_bytes()),
                    is_event,
                    "{name} twice: {sample}"
                );
                let without: Vec<_> = headers
                    .iter()
                    .filter(|one| one.0 != *name)
                    .copied()
                    .collect();
                assert_eq!(
                    judged(provider, secret, &without, body.as_bytes()),
                    is_event,
                    "no {name}: {sample}"
                );
            }
        }
    }

    #[test]
    fn gitlab_signs_with_one_of_two_secrets_and_not_long_ago() {
        let secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
        let body = br#"{"test": 2432232314}"#;
        let right = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";
        let both = format!("v1,AAAA {right}");
        let judged_at = |at: &str, signature: &str, more: &[(&str, &str)]| {
            let id = ("webhook-id", "msg_p5jXN8AQM9LWM0D4loKWxJek");
            let own = [
                id,
                ("webhook-timestamp", at),
                ("webhook-signature", signature),
            ];
            judged(Provider::Gitlab, secret, &[&own[..], more].concat(), body)
        };
        assert!(judged_at("1614265330", &both, &[]));
        let token = [("x-gitlab-token", secret)];
        assert!(judged_at("1614265330", right, &token));
        assert!(
            !judged_at("1614265330", "v1,AAAA", &token),
            "a wrong signature counts"
        );
        for at in ["1614265029", "1614265631", "1614265331", "-1", "x"] {
            assert!(!judged_at(at, right, &[]), "{at}");
        }
    }
}
