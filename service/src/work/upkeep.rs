//! The upkeep beside the workers: leases that are lost, upstreams whose time has come, repositories that were removed,
//! old history.

use std::time::Duration;

use super::workers::Shared;
use crate::{Error, clock, records::RepoId, store::LongestWaits};

/// The time between two searches for lost leases.
const REAP_EVERY: Duration = Duration::from_secs(5);
/// The time between two searches for upstreams whose time has come.
const SCHEDULE_EVERY: Duration = Duration::from_secs(1);
/// The time between two searches for removed repositories.
const TIDY_EVERY: Duration = Duration::from_secs(60);
/// The number of those searches from one removal of old history to the next.
const TIDIES_PER_RETENTION: u32 = 60;
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
pub(super) async fn end_own_leases(shared: Shared) {
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

/// Queues the runs of upstreams whose time has come.
pub(super) async fn schedule(shared: Shared) {
    let service = &shared.service;
    let config = &service.config;
    let limits = config.queue.limits();
    while !shared.is_stopping() {
        let now = clock::now();
        let scheduled = service.store.queue_scheduled(&config.node, limits, now);
        match scheduled.await {
            Ok(scheduled) if scheduled.has_more => continue,
            Ok(_) => {}
            Err(err) => tracing::error!(err = text(&err), "scheduled runs can't be queued"),
        }
        shared.pause(SCHEDULE_EVERY).await;
    }
}

/// Removes what is no longer needed: the folders of removed repositories, and old history.
pub(super) async fn tidy(shared: Shared) {
    let service = &shared.service;
    for count in 0_u32.. {
        if shared.is_stopping() {
            return;
        }
        if let Err(err) = remove_repos(&shared).await {
            tracing::error!(err = text(&err), "removed repositories can't be tidied up");
        }
        mend_times(&shared).await;
        if count % TIDIES_PER_RETENTION == 0 {
            let keep = &service.config.retention;
            let is_stopping = || shared.is_stopping();
            match service
                .store
                .retain(&service.config.node, keep, clock::now(), is_stopping)
                .await
            {
                Ok(0) => {}
                Ok(count) => tracing::info!(count, "old history was removed"),
                Err(err) => tracing::error!(err = text(&err), "old history can't be removed"),
            }
        }
        shared.pause(TIDY_EVERY).await;
    }
}

async fn mend_times(shared: &Shared) {
    let (store, config) = (&shared.service.store, &shared.service.config);
    let longest = LongestWaits {
        attempt: config.retry.longest(),
        lease: config.lease,
    };
    match store.mend_times(&config.node, longest, clock::now()).await {
        Ok(0) => {}
        Ok(count) => tracing::warn!(
            count,
            "times were too far ahead: the clock has stepped back"
        ),
        Err(err) => tracing::error!(err = text(&err), "times can't be looked at"),
    }
}

async fn remove_repos(shared: &Shared) -> Result<(), Error> {
    let service = &shared.service;
    for id in service.store.removed_repos(&service.config.node).await? {
        if shared.is_stopping() {
            return Ok(());
        }
        if remove_folder(shared, &id).await {
            service.store.forget_repo(&id).await?;
        }
    }
    Ok(())
}

/// Removes the folder of a removed repository; false if it has to wait for another time.
async fn remove_folder(shared: &Shared, id: &RepoId) -> bool {
    let (repos, repo) = (shared.service.repos.clone(), id.clone());
    let removed = tokio::task::spawn_blocking(move || repos.remove(&repo)).await;
    match removed {
        Ok(Ok(removed)) => removed,
        Ok(Err(err)) => {
            tracing::warn!(repo = id.as_str(), %err, "the folder can't be removed");
            false
        }
        Err(_) => false,
    }
}
