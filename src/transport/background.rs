//! Threads for operations that cannot be interrupted: resolving a name, and connecting.
//!
//! A run that ends abandons its thread. A name server that never answers keeps such a thread alive for as long as the
//! system waits, so the number of threads in the process is limited.

use std::sync::atomic::{AtomicUsize, Ordering};

/// The threads of this process.
pub(super) static THREADS: Threads = Threads::at_most(256);

#[derive(Debug)]
pub(super) struct Threads {
    running: AtomicUsize,
    most: usize,
}

/// The right to run one thread, until it is dropped.
pub(super) struct Slot(&'static Threads);

impl Threads {
    pub(super) const fn at_most(most: usize) -> Self {
        Threads {
            running: AtomicUsize::new(0),
            most,
        }
    }

    /// Takes the right to run a thread; `None` while all are in use.
    pub(super) fn slot(&'static self) -> Option<Slot> {
        let one_more = |running| (running < self.most).then_some(running + 1);
        let (set, fetch) = (Ordering::AcqRel, Ordering::Acquire);
        let taken = self.running.fetch_update(set, fetch, one_more);
        taken.ok().map(|_| Slot(self))
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Ordering::AcqRel);
    }
}
