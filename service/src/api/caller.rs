//! The key behind a request, and the things that the path names: all of one organization.

use std::marker::PhantomData;
use std::str::FromStr;

use axum::extract::{FromRequestParts, RawPathParams};
use hyper::header;
use hyper::http::request::Parts;

use super::error::ApiError;
use crate::records::{Key, Org, Repo, RepoId, Scope};
use crate::store::Store;
use crate::{Service, authentication};

/// The scope that a handler needs, as a type.
pub(super) trait Needs {
    const SCOPE: Scope;
}

/// [`Scope::Read`].
pub(super) struct Read;

/// [`Scope::Write`].
pub(super) struct Write;

/// [`Scope::Admin`].
pub(super) struct Admin;

impl Needs for Read {
    const SCOPE: Scope = Scope::Read;
}

impl Needs for Write {
    const SCOPE: Scope = Scope::Write;
}

impl Needs for Admin {
    const SCOPE: Scope = Scope::Admin;
}

/// The valid key of a request. It has the scope `S`, and the organization in the path, if there is one, is its own.
pub(super) struct Caller<S> {
    pub(super) org: Org,
    pub(super) key: Key,
    scope: PhantomData<fn() -> S>,
}

impl<S> Caller<S> {
    /// The repositories that the key is limited to.
    pub(super) fn seen(&self) -> Option<&[RepoId]> {
        self.key.repo_ids.as_deref()
    }

    /// The store, whose changes are this caller's in the audit.
    pub(super) fn store(&self, service: &Service) -> Store {
        service.store.by(self.key.id.as_str())
    }

    /// The repositories that something made by this caller is limited to, if `wanted` is asked for: never more than
    /// the caller's own.
    pub(super) async fn limited_to(
        &self,
        service: &Service,
        wanted: Option<Vec<RepoId>>,
    ) -> Result<Option<Vec<RepoId>>, ApiError> {
        let Some(mut ids) = wanted else {
            return Ok(self.key.repo_ids.clone());
        };
        ids.sort();
        ids.dedup();
        if ids.is_empty() || ids.len() > 100 {
            return Err(ApiError::body("repo_ids has 1 to 100 ids"));
        }
        for id in &ids {
            let repo = service.store.repo(id).await?;
            let is_ours = repo.is_some_and(|repo| repo.org == self.org.id);
            if !is_ours || !self.key.sees(id) {
                return Err(ApiError::body(format!(
                    "repo_ids: there is no repository {id}, or the key may not see it"
                )));
            }
        }
        Ok(Some(ids))
    }
}

impl<S: Needs> Caller<S> {
    async fn checked(parts: &mut Parts, org: Org, key: Key) -> Result<Self, ApiError> {
        if let Some(slug) = path_value(parts, "org").await?
            && !slug.eq_ignore_ascii_case(&org.slug)
        {
            return Err(ApiError::not_found("organization"));
        }
        if !key.may(S::SCOPE) {
            return Err(lacks(S::SCOPE));
        }
        Ok(Caller {
            org,
            key,
            scope: PhantomData,
        })
    }
}

impl<S: Needs> FromRequestParts<Service> for Caller<S> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, service: &Service) -> Result<Self, ApiError> {
        let found = authentication::key_of(service, secret(parts)?).await?;
        let (org, key) = found.map_err(ApiError::unauthorized)?;
        Caller::checked(parts, org, key).await
    }
}

/// The valid key of a request, and the repository in its path, which the key may see, without its last run.
pub(super) struct OfRepo<S> {
    pub(super) caller: Caller<S>,
    pub(super) repo: Repo,
}

impl<S: Needs> FromRequestParts<Service> for OfRepo<S> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, service: &Service) -> Result<Self, ApiError> {
        // A path that cannot be read is refused with the organization in it, once the key is known.
        let name = path_value(parts, "repo").await.ok().flatten();
        let name = name.unwrap_or_default();
        let found = authentication::key_and_repo_of(service, secret(parts)?, &name).await?;
        let (org, key, repo) = found.map_err(ApiError::unauthorized)?;
        let caller = Caller::<S>::checked(parts, org, key).await?;
        match repo {
            Some(repo) if !caller.key.sees(&repo.id) => Err(ApiError::not_found("repository")),
            Some(repo) if caller.key.may_on(&repo.id, S::SCOPE) => Ok(OfRepo { caller, repo }),
            Some(_) => Err(lacks(S::SCOPE)),
            None => Err(ApiError::not_found("repository")),
        }
    }
}

fn lacks(scope: Scope) -> ApiError {
    ApiError::forbidden(match scope {
        Scope::Read => "this needs a key with the scope read",
        Scope::Write => "this needs a key with the scope write",
        Scope::Admin => "this needs a key with the scope admin",
    })
}

/// The identifier in a path. One that can't be is the identifier of nothing.
pub(super) struct Id<T>(pub(super) T);

impl<T: FromStr> FromRequestParts<Service> for Id<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &Service) -> Result<Self, ApiError> {
        id_in_path(parts, "id").await.map(Id)
    }
}

/// The second identifier in a path.
pub(super) struct SubId<T>(pub(super) T);

impl<T: FromStr> FromRequestParts<Service> for SubId<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &Service) -> Result<Self, ApiError> {
        id_in_path(parts, "sub_id").await.map(SubId)
    }
}

async fn id_in_path<T: FromStr>(parts: &mut Parts, name: &str) -> Result<T, ApiError> {
    let text = path_value(parts, name).await?.unwrap_or_default();
    text.parse().map_err(|_| ApiError::not_found("id"))
}

/// The decoded segment of the path that the route calls `name`.
pub(super) async fn path_value(parts: &mut Parts, name: &str) -> Result<Option<String>, ApiError> {
    let params = RawPathParams::from_request_parts(parts, &()).await;
    let params = params.map_err(|err| ApiError::bad("INVALID_PATH", err.body_text()))?;
    let value = params.iter().find(|(key, _)| *key == name);
    Ok(value.map(|(_, value)| value.to_owned()))
}

/// The secret that a request brings.
fn secret(parts: &Parts) -> Result<&str, ApiError> {
    let Some(header) = parts.headers.get(header::AUTHORIZATION) else {
        return Err(ApiError::unauthorized(
            "this needs the header Authorization: Bearer KEY",
        ));
    };
    let invalid = || ApiError::unauthorized("the header Authorization is not Bearer KEY");
    let text = header.to_str().map_err(|_| invalid())?;
    let (scheme, secret) = text.split_once(' ').ok_or_else(invalid)?;
    if !scheme.eq_ignore_ascii_case("bearer") {
        return Err(invalid());
    }
    Ok(secret.trim())
}
