//! [`Credentials`], and the `Authorization` header that ureq never sees.

use std::{
    fmt,
    hash::{BuildHasher as _, Hasher as _, RandomState},
};

use base64::Engine as _;
use bstr::ByteSlice as _;
use ureq::http::HeaderValue;
use zeroize::Zeroizing;

use crate::{Error, ErrorKind};

const BASIC: &str = "Basic ";

/// Credentials for the remote: a token, or a username and a password.
///
/// Both are sent as HTTP Basic authentication (RFC 7617) with every request, but only to the origin
/// (scheme, host and port) of the URL that they are used with. Secrets are part of no `Debug` output,
/// error or log, and every copy that refsync makes is wiped from memory when it is dropped. TLS and the system
/// have copies of their own.
///
/// A username with a `:`, a control character in any part, and an empty secret are refused with
/// [`ErrorKind::InvalidOptions`] before a request is sent.
#[derive(Clone)]
pub struct Credentials {
    username: Zeroizing<String>,
    /// The token, or the password.
    secret: Zeroizing<String>,
    is_token: bool,
}

impl Credentials {
    /// A token, sent with the username `x-access-token`, which the large forges accept.
    pub fn token(token: impl Into<String>) -> Self {
        Credentials {
            username: Zeroizing::new("x-access-token".into()),
            secret: Zeroizing::new(token.into()),
            is_token: true,
        }
    }

    /// A username and a password.
    pub fn username_password(username: impl Into<String>, password: impl Into<String>) -> Self {
        Credentials {
            username: Zeroizing::new(username.into()),
            secret: Zeroizing::new(password.into()),
            is_token: false,
        }
    }

    /// Replaces the username, for servers that require a certain one with a token.
    #[must_use]
    pub fn with_username(mut self, name: impl Into<String>) -> Self {
        self.username = Zeroizing::new(name.into());
        self
    }

    /// The value of the `Authorization` header.
    fn authorization(&self) -> Result<Zeroizing<String>, Error> {
        let (username, secret) = (self.username.as_str(), self.secret.as_str());
        if let Some(complaint) = complaint(username, secret) {
            return Err(Error::new(ErrorKind::InvalidOptions, complaint));
        }
        // `concat` allocates once: text that grows leaves copies of its beginning behind.
        let both = Zeroizing::new([username, ":", secret].concat());
        let encoded = base64::engine::general_purpose::STANDARD.encode(both.as_str());
        let encoded = Zeroizing::new(encoded);
        Ok(Zeroizing::new([BASIC, encoded.as_str()].concat()))
    }
}

/// An `Authorization` header whose value is known to our own sockets only.
///
/// ureq logs every byte of a request. So ureq is given a random placeholder for the value, and the socket replaces
/// the placeholder with the value.
pub(super) struct Authorization {
    value: Zeroizing<String>,
    pub(super) stand_in: HeaderValue,
    secret: Zeroizing<String>,
}

impl Authorization {
    pub(super) fn new(credentials: &Credentials) -> Result<Self, Error> {
        let random = || RandomState::new().build_hasher().finish();
        let stand_in = format!("stand-in {:016x}{:016x}", random(), random());
        let stand_in = HeaderValue::try_from(stand_in).expect("letters, digits and a space");
        Ok(Authorization {
            value: credentials.authorization()?,
            stand_in,
            secret: credentials.secret.clone(),
        })
    }

    /// Whether `text`, sent by a server, contains the secret in plain or encoded form.
    pub(super) fn is_in(&self, text: &[u8]) -> bool {
        let encoded = self.value.as_bytes().strip_prefix(BASIC.as_bytes());
        let encoded = encoded.expect("it is Basic authentication");
        text.contains_str(encoded) || text.contains_str(self.secret.as_str())
    }

    /// The length of the longest of these forms.
    pub(super) fn len(&self) -> usize {
        self.value.len()
    }

    /// The three parts to send in place of `head`, with the value in the middle; `None` if the placeholder is not in it.
    pub(super) fn put_in<'a>(&'a self, head: &'a [u8]) -> Option<[&'a [u8]; 3]> {
        let at = head.find(self.stand_in.as_bytes())?;
        let (before, rest) = head.split_at(at);
        let after = &rest[self.stand_in.len()..];
        Some([before, self.value.as_bytes(), after])
    }
}

