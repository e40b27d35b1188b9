//! Repositories.

use std::collections::BTreeMap;

use axum::extract::State;
use serde::Deserialize;

use super::answer::{Answer, created, deleted, ok, page};
use super::body::{Body, Object, present};
use super::caller::{Caller, OfRepo, Read, Write};
use super::error::ApiError;
use super::query::{PageQuery, Query};
use super::repo_view::RepoView;
use super::upstream::{self, UpstreamBody};
use crate::records::{Change, Name, Repo, RepoId, is_branch_name};
use crate::store::{Changed, NewRepo, RepoChange};
use crate::work::settle_head;
use crate::{Service, clock, ids};

/// The most tags of a repository.
const MAX_TAGS: usize = 50;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CreateBody {
    #[serde(default, deserialize_with = "present")]
    name: Option<String>,
    #[serde(default, deserialize_with = "present")]
    default_bookmark: Option<String>,
    #[serde(default, deserialize_with = "present")]
    tags: Option<Object<BTreeMap<String, String>>>,
    #[serde(default, deserialize_with = "present")]
    upstream: Option<Object<UpstreamBody>>,
}

/// POST `/{org}/repos`
pub(super) async fn create(
    State(service): State<Service>,
    caller: Caller<Write>,
    Body(body): Body<CreateBody>,
) -> Answer {
    if caller.key.repo_ids.is_some() {
        return Err(ApiError::forbidden(
            "a key that is limited to some repositories can't make another one",
        ));
    }
    let id: RepoId = ids::new();
    let name = body.name.unwrap_or_else(|| name_of(&id));
    let default_bookmark = body.default_bookmark.map(checked_branch).transpose()?;
    let tags = body.tags.map(|tags| tags.0).unwrap_or_default();
    if tags.len() > MAX_TAGS {
        return Err(too_many_tags());
    }
    check_tags(tags.iter().map(|(key, value)| (key, Some(value))))?;
    let upstream = match body.upstream {
        Some(Object(wanted)) => {
            let wanted = wanted.checked(&service.config.network)?;
            Some(upstream::sealed(&service, &id, &wanted)?)
        }
        None => None,
    };
    let own = &service.config.node;
    let new = NewRepo {
        name: checked_name(name)?,
        default_given: default_bookmark.is_some(),
        default_bookmark: default_bookmark.unwrap_or_else(|| "main".into()),
        org: caller.org.id.clone(),
        home: service.store.emptiest_node(own, clock::now()).await?,
        id,
        tags,
        upstream,
    };
    let repo = caller
        .store(&service)
        .create_repo(new, clock::now())
        .await?;
    let repo = repo.map_err(|_taken| name_taken())?;
    created(&RepoView::of(&service, &caller.org, &repo))
}

/// GET `/{org}/repos`
pub(super) async fn list(
    State(service): State<Service>,
    caller: Caller<Read>,
    Query(query): Query<PageQuery>,
) -> Answer {
    let only = caller.key.repo_ids.as_deref();
    let rows = service.store.repos(&caller.org.id, only, query.page()?);
    page("repos", &rows.await?, |repo| {
        RepoView::of(&service, &caller.org, repo)
    })
}

/// GET `/{org}/{repo}`
pub(super) async fn get(State(service): State<Service>, mut of: OfRepo<Read>) -> Answer {
    of.repo.latest_sync = service.store.latest_sync(&of.repo.id).await?;
    ok(&RepoView::of(&service, &of.caller.org, &of.repo))
}

