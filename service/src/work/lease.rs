//! [`LeaseWatch`], the heartbeat of an attempt and the reasons to stop it.

use std::{
    convert::Infallible,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::broadcast,
    time::{Instant, sleep_until, timeout_at},
};

use super::{decisions::Stop, workers::Shared};
use crate::{
    clock,
    records::SyncId,
    store::{Fence, Lease},
};

/// The watch over the lease of an attempt. It sets the engine's flag.
pub(super) struct LeaseWatch {
    cancel: Arc<AtomicBool>,
    stop: Mutex<Option<Stop>>,
    renewed: Mutex<Instant>,
}

impl LeaseWatch {
    /// The watch over a lease that was asked for at `asked`: it lasts from then at least.
    pub(super) fn new(asked: Instant) -> Self {
        LeaseWatch {
            cancel: Arc::default(),
            stop: Mutex::default(),
            renewed: Mutex::new(asked),
        }
    }

    /// The engine's flag.
    pub(super) fn cancel(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.cancel)
    }

    /// The first reason for which the engine was asked to stop.
    pub(super) fn stopped(&self) -> Option<Stop> {
        *self.stop.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The time at which the lease was taken or renewed last.
    pub(super) fn renewed(&self) -> Instant {
        *self.renewed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ask(&self, reason: Stop) {
        let mut stop = self.stop.lock().unwrap_or_else(PoisonError::into_inner);
        stop.get_or_insert(reason);
        self.cancel.store(true, Ordering::Relaxed);
    }

    /// Renews the lease each third of its time and watches for reasons to stop, until it is dropped.
    pub(super) async fn keep(
        &self,
        shared: &Shared,
        fence: &Fence,
        mut cancels: broadcast::Receiver<SyncId>,
    ) -> Infallible {
        let third = shared.service.config.lease / 3;
        let mut beat = self.renewed() + third;
        loop {
            // The reason is told once; afterwards the lease is kept until the engine has stopped.
            let is_free = self.stopped().is_none();
            let asked = tokio::select! {
                () = sleep_until(beat) => None,
                () = shared.stopped(), if is_free => Some(Stop::Shutdown),
                () = cancelled(&mut cancels, &fence.id) => Some(Stop::Cancelled),
            };
            match asked {
                Some(reason) => self.ask(reason),
                None => beat = self.beat(shared, fence, third).await,
            }
        }
    }

    /// One heartbeat; the time of the next one.
    async fn beat(&self, shared: &Shared, fence: &Fence, third: Duration) -> Instant {
        let began = Instant::now();
        // After a missed deadline as well, a renewal gets the time to succeed.
        let deadline = (self.renewed() + third * 2).max(began + third / 2);
        let until = clock::now().plus(shared.service.config.lease);
        let renewed = timeout_at(deadline, shared.service.store.renew(fence, until)).await;
        match renewed {
            Ok(Ok(Lease::Held { cancelled })) => {
                *self.renewed.lock().unwrap_or_else(PoisonError::into_inner) = began;
                if cancelled {
                    self.ask(Stop::Cancelled);
                }
                return began + third;
            }
            Ok(Ok(Lease::Lost)) => {
                tracing::warn!(run = fence.id.as_str(), "the lease is lost");
                self.ask(Stop::LeaseLost);
                return began + third;
            }
            Ok(Err(err)) => tracing::warn!(%err, "a lease was not renewed"),
            Err(_) => tracing::warn!("the database does not answer in time to renew a lease"),
        }
        if Instant::now() >= deadline {
            self.ask(Stop::LeaseLost);
            return Instant::now() + third;
        }
        // Again soon, and once more at the deadline.
        deadline.min(Instant::now() + third / 8)
    }
}

/// Waits until somebody asks for the end of the run.
async fn cancelled(cancels: &mut broadcast::Receiver<SyncId>, run: &SyncId) {
    loop {
        match cancels.recv().await {
            Ok(id) if id == *run => return,
            // One that was missed shows at the next heartbeat.
            Ok(_) | Err(broadcast::error::RecvError::Lagged(_)) => {}
            Err(broadcast::error::RecvError::Closed) => std::future::pending().await,
        }
    }
}
