//! The right of a client to one repository: a key or a token as the password of Basic authentication.

use axum::http::{HeaderMap, StatusCode, header};
use base64::{Engine as _, engine::general_purpose::STANDARD};

use super::answer::Refusal;
use crate::{
    Service, authentication,
    records::{Key, Org, Repo, Scope},
};

/// The repository that the path names, if the key in `headers` has `scope` on it.
///
/// # Errors
/// 401 without a valid key, whatever the path; 404 for a repository that is not there or not the key's; 403 for a
/// missing scope.
pub(super) async fn repo(
    service: &Service,
    headers: &HeaderMap,
    (org, folder): (&str, &str),
    scope: Scope,
) -> Result<Repo, Refusal> {
    // No repository has an empty name.
    let name = folder.strip_suffix(".git").unwrap_or_default();
    let (owner, key, repo) = authenticated(service, headers, name).await?;
    let not_found = || Refusal::new(StatusCode::NOT_FOUND, "there is no such repository");
    if !owner.slug.eq_ignore_ascii_case(org) {
        return Err(not_found());
    }
    let repo = repo.ok_or_else(not_found)?;
    if !key.sees(&repo.id) {
        return Err(not_found());
    }
    if !key.may_on(&repo.id, scope) {
        return Err(Refusal::new(
            StatusCode::FORBIDDEN,
            "the key lacks the scope for this",
        ));
    }
    Ok(repo)
}

async fn authenticated(
    service: &Service,
    headers: &HeaderMap,
    name: &str,
) -> Result<(Org, Key, Option<Repo>), Refusal> {
    let unauthorized = || {
        Refusal::new(
            StatusCode::UNAUTHORIZED,
            "an API key is needed as the password",
        )
    };
    let password = password(headers).ok_or_else(unauthorized)?;
    let found = authentication::key_and_repo_of(service, &password, name).await?;
    found.map_err(|_| unauthorized())
}

fn password(headers: &HeaderMap) -> Option<zeroize::Zeroizing<String>> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, credentials) = value.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let plain = zeroize::Zeroizing::new(STANDARD.decode(credentials.trim()).ok()?);
    let plain = std::str::from_utf8(&plain).ok()?;
    let (_user, password) = plain.split_once(':')?;
    Some(password.to_owned().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_password_of_basic_authentication() {
        let found = |value: &str| {
            let headers = [(header::AUTHORIZATION, value.parse().expect("a value"))];
            password(&HeaderMap::from_iter(headers)).map(|password| password.to_string())
        };
        let basic = |text: &str| format!("Basic {}", STANDARD.encode(text));
        assert_eq!(found(&basic("user:rsk_a:b")).as_deref(), Some("rsk_a:b"));
        assert_eq!(found(&basic(":rsk_a")).as_deref(), Some("rsk_a"));
        assert_eq!(found(&basic("user")), None);
        assert_eq!(found("Bearer rsk_a"), None);
        assert_eq!(found("Basic %"), None);
        assert_eq!(found("Basic"), None);
    }
}
