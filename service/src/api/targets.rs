//! Webhook targets.

use axum::extract::State;
use serde::{Deserialize, Serialize};

use super::answer::{Answer, created, deleted, ok, page};
use super::body::{Body, NoBody, present};
use super::caller::{Admin, Caller, Id, SubId};
use super::error::ApiError;
use super::keys::check_name;
use super::query::{PageQuery, Query};
use crate::hooks::TargetUrl;
use crate::records::{Change, DeliveryId, EventType, RepoId, Target, TargetId};
use crate::secrets::webhook_secret;
use crate::store::{NewTarget, TargetChange};
use crate::{Service, clock, ids};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CreateBody {
    url: String,
    #[serde(default, deserialize_with = "present")]
    name: Option<String>,
    #[serde(default, deserialize_with = "present")]
    events: Option<Vec<String>>,
    #[serde(default, deserialize_with = "present")]
    repo_ids: Option<Vec<RepoId>>,
}

#[derive(Serialize)]
struct WithSecret<'a> {
    #[serde(flatten)]
    target: &'a Target,
    secret: &'a str,
}

/// POST `/{org}/webhook-targets`
pub(super) async fn create(
    State(service): State<Service>,
    caller: Caller<Admin>,
    Body(body): Body<CreateBody>,
) -> Answer {
    check_name(body.name.as_deref())?;
    check_url(&service, &body.url)?;
    let events = body.events.unwrap_or_else(|| vec!["push".into()]);
    let id: TargetId = ids::new();
    let secret = webhook_secret::generate().map_err(crate::Error::from)?;
    let new = NewTarget {
        org: caller.org.id.clone(),
        url: body.url,
        name: body.name,
        events: checked_events(events)?,
        repo_ids: caller.limited_to(&service, body.repo_ids).await?,
        secret: webhook_secret::seal(&service.sealer, &id, &secret).map_err(crate::Error::from)?,
        id,
    };
    let target = caller
        .store(&service)
        .create_target(new, clock::now())
        .await?;
    created(&WithSecret {
        target: &target,
        secret: &secret,
    })
}

/// GET `/{org}/webhook-targets`
pub(super) async fn list(
    State(service): State<Service>,
    caller: Caller<Admin>,
    Query(query): Query<PageQuery>,
) -> Answer {
    let sees = |target: &Target| caller.key.covers(target.repo_ids.as_deref());
    let targets = service.store.targets(&caller.org.id, query.page()?, sees);
    page("webhook_targets", &targets.await?, Clone::clone)
}

