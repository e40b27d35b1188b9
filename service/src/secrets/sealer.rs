//! [`Sealer`]: AES-256-GCM, bound to the row that a secret is stored in.

use std::fmt;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use ring::{
    aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey},
    digest,
};
use zeroize::Zeroizing;

use super::{MasterKey, SecretError, random};

/// The place in the database that a secret is sealed for. It can be opened nowhere else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place<'a> {
    /// The table.
    pub table: &'a str,
    /// The identifier of the row.
    pub row: &'a str,
    /// The column.
    pub column: &'a str,
}

impl Place<'_> {
    /// The additional data. Each part has its length before it: otherwise the row `a` and the column `bc` would be
    /// the same place as `ab` and `c`.
    fn additional_data(&self) -> Vec<u8> {
        let mut data = Vec::new();
        for part in [self.table, self.row, self.column] {
            data.extend_from_slice(&(part.len() as u64).to_be_bytes());
            data.extend_from_slice(part.as_bytes());
        }
        data
    }
}

/// Seals secrets with the first of its master keys, and opens what any of them has sealed.
///
/// The text is `v1.`, eight characters that name the key, `.`, and the nonce, the ciphertext and the tag, all in
/// base64url.
pub struct Sealer {
    first: Key,
    others: Vec<Key>,
}

struct Key {
    /// The first six bytes of the SHA-256 of the key, in base64url.
    id: String,
    key: LessSafeKey,
}

impl Key {
    fn new(key: &MasterKey) -> Self {
        let digest = digest::digest(&digest::SHA256, key.bytes());
        let unbound = UnboundKey::new(&AES_256_GCM, key.bytes());
        Key {
            id: URL_SAFE_NO_PAD.encode(&digest.as_ref()[..6]),
            key: LessSafeKey::new(unbound.expect("a master key has the length of AES-256")),
        }
    }
}

impl Sealer {
    /// The sealer with `first` and the keys that came before it.
    pub fn new(first: &MasterKey, others: &[MasterKey]) -> Self {
        Sealer {
            first: Key::new(first),
            others: others.iter().map(Key::new).collect(),
        }
    }

    /// The text that stands for `plain` in the database.
    ///
    /// # Errors
    /// [`SecretError::NoRandomness`].
    pub fn seal(&self, place: Place<'_>, plain: &[u8]) -> Result<String, SecretError> {
        let nonce: [u8; NONCE_LEN] = random()?;
        // One allocation, which ends as ciphertext: text that grows leaves copies of its beginning behind.
        let mut sealed = Vec::with_capacity(NONCE_LEN + plain.len() + AES_256_GCM.tag_len());
        sealed.extend_from_slice(&nonce);
        sealed.extend_from_slice(plain);
        let tag = self
            .first
            .key
            .seal_in_place_separate_tag(
                Nonce::assume_unique_for_key(nonce),
                Aad::from(place.additional_data()),
                &mut sealed[NONCE_LEN..],
            )
            .map_err(|_| SecretError::NoRandomness)?;
        sealed.extend_from_slice(tag.as_ref());
        let sealed = URL_SAFE_NO_PAD.encode(&sealed);
        Ok(format!("v1.{}.{sealed}", self.first.id))
    }

    /// The secret that was sealed as `text` for `place`.
    ///
    /// # Errors
    /// [`SecretError::UnknownKey`], or [`SecretError::Unopenable`] for anything that was not sealed for this place.
    pub fn open(&self, place: Place<'_>, text: &str) -> Result<Zeroizing<Vec<u8>>, SecretError> {
        let (id, sealed) = parts(text).ok_or(SecretError::Unopenable)?;
        let mut keys = std::iter::once(&self.first).chain(&self.others);
        let key = keys.find(|key| key.id == id);
        let key = key.ok_or(SecretError::UnknownKey)?;
        let mut sealed = URL_SAFE_NO_PAD
            .decode(sealed)
            .map(Zeroizing::new)
            .map_err(|_| SecretError::Unopenable)?;
        let (nonce, ciphertext) = sealed
            .split_at_mut_checked(NONCE_LEN)
            .ok_or(SecretError::Unopenable)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| SecretError::Unopenable)?;
        let plain = key
            .key
            .open_in_place(nonce, Aad::from(place.additional_data()), ciphertext)
            .map_err(|_| SecretError::Unopenable)?;
        Ok(Zeroizing::new(plain.to_vec()))
    }

    /// Whether `text` was sealed with the first key, so that the others are not needed for it.
    pub fn is_current(&self, text: &str) -> bool {
        parts(text).is_some_and(|(id, _)| id == self.first.id)
    }

    /// The text sealed anew with the first key, or `None` if it is already.
    ///
    /// # Errors
    /// Those of [`open`](Sealer::open) and [`seal`](Sealer::seal).
    pub fn reseal(&self, place: Place<'_>, text: &str) -> Result<Option<String>, SecretError> {
        if self.is_current(text) {
            return Ok(None);
        }
        let plain = self.open(place, text)?;
        self.seal(place, &plain).map(Some)
    }
}

