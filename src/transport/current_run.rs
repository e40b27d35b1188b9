use std::{
    fs::File,
    io,
    sync::{Arc, Mutex, PoisonError},
};

use crate::{Error, context::RunBudget};

/// The place where a client looks up whether its run may go on.
///
/// Connections outlive a run, so this is a place for a run rather than the run itself. Clones share
/// the place. Without a run nothing ends and nothing is counted.
#[derive(Debug, Clone, Default)]
pub(crate) struct CurrentRun(Arc<Mutex<Option<Arc<RunBudget>>>>);

impl CurrentRun {
    /// From now on this is the one to look at.
    pub(crate) fn set(&self, run: Option<Arc<RunBudget>>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = run;
    }

    /// Fails once the current run is cancelled or out of time.
    pub(super) fn check(&self) -> Result<(), Error> {
        self.get().map_or(Ok(()), |run| run.check())
    }

    /// Takes what was received off the run's budget.
    pub(super) fn received(&self, bytes: usize) -> Result<(), Error> {
        self.get().map_or(Ok(()), |run| run.received(bytes))
    }

    /// A file without a name, in the run's folder for such things.
    pub(super) fn temporary_file(&self) -> io::Result<File> {
        self.get()
            .map_or_else(tempfile::tempfile, |run| run.temporary_file())
    }

    /// Fails if the run may not have so much on disk.
    pub(super) fn check_disk(&self, bytes: u64) -> Result<(), Error> {
        self.get().map_or(Ok(()), |run| run.check_disk(bytes))
    }

    /// From now on refs may be moving on the other side.
    pub(super) fn settle(&self) {
        if let Some(run) = self.get() {
            run.settle();
        }
    }

    /// From now on the run is one without limits that this flag cancels.
    #[cfg(test)]
    pub(super) fn set_cancelled_by(&self, flag: Arc<std::sync::atomic::AtomicBool>) {
        let run = RunBudget::new(flag, crate::Limits::default());
        self.set(Some(Arc::new(run)));
    }

    fn get(&self) -> Option<Arc<RunBudget>> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
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
            Some(SyncContext::new(&options).budget().clone())
        };
        let place = CurrentRun::default();
        let seen_by_a_connection = place.clone();
        assert!(seen_by_a_connection.check().is_ok());

        place.set(run(true));
        assert!(seen_by_a_connection.check().is_err());

        place.set(run(false));
        assert!(seen_by_a_connection.check().is_ok());
    }
}
