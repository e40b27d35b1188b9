//! Random bytes of the system.

use ring::rand::{SecureRandom as _, SystemRandom};

use super::SecretError;

/// Random bytes that nobody can guess.
///
/// # Errors
/// [`SecretError::NoRandomness`] if the system gives none.
pub fn random<const N: usize>() -> Result<[u8; N], SecretError> {
    let mut bytes = [0; N];
    SystemRandom::new()
        .fill(&mut bytes)
        .map_err(|_| SecretError::NoRandomness)?;
    Ok(bytes)
}
