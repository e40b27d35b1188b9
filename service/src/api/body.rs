//! Bodies of requests: JSON objects, without NUL characters and without a key twice.

use std::time::Duration;

use axum::extract::{FromRequest, Request};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::{StatusCode, header};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::error::ApiError;
use crate::json::Sound;
pub(super) use crate::json::{Object, present};

/// The largest body, in bytes.
const MAX_BODY: usize = 64 << 10;
/// The longest time in which a whole body comes.
const WHOLE_BODY_TIME: Duration = Duration::from_secs(60);

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

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Nothing {}

impl<S: Sync> FromRequest<S> for NoBody {
    type Rejection = ApiError;

    async fn from_request(request: Request, _: &S) -> Result<Self, ApiError> {
        let text = read(request).await?;
        let is_nothing = text.trim_ascii().is_empty();
        if is_nothing || serde_json::from_slice::<Object<Nothing>>(&text).is_ok() {
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

/// The result of reading a body within the time that the whole of it may take: one that comes byte by byte would keep
/// its connection for ever.
pub(super) async fn in_time<T>(
    reading: impl Future<Output = Result<T, ApiError>>,
) -> Result<T, ApiError> {
    let late = |_| ApiError::bad("INVALID_BODY", "the body has not come in time");
    tokio::time::timeout(WHOLE_BODY_TIME, reading)
        .await
        .map_err(late)?
}

async fn read(request: Request) -> Result<Vec<u8>, ApiError> {
    in_time(read_all(request)).await
}

async fn read_all(request: Request) -> Result<Vec<u8>, ApiError> {
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
}