impl fmt::Debug for Authorization {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Authorization(..)")
    }
}

fn complaint(username: &str, secret: &str) -> Option<&'static str> {
    if username.contains(':') {
        return Some("the username contains a colon");
    }
    if username.chars().any(char::is_control) {
        return Some("the username contains a control character");
    }
    if secret.is_empty() {
        return Some("the token or password is empty");
    }
    if secret.chars().any(char::is_control) {
        return Some("the token or password contains a control character, such as a line break");
    }
    None
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_token {
            "Credentials::Token(..)"
        } else {
            "Credentials::UsernamePassword(..)"
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_become_basic_authentication() {
        let cases = [
            (
                Credentials::token("t0k3n"),
                "Basic eC1hY2Nlc3MtdG9rZW46dDBrM24=",
            ),
            (
                Credentials::token("t0k3n").with_username("oauth2"),
                "Basic b2F1dGgyOnQwazNu",
            ),
            (
                Credentials::username_password("me", "pass:word"),
                "Basic bWU6cGFzczp3b3Jk",
            ),
        ];
        for (credentials, expected) in cases {
            let value = credentials.authorization().expect("valid");
            assert_eq!(value.as_str(), expected);
        }
    }

    /// Nothing safe can look at memory that was given back, so this is about the types.
    #[test]
    fn each_copy_is_wiped_when_it_is_dropped() {
        fn is_wiped<T: zeroize::ZeroizeOnDrop>(_: &T) {}
        let credentials = Credentials::token("t0k3n");
        let Credentials {
            username,
            secret,
            is_token: _,
        } = &credentials;
        is_wiped(username);
        is_wiped(secret);
        is_wiped(&credentials.authorization().expect("valid"));
        let Authorization {
            value,
            stand_in: _,
            secret,
        } = &Authorization::new(&credentials).expect("valid");
        is_wiped(value);
        is_wiped(secret);
    }

    #[test]
    fn they_come_in_place_of_what_stands_for_them() {
        let new = || Authorization::new(&Credentials::token("t0k3n")).expect("valid");
        let (one, another) = (new(), new());
        assert_ne!(one.stand_in, another.stand_in);
        let head = [b"a: b\r\nc: ", one.stand_in.as_bytes(), b"\r\n\r\n"].concat();
        let sent = one.put_in(&head).expect("it is there").concat();
        let expected = b"a: b\r\nc: Basic eC1hY2Nlc3MtdG9rZW46dDBrM24=\r\n\r\n";
        assert_eq!(sent.as_bstr(), expected.as_bstr());
        assert!(another.put_in(&head).is_none());
    }

    #[test]
    fn they_are_recognised_in_what_a_server_says() {
        let authorization = Authorization::new(&Credentials::token("t0k3n")).expect("valid");
        for (text, expected) in [
            ("no such user: t0k3n.", true),
            ("authorization: Basic eC1hY2Nlc3MtdG9rZW46dDBrM24=\n", true),
            ("eC1hY2Nlc3MtdG9rZW46dDBrM24=", true),
            ("no such user: x-access-token", false),
            ("", false),
        ] {
            assert_eq!(authorization.is_in(text.as_bytes()), expected, "{text}");
        }
    }

    #[test]
    fn what_a_header_cannot_carry_is_refused_without_repeating_it() {
        let cases = [
            Credentials::username_password("can:ary", "canary"),
            Credentials::username_password("can\r\nary", "canary"),
            Credentials::username_password("canary", "can\nary"),
            Credentials::token("canary\n"),
            Credentials::token("canary").with_username("can:ary"),
            Credentials::token(""),
        ];
        for credentials in cases {
            let err = credentials.authorization().expect_err("refused");
            assert_eq!(err.kind(), ErrorKind::InvalidOptions);
            assert!(!format!("{err} {err:?}").contains("ary"), "{err:?}");
        }
    }

    #[test]
    fn debug_shows_the_kind_alone() {
        let token = Credentials::token("canary").with_username("canary");
        let password = Credentials::username_password("canary", "canary");
        assert_eq!(format!("{token:?}"), "Credentials::Token(..)");
        assert_eq!(format!("{password:?}"), "Credentials::UsernamePassword(..)");
    }
}
