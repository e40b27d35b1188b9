//! The progress of a run, as an observer is told it.

/// An observer of how far a run is. It is called often, and from each of the threads that a run has:
/// return quickly, and expect counts from several of them.
pub trait Progress: Send + Sync {
    /// Takes note that `done` of `total` (`None` if that is not known) are done in `phase`.
    fn advance(&self, phase: Phase, done: u64, total: Option<u64>);
}

/// A phase of a run, and the unit of its progress.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Phase {
    /// Listing the refs of both ends. Counts refs.
    List,
    /// Receiving a pack and resolving its deltas. Counts bytes.
    Receive,
    /// Checking that what arrived is complete. Counts objects.
    Verify,
    /// Comparing the history of the two ends. Counts refs.
    Compare,
    /// Finding out which objects to send, and as what. Counts objects.
    Count,
    /// Sending a pack. Counts objects.
    Send,
    /// Writing refs, or having them written by a remote. Counts refs.
    Apply,
}
