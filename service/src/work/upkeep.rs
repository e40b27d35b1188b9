//! The upkeep beside the workers: leases that are lost.

use std::time::Duration;

use super::workers::Shared;
use crate::{Error, clock};

/// The time between two searches for lost leases.
const REAP_EVERY: Duration = Duration::from_secs(5);
/// The wait after a failure of the database.
const AFTER_FAILURE: Duration = Duration::from_secs(1);

/// An error with its causes.
pub(super) fn text(err: &Error) -> String {
    let mut text = err.to_string();
    let mut source = std::error::Error::source(err);
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

/// Ends the leases that an earlier process of this node has left: nobody works on those runs.
pub(super) async fn end_own_leases(shared: &Shared) {
    let service = &shared.service;
    let config = &service.config;
    while !shared.is_stopping() {
        let ended = service
            .store
            .end_leases_of(&config.node, &config.retry, clock::now())
            .await;
        match ended {
            Ok(0) => return,
            Ok(count) => return tracing::info!(count, "runs of an earlier process are due again"),
            Err(err) => {
                tracing::error!(
                    err = text(&err),
                    "the leases of an earlier process can't be ended"
                );
                shared.pause(AFTER_FAILURE).await;
            }
        }
    }
}

/// Looks for runs whose worker is lost.
pub(super) async fn reap(shared: Shared) {
    let service = &shared.service;
    let every = REAP_EVERY.min(service.config.lease / 4);
    while !shared.is_stopping() {
        let (now, random) = (clock::now(), clock::random());
        match service.store.reap(now, &service.config.retry, random).await {
            Ok(0) => {}
            Ok(count) => tracing::warn!(count, "runs had lost their worker"),
            Err(err) => tracing::error!(err = text(&err), "lost runs can't be looked for"),
        }
        shared.pause(every).await;
    }
}
