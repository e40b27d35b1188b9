//! The upstream of a repository, its credential and the change of both.

use serde::{Deserialize, Serialize};

use super::{Change, Health, Schedule};

/// The kind of a credential, the only thing of it that is ever shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AuthKind {
    /// A single token, with or without a user name.
    Token,
    /// A user name and a password.
    UsernamePassword,
}

impl AuthKind {
    /// The name in JSON and in the database.
    pub fn as_str(self) -> &'static str {
        match self {
            AuthKind::Token => "token",
            AuthKind::UsernamePassword => "username_password",
        }
    }

    /// The kind with this name.
    pub fn of_word(word: &str) -> Option<Self> {
        [AuthKind::Token, AuthKind::UsernamePassword]
            .into_iter()
            .find(|kind| kind.as_str() == word)
    }
}

/// A credential for an upstream. Its `Debug` has the kind alone.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Auth {
    /// A single token.
    Token {
        /// The token.
        token: String,
        /// The user name beside it. Most servers take any; Bitbucket wants the token owner's.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        token_username: Option<String>,
    },
    /// A user name and a password.
    UsernamePassword {
        /// The user name.
        username: String,
        /// The password.
        password: String,
    },
}

impl Auth {
    /// The kind of the credential.
    pub fn kind(&self) -> AuthKind {
        match self {
            Auth::Token { .. } => AuthKind::Token,
            Auth::UsernamePassword { .. } => AuthKind::UsernamePassword,
        }
    }
}

impl std::fmt::Debug for Auth {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Auth({})", self.kind().as_str())
    }
}

/// The upstream of a repository as it can be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upstream {
    /// The address, without a credential.
    pub url: String,
    /// The scheme, host and port of the address.
    pub origin: String,
    /// The kind of the stored credential; `None` for a public upstream.
    pub auth_kind: Option<AuthKind>,
    /// The schedule by which it is synced by itself.
    pub schedule: Option<Schedule>,
    /// The health, by the ends of its runs.
    pub health: Health,
}

/// A wanted upstream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpstreamChange {
    /// The address.
    pub url: String,
    /// The scheme, host and port of the address.
    pub origin: String,
    /// The host of the address, in lower case.
    pub host: String,
    /// The change of the credential.
    pub auth: Change<Auth>,
    /// The change of the schedule.
    pub schedule: Change<Schedule>,
}

impl Upstream {
    /// Whether a change would send the stored credential to an origin that it was not given for: it neither replaces
    /// nor clears the credential, and leads to another one.
    pub fn gives_credential_to<T>(&self, origin: &str, auth: &Change<T>) -> bool {
        self.auth_kind.is_some() && matches!(auth, Change::Keep) && self.origin != origin
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_credential_stays_at_its_origin() {
        let stored = |auth_kind| Upstream {
            url: "https://a.example/r".into(),
            origin: "https://a.example:443".into(),
            auth_kind,
            schedule: None,
            health: Health::default(),
        };
        let (own, other) = ("https://a.example:443", "https://b.example:443");
        let had = stored(Some(AuthKind::Token));
        for (stored, origin, auth, moves) in [
            (&had, other, Change::Keep, true),
            (&had, "http://a.example:80", Change::Keep, true),
            (&had, own, Change::Keep, false),
            (&had, other, Change::Clear, false),
            (&had, other, Change::Set("new"), false),
            (&stored(None), other, Change::Keep, false),
        ] {
            let gives = stored.gives_credential_to(origin, &auth);
            assert_eq!(gives, moves, "{origin} {auth:?}");
        }
    }

    #[test]
    fn a_credential_is_never_printed() {
        let auth = Auth::UsernamePassword {
            username: "user".into(),
            password: "secret".into(),
        };
        assert_eq!(format!("{auth:?}"), "Auth(username_password)");
    }

    #[test]
    fn unknown_keys_of_a_credential_are_refused() {
        for body in [
            r#"{"kind":"token","token":"t","x":1}"#,
            r#"{"kind":"other"}"#,
            r#"{"kind":"token"}"#,
        ] {
            assert!(serde_json::from_str::<Auth>(body).is_err(), "{body}");
        }
    }
}
