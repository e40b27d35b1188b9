//! Runs of upstreams.

use std::time::Duration;

use axum::extract::State;
use serde::Deserialize;
use tokio::sync::broadcast::{Receiver, error::RecvError};
use tokio::time::Instant;

use super::answer::{Answer, created, ok, page, spliced};
use super::body::{Body, NoBody, Object, present};
use super::caller::{Id, OfRepo, Read, Write};
use super::error::ApiError;
use super::query::{PageQuery, Query};
use super::schedule::{GlobsBody, checked_globs};
use crate::records::{Direction, Priority, Repo, SyncId, SyncRun};
use crate::store::{Cancel, NewRun, Refused, StatsJson};
use crate::{Service, clock};

/// The longest time that an answer waits for the end of a run, in seconds.
const MAX_WAIT: u64 = 60;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SyncBody {
    direction: Direction,
    #[serde(default, deserialize_with = "present")]
    ref_globs: Option<Object<GlobsBody>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CreateQuery {
    #[serde(default)]
    dry_run: bool,
}

/// POST `/{org}/{repo}/upstream/syncs`
pub(super) async fn create(
    State(service): State<Service>,
    of: OfRepo<Write>,
    Query(query): Query<CreateQuery>,
    Body(body): Body<SyncBody>,
) -> Answer {
    let new = NewRun {
        repo: &of.repo,
        direction: body.direction,
        globs: checked_globs(body.ref_globs)?,
        dry_run: query.dry_run,
        priority: Priority::Api,
    };
    created(&enqueue(&service, new).await?)
}

/// Queues a run, within the limits of the configuration.
async fn enqueue(service: &Service, new: NewRun<'_>) -> Result<SyncRun, ApiError> {
    let limits = service.config.queue.limits();
    let queued = service.store.enqueue(new, limits, clock::now()).await?;
    queued.map_err(refusal)
}

/// 409 for a repository without an upstream.
pub(super) fn no_upstream() -> ApiError {
    ApiError::conflict(
        "NO_UPSTREAM",
        "the repository has no upstream; PATCH it with one first",
    )
}

pub(super) fn refusal(refused: Refused) -> ApiError {
    match refused {
        Refused::NoUpstream => no_upstream(),
        Refused::Parked => ApiError::conflict(
            "PARKED",
            "the upstream has refused so many syncs that none starts by itself",
        ),
        Refused::RepoFull => ApiError::queue_full("the repository has too many queued syncs"),
        Refused::OrgFull => ApiError::queue_full("the organization has too many queued syncs"),
    }
}

/// GET `/{org}/{repo}/upstream/syncs`
pub(super) async fn list(
    State(service): State<Service>,
    of: OfRepo<Read>,
    Query(query): Query<PageQuery>,
) -> Answer {
    let rows = service.store.sync_runs(&of.repo.id, query.page()?).await?;
    page("syncs", &rows, Clone::clone)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct GetQuery {
    #[serde(default)]
    wait: u64,
}

/// GET `/{org}/{repo}/upstream/syncs/{id}`
pub(super) async fn get(
    State(service): State<Service>,
    of: OfRepo<Read>,
    Id(id): Id<SyncId>,
    Query(query): Query<GetQuery>,
) -> Answer {
    if query.wait > MAX_WAIT {
        return Err(ApiError::bad("INVALID_QUERY", "wait is 0 to 60 seconds"));
    }
    let until = Instant::now() + Duration::from_secs(query.wait);
    let (run, stats) = run_at_end(&service, &of.repo, &id, until).await?;
    match stats {
        Some(stats) => spliced(&run, "stats", stats),
        None => ok(&run),
    }
}

/// The run once it has ended, or at `until` or when the process stops as it is, and the JSON of all of its stats.
async fn run_at_end(
    service: &Service,
    repo: &Repo,
    id: &SyncId,
    until: Instant,
) -> Result<(SyncRun, Option<StatsJson>), ApiError> {
    // Before the row is read, or an end in between would be missed.
    let mut ended = service.store.ended(id);
    loop {
        let found = service.store.sync_run_full(&repo.id, id).await?;
        let found = found.ok_or_else(|| ApiError::not_found("sync"))?;
        let is_over = Instant::now() >= until || service.stop.is_cancelled();
        if found.0.status.is_end() || is_over {
            return Ok(found);
        }
        tokio::select! {
            () = wait_for_end(&mut ended, id, until) => {}
            () = service.stop.cancelled() => {}
        }
    }
}

/// Returns when the run may have ended, or at `until`.
async fn wait_for_end(ended: &mut Receiver<SyncId>, id: &SyncId, until: Instant) {
    loop {
        match tokio::time::timeout_at(until, ended.recv()).await {
            Ok(Ok(other)) if other != *id => {}
            Ok(Err(RecvError::Closed)) => return tokio::time::sleep_until(until).await,
            Ok(Ok(_) | Err(RecvError::Lagged(_))) | Err(_) => return,
        }
    }
}

/// POST `/{org}/{repo}/upstream/syncs/{id}/cancel`
pub(super) async fn cancel(
    State(service): State<Service>,
    of: OfRepo<Write>,
    Id(id): Id<SyncId>,
    _: NoBody,
) -> Answer {
    match service.store.cancel(&of.repo.id, &id, clock::now()).await? {
        Cancel::Done(run) | Cancel::Requested(run) => ok(&run),
        Cancel::Ended(_) => Err(ApiError::conflict("SYNC_ENDED", "the sync has ended")),
        Cancel::Unknown => Err(ApiError::not_found("sync")),
    }
}
