//! [`Failure`]: the first error of a request, kept past the libraries that reword it.

use std::{io, sync::Mutex};

use crate::{Error, scoped_workers::lock};

/// The first error of the current request.
///
/// Errors pass through ureq, rustls and gix, which wrap, reword or drop them. So a failure is recorded here where it
/// happens, and the caller prefers it to the error that arrives. The first failure is the cause, later ones are its
/// consequences.
#[derive(Debug, Default)]
pub(super) struct Failure(Mutex<Option<Error>>);

impl Failure {
    /// Records `err` unless there is an earlier failure. Returns an error in its place, of the kind `Other`, because ureq
    /// and rustls give some kinds a meaning, such as end of file.
    pub(super) fn record(&self, err: Error) -> io::Error {
        let stand_in = io::Error::other(err.to_string());
        lock(&self.0).get_or_insert(err);
        stand_in
    }

    pub(super) fn take(&self) -> Option<Error> {
        lock(&self.0).take()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ErrorKind;

    #[test]
    fn the_first_failure_is_kept_and_taken_once() {
        let failure = Failure::default();
        failure.record(Error::new(ErrorKind::Cancelled, "first"));
        failure.record(Error::new(ErrorKind::Network, "second"));
        assert_eq!(
            failure.take().map(|err| err.kind()),
            Some(ErrorKind::Cancelled)
        );
        assert!(failure.take().is_none());
    }
}
