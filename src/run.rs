//! What every step of one run shares: cancellation, progress and the traffic count.

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicBool, Ordering},
};

use crate::{Error, SyncOptions, Traffic};

/// One run of [`sync()`](crate::sync()), as an end sees it.
pub struct Run {
    cancel: Arc<AtomicBool>,
    progress: Option<Arc<dyn Progress>>,
    traffic: Mutex<Traffic>,
}

/// Is told how far a run is. Called often, and from each of the threads that a run has: return
/// quickly, and expect counts from several of them.
pub trait Progress: Send + Sync {
    /// `done` of `total` (where that is known) in `phase`.
    fn advance(&self, phase: Phase, done: u64, total: Option<u64>);
}

/// What a run is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Phase {
    /// Listing the refs of both ends. Counts refs.
    List,
    /// Receiving a pack and, once it is all there, resolving its deltas. Counts bytes.
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

impl Run {
    /// A run with these options. [`sync()`](crate::sync()) makes its own; this is for tests of a
    /// [`RefSource`](crate::RefSource).
    pub fn new(options: &SyncOptions) -> Self {
        Run {
            cancel: options.cancel.clone().unwrap_or_default(),
            progress: options.progress.clone(),
            traffic: Mutex::default(),
        }
    }

    /// Fails with [`ErrorKind::Cancelled`](crate::ErrorKind::Cancelled) once the caller has
    /// cancelled. Call it at least every few hundred milliseconds.
    pub fn check(&self) -> Result<(), Error> {
        match self.is_cancelled() {
            true => Err(Error::cancelled()),
            false => Ok(()),
        }
    }

    /// Whether the caller has cancelled.
    pub fn is_cancelled(&self) -> bool {
        self.cancel.load(Ordering::Relaxed)
    }

    /// The flag behind [`check()`](Run::check), for code that wants to watch it itself.
    pub fn cancel_flag(&self) -> &Arc<AtomicBool> {
        &self.cancel
    }

    /// Tells the observer, if there is one.
    pub fn advance(&self, phase: Phase, done: u64, total: Option<u64>) {
        if let Some(progress) = &self.progress {
            progress.advance(phase, done, total);
        }
    }

    /// Adds to what the run's stats will say about traffic.
    pub fn add_traffic(&self, more: Traffic) {
        *self.traffic.lock().unwrap_or_else(PoisonError::into_inner) += more;
    }

    /// What has been sent and received so far.
    pub fn traffic(&self) -> Traffic {
        *self.traffic.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
