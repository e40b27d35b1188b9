//! API keys: a prefix and 32 random bytes, stored as their SHA-256.
//!
//! A plain digest is enough: nobody can try 256 random bits.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use ring::digest;
use zeroize::Zeroizing;

use super::{SecretError, random};

/// The beginning of all API keys, by which scanners for leaked secrets find them.
const PREFIX: &str = "rsk_";

/// A new API key, to be shown once.
///
/// # Errors
/// [`SecretError::NoRandomness`].
pub fn generate() -> Result<Zeroizing<String>, SecretError> {
    let bytes = Zeroizing::new(random::<32>()?);
    let digits = Zeroizing::new(URL_SAFE_NO_PAD.encode(*bytes));
    Ok(Zeroizing::new([PREFIX, &digits].concat()))
}

/// The digest by which the key is stored and looked up.
pub fn hash(key: &str) -> [u8; 32] {
    let digest = digest::digest(&digest::SHA256, key.as_bytes());
    let mut bytes = [0; 32];
    bytes.copy_from_slice(digest.as_ref());
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_long_and_differ() {
        let (one, other) = (generate().expect("a key"), generate().expect("a key"));
        assert_eq!(one.len(), 47);
        assert!(one.starts_with("rsk_"));
        assert_ne!(*one, *other);
        assert_ne!(hash(&one), hash(&other));
    }

    #[test]
    fn the_digest_is_sha_256() {
        let hex: String = hash("abc")
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        let known = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(hex, known);
    }
}
