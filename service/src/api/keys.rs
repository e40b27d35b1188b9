//! API keys.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::extract::State;
use serde::{Deserialize, Serialize};

use super::answer::{Answer, created, deleted, page};
use super::body::{Body, present};
use super::caller::{Admin, Caller, Id};
use super::error::ApiError;
use super::query::{PageQuery, Query};
use crate::records::{Key, KeyId, RepoId, Scope, Time};
use crate::secrets::api_key;
use crate::store::NewKey;
use crate::{Service, clock, ids};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CreateBody {
    #[serde(default, deserialize_with = "present")]
    name: Option<String>,
    #[serde(default, deserialize_with = "present")]
    scopes: Option<Vec<Scope>>,
    #[serde(default, deserialize_with = "present")]
    repo_ids: Option<Vec<RepoId>>,
    #[serde(default, deserialize_with = "present")]
    expires_in_seconds: Option<u64>,
}

/// A key as the API shows it, and its secret where it was just made.
#[derive(Serialize)]
struct KeyView<'a> {
    #[serde(flatten)]
    key: &'a Key,
    #[serde(rename = "key", skip_serializing_if = "Option::is_none")]
    secret: Option<&'a str>,
    // The published clients want these keys; the service has nothing to say with them.
    metadata: (),
    tags: BTreeMap<&'a str, &'a str>,
    last_used_at: Option<Time>,
    revoked_at: Option<Time>,
}

impl<'a> KeyView<'a> {
    fn of(key: &'a Key, secret: Option<&'a str>) -> Self {
        KeyView {
            key,
            secret,
            metadata: (),
            tags: BTreeMap::new(),
            last_used_at: None,
            revoked_at: None,
        }
    }
}

/// POST `/{org}/api-keys`
pub(super) async fn create(
    State(service): State<Service>,
    caller: Caller<Admin>,
    Body(body): Body<CreateBody>,
) -> Answer {
    check_name(body.name.as_deref())?;
    let scopes = checked_scopes(&caller.key, body.scopes)?;
    let expires_at = expiry(&caller.key, body.expires_in_seconds, clock::now())?;
    let repo_ids = caller.limited_to(&service, body.repo_ids).await?;
    let secret = api_key::generate().map_err(crate::Error::from)?;
    let new = NewKey {
        id: ids::new(),
        name: body.name,
        hash: api_key::hash(&secret),
        scopes,
        repo_ids,
        expires_at,
    };
    let key = service.store.create_key(&caller.org.id, new, clock::now());
    created(&KeyView::of(&key.await?, Some(&secret)))
}

/// GET `/{org}/api-keys`
pub(super) async fn list(
    State(service): State<Service>,
    caller: Caller<Admin>,
    Query(query): Query<PageQuery>,
) -> Answer {
    let mut keys = service.store.keys(&caller.org.id, query.page()?).await?;
    keys.rows.retain(|key| caller.covers(key.repo_ids.as_ref()));
    page("api_keys", &keys, |key| KeyView::of(key, None))
}

/// DELETE `/{org}/api-keys/{id}`
pub(super) async fn delete(
    State(service): State<Service>,
    caller: Caller<Admin>,
    Id(id): Id<KeyId>,
) -> Answer {
    let org = &caller.org.id;
    let key = service.store.key(org, &id).await?;
    let is_ours = key.is_some_and(|key| caller.covers(key.repo_ids.as_ref()));
    deleted(is_ours && service.store.delete_key(org, &id).await?, "key")
}

/// Refuses a name for people that is empty or long.
pub(super) fn check_name(name: Option<&str>) -> Result<(), ApiError> {
    if name.is_some_and(|name| name.is_empty() || name.chars().count() > 100) {
        return Err(ApiError::body("name has 1 to 100 characters"));
    }
    Ok(())
}

/// The scopes of a new key: `read` if none were named, and none that its maker lacks.
fn checked_scopes(maker: &Key, scopes: Option<Vec<Scope>>) -> Result<Vec<Scope>, ApiError> {
    let mut scopes = scopes.unwrap_or_else(|| vec![Scope::Read]);
    scopes.sort();
    scopes.dedup();
    if scopes.is_empty() {
        return Err(ApiError::body("scopes has at least one scope"));
    }
    if !scopes.iter().all(|scope| maker.may(*scope)) {
        return Err(ApiError::forbidden(
            "a key can't give a scope that it lacks",
        ));
    }
    Ok(scopes)
}

/// The end of a new key: no later than that of its maker.
fn expiry(maker: &Key, seconds: Option<u64>, now: Time) -> Result<Option<Time>, ApiError> {
    let Some(seconds) = seconds else {
        return Ok(maker.expires_at);
    };
    if !(100..=31_536_000).contains(&seconds) {
        return Err(ApiError::body("expires_in_seconds is 100 to 31536000"));
    }
    let wanted = now.plus(Duration::from_secs(seconds));
    Ok(Some(maker.expires_at.map_or(wanted, |end| end.min(wanted))))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(scopes: &[Scope], expires_at: Option<Time>) -> Key {
        Key {
            id: KeyId::from_bits(1),
            name: None,
            scopes: scopes.to_vec(),
            repo_ids: None,
            created_at: Time(0),
            expires_at,
        }
    }

    #[test]
    fn a_key_gives_no_more_than_it_has() {
        let writer = key(&[Scope::Write], None);
        let all = vec![Scope::Admin, Scope::Read];
        assert!(checked_scopes(&writer, Some(all.clone())).is_err());
        let admin = key(&[Scope::Admin], None);
        let given = checked_scopes(&admin, Some(all)).expect("scopes");
        assert_eq!(given, [Scope::Read, Scope::Admin]);
        assert_eq!(
            checked_scopes(&writer, None).expect("scopes"),
            [Scope::Read]
        );
        assert!(checked_scopes(&admin, Some(Vec::new())).is_err());

        let ends = key(&[Scope::Admin], Some(Time(200_000)));
        for (maker, seconds, end) in [
            (&admin, None, None),
            (&admin, Some(100), Some(Time(100_000))),
            (&ends, None, Some(Time(200_000))),
            (&ends, Some(100), Some(Time(100_000))),
            (&ends, Some(1_000), Some(Time(200_000))),
        ] {
            assert_eq!(expiry(maker, seconds, Time(0)).expect("an end"), end);
        }
        for seconds in [0, 99, 31_536_001, u64::MAX] {
            assert!(expiry(&admin, Some(seconds), Time(0)).is_err());
        }
    }
}
