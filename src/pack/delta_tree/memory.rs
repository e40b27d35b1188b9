//! The memory of descents.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// The memory of descents, each by itself and all together.
pub(crate) struct ContentMemory {
    /// Bytes of a content that is still worked on in memory, by each descent.
    pub(super) large: usize,
    /// Bytes of the contents that wait in memory, for each descent.
    pub(super) waiting: usize,
    /// Guards the single slot for an object larger than `large`.
    pub(super) one_at_a_time: Mutex<()>,
}

/// Held by who has a large object in memory.
pub(super) type Permit<'a> = MutexGuard<'a, ()>;

impl ContentMemory {
    /// ContentMemory for `descents` at once in `memory` bytes and those of one large object.
    pub(crate) fn new(memory: u64, descents: usize) -> Self {
        // Each has a delta, its base and its result at hand.
        let share = usize::try_from(memory).unwrap_or(usize::MAX) / descents.max(1);
        ContentMemory {
            large: (share / 4).clamp(4096, 16 * 1024 * 1024),
            waiting: share / 4,
            one_at_a_time: Mutex::new(()),
        }
    }

    pub(super) fn permit_for(&self, size: u64) -> Option<Permit<'_>> {
        let is_large = size > self.large as u64;
        is_large.then(|| {
            let lock = &self.one_at_a_time;
            lock.lock().unwrap_or_else(PoisonError::into_inner)
        })
    }
}
