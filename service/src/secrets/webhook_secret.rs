//! Secrets of webhook targets.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use zeroize::Zeroizing;

use super::{Place, Sealer, SecretError, random};
use crate::records::TargetId;

/// The beginning of a secret, as Standard Webhooks has it: the key of its signature is what follows, decoded.
pub const PREFIX: &str = "whsec_";

/// A new secret, to be shown once.
///
/// # Errors
/// [`SecretError::NoRandomness`].
pub fn generate() -> Result<Zeroizing<String>, SecretError> {
    let bytes = Zeroizing::new(random::<32>()?);
    let digits = Zeroizing::new(STANDARD.encode(*bytes));
    Ok(Zeroizing::new([PREFIX, &digits].concat()))
}

/// The text that stands for the secret in the row of `target`.
///
/// # Errors
/// Those of [`Sealer::seal`].
pub fn seal(sealer: &Sealer, target: &TargetId, secret: &str) -> Result<String, SecretError> {
    sealer.seal(place(target), secret.as_bytes())
}

/// The secret that was sealed for `target`.
///
/// # Errors
/// Those of [`Sealer::open`].
pub fn open(
    sealer: &Sealer,
    target: &TargetId,
    sealed: &str,
) -> Result<Zeroizing<String>, SecretError> {
    let plain = sealer.open(place(target), sealed)?;
    let text = std::str::from_utf8(&plain).map_err(|_| SecretError::Unopenable)?;
    Ok(Zeroizing::new(text.to_owned()))
}

/// The place of the secret of a target.
pub fn place(target: &TargetId) -> Place<'_> {
    Place {
        table: "targets",
        row: target.as_str(),
        column: "secret",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secrets::MasterKey;

    #[test]
    fn a_secret_comes_back_for_its_target_alone() {
        let sealer = Sealer::new(&MasterKey::generate().expect("a key"), &[]);
        let (one, other) = (TargetId::from_bits(1), TargetId::from_bits(2));
        let secret = generate().expect("a secret");
        assert!(secret.starts_with(PREFIX));
        let sealed = seal(&sealer, &one, &secret).expect("sealed");
        assert_eq!(open(&sealer, &one, &sealed).expect("opened"), secret);
        assert!(open(&sealer, &other, &sealed).is_err());
    }
}
