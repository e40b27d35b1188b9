//! [`SyncContext`]: cancellation, limits, progress and traffic, shared by all steps of one run.

use std::{
    fs::File,
    io,
    path::PathBuf,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use crate::{
    Error, FsckRules, Limits, Phase, Progress, SyncOptions, Traffic, error::check_limit,
    memory_plan::MemoryPlan, scoped_workers::lock, tuning::Tuning,
};

/// The context of one run of [`sync()`](crate::sync()), which each operation of an end is given.
pub struct SyncContext {
    budget: Arc<RunBudget>,
    fsck: FsckRules,
    progress: Option<Arc<dyn Progress>>,
    faulty_objects: AtomicU64,
    doubts_destination: AtomicBool,
    pub(crate) tuning: Tuning,
}

impl SyncContext {
    /// Makes a context with these options, whose [time](Limits::total_time) starts now. [`sync()`](crate::sync())
    /// makes its own; this function is for tests of a [`RefSource`](crate::RefSource).
    pub fn new(options: &SyncOptions) -> Self {
        let cancel = options.cancel.clone().unwrap_or_default();
        SyncContext {
            budget: Arc::new(RunBudget {
                scratch: options.scratch.clone(),
                ..RunBudget::new(cancel, options.limits.clone())
            }),
            fsck: options.fsck.clone(),
            progress: options.progress.clone(),
            faulty_objects: AtomicU64::new(0),
            doubts_destination: AtomicBool::new(false),
            tuning: Tuning::default(),
        }
    }

    /// Checks whether the run may go on. Call it at least every few hundred milliseconds.
    ///
    /// # Errors
    /// [`ErrorKind::Cancelled`](crate::ErrorKind::Cancelled) once the caller has cancelled the run, and
    /// [`ErrorKind::BudgetExceeded`](crate::ErrorKind::BudgetExceeded) once its [time](Limits::total_time) is over.
    pub fn check(&self) -> Result<(), Error> {
        self.budget.check()
    }

    /// Whether the run's [time](Limits::total_time) is over, even if the report on a push may still be awaited.
    pub(crate) fn is_out_of_time(&self) -> bool {
        self.budget.is_out_of_time()
    }

    /// Whether the caller has cancelled the run.
    pub fn is_cancelled(&self) -> bool {
        self.budget.cancel.load(Ordering::Relaxed)
    }

    /// The caller's cancel flag.
    #[cfg(test)]
    pub(crate) fn cancel_flag(&self) -> &Arc<AtomicBool> {
        &self.budget.cancel
    }

    /// The limits of the run.
    pub fn limits(&self) -> &Limits {
        &self.budget.limits
    }

    pub(crate) fn memory_plan(&self) -> MemoryPlan {
        MemoryPlan::of(&self.budget.limits)
    }

    /// The rules for received objects.
    pub fn fsck(&self) -> &FsckRules {
        &self.fsck
    }

    /// Calls the run's observer, if there is one. See [`Progress::advance`].
    pub fn advance(&self, phase: Phase, done: u64, total: Option<u64>) {
        if let Some(progress) = &self.progress {
            progress.advance(phase, done, total);
        }
    }

    /// Adds to the traffic in the run's stats.
    pub fn add_traffic(&self, more: Traffic) {
        self.budget.add_traffic(more);
    }

    /// The traffic so far.
    pub fn traffic(&self) -> Traffic {
        self.budget.traffic()
    }

    /// Adds to the number of received objects that the [fsck rules](SyncContext::fsck) refused.
    pub fn add_faulty_objects(&self, more: u64) {
        self.faulty_objects.fetch_add(more, Ordering::Relaxed);
    }

    pub(crate) fn faulty_objects(&self) -> u64 {
        self.faulty_objects.load(Ordering::Relaxed)
    }

    /// Records that an incomplete ref may be the fault of the destination.
    pub(crate) fn doubt_destination(&self) {
        self.doubts_destination.store(true, Ordering::Relaxed);
    }

    pub(crate) fn doubts_destination(&self) -> bool {
        self.doubts_destination.load(Ordering::Relaxed)
    }

    /// The folder for temporary files: the caller's or the system's.
    pub(crate) fn scratch_folder(&self) -> PathBuf {
        self.budget.scratch_folder()
    }

    #[cfg(feature = "http")]
    pub(crate) fn budget(&self) -> &Arc<RunBudget> {
        &self.budget
    }
}

/// The extra time after a remote has received a whole push, for its report or a new listing of its refs.
const SETTLING_TIME: Duration = Duration::from_secs(60);

/// The cancel flag and the limits on time, received bytes and disk space, with their use so far. Connections check
/// it while they wait.
#[derive(Debug)]
pub(crate) struct RunBudget {
    cancel: Arc<AtomicBool>,
    limits: Limits,
    scratch: Option<PathBuf>,
    start: Instant,
    /// The time at which the last push was sent.
    settling: Mutex<Option<Instant>>,
    traffic: Mutex<Traffic>,
    /// The bytes that sockets received, for the limit. The traffic has those of an application's own ends, too.
    received: AtomicU64,
}

#[cfg_attr(
    not(feature = "http"),
    allow(dead_code, reason = "asked by connections")
)]
impl RunBudget {
    pub(crate) fn new(cancel: Arc<AtomicBool>, limits: Limits) -> Self {
        RunBudget {
            cancel,
            limits,
            scratch: None,
            start: Instant::now(),
            settling: Mutex::default(),
            traffic: Mutex::default(),
            received: AtomicU64::default(),
        }
    }

