//! Deadlines of waits.

use std::time::{Duration, Instant};

use crate::{Error, ErrorKind};

/// A deadline, with the duration that it was set from.
#[derive(Debug, Clone, Copy)]
pub(super) struct Deadline {
    start: Instant,
    limit: Duration,
}

impl Deadline {
    pub(super) fn after(limit: Duration) -> Self {
        Deadline {
            start: Instant::now(),
            limit,
        }
    }

    pub(super) fn elapsed(&self) -> Duration {
        self.start.elapsed()
    }

    pub(super) fn left(&self) -> Duration {
        self.limit.saturating_sub(self.elapsed())
    }

    pub(super) fn is_over(&self) -> bool {
        self.left().is_zero()
    }

    pub(super) fn exceeded(&self, kind: ErrorKind, doing: &str) -> Error {
        Error::new(kind, format!("timed out after {:?}: {doing}", self.limit))
    }
}
