//! Signatures of deliveries: `x-mesa-signature`, and the headers of Standard Webhooks.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use ring::hmac;

use crate::secrets::webhook_secret::PREFIX;

/// The header that the published clients verify. It holds exactly one signature: they refuse more.
pub const MESA_SIGNATURE: &str = "x-mesa-signature";

/// The identifier of Standard Webhooks, the same in all attempts.
pub const WEBHOOK_ID: &str = "webhook-id";

/// The time of the attempt, in seconds.
pub const WEBHOOK_TIMESTAMP: &str = "webhook-timestamp";

/// One signature for each secret that is valid.
pub const WEBHOOK_SIGNATURE: &str = "webhook-signature";

/// The value of `x-mesa-signature` for `body`, sent at `seconds`: the HMAC's key is the text of the secret.
pub fn mesa(secret: &str, seconds: i64, body: &[u8]) -> String {
    let tag = sign(secret.as_bytes(), &[&format!("{seconds}."), "", ""], body);
    let hex: String = tag
        .as_ref()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    format!("t={seconds},sha256={hex}")
}

/// The value of `webhook-signature`, with one signature for each secret: the HMAC's key is what follows `whsec_`,
/// decoded.
pub fn standard<'a>(
    secrets: impl IntoIterator<Item = &'a str>,
    id: &str,
    seconds: i64,
    body: &[u8],
) -> String {
    let signature = |secret: &str| {
        let key = STANDARD.decode(secret.strip_prefix(PREFIX)?).ok()?;
        let key = zeroize::Zeroizing::new(key);
        let tag = sign(&key, &[id, ".", &format!("{seconds}.")], body);
        Some(format!("v1,{}", STANDARD.encode(tag)))
    };
    let signatures: Vec<_> = secrets.into_iter().filter_map(signature).collect();
    signatures.join(" ")
}

fn sign(key: &[u8], before: &[&str; 3], body: &[u8]) -> hmac::Tag {
    let mut context = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, key));
    for part in before {
        context.update(part.as_bytes());
    }
    context.update(body);
    context.sign()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Computed with `openssl dgst -sha256 -hmac`.
    #[test]
    fn the_signature_of_the_published_clients() {
        let value = mesa("whsec_c2VjcmV0", 1_700_000_000, br#"{"id":"evt_1"}"#);
        let hex = "ff2a8a6be88730a756b563bd63f1d57e249b0384c4dbec48347b8aa87c137d44";
        assert_eq!(value, format!("t=1700000000,sha256={hex}"));
    }

    /// The example of the specification of Standard Webhooks.
    #[test]
    fn the_signature_of_standard_webhooks() {
        let secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
        let id = "msg_p5jXN8AQM9LWM0D4loKWxJek";
        let body = br#"{"test": 2432232314}"#;
        let value = standard([secret], id, 1_614_265_330, body);
        assert_eq!(value, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn two_secrets_give_two_signatures() {
        let (one, other) = ("whsec_c2VjcmV0", "whsec_b3RoZXI=");
        let both = standard([one, other], "evt_1", 1, b"{}");
        let each = [one, other].map(|secret| standard([secret], "evt_1", 1, b"{}"));
        assert_eq!(both, each.join(" "));
        assert_ne!(each[0], each[1]);
    }

    #[test]
    fn a_secret_of_another_form_has_no_standard_signature() {
        for secret in ["", "secret", "whsec_!", "whsec_abc"] {
            assert_eq!(standard([secret], "evt_1", 1, b"{}"), "", "{secret}");
        }
    }
}
