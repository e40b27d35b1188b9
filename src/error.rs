//! [`Error`] and [`ErrorKind`]: the failure of a whole run.
//!
//! A run fails as a whole only if it could not do its work at all. The failure of one ref is that ref's
//! [outcome](crate::Outcome), never an error.

use std::{fmt, time::Duration};

use crate::SyncRunStats;

/// The failure of a whole run.
///
/// [`kind()`](Error::kind) is for decisions of the caller, the text says what happened, and
/// [`source()`](std::error::Error::source) has the cause, which the text does not repeat. None of them holds a
/// credential.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct Error {
    kind: ErrorKind,
    message: String,
    retry_after: Option<Duration>,
    /// The name of the limit that was exceeded.
    limit: Option<&'static str>,
    stats: Option<Box<SyncRunStats>>,
    source: Option<Box<dyn std::error::Error + Send + Sync + 'static>>,
}

/// The kind of a failure. Each kind calls for another action of the caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// A glob can't be used; the text names it.
    InvalidGlob,
    /// The URL can't be used: unknown scheme, no host, or credentials in it.
    InvalidUrl,
    /// The options contradict each other or the ends.
    InvalidOptions,
    /// The network policy forbids this connection.
    Forbidden,
    /// The host name did not resolve.
    Dns,
    /// The connection was refused, or was not established in time.
    Connect,
    /// The TLS handshake failed: certificate, name or protocol.
    Tls,
    /// An established connection broke, stalled or timed out, or an answer ended early.
    Network,
    /// The server requires credentials, or other ones: HTTP 401.
    Authentication,
    /// The credentials do not suffice for this repository: HTTP 403 without `Retry-After`.
    PermissionDenied,
    /// The repository does not exist, or is hidden from these credentials: HTTP 404 or 410.
    NotFound,
    /// The server limits the rate of requests: HTTP 429, 425, or 403 with `Retry-After`. See
    /// [`Error::retry_after`].
    RateLimited,
    /// The server failed, or gave up on the request: HTTP 5xx or 408. See [`Error::retry_after`].
    ServerError,
    /// The server answered with a redirect, and redirects are not followed.
    Redirected,
    /// The server answers, but not with git's smart HTTP protocol.
    NotAGitServer,
    /// The server violated git's protocol.
    Protocol,
    /// The server refused the request as a whole; the text has the server's message.
    Remote,
    /// The local path is not a Git repository.
    NotARepository,
    /// The two ends use different object formats (SHA-1 and SHA-256).
    ObjectFormatMismatch,
    /// An end does not support an operation that this sync needs.
    Unsupported,
    /// A limit was exceeded; the text names it and its value.
    BudgetExceeded,
    /// The caller cancelled the run.
    Cancelled,
    /// The local repository could not be read or written.
    LocalIo,
    /// The local repository is damaged.
    Corrupt,
    /// The destination's `packed-refs` has a line that git refuses; the text names the line. Nothing was
    /// fetched or written. The file has to be repaired by hand.
    MalformedPackedRefs,
}

impl Error {
    /// An error of `kind` that says `message`. For implementors of [`RefSource`](crate::RefSource).
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Error {
            kind,
            message: message.into(),
            retry_after: None,
            limit: None,
            stats: None,
            source: None,
        }
    }

    /// Adds the cause of the error.
    #[must_use]
    pub fn with_source(
        mut self,
        source: impl Into<Box<dyn std::error::Error + Send + Sync + 'static>>,
    ) -> Self {
        self.source = Some(source.into());
        self
    }

    /// Adds the time that the server asked to wait.
    #[must_use]
    pub fn with_retry_after(mut self, wait: Option<Duration>) -> Self {
        self.retry_after = wait;
        self
    }

    /// Adds the stats of the run up to the failure.
    #[must_use]
    pub(crate) fn with_stats(mut self, stats: SyncRunStats) -> Self {
        self.stats = Some(Box::new(stats));
        self
    }

    /// A local file operation on `what` that failed.
    pub(crate) fn io(what: impl fmt::Display, source: std::io::Error) -> Self {
        Error::new(ErrorKind::LocalIo, format!("{what} failed")).with_source(source)
    }

    /// The error of this crate that passed through a reader or a visitor as `err`, if that is one, and otherwise that
    /// of a local file operation on `what`.
    pub(crate) fn own_or_io(what: impl fmt::Display, err: std::io::Error) -> Self {
        err.downcast().unwrap_or_else(|err| Error::io(what, err))
    }

    /// The run was cancelled by the caller.
    pub(crate) fn cancelled() -> Self {
        Error::new(ErrorKind::Cancelled, "the run was cancelled")
    }

    /// The error of a run that exceeds the limit in the field `name` of [`Limits`](crate::Limits). `limit` is
    /// its value with the unit, such as "1000000 refs".
    pub(crate) fn over_budget(name: &'static str, limit: impl fmt::Display) -> Self {
        let text = format!("more than {limit} (limit `{name}`)");
        Error {
            limit: Some(name),
            ..Error::new(ErrorKind::BudgetExceeded, text)
        }
    }

    /// Whether the limit `name` was exceeded.
    pub(crate) fn is_over_budget(&self, name: &str) -> bool {
        self.limit == Some(name)
    }

    /// The kind of the failure.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// Whether the same run may succeed later, without a change by the caller.
    pub fn is_retryable(&self) -> bool {
        self.kind.is_retryable()
    }

    /// The outcomes of a push that failed in one of two ways: the remote was overloaded (HTTP 5xx or 429) and
    /// no ref has moved, or the remote's answer was lost and its refs could not be listed again. Uncertain refs
    /// have the reason [`Unconfirmed`](crate::Reason::Unconfirmed). `None` for all other errors.
    pub fn stats(&self) -> Option<&SyncRunStats> {
        self.stats.as_deref()
    }

    /// The time that the server asked to wait, if it did (`Retry-After`, RFC 9110 section 10.2.3).
    pub fn retry_after(&self) -> Option<Duration> {
        self.retry_after
    }
}

