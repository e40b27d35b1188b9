//! [`Task`] and [`Report`], the plain data that go into an engine and come out of it, and the trait between.

use std::sync::{Arc, atomic::AtomicBool};

use refsync::{Credentials, Error, SyncRunStats};

use crate::records::{Direction, Globs, PushUpdate, Repo};

/// The work of one attempt. The credential is opened for it, and wiped when it is dropped.
#[derive(Debug)]
pub struct Task {
    /// The repository.
    pub repo: Repo,
    /// The direction.
    pub direction: Direction,
    /// The globs.
    pub globs: Globs,
    /// Whether nothing is written.
    pub dry_run: bool,
    /// The address of the upstream.
    pub url: String,
    /// The credential for it.
    pub credentials: Option<Credentials>,
    /// The profile that the last run stored.
    pub profile: Option<String>,
    /// The stats of the last run in the same direction.
    pub previous: Option<SyncRunStats>,
    /// Whether refs may have been moved by an earlier attempt of which nobody was told: it has left its journal.
    pub recovers: bool,
    /// The identifier of the run, for the journal.
    pub run: String,
    /// The flag that ends the attempt.
    pub cancel: Arc<AtomicBool>,
}

/// The result of an attempt that did its work.
#[derive(Debug, Default)]
pub struct Report {
    /// The outcomes.
    pub stats: SyncRunStats,
    /// The profile of the server, for the next run.
    pub profile: Option<String>,
    /// The tip of the default branch after the run.
    pub head: Option<String>,
    /// The default branch, where the run has changed it.
    pub default_bookmark: Option<String>,
    /// The refs that a pull has moved.
    pub moved: Vec<PushUpdate>,
    /// The number of packs in the repository.
    pub packs: usize,
}

/// The part of a worker that does the work. It blocks.
pub trait Engine: Send + Sync + 'static {
    /// Carries out one attempt.
    ///
    /// # Errors
    /// The run as a whole could not do its work.
    fn run(&self, task: &Task) -> Result<Report, Error>;
}

impl<T: Engine + ?Sized> Engine for Arc<T> {
    fn run(&self, task: &Task) -> Result<Report, Error> {
        (**self).run(task)
    }
}
