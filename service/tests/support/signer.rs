//! [`Signer`], a key pair as the newer published clients have one, and the tokens that it signs.

use std::time::{SystemTime, UNIX_EPOCH};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use ring::signature::{Ed25519KeyPair, KeyPair as _};
use serde_json::{Value, json};

use super::{Client, Server};

/// The DER of a PKCS#8 private key of Ed25519 before the seed.
const PKCS8: [u8; 16] = [
    0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20,
];

/// A key pair.
pub struct Signer {
    seed: [u8; 32],
    pair: Ed25519KeyPair,
}

impl Signer {
    pub fn new(seed: u8) -> Self {
        let seed = [seed; 32];
        let pair = Ed25519KeyPair::from_seed_unchecked(&seed).expect("a key");
        Signer { seed, pair }
    }

    /// The public key in base64url.
    pub fn public(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.pair.public_key())
    }

    /// The private key in the form of mesa-sdk.
    pub fn private(&self, org: &str) -> String {
        let der = [&PKCS8[..], &self.seed].concat();
        format!("mesa_private_key_{org}_{}", URL_SAFE_NO_PAD.encode(der))
    }

    /// Registers the public key; gives its object.
    #[track_caller]
    pub fn register(&self, client: &Client, scopes: &[&str]) -> Value {
        let body = json!({ "public_key": self.public(), "scopes": scopes });
        client.post("/v1/default/api-keys", body).ok(201)
    }

    /// A token of the organization `default` that lives for a minute, with `claims` beside what each token has. A
    /// claim of null is left out.
    pub fn token(&self, claims: &Value) -> String {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let now = now.expect("a time").as_secs();
        let header = json!({ "alg": "EdDSA", "typ": "mesa-at+jwt",
            "jwk": { "kty": "OKP", "crv": "Ed25519", "x": self.public() } });
        let mut payload =
            json!({ "iss": "default", "aud": "mesa-api", "jti": "1", "iat": now, "exp": now + 60 });
        for (name, value) in claims.as_object().expect("claims") {
            payload[name] = value.clone();
        }
        let members = payload.as_object_mut().expect("an object");
        members.retain(|_, value| !value.is_null());
        let parts = [header, payload].map(|part| URL_SAFE_NO_PAD.encode(part.to_string()));
        let signed = parts.join(".");
        let signature = URL_SAFE_NO_PAD.encode(self.pair.sign(signed.as_bytes()));
        format!("{signed}.{signature}")
    }

    /// A client that sends one token with all of its requests.
    pub fn client(&self, server: &Server, claims: &Value) -> Client {
        server.client_with(&self.token(claims))
    }
}
