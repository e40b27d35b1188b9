//! The JWT that newer published clients send in place of an API key: signed by the client itself with Ed25519.
//!
//! The token names its key in its header. That says which of the organization's registered keys it is about, and
//! proves nothing: [`Token::verified`] takes the registered key, and its caller finds it by [`Token::issuer`] and
//! [`Token::public_key`].
//!
//! `jti` has to be there and is not remembered: clients send one token with many requests until it ends, so a store
//! of used ones would refuse them. Against replay a token has its short life alone, like any bearer token.

use std::collections::BTreeMap;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use ring::signature::{ED25519, UnparsedPublicKey};
use serde::{Deserialize, de::DeserializeOwned};

use crate::json::{Object, Sound, present};

/// The longest token, in bytes. One with the most repositories, all with long names, has 38,000.
const MAX_TOKEN: usize = 48 << 10;

/// The longest life of a token, in seconds.
const MAX_LIFE: i64 = 4 * 60 * 60;

/// The seconds by which the clock of a client may be ahead of ours.
const AHEAD: i64 = 60;

/// The most repositories that a token names.
const MAX_ACCESS: usize = 250;

/// The longest `jti`, in bytes.
const MAX_JTI: usize = 256;

/// The bytes of a public key.
pub type PublicKey = [u8; 32];

/// The reason why a token is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BadToken {
    /// It has more than 48 KiB.
    TooLong,
    /// It is no three parts in canonical base64url, the first two of them JSON objects of the known form.
    Form,
    /// Its algorithm is not EdDSA, its type is not `mesa-at+jwt`, or its key is not of Ed25519.
    Header,
    /// Its audience is another service.
    Audience,
    /// It gives neither `admin` nor `access`, both, or something else than is known.
    Access,
    /// It has no life, one of more than four hours, or one whose bounds are not in order.
    Life,
    /// Its life has not begun.
    NotYet,
    /// Its life has ended.
    Expired,
    /// It was not signed with the key that the organization has registered.
    Signature,
}

impl BadToken {
    /// The reason in words. They repeat nothing of the token.
    pub fn as_str(self) -> &'static str {
        match self {
            BadToken::TooLong => "the token has more than 49,152 bytes",
            BadToken::Form => "the token is no JWT of the known form",
            BadToken::Header => {
                "the token's header is not that of an EdDSA token of type mesa-at+jwt"
            }
            BadToken::Audience => "the token's aud is not mesa-api",
            BadToken::Access => {
                "the token needs either admin: true or access to 1 to 250 repositories"
            }
            BadToken::Life => "the token's exp has to be after its iat by at most four hours",
            BadToken::NotYet => "the token is not valid yet",
            BadToken::Expired => "the token has expired",
            BadToken::Signature => "the token is not signed with a registered key",
        }
    }
}

/// The right of a token on a repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub enum Level {
    /// The repository can be read.
    #[serde(rename = "read-repo")]
    Read,
    /// The repository can be changed and synced.
    #[serde(rename = "write-repo")]
    Write,
}

/// The rights that a token asks for. The registered key bounds them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Grant {
    /// All that its key may do.
    Admin,
    /// Rights on these repositories, which have names without an organization, in lower case.
    Repos(BTreeMap<String, Level>),
}

/// The content of a verified token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claims {
    /// The rights.
    pub grant: Grant,
    /// The end of its life, in unix seconds.
    pub expires: i64,
}

/// A token that was read and not verified. It shows only what its key is looked up by.
pub struct Token<'a> {
    signed: &'a [u8],
    signature: Vec<u8>,
    public_key: PublicKey,
    payload: Payload,
}

#[derive(Deserialize)]
struct Header {
    alg: String,
    typ: String,
    jwk: Object<Jwk>,
    /// Extensions that have to be understood; none is.
    #[serde(default, deserialize_with = "present")]
    crit: Option<serde::de::IgnoredAny>,
}

/// A public key as JSON. A member beside these may be the private key, so there can be none.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Jwk {
    kty: String,
    crv: String,
    x: String,
}

impl Jwk {
    /// The key, if it is one of Ed25519.
    pub(crate) fn key(&self) -> Option<PublicKey> {
        let is_ed25519 = self.kty == "OKP" && self.crv == "Ed25519";
        let bytes = URL_SAFE_NO_PAD.decode(&self.x).ok()?;
        bytes.try_into().ok().filter(|_| is_ed25519)
    }
}

