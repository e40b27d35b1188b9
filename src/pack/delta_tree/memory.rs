//! The memory of delta traversals.

use std::sync::{Mutex, MutexGuard};

use crate::scoped_workers::lock;

/// The memory for the contents of concurrent traversals. An object larger than `large` takes the single slot for large
/// objects, so that at most one of them is in memory.
pub(crate) struct ContentMemory {
    /// The size in bytes above which a content is large.
    pub(super) large: usize,
    /// Bytes of contents on the path of one traversal.
    pub(super) waiting: usize,
    /// Guards the single slot for an object larger than `large`.
    pub(super) one_at_a_time: Mutex<()>,
}

/// The right to have a large object in memory. It is the guard of a mutex, so a thread that holds one must drop it
/// before it asks for another: [`enter`](super::DeltaTraversal::enter) does so before the next object is reconstructed.
pub(super) type Permit<'a> = MutexGuard<'a, ()>;

impl ContentMemory {
    /// Divides `memory` bytes between `traversals` concurrent traversals. One large object comes on top.
    pub(crate) fn new(memory: usize, traversals: usize) -> Self {
        // A quarter each for a delta, its base, its result, and the contents on the path.
        let share = memory / traversals.max(1);
        ContentMemory {
            large: (share / 4).clamp(4096, 16 * 1024 * 1024),
            waiting: share / 4,
            one_at_a_time: Mutex::new(()),
        }
    }

    pub(super) fn permit_for(&self, size: u64) -> Option<Permit<'_>> {
        let is_large = size > self.large as u64;
        is_large.then(|| lock(&self.one_at_a_time))
    }
}