/// The name of the key and what it has sealed.
fn parts(text: &str) -> Option<(&str, &str)> {
    text.strip_prefix("v1.")?.split_once('.')
}

impl fmt::Debug for Sealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sealer")
            .field("keys", &(1 + self.others.len()))
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLACE: Place<'_> = Place {
        table: "upstreams",
        row: "repo_1",
        column: "secret",
    };

    fn key() -> MasterKey {
        MasterKey::generate().expect("a key")
    }

    #[test]
    fn what_is_sealed_can_be_opened() {
        let sealer = Sealer::new(&key(), &[]);
        for plain in [&b""[..], b"x", &[0xff; 5000]] {
            let text = sealer.seal(PLACE, plain).expect("sealed");
            assert_eq!(*sealer.open(PLACE, &text).expect("opened"), plain);
            assert_ne!(text, sealer.seal(PLACE, plain).expect("sealed"));
        }
    }

    #[test]
    fn no_bit_can_be_flipped() {
        let sealer = Sealer::new(&key(), &[]);
        let text = sealer.seal(PLACE, b"canary").expect("sealed");
        for at in 0..text.len() {
            for bit in 0..8 {
                let mut flipped = text.clone().into_bytes();
                flipped[at] ^= 1 << bit;
                let Ok(flipped) = String::from_utf8(flipped) else {
                    continue;
                };
                assert!(sealer.open(PLACE, &flipped).is_err(), "{at} {bit}");
            }
        }
        for length in 0..text.len() {
            assert!(sealer.open(PLACE, &text[..length]).is_err(), "{length}");
        }
        assert!(sealer.open(PLACE, &format!("{text}A")).is_err());
    }

    #[test]
    fn a_secret_opens_in_its_own_place_alone() {
        let sealer = Sealer::new(&key(), &[]);
        let text = sealer.seal(PLACE, b"canary").expect("sealed");
        let place = |table, row, column| Place { table, row, column };
        for other in [
            place("targets", "repo_1", "secret"),
            place("upstreams", "repo_2", "secret"),
            place("upstreams", "repo_1", "other"),
            place("upstreams", "repo_1s", "ecret"),
            place("upstreamsrepo_1", "", "secret"),
        ] {
            let err = sealer.open(other, &text).expect_err("another place");
            assert!(matches!(err, SecretError::Unopenable), "{other:?}");
        }
    }

    #[test]
    fn all_keys_open_and_the_first_one_seals() {
        let (old, new) = (key(), key());
        let before = Sealer::new(&old, &[]);
        let sealed = before.seal(PLACE, b"canary").expect("sealed");
        let both = Sealer::new(&new, &[old]);
        assert_eq!(*both.open(PLACE, &sealed).expect("opened"), b"canary");
        assert!(!both.is_current(&sealed));
        let anew = both.reseal(PLACE, &sealed).expect("sealed");
        let anew = anew.expect("it was sealed with the old key");
        assert!(both.is_current(&anew));
        assert!(both.reseal(PLACE, &anew).expect("opened").is_none());
        let after = Sealer::new(&new, &[]);
        assert_eq!(*after.open(PLACE, &anew).expect("opened"), b"canary");
        let err = after.open(PLACE, &sealed).expect_err("the old key is gone");
        assert!(matches!(err, SecretError::UnknownKey));
    }

    #[test]
    fn nothing_of_a_key_is_printed() {
        let key = key();
        let sealer = Sealer::new(&key, &[]);
        let shown = format!("{key:?} {sealer:?}");
        assert_eq!(shown, "MasterKey(..) Sealer { keys: 1, .. }");
    }
}
