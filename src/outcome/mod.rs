//! The outcomes of a run, ref by ref.

use std::fmt;

mod reason;
mod refs;
mod stats;
mod sync_run_ref;
#[cfg(feature = "serde")]
mod wire;

pub use reason::{FilterReason, Reason};
pub(crate) use refs::RefOutcome;
pub use refs::{SyncRunRefs, SyncRunRefsIter};
pub use stats::{SyncRunStats, Traffic};
pub use sync_run_ref::{Refusal, SyncRunRef};

/// The outcome of a ref. There are these four and no others.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// The destination's ref was created or moved to the source's tip.
    Updated,
    /// Both ends had the same tip already.
    Unchanged,
    /// The ref takes no part in syncs.
    Filtered(FilterReason),
    /// The ref could not be updated safely and was left alone.
    Rejected(Reason),
}

impl Outcome {
    /// The name of the outcome in JSON.
    pub fn as_str(&self) -> &'static str {
        match self {
            Outcome::Updated => "updated",
            Outcome::Unchanged => "unchanged",
            Outcome::Filtered(_) => "filtered",
            Outcome::Rejected(_) => "rejected",
        }
    }

    /// Whether the ref was created or moved.
    pub fn is_updated(&self) -> bool {
        matches!(self, Outcome::Updated)
    }

    /// Whether both ends had the same tip already.
    pub fn is_unchanged(&self) -> bool {
        matches!(self, Outcome::Unchanged)
    }

    /// Whether the ref takes no part in syncs.
    pub fn is_filtered(&self) -> bool {
        matches!(self, Outcome::Filtered(_))
    }

    /// Whether the ref was left alone because it could not be updated safely.
    pub fn is_rejected(&self) -> bool {
        matches!(self, Outcome::Rejected(_))
    }

    /// The reason of a rejection.
    pub fn rejection(&self) -> Option<&Reason> {
        match self {
            Outcome::Rejected(reason) => Some(reason),
            _ => None,
        }
    }

    /// The text of the reason, for a ref that was filtered or rejected.
    pub fn reason(&self) -> Option<&dyn fmt::Display> {
        match self {
            Outcome::Updated | Outcome::Unchanged => None,
            Outcome::Filtered(reason) => Some(reason),
            Outcome::Rejected(reason) => Some(reason),
        }
    }
}

/// The word, followed by `: ` and the reason if there is one.
impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())?;
        self.reason()
            .map_or(Ok(()), |reason| write!(f, ": {reason}"))
    }
}

#[cfg(all(test, feature = "serde"))]
mod tests;