/// DELETE `/{org}/{repo}`
pub(super) async fn delete(State(service): State<Service>, of: OfRepo<Write>) -> Answer {
    let was_there = of
        .caller
        .store(&service)
        .delete_repo(&of.repo.id, clock::now())
        .await?;
    // The folder goes when nobody works on it any more.
    deleted(was_there, "repository")
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ChangeBody {
    #[serde(default, deserialize_with = "present")]
    name: Option<String>,
    #[serde(default, deserialize_with = "present")]
    default_bookmark: Option<String>,
    #[serde(default, deserialize_with = "present")]
    tags: Option<Object<BTreeMap<String, Option<String>>>>,
    #[serde(default)]
    upstream: Change<Object<UpstreamBody>>,
}

/// PATCH `/{org}/{repo}`
pub(super) async fn change(
    State(service): State<Service>,
    of: OfRepo<Write>,
    Body(body): Body<ChangeBody>,
) -> Answer {
    let default_bookmark = body.default_bookmark.map(checked_branch).transpose()?;
    let tags = body.tags.map(|tags| tags.0).unwrap_or_default();
    check_tags(tags.iter().map(|(key, value)| (key, value.as_ref())))?;
    let upstream = match body.upstream {
        Change::Keep => Change::Keep,
        Change::Clear => Change::Clear,
        Change::Set(Object(wanted)) => {
            let wanted = wanted.checked(&service.config.network)?;
            Change::Set(upstream::sealed(&service, &of.repo.id, &wanted)?)
        }
    };
    let has_new_default = default_bookmark.is_some();
    let change = RepoChange {
        name: body.name.map(checked_name).transpose()?,
        default_bookmark,
        tags,
        upstream,
    };
    let store = of.caller.store(&service);
    let changed = store.change_repo(&of.repo.id, change, clock::now());
    let mut repo = changed_repo(changed.await?)?;
    // HEAD of a repository at another node follows there, at its next run or request of git.
    if has_new_default && repo.home == service.config.node {
        match settle_head(&service, &repo.id).await {
            Ok(Some(settled)) => repo = settled,
            Ok(None) => return Err(ApiError::not_found("repository")),
            // The change is made: an answer that says otherwise would be wrong. The next run lets HEAD follow it.
            Err(err) => tracing::warn!(
                repo = repo.id.as_str(),
                error = crate::chain(&err),
                "HEAD does not follow the new default branch"
            ),
        }
    }
    ok(&RepoView::of(&service, &of.caller.org, &repo))
}

/// The repository after a change, or the reason why nothing was changed.
fn changed_repo(changed: Changed) -> Result<Repo, ApiError> {
    match changed {
        Changed::Done(repo) => Ok(*repo),
        Changed::Taken => Err(name_taken()),
        Changed::Gone => Err(ApiError::not_found("repository")),
        Changed::TooManyTags => Err(too_many_tags()),
        Changed::OriginChanged => Err(ApiError::conflict(
            "ORIGIN_CHANGED",
            "the address leads to another origin, and the stored credential was not given for it: \
             give upstream.auth, or null to clear it",
        )),
    }
}

/// A name for a repository whose maker gave none. The end of an id is its random part.
fn name_of(id: &RepoId) -> String {
    let text = id.as_str();
    format!("repo-{}", &text[text.len().saturating_sub(8)..])
}

fn checked_name(name: String) -> Result<Name, ApiError> {
    Name::new(name).map_err(|err| ApiError::bad("INVALID_NAME", err.to_string()))
}

fn name_taken() -> ApiError {
    ApiError::conflict("NAME_TAKEN", "a repository has this name already")
}

fn checked_branch(name: String) -> Result<String, ApiError> {
    if is_branch_name(&name) {
        return Ok(name);
    }
    Err(ApiError::body(
        "default_bookmark is no name that git takes for a branch",
    ))
}

fn too_many_tags() -> ApiError {
    ApiError::body("a repository has at most 50 tags")
}

fn check_tags<'a>(
    tags: impl ExactSizeIterator<Item = (&'a String, Option<&'a String>)>,
) -> Result<(), ApiError> {
    if tags.len() > 2 * MAX_TAGS {
        return Err(too_many_tags());
    }
    for (key, value) in tags {
        if key.is_empty() || key.len() > 128 || value.is_some_and(|value| value.len() > 512) {
            return Err(ApiError::body(
                "tags: a key has 1 to 128 bytes, a value at most 512",
            ));
        }
    }
    Ok(())
}
