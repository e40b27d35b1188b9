//! The key behind a request: an API key, or a token that was signed with a registered key. The REST API and git take
//! both.

use crate::{
    Error, Service, clock,
    records::{Key, Org, Repo, RepoId, Scope, Time},
    secrets::{
        api_key,
        jwt::{BadToken, Claims, Grant, Level, Token},
    },
};

/// The reason for an API key that is refused. An unknown one and one that has ended are the same to a stranger.
const INVALID: &str = "the key is not valid, or it has expired";

/// The organization and the rights of whoever has sent `secret`, or the reason why it is refused.
pub(crate) async fn key_of(
    service: &Service,
    secret: &str,
) -> Result<Result<(Org, Key), &'static str>, Error> {
    let now = clock::now();
    if Token::is(secret) {
        return of_token(service, secret, now).await;
    }
    let found = service.store.key_by_hash(&api_key::hash(secret)).await?;
    let found = found.filter(|(_, key)| !key.has_expired(now));
    Ok(found.ok_or(INVALID))
}

/// [`key_of`], and the repository of this name in the organization.
pub(crate) async fn key_and_repo_of(
    service: &Service,
    secret: &str,
    name: &str,
) -> Result<Result<(Org, Key, Option<Repo>), &'static str>, Error> {
    if Token::is(secret) {
        return Ok(match key_of(service, secret).await? {
            Ok((org, key)) => {
                let repo = service.store.repo_by_name(&org.id, name).await?;
                Ok((org, key, repo))
            }
            Err(refused) => Err(refused),
        });
    }
    let hash = api_key::hash(secret);
    let found = service.store.key_and_repo(&hash, name).await?;
    let now = clock::now();
    let found = found.filter(|(_, key, _)| !key.has_expired(now));
    Ok(found.ok_or(INVALID))
}

async fn of_token(
    service: &Service,
    text: &str,
    now: Time,
) -> Result<Result<(Org, Key), &'static str>, Error> {
    let token = match Token::read(text) {
        Ok(token) => token,
        Err(bad) => return Ok(Err(bad.as_str())),
    };
    let found = service
        .store
        .key_by_public_key(token.issuer(), token.public_key())
        .await?;
    let Some((org, key)) = found.filter(|(_, key)| !key.has_expired(now)) else {
        return Ok(Err(BadToken::Signature.as_str()));
    };
    // That of the row and that of the token are equal: it was found by it.
    let registered = *token.public_key();
    let claims = match token.verified(&registered, now.0.div_euclid(1_000)) {
        Ok(claims) => claims,
        Err(bad) => return Ok(Err(bad.as_str())),
    };
    let repos = match &claims.grant {
        Grant::Admin => Vec::new(),
        Grant::Repos(repos) => {
            let names = repos.keys().map(String::as_str);
            let ids = service.store.repo_ids_of(&org.id, names).await?;
            let level = |(name, id): (String, RepoId)| Some((id, *repos.get(&name)?));
            ids.into_iter().filter_map(level).collect()
        }
    };
    Ok(Ok((org, limited(key, &claims, repos))))
}

/// The rights of a token: never more than those of its key, and no longer than its own life, so that a key which it
/// makes ends with it.
fn limited(mut key: Key, claims: &Claims, repos: Vec<(RepoId, Level)>) -> Key {
    let end = Time(claims.expires.saturating_mul(1_000));
    key.expires_at = Some(key.expires_at.map_or(end, |own| own.min(end)));
    if claims.grant == Grant::Admin {
        return key;
    }
    let seen: Vec<_> = repos.into_iter().filter(|(id, _)| key.sees(id)).collect();
    let can_write = key.may(Scope::Write) && seen.iter().any(|(_, level)| *level == Level::Write);
    key.scopes = if can_write {
        vec![Scope::Write]
    } else {
        // A key without any scope stays one.
        key.scopes.iter().map(|_| Scope::Read).take(1).collect()
    };
    let is_read = |(id, level): &(RepoId, Level)| (*level == Level::Read).then(|| id.clone());
    key.read_only = seen.iter().filter_map(is_read).collect();
    key.repo_ids = Some(seen.into_iter().map(|(id, _)| id).collect());
    key
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::records::KeyId;

    fn key(scopes: &[Scope], repo_ids: Option<Vec<RepoId>>) -> Key {
        Key {
            id: KeyId::from_bits(1),
            name: None,
            public_key: None,
            scopes: scopes.to_vec(),
            repo_ids,
            read_only: Vec::new(),
            created_at: Time(0),
            expires_at: Some(Time(20_000)),
        }
    }

    #[test]
    fn a_token_has_no_more_than_its_key() {
        let [one, two, three] = [1, 2, 3].map(RepoId::from_bits);
        let claims = |expires| Claims {
            grant: Grant::Repos(Default::default()),
            expires,
        };
        let access = || vec![(one.clone(), Level::Write), (two.clone(), Level::Read)];
        let admin = key(&[Scope::Admin], None);
        let token = limited(admin.clone(), &claims(10), access());
        assert_eq!(token.expires_at, Some(Time(10_000)));
        assert_eq!(token.repo_ids, Some(vec![one.clone(), two.clone()]));
        for (id, scope, may) in [
            (&one, Scope::Read, true),
            (&one, Scope::Write, true),
            (&one, Scope::Admin, false),
            (&two, Scope::Read, true),
            (&two, Scope::Write, false),
        ] {
            assert_eq!(token.may_on(id, scope), may, "{id} {scope:?}");
        }
        assert!(!token.sees(&three));

        let reader = key(&[Scope::Read], Some(vec![one.clone(), three.clone()]));
        let token = limited(reader, &claims(30), access());
        assert_eq!(token.expires_at, Some(Time(20_000)));
        assert_eq!(token.repo_ids, Some(vec![one.clone()]));
        assert!(token.may_on(&one, Scope::Read) && !token.may_on(&one, Scope::Write));

        let all = Claims {
            grant: Grant::Admin,
            expires: 10,
        };
        let token = limited(
            key(&[Scope::Write], Some(vec![one.clone()])),
            &all,
            Vec::new(),
        );
        assert_eq!(token.scopes, [Scope::Write]);
        assert_eq!(token.repo_ids, Some(vec![one]));
        let none = limited(admin, &claims(10), Vec::new());
        assert_eq!(none.repo_ids, Some(Vec::new()), "no repository is not all");
    }
}
