//! [`Error`], the error of every part of the service.

use std::{error::Error as StdError, fmt};

/// The kind of an [`Error`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The database failed in a way that no other kind names.
    Database,
    /// The database is locked by another process, or all connections are taken. Another attempt may succeed.
    DatabaseBusy,
    /// The disk with the database is full. Nothing that was committed is lost.
    DatabaseFull,
    /// The database could not be read or written: an error of the disk or the file system.
    DatabaseIo,
    /// The server of the database cannot be reached, or it is stopping. Another attempt may succeed.
    DatabaseAway,
    /// The file is no database, or it is damaged.
    DatabaseCorrupt,
    /// The database was written by a newer version of the program.
    DatabaseNewer,
    /// A cursor is not one that the same list has given out.
    InvalidCursor,
    /// The data folder or the name of the node is that of another process.
    InUse,
    /// The master key cannot be used.
    Key,
    /// A stored secret cannot be opened.
    Secret,
    /// The configuration cannot be used.
    Config,
    /// A file or a connection could not be read or written.
    Io,
    /// A program of git failed.
    Git,
    /// Something has to be mended by an operator.
    Findings,
}

/// The failure of a part of the service. Its text is for operators and has no credential.
#[derive(Debug)]
pub struct Error {
    kind: ErrorKind,
    message: String,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

impl Error {
    /// An error of `kind` that says `message`.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Error {
            kind,
            message: message.into(),
            source: None,
        }
    }

    /// The same error with its cause, which the message does not repeat.
    #[must_use]
    pub fn because(self, cause: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Error {
            source: Some(cause.into()),
            ..self
        }
    }

    /// The kind.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// Whether the same call may succeed later without a change by an operator.
    pub fn is_retryable(&self) -> bool {
        matches!(
            self.kind,
            ErrorKind::DatabaseBusy
                | ErrorKind::DatabaseFull
                | ErrorKind::DatabaseIo
                | ErrorKind::DatabaseAway
        )
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.as_deref().map(|err| err as _)
    }
}

impl From<crate::secrets::SecretError> for Error {
    fn from(err: crate::secrets::SecretError) -> Self {
        use crate::secrets::SecretError;
        let (kind, message) = match &err {
            SecretError::KeyFile { .. }
            | SecretError::InvalidKeyFile { .. }
            | SecretError::OpenKeyFile { .. } => (ErrorKind::Key, "the master key can't be used"),
            SecretError::UnknownKey | SecretError::Unopenable => {
                (ErrorKind::Secret, "a stored secret can't be opened")
            }
            SecretError::NoRandomness => (ErrorKind::Io, "making a secret failed"),
        };
        Error::new(kind, message).because(err)
    }
}
