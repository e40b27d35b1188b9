//! The answer of a destination about one ref of a push.

use crate::PushAnswer;

/// An answer about one ref, and the other refs of its push.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RefAnswer {
    pub(super) answer: PushAnswer,
    pub(super) company: Company,
}

/// The other refs in the push of an answer. They decide whether the answer is about the ref itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Company {
    /// No other ref.
    Alone,
    /// Others, and each has an answer of its own.
    Each,
    /// The ref was declined together with `others`, all of them declined.
    Declined { others: usize },
}
