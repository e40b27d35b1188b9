use std::{io, sync::Mutex};

use crate::{Error, scoped_workers::lock};

/// The first error of the current request.
///
/// On their way to the caller, errors pass through ureq, rustls and gix, which wrap, reword or
/// swallow them. Whoever notices a failure leaves it here, and the caller prefers what it finds here.
/// The first one is the cause, later ones are its consequences.
#[derive(Debug, Default)]
pub(super) struct Failure(Mutex<Option<Error>>);

impl Failure {
    /// Keeps `err` unless there is an earlier one. What is returned stands in for it on the way up;
    /// its kind is `Other` because ureq and rustls give some kinds a meaning, such as end of file.
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
