//! [`MasterKey`], a key that seals secrets, and its text in the key file.

use std::fmt;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use zeroize::Zeroizing;

use super::{SecretError, random};

/// The number of bytes of a master key.
pub(super) const KEY_BYTES: usize = 32;

/// A master key, wiped from memory when it is dropped. Its `Debug` shows nothing of it.
#[derive(Clone)]
pub struct MasterKey(Zeroizing<[u8; KEY_BYTES]>);

impl MasterKey {
    /// A new random key.
    pub fn generate() -> Result<Self, SecretError> {
        random().map(|bytes| MasterKey(Zeroizing::new(bytes)))
    }

    /// The key in a line of the key file: 43 characters of base64url.
    pub(super) fn of_text(text: &str) -> Option<Self> {
        let mut bytes = Zeroizing::new([0; KEY_BYTES]);
        // The slice has room for exactly one key: a longer text is refused by the decoder, a shorter one here.
        let length = URL_SAFE_NO_PAD.decode_slice(text, &mut *bytes).ok()?;
        (length == KEY_BYTES).then_some(MasterKey(bytes))
    }

    pub(super) fn text(&self) -> Zeroizing<String> {
        Zeroizing::new(URL_SAFE_NO_PAD.encode(*self.0))
    }

    pub(super) fn bytes(&self) -> &[u8; KEY_BYTES] {
        &self.0
    }
}

impl fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MasterKey(..)")
    }
}