/// GET `/{org}/webhook-targets/{id}`
pub(super) async fn get(
    State(service): State<Service>,
    caller: Caller<Admin>,
    Id(id): Id<TargetId>,
) -> Answer {
    ok(&target_of(&service, &caller, &id).await?)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ChangeBody {
    #[serde(default, deserialize_with = "present")]
    url: Option<String>,
    #[serde(default)]
    name: Change<String>,
    #[serde(default, deserialize_with = "present")]
    events: Option<Vec<String>>,
    #[serde(default)]
    repo_ids: Change<Vec<RepoId>>,
    #[serde(default, deserialize_with = "present")]
    enabled: Option<bool>,
}

/// PATCH `/{org}/webhook-targets/{id}`
pub(super) async fn change(
    State(service): State<Service>,
    caller: Caller<Admin>,
    Id(id): Id<TargetId>,
    Body(body): Body<ChangeBody>,
) -> Answer {
    let target = target_of(&service, &caller, &id).await?;
    if let Change::Set(name) = &body.name {
        check_name(Some(name))?;
    }
    if let Some(url) = &body.url {
        check_url(&service, url)?;
    }
    let repo_ids = match body.repo_ids {
        Change::Keep => Change::Keep,
        Change::Clear => limit(caller.limited_to(&service, None).await?),
        Change::Set(ids) => limit(caller.limited_to(&service, Some(ids)).await?),
    };
    let change = TargetChange {
        url: body.url,
        name: body.name,
        events: body.events.map(checked_events).transpose()?,
        repo_ids,
        enabled: body.enabled,
    };
    let store = caller.store(&service);
    let changed = store.change_target(&target.id, caller.seen(), change, clock::now());
    let changed = changed.await?.ok_or_else(not_found)?;
    ok(&changed)
}

fn limit(ids: Option<Vec<RepoId>>) -> Change<Vec<RepoId>> {
    ids.map_or(Change::Clear, Change::Set)
}

/// DELETE `/{org}/webhook-targets/{id}`
pub(super) async fn delete(
    State(service): State<Service>,
    caller: Caller<Admin>,
    Id(id): Id<TargetId>,
) -> Answer {
    let target = target_of(&service, &caller, &id).await?;
    let was_there = caller
        .store(&service)
        .delete_target(&target.id, caller.seen(), clock::now())
        .await?;
    deleted(was_there, "webhook target")
}

/// POST `/{org}/webhook-targets/{id}/rotate-secret`
pub(super) async fn rotate_secret(
    State(service): State<Service>,
    caller: Caller<Admin>,
    Id(id): Id<TargetId>,
    _: NoBody,
) -> Answer {
    let target = target_of(&service, &caller, &id).await?;
    let secret = webhook_secret::generate().map_err(crate::Error::from)?;
    let sealed = webhook_secret::seal(&service.sealer, &target.id, &secret);
    let sealed = sealed.map_err(crate::Error::from)?;
    let now = clock::now();
    let store = caller.store(&service);
    let rotated = store.rotate_secret(&target.id, caller.seen(), sealed, now);
    if !rotated.await? {
        return Err(not_found());
    }
    ok(&serde_json::json!({ "secret": secret.as_str() }))
}

/// POST `/{org}/webhook-targets/{id}/test`
pub(super) async fn test(
    State(service): State<Service>,
    caller: Caller<Admin>,
    Id(id): Id<TargetId>,
    _: NoBody,
) -> Answer {
    let target = target_of(&service, &caller, &id).await?;
    check_enabled(&target)?;
    let emitted = service
        .store
        .emit_test(&target.id, caller.seen(), clock::now());
    created(&emitted.await?.ok_or_else(not_found)?)
}

/// GET `/{org}/webhook-targets/{id}/deliveries`
pub(super) async fn deliveries(
    State(service): State<Service>,
    caller: Caller<Admin>,
    Id(id): Id<TargetId>,
    Query(query): Query<PageQuery>,
) -> Answer {
    let rows = service.store.deliveries(&id, query.page()?).await?;
    // Afterwards: a target that has been widened meanwhile may have deliveries that the caller must not see.
    target_of(&service, &caller, &id).await?;
    page("deliveries", &rows, Clone::clone)
}

/// POST `/{org}/webhook-targets/{id}/deliveries/{sub_id}/redeliver`
pub(super) async fn redeliver(
    State(service): State<Service>,
    caller: Caller<Admin>,
    Id(id): Id<TargetId>,
    SubId(delivery): SubId<DeliveryId>,
    _: NoBody,
) -> Answer {
    let target = target_of(&service, &caller, &id).await?;
    check_enabled(&target)?;
    let delivery = service
        .store
        .redeliver(&target.id, caller.seen(), &delivery, clock::now())
        .await?;
    ok(&delivery.ok_or_else(|| ApiError::not_found("delivery"))?)
}

async fn target_of(
    service: &Service,
    caller: &Caller<Admin>,
    id: &TargetId,
) -> Result<Target, ApiError> {
    let target = service.store.target(&caller.org.id, id).await?;
    let target = target.filter(|target| caller.key.covers(target.repo_ids.as_deref()));
    target.ok_or_else(not_found)
}

fn check_enabled(target: &Target) -> Result<(), ApiError> {
    if target.enabled {
        return Ok(());
    }
    Err(ApiError::conflict(
        "TARGET_DISABLED",
        "the webhook target is disabled; PATCH it with enabled: true first",
    ))
}

fn not_found() -> ApiError {
    ApiError::not_found("webhook target")
}

fn check_url(service: &Service, url: &str) -> Result<(), ApiError> {
    let url = TargetUrl::parse(url).map_err(|reason| ApiError::bad("INVALID_URL", reason))?;
    url.check(&service.config.network)
        .map_err(|reason| ApiError::bad("URL_NOT_ALLOWED", reason))
}

/// The names of types, each once.
fn checked_events(mut events: Vec<String>) -> Result<Vec<String>, ApiError> {
    let is_known = |name: &String| name == "repo.push" || EventType::of_word(name).is_some();
    events.sort();
    events.dedup();
    if events.is_empty() || !events.iter().all(is_known) {
        return Err(ApiError::body(
            "events has at least one of push, repo.push, sync.queued, sync.in_progress, sync.completed, sync.failed",
        ));
    }
    Ok(events)
}
