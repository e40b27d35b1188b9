//! Threads for what can't be interrupted: looking up a name, and connecting.
//!
//! A run that has to end leaves its thread to itself, and a name server that never answers holds such a
//! thread for as long as the system asks it. However many runs do that, there are not more than so many.

use std::sync::atomic::{AtomicUsize, Ordering};

/// Those of this process.
pub(super) static THREADS: Threads = Threads::at_most(256);

#[derive(Debug)]
pub(super) struct Threads {
    running: AtomicUsize,
    most: usize,
}

/// Room for one thread, until it is dropped.
pub(super) struct Slot(&'static Threads);

impl Threads {
    pub(super) const fn at_most(most: usize) -> Self {
        Threads {
            running: AtomicUsize::new(0),
            most,
        }
    }

    /// `None` while there are as many as may be.
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
