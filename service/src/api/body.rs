//! Bodies of requests: JSON objects, without NUL characters and without a key twice.

use std::collections::HashSet;
use std::marker::PhantomData;

use axum::extract::{FromRequest, Request};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::{StatusCode, header};
use serde::de::value::MapAccessDeserializer;
use serde::de::{DeserializeOwned, Error as _, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::error::ApiError;

/// The largest body, in bytes.
const MAX_BODY: usize = 64 << 10;

/// The body of a request, which is a JSON object.
pub(super) struct Body<T>(pub(super) T);

impl<T: DeserializeOwned, S: Sync> FromRequest<S> for Body<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, _: &S) -> Result<Self, ApiError> {
        if !is_json(&request) {
            return Err(ApiError::new(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "UNSUPPORTED_MEDIA_TYPE",
                "a body needs the header Content-Type: application/json",
            ));
        }
        let text = read(request).await?;
        serde_json::from_slice::<Sound>(&text).map_err(|err| refusal(&err))?;
        let body: Object<T> = serde_json::from_slice(&text).map_err(|err| refusal(&err))?;
        Ok(Body(body.0))
    }
}

/// The body of a request that has nothing to say: none, or an empty object.
pub(super) struct NoBody;

impl<S: Sync> FromRequest<S> for NoBody {
    type Rejection = ApiError;

    async fn from_request(request: Request, _: &S) -> Result<Self, ApiError> {
        let text = read(request).await?;
        let text = text.trim_ascii();
        if text.is_empty() || text == b"{}" {
            return Ok(NoBody);
        }
        Err(ApiError::body("this request takes no body"))
    }
}

fn is_json(request: &Request) -> bool {
    let kind = request.headers().get(header::CONTENT_TYPE);
    let kind = kind.and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let essence = kind.split(';').next().unwrap_or_default().trim();
    essence.eq_ignore_ascii_case("application/json")
}

async fn read(request: Request) -> Result<Vec<u8>, ApiError> {
    let body = Limited::new(request.into_body(), MAX_BODY);
    match body.collect().await {
        Ok(body) => Ok(body.to_bytes().into()),
        Err(err) if err.is::<LengthLimitError>() => Err(ApiError::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "PAYLOAD_TOO_LARGE",
            "the body has more than 65,536 bytes",
        )),
        Err(_) => Err(ApiError::bad("INVALID_BODY", "the body broke off")),
    }
}

fn refusal(err: &serde_json::Error) -> ApiError {
    let code = if err.is_data() {
        "INVALID_BODY"
    } else {
        "INVALID_JSON"
    };
    ApiError::bad(code, without_values(&err.to_string()))
}

/// serde's words without the value at fault, which may be a credential. The name of an unknown field stays if it is
/// a plain word.
fn without_values(words: &str) -> String {
    // The last one: a value may have anything in it, the words after it are serde's.
    let Some((fault, expected)) = words.rsplit_once(", expected ") else {
        return words.to_owned();
    };
    let is_word = |b: u8| b.is_ascii_lowercase() || b == b'_';
    let field = fault.strip_prefix("unknown field `");
    if let Some(name) = field.and_then(|field| field.strip_suffix('`')) {
        let is_plain = name.len() <= 24 && name.bytes().all(is_word);
        let shown = if is_plain { fault } else { "unknown field" };
        return format!("{shown}, expected {expected}");
    }
    format!("expected {expected}")
}

/// A JSON object that is read as `T`. A derived `Deserialize` would take an array as well.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Object<T>(pub(super) T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Map<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Map<T> {
            type Value = T;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<T, A::Error> {
                T::deserialize(MapAccessDeserializer::new(map))
            }
        }
        from.deserialize_map(Map(PhantomData)).map(Object)
    }
}

/// Reads a value that may be left out but is not null. The field needs `#[serde(default)]`.
pub(super) fn present<'de, D, T>(from: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    T::deserialize(from).map(Some)
}

/// JSON whose strings have no NUL character and whose objects have no key twice.
struct Sound;

