//! The credential of an upstream, sealed for its row.

use refsync::Credentials;
use zeroize::Zeroizing;

use super::{Place, Sealer, SecretError};
use crate::records::{Auth, RepoId};

/// The text that stands for the credential in the row of the upstream of `repo`.
///
/// # Errors
/// Those of [`Sealer::seal`].
pub fn seal(sealer: &Sealer, repo: &RepoId, auth: &Auth) -> Result<String, SecretError> {
    // One allocation: text that grows leaves copies of its beginning behind. A byte has at most 6 in JSON.
    let mut plain = Zeroizing::new(Vec::with_capacity(128 + 6 * length(auth)));
    serde_json::to_writer(&mut *plain, auth).map_err(|_| SecretError::Unopenable)?;
    sealer.seal(place(repo), &plain)
}

/// The credential that was sealed for `repo`.
///
/// # Errors
/// Those of [`Sealer::open`].
pub fn open(sealer: &Sealer, repo: &RepoId, sealed: &str) -> Result<Auth, SecretError> {
    let plain = sealer.open(place(repo), sealed)?;
    serde_json::from_slice(&plain).map_err(|_| SecretError::Unopenable)
}

/// The credential as the engine takes it, which wipes it from memory after the run.
pub fn credentials(auth: Auth) -> Credentials {
    match auth {
        Auth::Token {
            token,
            token_username: None,
        } => Credentials::token(token),
        Auth::Token {
            token,
            token_username: Some(name),
        } => Credentials::token(token).with_username(name),
        Auth::UsernamePassword { username, password } => {
            Credentials::username_password(username, password)
        }
    }
}

fn length(auth: &Auth) -> usize {
    match auth {
        Auth::Token {
            token,
            token_username,
        } => token.len() + token_username.as_ref().map_or(0, String::len),
        Auth::UsernamePassword { username, password } => username.len() + password.len(),
    }
}

/// The place of the credential of a repository's upstream.
pub fn place(repo: &RepoId) -> Place<'_> {
    Place {
        table: "upstreams",
        row: repo.as_str(),
        column: "auth",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secrets::MasterKey;

    #[test]
    fn a_credential_comes_back_for_its_repository_alone() {
        let sealer = Sealer::new(&MasterKey::generate().expect("a key"), &[]);
        let (one, other) = (RepoId::from_bits(1), RepoId::from_bits(2));
        let token = |token: &str, name: Option<&str>| Auth::Token {
            token: token.into(),
            token_username: name.map(str::to_owned),
        };
        for auth in [
            token("canary", None),
            token("canary\"\u{1}ä", Some("x-token-auth")),
            token(&"\u{1}".repeat(500), None),
            Auth::UsernamePassword {
                username: "me".into(),
                password: "canary".into(),
            },
        ] {
            let sealed = seal(&sealer, &one, &auth).expect("sealed");
            assert!(!sealed.contains("canary"));
            assert!(open(&sealer, &one, &sealed).expect("opened") == auth);
            let err = open(&sealer, &other, &sealed).expect_err("another row");
            assert!(matches!(err, SecretError::Unopenable));
        }
    }

    #[test]
    fn the_engine_gets_the_same_kind() {
        let token = Auth::Token {
            token: "canary".into(),
            token_username: Some("me".into()),
        };
        let shown = format!("{:?}", credentials(token));
        assert_eq!(shown, "Credentials::Token(..)");
    }
}
