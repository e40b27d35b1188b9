//! [`SecretError`], the failures around secrets. None of them repeats a secret.

use std::{io, path::PathBuf};

/// A failure around secrets.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SecretError {
    /// The file of the master keys can't be read or written.
    #[error("the master key file {path} can't be used")]
    KeyFile {
        /// The path of the file.
        path: PathBuf,
        /// The reason of the system.
        source: io::Error,
    },
    /// The file of the master keys is there, but has no usable keys. A new key would make every stored secret
    /// unreadable, so none is made.
    #[error("the master key file {path} {fault}; restore it from a backup")]
    InvalidKeyFile {
        /// The path of the file.
        path: PathBuf,
        /// The fault of the file.
        fault: &'static str,
    },
    /// The file of the master keys can be read by others.
    #[error(
        "the master key file {path} can be read or written by other users (mode {mode:03o}); set its mode to 600"
    )]
    OpenKeyFile {
        /// The path of the file.
        path: PathBuf,
        /// The permissions of the file.
        mode: u32,
    },
    /// The text was sealed with a master key that is not in the file.
    #[error("this secret was sealed with a master key that is not in the key file")]
    UnknownKey,
    /// The text was changed, belongs to another row, or was never sealed.
    #[error("this secret can't be opened: it was changed, or belongs to another row")]
    Unopenable,
    /// The system gives no random bytes.
    #[error("the system gives no random bytes")]
    NoRandomness,
}