impl<'de> Deserialize<'de> for Sound {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(SoundVisitor)
    }
}

struct SoundVisitor;

impl<'de> Visitor<'de> for SoundVisitor {
    type Value = Sound;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Sound, E> {
        Ok(Sound)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Sound, E> {
        Ok(Sound)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Sound, E> {
        Ok(Sound)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Sound, E> {
        Ok(Sound)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Sound, E> {
        Ok(Sound)
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Sound, E> {
        if text.contains('\0') {
            return Err(E::custom("a string has a NUL character"));
        }
        Ok(Sound)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Sound, A::Error> {
        while seq.next_element::<Sound>()?.is_some() {}
        Ok(Sound)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Sound, A::Error> {
        let mut keys = HashSet::new();
        while let Some(key) = map.next_key::<String>()? {
            SoundVisitor.visit_str(&key)?;
            map.next_value::<Sound>()?;
            if !keys.insert(key) {
                return Err(A::Error::custom("an object has the same key twice"));
            }
        }
        Ok(Sound)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_that_are_refused_before_their_meaning_counts() {
        for (text, code) in [
            ("", "INVALID_JSON"),
            ("{", "INVALID_JSON"),
            ("{} {}", "INVALID_JSON"),
            (r#"{"a":"\ud800"}"#, "INVALID_JSON"),
            (r#"{"a":"\u0000"}"#, "INVALID_BODY"),
            (r#"{"a":[{"b\u0000":1}]}"#, "INVALID_BODY"),
            (r#"{"a":1,"a":1}"#, "INVALID_BODY"),
            (r#"{"a":{"b":null,"b":null}}"#, "INVALID_BODY"),
        ] {
            let err = serde_json::from_str::<Sound>(text).err().expect(text);
            let err = format!("{:?}", refusal(&err));
            assert!(err.contains(code), "{text}: {err}");
        }
        let good = r#"{"a":[1,-1,0.5,true,null,"x",{"a":{}}],"b":[]}"#;
        assert!(serde_json::from_str::<Sound>(good).is_ok());
        let deep = "[".repeat(100_000);
        assert!(serde_json::from_str::<Sound>(&deep).is_err());
    }

    #[test]
    fn a_refusal_repeats_no_value() {
        #[derive(Debug, Deserialize)]
        #[serde(deny_unknown_fields)]
        #[allow(dead_code, reason = "its errors are looked at, not its values")]
        struct Credential {
            token: String,
            direction: crate::records::Direction,
            id: crate::records::RepoId,
        }
        for (text, words) in [
            (r#""canary""#, "expected an object"),
            (r#"{"token":["canary, expected x"]}"#, "expected a string"),
            (r#"{"CANARY-canary":1}"#, "unknown field, expected one of"),
            (
                r#"{"a`, expected canary":1}"#,
                "unknown field, expected one of",
            ),
            (r#"{"schedule":1}"#, "unknown field `schedule`"),
            (r#"{"token":"x","direction":"canary"}"#, "one of pull, push"),
            (r#"{"token":"x","id":"canary"}"#, "an id has the form"),
            (r#"{"token":"x","token":"canary"}"#, "duplicate field"),
            (r#"{"token":"canary"}"#, "missing field"),
        ] {
            let err = serde_json::from_str::<Object<Credential>>(text).err();
            let err = format!("{:?}", refusal(&err.expect(text)));
            assert!(err.contains(words), "{text}: {err}");
            assert!(!err.to_lowercase().contains("canary"), "{text}: {err}");
        }
    }

    #[test]
    fn an_array_is_no_object() {
        #[derive(Deserialize)]
        struct Empty {}
        assert!(
            serde_json::from_str::<Empty>("[]").is_ok(),
            "no need for Object any more"
        );
        assert!(serde_json::from_str::<Object<Empty>>("[]").is_err());
        assert!(serde_json::from_str::<Object<Empty>>("null").is_err());
        assert!(serde_json::from_str::<Object<Empty>>("{}").is_ok());
    }
}
