//! The answer of a destination about one ref of a push.

use crate::PushAnswer;

/// An answer, and the company that its ref was pushed in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RefAnswer {
    pub(super) answer: PushAnswer,
    pub(super) company: Company,
}

/// The other refs in the push that an answer is about. They decide what it says of the ref itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Company {
    /// None.
    Alone,
    /// Others, and each was judged for itself.
    Each,
    /// This many others, and all of them were declined.
    Declined { others: usize },
}