    /// The budget of a connection that no run uses: it never ends.
    pub(crate) fn of_no_run() -> Self {
        let limits = Limits {
            total_time: None,
            ..Limits::default()
        };
        RunBudget::new(Arc::default(), limits)
    }

    pub(crate) fn add_traffic(&self, more: Traffic) {
        *lock(&self.traffic) += more;
    }

    pub(crate) fn traffic(&self) -> Traffic {
        *lock(&self.traffic)
    }

    pub(crate) fn check(&self) -> Result<(), Error> {
        if self.cancel.load(Ordering::Relaxed) {
            return Err(Error::cancelled());
        }
        match self.limits.total_time {
            Some(limit) if self.is_out_of_time() && !self.is_settling() => {
                Err(Error::over_budget("total_time", format_args!("{limit:?}")))
            }
            _ => Ok(()),
        }
    }

    /// Whether the time is over, the extra time for a push not counted.
    pub(crate) fn is_out_of_time(&self) -> bool {
        let limit = self.limits.total_time;
        limit.is_some_and(|limit| self.start.elapsed() >= limit)
    }

    /// Starts the extra time of a push: from now on the remote may be moving refs.
    pub(crate) fn settle(&self) {
        *lock(&self.settling) = Some(Instant::now());
    }

    fn is_settling(&self) -> bool {
        let since = *lock(&self.settling);
        since.is_some_and(|since| since.elapsed() < SETTLING_TIME)
    }

    /// An unnamed temporary file, in the caller's folder or the system's.
    pub(crate) fn temporary_file(&self) -> io::Result<File> {
        tempfile::tempfile_in(self.scratch_folder())
    }

    fn scratch_folder(&self) -> PathBuf {
        self.scratch.clone().unwrap_or_else(std::env::temp_dir)
    }

    /// Fails if `bytes` on disk exceed the limit.
    pub(crate) fn check_disk(&self, bytes: u64) -> Result<(), Error> {
        let limit = self.limits.quarantine_bytes;
        check_limit("quarantine_bytes", "bytes", bytes, limit)
    }

    /// Counts received bytes, and fails if they exceed the limit.
    pub(crate) fn received(&self, bytes: usize) -> Result<(), Error> {
        let bytes = bytes as u64;
        lock(&self.traffic).bytes_received += bytes;
        let all = self.received.fetch_add(bytes, Ordering::Relaxed) + bytes;
        let limit = self.limits.received_bytes;
        check_limit("received_bytes", "bytes received", all, limit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ErrorKind;

    fn context(change: impl FnOnce(&mut SyncOptions)) -> SyncContext {
        let mut options = SyncOptions::default();
        change(&mut options);
        SyncContext::new(&options)
    }

    #[test]
    fn why_a_run_has_to_end() {
        let timed_out =
            |options: &mut SyncOptions| options.limits.total_time = Some(Duration::ZERO);
        let cancelled =
            |options: &mut SyncOptions| options.cancel = Some(Arc::new(AtomicBool::new(true)));

        assert!(context(|_| {}).check().is_ok());
        assert!(
            context(|options| options.limits.total_time = None)
                .check()
                .is_ok()
        );
        let err = context(timed_out).check().expect_err("no time");
        assert_eq!(err.to_string(), "more than 0ns (limit `total_time`)");
        assert_eq!(err.kind(), ErrorKind::BudgetExceeded);
        let both = context(|options| {
            timed_out(options);
            cancelled(options);
        });
        let err = both.check().expect_err("cancelled");
        assert_eq!(
            err.kind(),
            ErrorKind::Cancelled,
            "the caller's wish is first"
        );
    }

    #[test]
    fn a_run_that_moves_refs_may_go_on_for_a_while() {
        let context = context(|options| options.limits.total_time = Some(Duration::ZERO));
        assert!(context.check().is_err());
        context.budget.settle();
        assert!(context.check().is_ok());
        assert!(
            context.is_out_of_time(),
            "there is no time for another push"
        );
    }

    #[test]
    fn what_is_received_adds_up() {
        let context = context(|options| options.limits.received_bytes = 10);
        assert!(context.budget.received(6).is_ok());
        assert!(context.budget.received(4).is_ok());
        let err = context.budget.received(1).expect_err("one too many");
        let text = "more than 10 bytes received (limit `received_bytes`)";
        assert_eq!(err.to_string(), text);
    }
}
