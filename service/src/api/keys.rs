//! API keys, and the public keys of clients that sign their own tokens.

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
use crate::secrets::jwt::PublicKey;
use crate::secrets::{api_key, public_key};
use crate::store::{NewKey, Proof};
use crate::{Service, clock, ids};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CreateBody {
    #[serde(default, deserialize_with = "present")]
    public_key: Option<String>,
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
    let (proof, secret) = match body.public_key {
        Some(text) => (Proof::PublicKey(checked_public_key(&text)?), None),
        None => {
            let secret = api_key::generate().map_err(crate::Error::from)?;
            (Proof::Hash(api_key::hash(&secret)), Some(secret))
        }
    };
    let new = NewKey {
        id: ids::new(),
        name: body.name,
        proof,
        scopes,
        repo_ids,
        expires_at,
    };
    let store = caller.store(&service);
    let key = store.create_key(&caller.org.id, new, clock::now());
    let key = key.await?.ok_or_else(|| {
        ApiError::conflict("KEY_TAKEN", "the organization has this public key already")
    })?;
    let secret = secret.as_ref().map(|secret| secret.as_str());
    created(&KeyView::of(&key, secret))
}

fn checked_public_key(text: &str) -> Result<PublicKey, ApiError> {
    let key = public_key::parse(text);
    key.ok_or_else(|| {
        ApiError::body(
            "public_key is a public key of Ed25519: as PEM, or as base64 of its 32 bytes or of its DER",
        )
    })
}

/// The keys to list. All members are those of the published clients.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ListQuery {
    cursor: Option<String>,
    limit: Option<u32>,
    #[serde(default)]
    status: Status,
}

#[derive(Deserialize, Default, Clone, Copy)]
#[serde(rename_all = "snake_case")]
enum Status {
    #[default]
    All,
    Active,
    Expired,
    /// None: a revoked key is gone.
    Revoked,
}

impl Status {
    fn is_of(self, key: &Key, now: Time) -> bool {
        match self {
            Status::All => true,
            Status::Active => !key.has_expired(now),
            Status::Expired => key.has_expired(now),
            Status::Revoked => false,
        }
    }
}

/// GET `/{org}/api-keys`
pub(super) async fn list(
    State(service): State<Service>,
    caller: Caller<Admin>,
    Query(query): Query<ListQuery>,
) -> Answer {
    let now = clock::now();
    let wanted =
        |key: &Key| query.status.is_of(key, now) && caller.key.covers(key.repo_ids.as_deref());
    let part = PageQuery::new(query.cursor, query.limit).page()?;
    let keys = service.store.keys(&caller.org.id, part, wanted).await?;
    page("api_keys", &keys, |key| KeyView::of(key, None))
}

/// DELETE `/{org}/api-keys/{id}`
pub(super) async fn delete(
    State(service): State<Service>,
    caller: Caller<Admin>,
    Id(id): Id<KeyId>,
) -> Answer {
    let org = &caller.org.id;
    let now = clock::now();
    let key = service.store.key(org, &id).await?;
    let is_ours = key.is_some_and(|key| caller.key.covers(key.repo_ids.as_deref()));
    deleted(
        is_ours && caller.store(&service).delete_key(org, &id, now).await?,
        "key",
    )
}

/// Refuses a name for people that is empty or long.
pub(super) fn check_name(name: Option<&str>) -> Result<(), ApiError> {
    if name.is_some_and(|name| name.is_empty() || name.chars().count() > 100) {
        return Err(ApiError::body("name has 1 to 100 characters"));
    }
    Ok(())
}

/// The scopes of a new key: none that its maker lacks. The published clients send none by default, and document that
/// as `read` and `write`.
fn checked_scopes(maker: &Key, scopes: Option<Vec<Scope>>) -> Result<Vec<Scope>, ApiError> {
    let mut scopes = scopes.unwrap_or_else(|| vec![Scope::Read, Scope::Write]);
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
            public_key: None,
            scopes: scopes.to_vec(),
            repo_ids: None,
            read_only: Vec::new(),
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
            [Scope::Read, Scope::Write]
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
