//! Deliveries of events to webhook targets, and the signatures of calls by upstreams.

pub mod client;
mod connector;
mod delivery;
pub mod received;
pub mod signature;
pub mod target_url;

pub use connector::{LookUp, system_look_up};
pub use delivery::{Clock, Courier, Deliveries};
pub use target_url::TargetUrl;

use std::{sync::Arc, time::Duration};

use crate::{Error, ErrorKind, Service, clock};

/// The time of an attempt to deliver an event.
const ATTEMPT_TIME: Duration = Duration::from_secs(10);

/// Starts the deliveries of a service, to addresses that its network policy allows.
///
/// # Errors
/// The client can't be made.
pub fn start(service: &Service) -> Result<Deliveries, Error> {
    let policy = service.config.network.clone();
    let client = client::Client::new(policy, ATTEMPT_TIME, system_look_up(), Vec::new());
    let client = client.map_err(|err| {
        Error::new(ErrorKind::Config, "making the client of deliveries failed").because(err)
    })?;
    Ok(Deliveries::start(Courier {
        store: service.store.clone(),
        sealer: Arc::clone(&service.sealer),
        client,
        metrics: service.metrics.clone(),
        node: service.config.node.clone(),
        clock: Arc::new(clock::now),
    }))
}
