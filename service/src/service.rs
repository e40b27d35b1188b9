//! [`Service`], what the parts of a process share.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use crate::{config::Config, metrics::Metrics, secrets::Sealer, store::Store, work::RepoFolders};

/// The parts of a process that requests, workers and deliveries share.
#[derive(Debug, Clone)]
pub struct Service {
    /// The database.
    pub store: Store,
    /// The master keys.
    pub sealer: Arc<Sealer>,
    /// The folders of the repositories.
    pub repos: RepoFolders,
    /// The configuration.
    pub config: Arc<Config>,
    /// The numbers for `/metrics`.
    pub metrics: Metrics,
    /// Cancelled when the process begins to stop: no answer waits for the end of a run any more.
    pub stop: CancellationToken,
}
