//! The two secrets of a hook: the token in its address, which is stored as a digest like an API key, and the secret of
//! its signatures, which is sealed, since an HMAC needs it.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use zeroize::Zeroizing;

use super::{Place, Sealer, SecretError, random};
use crate::records::HookId;

/// A new token, to be shown once. [`super::api_key::hash`] is its digest.
///
/// # Errors
/// [`SecretError::NoRandomness`].
pub fn generate_token() -> Result<Zeroizing<String>, SecretError> {
    let bytes = Zeroizing::new(random::<32>()?);
    Ok(Zeroizing::new(URL_SAFE_NO_PAD.encode(*bytes)))
}

/// The text that stands for the secret in the row of `hook`.
///
/// # Errors
/// Those of [`Sealer::seal`].
pub fn seal(sealer: &Sealer, hook: &HookId, secret: &str) -> Result<String, SecretError> {
    sealer.seal(place(hook), secret.as_bytes())
}

/// The secret that was sealed for `hook`.
///
/// # Errors
/// Those of [`Sealer::open`].
pub fn open(
    sealer: &Sealer,
    hook: &HookId,
    sealed: &str,
) -> Result<Zeroizing<String>, SecretError> {
    let plain = sealer.open(place(hook), sealed)?;
    let text = std::str::from_utf8(&plain).map_err(|_| SecretError::Unopenable)?;
    Ok(Zeroizing::new(text.to_owned()))
}

fn place(hook: &HookId) -> Place<'_> {
    Place {
        table: "hooks",
        row: hook.as_str(),
        column: "secret",
    }
}