/// Checks `value` against the limit in the field `name` of [`Limits`](crate::Limits). Both are counted in `unit`, such
/// as "refs".
pub(crate) fn check_limit(
    name: &'static str,
    unit: &str,
    value: u64,
    limit: u64,
) -> Result<(), Error> {
    if value <= limit {
        Ok(())
    } else {
        Err(Error::over_budget(name, format_args!("{limit} {unit}")))
    }
}

impl ErrorKind {
    /// The stable name of the kind in JSON and logs, such as `not_found`.
    pub fn as_str(self) -> &'static str {
        use ErrorKind::*;
        match self {
            InvalidGlob => "invalid_glob",
            InvalidUrl => "invalid_url",
            InvalidOptions => "invalid_options",
            Forbidden => "forbidden",
            Dns => "dns",
            Connect => "connect",
            Tls => "tls",
            Network => "network",
            Authentication => "authentication",
            PermissionDenied => "permission_denied",
            NotFound => "not_found",
            RateLimited => "rate_limited",
            ServerError => "server_error",
            Redirected => "redirected",
            NotAGitServer => "not_a_git_server",
            Protocol => "protocol",
            Remote => "remote",
            NotARepository => "not_a_repository",
            ObjectFormatMismatch => "object_format_mismatch",
            Unsupported => "unsupported",
            BudgetExceeded => "budget_exceeded",
            Cancelled => "cancelled",
            LocalIo => "local_io",
            Corrupt => "corrupt",
            MalformedPackedRefs => "malformed_packed_refs",
        }
    }

    /// Whether the same run may succeed later, without a change by the caller.
    pub fn is_retryable(self) -> bool {
        use ErrorKind::*;
        match self {
            Dns | Connect | Network | RateLimited | ServerError => true,
            InvalidGlob | InvalidUrl | InvalidOptions | Forbidden | Tls | Authentication
            | PermissionDenied | NotFound | Redirected | NotAGitServer | Protocol | Remote
            | NotARepository | ObjectFormatMismatch | Unsupported | BudgetExceeded | Cancelled
            | LocalIo | Corrupt | MalformedPackedRefs => false,
        }
    }
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::error::Error as _;

    #[test]
    fn a_kind_is_called_as_its_variant() {
        use ErrorKind::*;
        for kind in [
            InvalidGlob,
            InvalidUrl,
            InvalidOptions,
            Forbidden,
            Dns,
            Connect,
            Tls,
            Network,
            Authentication,
            PermissionDenied,
            NotFound,
            RateLimited,
            ServerError,
            Redirected,
            NotAGitServer,
            Protocol,
            Remote,
            NotARepository,
            ObjectFormatMismatch,
            Unsupported,
            BudgetExceeded,
            Cancelled,
            LocalIo,
            Corrupt,
            MalformedPackedRefs,
        ] {
            let mut expected = String::new();
            for c in format!("{kind:?}").chars() {
                if c.is_uppercase() && !expected.is_empty() {
                    expected.push('_');
                }
                expected.push(c.to_ascii_lowercase());
            }
            assert_eq!(kind.as_str(), expected);
            assert_eq!(kind.to_string(), expected);
        }
    }

    #[test]
    fn the_cause_is_behind_the_text_and_not_in_it() {
        let err = Error::io("writing packed-refs", std::io::Error::other("disk on fire"));
        assert_eq!(err.to_string(), "writing packed-refs failed");
        assert_eq!(err.source().expect("a cause").to_string(), "disk on fire");
        assert_eq!(err.kind(), ErrorKind::LocalIo);
        assert!(!err.is_retryable());
    }

    #[test]
    fn a_budget_is_called_as_its_field() {
        let err = Error::over_budget("refs", format_args!("{} refs", 1_000_000));
        assert_eq!(err.to_string(), "more than 1000000 refs (limit `refs`)");
        assert_eq!(err.kind(), ErrorKind::BudgetExceeded);
    }

    #[test]
    fn only_passing_conditions_are_retryable() {
        for kind in [
            ErrorKind::Dns,
            ErrorKind::Connect,
            ErrorKind::Network,
            ErrorKind::RateLimited,
            ErrorKind::ServerError,
        ] {
            assert!(kind.is_retryable(), "{kind:?}");
        }
        for kind in [
            ErrorKind::Authentication,
            ErrorKind::Tls,
            ErrorKind::NotFound,
            ErrorKind::Cancelled,
            ErrorKind::Protocol,
        ] {
            assert!(!kind.is_retryable(), "{kind:?}");
        }
    }
}
