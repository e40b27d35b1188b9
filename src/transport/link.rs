//! [`Link`]: the state that a client shares with its connections.

use std::{
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use super::{
    Timeouts,
    deadline::Deadline,
    failure::Failure,
    pace::{Framing, Pace},
};
use crate::{context::RunBudget, scoped_workers::lock};

#[derive(Debug)]
pub(super) struct Link {
    pub(super) timeouts: Timeouts,
    pub(super) failure: Failure,
    /// The budget of the current run; an unlimited one before the first run. Connections outlive a run.
    run: Mutex<Arc<RunBudget>>,
    request: Mutex<RequestState>,
}

/// The state of the current request.
#[derive(Debug, Default)]
pub(super) struct RequestState {
    pub(super) pace: Pace,
    pub(super) framing: Framing,
    /// Whether the connection was made for this request.
    pub(super) is_new_connection: bool,
    /// Whether the credentials have been sent.
    pub(super) head_is_out: bool,
    /// Whether the server has closed the connection.
    pub(super) hung_up: bool,
    /// The end of the wait for an unimportant rest of the answer.
    pub(super) patience: Option<Deadline>,
}

impl Link {
    pub(super) fn new(timeouts: Timeouts) -> Self {
        Link {
            timeouts,
            failure: Failure::default(),
            run: Mutex::new(Arc::new(RunBudget::of_no_run())),
            request: Mutex::default(),
        }
    }

    pub(super) fn run(&self) -> Arc<RunBudget> {
        lock(&self.run).clone()
    }

    /// Starts the requests of this run.
    pub(super) fn set_run(&self, run: Arc<RunBudget>) {
        *lock(&self.run) = run;
    }

    pub(super) fn request(&self) -> MutexGuard<'_, RequestState> {
        lock(&self.request)
    }

    pub(super) fn begin_request(&self) {
        *self.request() = RequestState::default();
    }

    /// Whether the current request has found a kept connection closed, without a byte of an answer.
    pub(super) fn was_forgotten(&self) -> bool {
        let request = self.request();
        request.hung_up && !request.is_new_connection && request.framing.is_untouched()
    }

    /// Limits all waits up to the next request.
    pub(super) fn wait_at_most(&self, time: Duration) {
        self.request().patience = Some(Deadline::after(time));
    }

    /// Starts the requests of a run without limits, which this flag cancels.
    #[cfg(test)]
    pub(super) fn set_cancelled_by(&self, flag: Arc<std::sync::atomic::AtomicBool>) {
        let run = RunBudget::new(flag, crate::Limits::default());
        self.set_run(Arc::new(run));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{SyncContext, SyncOptions};

    #[test]
    fn a_new_run_takes_the_place_of_a_cancelled_one() {
        let run = |cancelled: bool| {
            let options = SyncOptions {
                cancel: Some(Arc::new(cancelled.into())),
                ..SyncOptions::default()
            };
            SyncContext::new(&options).budget().clone()
        };
        let link = Link::new(Timeouts::default());
        assert!(link.run().check().is_ok());

        link.set_run(run(true));
        assert!(link.run().check().is_err());

        link.set_run(run(false));
        assert!(link.run().check().is_ok());
    }
}
