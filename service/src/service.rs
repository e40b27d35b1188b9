//! [`Service`], what the parts of a process share.

use std::sync::Arc;

use crate::{config::Config, metrics::Metrics, secrets::Sealer};

/// The parts of a process that requests, workers and deliveries share.
#[derive(Debug, Clone)]
pub struct Service {
    /// The master keys.
    pub sealer: Arc<Sealer>,
    /// The configuration.
    pub config: Arc<Config>,
    /// The numbers for `/metrics`.
    pub metrics: Metrics,
}
