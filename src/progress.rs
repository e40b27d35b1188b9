//! The progress of a run: the observer's trait and the phases.

/// An observer of a run's progress.
///
/// It is called often and from all threads of the run: an implementation has to return quickly, and may see the
/// counts of several threads out of order.
pub trait Progress: Send + Sync {
    /// Reports that `done` of `total` units are done in `phase`. The unit is that of the [`Phase`]; `total` is
    /// `None` if it is unknown.
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
    /// Checking connectivity of the received objects. Counts objects.
    Verify,
    /// Comparing the history of the two ends. Counts refs.
    Compare,
    /// Selecting the objects to send, and their encodings. Counts objects.
    Count,
    /// Sending a pack. Counts objects.
    Send,
    /// Updating refs, at a local or a remote destination. Counts refs.
    Apply,
}
