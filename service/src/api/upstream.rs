//! The upstream in a body: its address and its credential.

use std::net::IpAddr;

use refsync::{NetworkPolicy, RemoteUrl};
use serde::Deserialize;

use super::body::Object;
use super::error::ApiError;
use super::schedule::ScheduleBody;
use crate::records::{Auth, Change, RepoId, UpstreamChange};
use crate::store::{NewUpstream, Sealed};
use crate::{Service, secrets};

/// The longest address of an upstream or a target, in bytes.
pub(super) const MAX_URL: usize = 2048;

/// The longest part of a credential, in bytes.
const MAX_AUTH: usize = 8192;

/// The upstream that a body asks for. `auth` and `schedule` have three values: left out they keep what is stored.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct UpstreamBody {
    url: String,
    #[serde(default)]
    auth: Change<Object<Auth>>,
    #[serde(default)]
    schedule: Change<Object<ScheduleBody>>,
}

impl UpstreamBody {
    /// The change that is asked for, if the address, the credential and the schedule can be used.
    pub(super) fn checked(self, policy: &NetworkPolicy) -> Result<UpstreamChange, ApiError> {
        let url = checked_url(&self.url, policy)?;
        let auth = self.auth.map(|Object(auth)| auth);
        if let Change::Set(auth) = &auth {
            check_auth(auth)?;
        }
        let schedule = match self.schedule {
            Change::Keep => Change::Keep,
            Change::Clear => Change::Clear,
            Change::Set(Object(schedule)) => Change::Set(schedule.checked()?),
        };
        Ok(UpstreamChange {
            url: url.as_str().to_owned(),
            origin: url.origin().to_string(),
            host: url.origin().host().to_owned(),
            auth,
            schedule,
        })
    }
}

fn checked_url(url: &str, policy: &NetworkPolicy) -> Result<RemoteUrl, ApiError> {
    if url.len() > MAX_URL {
        return Err(ApiError::bad(
            "INVALID_URL",
            "url has more than 2,048 bytes",
        ));
    }
    let parsed = RemoteUrl::parse(url).map_err(|err| invalid_url(url, &err))?;
    let origin = parsed.origin();
    if !origin.is_https() && !policy.allow_plain_http {
        return Err(not_allowed("url is not https, which this service requires"));
    }
    let is_local = origin.host() == "localhost" || origin.host().ends_with(".localhost");
    let address = origin.host().parse::<IpAddr>();
    let is_refused = address.is_ok_and(|address| !policy.allows(address));
    if is_refused || is_local && !policy.allow_private_networks {
        return Err(not_allowed(
            "url leads to an address that this service does not connect to",
        ));
    }
    Ok(parsed)
}

/// The engine's words repeat no part of the address.
fn invalid_url(url: &str, err: &refsync::Error) -> ApiError {
    let after_scheme = url.split_once("://").map_or("", |(_, rest)| rest);
    let authority = after_scheme.split(['/', '?', '#', '\\']).next();
    if authority.is_some_and(|authority| authority.contains('@')) {
        return ApiError::bad(
            "CREDENTIALS_IN_URL",
            "url has a user name or a password; give them as upstream.auth, which is stored sealed and never shown",
        );
    }
    ApiError::bad("INVALID_URL", err.to_string())
}

fn not_allowed(message: &'static str) -> ApiError {
    ApiError::bad("URL_NOT_ALLOWED", message)
}

/// Refuses a credential that no server could be sent: HTTP joins the two parts with a colon.
fn check_auth(auth: &Auth) -> Result<(), ApiError> {
    let (user, secret) = match auth {
        Auth::Token {
            token,
            token_username,
        } => (token_username.as_deref(), token),
        Auth::UsernamePassword { username, password } => (Some(username.as_str()), password),
    };
    if secret.is_empty() {
        return Err(ApiError::body(
            "upstream.auth: the token or password is empty",
        ));
    }
    if user.is_some_and(|user| user.contains(':')) {
        return Err(ApiError::body(
            "upstream.auth: a user name can't have a colon",
        ));
    }
    for text in user.into_iter().chain([secret.as_str()]) {
        if text.len() > MAX_AUTH || text.chars().any(char::is_control) {
            return Err(ApiError::body(
                "upstream.auth: a value has a control character or more than 8,192 bytes",
            ));
        }
    }
    Ok(())
}

/// The change with its credential sealed for the repository.
pub(super) fn sealed(
    service: &Service,
    repo: &RepoId,
    change: &UpstreamChange,
) -> Result<NewUpstream, ApiError> {
    let auth = match &change.auth {
        Change::Keep => Change::Keep,
        Change::Clear => Change::Clear,
        Change::Set(auth) => Change::Set(Sealed {
            kind: auth.kind(),
            text: secrets::auth::seal(&service.sealer, repo, auth).map_err(crate::Error::from)?,
        }),
    };
    Ok(NewUpstream {
        url: change.url.clone(),
        origin: change.origin.clone(),
        host: change.host.clone(),
        auth,
        schedule: change.schedule.clone(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(url: &str) -> UpstreamBody {
        UpstreamBody {
            url: url.into(),
            auth: Change::Keep,
            schedule: Change::Keep,
        }
    }

    #[test]
    fn addresses_that_are_refused_and_why() {
        let long = format!("https://example.com/{}", "a".repeat(MAX_URL));
        for (url, code) in [
            ("https://user:canary@example.com/a", "CREDENTIALS_IN_URL"),
            ("https://canary@example.com/a", "CREDENTIALS_IN_URL"),
            ("ssh://git@example.com/a", "CREDENTIALS_IN_URL"),
            ("ssh://example.com/a", "INVALID_URL"),
            ("git@example.com:a", "INVALID_URL"),
            ("/srv/a", "INVALID_URL"),
            ("", "INVALID_URL"),
            ("https://example.com/a?token=canary", "INVALID_URL"),
            (&long, "INVALID_URL"),
            ("http://example.com/a", "URL_NOT_ALLOWED"),
            ("https://127.0.0.1/a", "URL_NOT_ALLOWED"),
            ("https://10.1.2.3/a", "URL_NOT_ALLOWED"),
            ("https://[::1]/a", "URL_NOT_ALLOWED"),
            ("https://169.254.169.254/a", "URL_NOT_ALLOWED"),
            ("https://localhost/a", "URL_NOT_ALLOWED"),
            ("https://a.LocalHost/a", "URL_NOT_ALLOWED"),
        ] {
            let err = body(url).checked(&NetworkPolicy::public()).expect_err(url);
            let err = format!("{err:?}");
            assert!(err.contains(code), "{url}: {err}");
            assert!(!err.contains("canary"), "{url}: {err}");
        }
        let any = body("http://127.0.0.1:3000/a").checked(&NetworkPolicy::any());
        assert_eq!(any.expect("an address").origin, "http://127.0.0.1:3000");
    }

    #[test]
    fn credentials_that_no_server_could_be_sent() {
        let pair = |username: &str, password: &str| Auth::UsernamePassword {
            username: username.into(),
            password: password.into(),
        };
        for (auth, is_good) in [
            (pair("me", "x:y"), true),
            (pair("", "x"), true),
            (pair("me", ""), false),
            (pair("m:e", "x"), false),
            (pair("me", "x\n"), false),
            (pair("me", &"x".repeat(MAX_AUTH + 1)), false),
        ] {
            assert_eq!(check_auth(&auth).is_ok(), is_good, "{auth:?}");
        }
    }
}