#[derive(Deserialize)]
struct Payload {
    iss: String,
    aud: String,
    #[serde(default, deserialize_with = "present")]
    admin: Option<bool>,
    #[serde(default, deserialize_with = "present")]
    access: Option<Object<BTreeMap<String, Level>>>,
    iat: i64,
    exp: i64,
    #[serde(default, deserialize_with = "present")]
    nbf: Option<i64>,
    jti: String,
}

impl<'a> Token<'a> {
    /// Whether a secret is meant as a token: no API key has a dot.
    pub fn is(secret: &str) -> bool {
        secret.contains('.')
    }

    /// Reads a token without verifying it.
    ///
    /// # Errors
    /// [`BadToken::TooLong`], [`BadToken::Form`] or [`BadToken::Header`].
    pub fn read(text: &'a str) -> Result<Self, BadToken> {
        if text.len() > MAX_TOKEN {
            return Err(BadToken::TooLong);
        }
        let (signed, signature) = text.rsplit_once('.').ok_or(BadToken::Form)?;
        let (header, payload) = signed.split_once('.').ok_or(BadToken::Form)?;
        let header: Header = part(header)?;
        let is_known = header.alg == "EdDSA" && header.typ == "mesa-at+jwt";
        if !is_known || header.crit.is_some() {
            return Err(BadToken::Header);
        }
        Ok(Token {
            signed: signed.as_bytes(),
            signature: URL_SAFE_NO_PAD
                .decode(signature)
                .map_err(|_| BadToken::Form)?,
            public_key: header.jwk.0.key().ok_or(BadToken::Header)?,
            payload: part(payload)?,
        })
    }

    /// The slug of the organization whose keys have to have the token's.
    pub fn issuer(&self) -> &str {
        &self.payload.iss
    }

    /// The key that the token names as its own.
    pub fn public_key(&self) -> &PublicKey {
        &self.public_key
    }

    /// The content of the token, if it was signed with `registered` and is alive at `now`, in unix seconds.
    ///
    /// # Errors
    /// All other kinds of [`BadToken`]; what a token says is judged after its signature.
    pub fn verified(self, registered: &PublicKey, now: i64) -> Result<Claims, BadToken> {
        UnparsedPublicKey::new(&ED25519, registered)
            .verify(self.signed, &self.signature)
            .map_err(|_| BadToken::Signature)?;
        let payload = self.payload;
        if payload.aud != "mesa-api" {
            return Err(BadToken::Audience);
        }
        if payload.jti.is_empty() || payload.jti.len() > MAX_JTI {
            return Err(BadToken::Form);
        }
        let life = payload.exp.saturating_sub(payload.iat);
        if payload.iat < 0 || !(1..=MAX_LIFE).contains(&life) {
            return Err(BadToken::Life);
        }
        let begin = payload.nbf.map_or(payload.iat, |nbf| nbf.max(payload.iat));
        if begin > now.saturating_add(AHEAD) {
            return Err(BadToken::NotYet);
        }
        if payload.exp <= now {
            return Err(BadToken::Expired);
        }
        Ok(Claims {
            grant: grant(payload.admin, payload.access).ok_or(BadToken::Access)?,
            expires: payload.exp,
        })
    }
}

/// A name that is there twice, in another case, has the larger right, as in the clients.
fn grant(admin: Option<bool>, access: Option<Object<BTreeMap<String, Level>>>) -> Option<Grant> {
    let access = match (admin, access) {
        (Some(true), None) => return Some(Grant::Admin),
        (None, Some(Object(access))) => access,
        _ => return None,
    };
    if access.is_empty() || access.len() > MAX_ACCESS {
        return None;
    }
    let mut repos = BTreeMap::new();
    for (name, level) in access {
        let had = repos.entry(name.to_ascii_lowercase()).or_insert(level);
        if level == Level::Write {
            *had = level;
        }
    }
    Some(Grant::Repos(repos))
}

fn part<T: DeserializeOwned>(text: &str) -> Result<T, BadToken> {
    let json = URL_SAFE_NO_PAD.decode(text).map_err(|_| BadToken::Form)?;
    serde_json::from_slice::<Sound>(&json).map_err(|_| BadToken::Form)?;
    let object: Object<T> = serde_json::from_slice(&json).map_err(|_| BadToken::Form)?;
    Ok(object.0)
}

#[cfg(test)]
mod tests;
