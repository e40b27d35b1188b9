//! The texts that a public key of Ed25519 is registered as.

use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};

use super::jwt::PublicKey;

/// The DER of a SubjectPublicKeyInfo of Ed25519 before the key itself (RFC 8410).
const SPKI: [u8; 12] = [
    0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00,
];

const BEGIN: &str = "-----BEGIN PUBLIC KEY-----";
const END: &str = "-----END PUBLIC KEY-----";

/// The public key in `text`: PEM as `openssl pkey -pubout` writes it, or base64 or base64url of the 32 bytes (the `x`
/// of a JWK) or of the DER that is in the PEM. No published client registers keys, so all common forms are taken.
pub fn parse(text: &str) -> Option<PublicKey> {
    let text = text.trim();
    let lines = text
        .strip_prefix(BEGIN)
        .and_then(|rest| rest.strip_suffix(END));
    let digits: String = match lines {
        Some(lines) => lines.split_ascii_whitespace().collect(),
        None => text.to_owned(),
    };
    let bytes = STANDARD.decode(&digits);
    let bytes = bytes.or_else(|_| URL_SAFE_NO_PAD.decode(&digits)).ok()?;
    let key = bytes.strip_prefix(&SPKI).unwrap_or(&bytes);
    key.try_into().ok()
}

/// The key as the `x` of a JWK.
pub fn to_text(key: &PublicKey) -> String {
    URL_SAFE_NO_PAD.encode(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The public key of RFC 8410, section 10.1.
    const PEM: &str = "-----BEGIN PUBLIC KEY-----
MCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=
-----END PUBLIC KEY-----
";

    #[test]
    fn the_forms_of_a_key() {
        let key = parse(PEM).expect("a key");
        assert_eq!(key[..4], [0x19, 0xbf, 0x44, 0x09]);
        for text in [
            PEM.replace('\n', "\r\n"),
            "MCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=".into(),
            to_text(&key),
            format!(" {}\n", STANDARD.encode(key)),
        ] {
            assert_eq!(parse(&text), Some(key), "{text}");
        }
        for text in [
            "",
            "AAAA",
            "not base64!",
            // A private key of the clients, by mistake.
            "MC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC",
            "-----BEGIN PRIVATE KEY-----\nMCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=\n-----END PRIVATE KEY-----",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
