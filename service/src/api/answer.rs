//! Answers in JSON.

use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use hyper::body::{Frame, SizeHint};
use hyper::{StatusCode, header};
use serde::Serialize;

use super::error::ApiError;
use crate::store::{Rows, StatsJson};

/// The answer of a handler.
pub(super) type Answer = Result<Response, ApiError>;

/// An answer with `value` as its body.
pub(super) fn json(status: StatusCode, value: &impl Serialize) -> Response {
    // Serialization into memory fails only for maps whose keys are no strings, and there are none.
    let body = serde_json::to_vec(value).unwrap_or_default();
    with_body(status, Body::from(body))
}

/// 200 with `value`.
pub(super) fn ok(value: &impl Serialize) -> Answer {
    Ok(json(StatusCode::OK, value))
}

/// 201 with `value`.
pub(super) fn created(value: &impl Serialize) -> Answer {
    Ok(json(StatusCode::CREATED, value))
}

/// 200 for something that is gone now, or 404.
pub(super) fn deleted(was_there: bool, kind: &'static str) -> Answer {
    if was_there {
        ok(&serde_json::json!({ "success": true }))
    } else {
        Err(ApiError::not_found(kind))
    }
}

/// A page of a list under the key `name`, each row shown by `view`.
pub(super) fn page<'a, T, V: Serialize>(
    name: &'static str,
    rows: &'a Rows<T>,
    view: impl Fn(&'a T) -> V,
) -> Answer {
    let mut page = serde_json::Map::new();
    page.insert("next_cursor".into(), rows.next.clone().into());
    page.insert("has_more".into(), rows.has_more.into());
    let page = Page {
        head: page,
        rows: std::collections::BTreeMap::from([(name, rows.rows.iter().map(view).collect())]),
    };
    ok(&page)
}

#[derive(Serialize)]
struct Page<V> {
    #[serde(flatten)]
    head: serde_json::Map<String, serde_json::Value>,
    #[serde(flatten)]
    rows: std::collections::BTreeMap<&'static str, Vec<V>>,
}

/// 200 with the JSON of an object that has `"key":null`, with `value`, which is JSON, in the place of that null.
/// `value` may be large; it is sent piece by piece, as the client takes it.
pub(super) fn spliced(object: &impl Serialize, key: &str, value: StatsJson) -> Answer {
    let text = serde_json::to_string(object).map_err(|err| ApiError::internal(&err))?;
    // A quote inside a string is escaped, so this can't be one.
    let Some((head, tail)) = text.split_once(&format!("\"{key}\":null")) else {
        return Err(ApiError::internal(&"an object has no key to splice at"));
    };
    let spliced = Spliced {
        head: Some(Bytes::from(format!("{head}\"{key}\":"))),
        value,
        tail: Some(Bytes::from(tail.to_owned())),
    };
    Ok(with_body(StatusCode::OK, Body::new(spliced)))
}

fn with_body(status: StatusCode, body: Body) -> Response {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let json = header::HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, json);
    let no_store = header::HeaderValue::from_static("no-store");
    response
        .headers_mut()
        .insert(header::CACHE_CONTROL, no_store);
    response
}

/// A body whose middle is made while it is sent. It breaks off where that fails.
struct Spliced {
    head: Option<Bytes>,
    value: StatsJson,
    tail: Option<Bytes>,
}

impl hyper::body::Body for Spliced {
    type Data = Bytes;
    type Error = crate::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, crate::Error>>> {
        if let Some(head) = self.head.take() {
            return Poll::Ready(Some(Ok(Frame::data(head))));
        }
        let piece = self.value.next().map(|piece| piece.map(Bytes::from));
        let tail = || self.tail.take().map(Ok);
        Poll::Ready(piece.or_else(tail).map(|part| part.map(Frame::data)))
    }

    fn size_hint(&self) -> SizeHint {
        let length = |part: &Option<Bytes>| part.as_ref().map_or(0, |part| part.len() as u64);
        let around = length(&self.head) + length(&self.tail);
        let value = self.value.known_length();
        value.map_or_else(SizeHint::new, |value| SizeHint::with_exact(around + value))
    }
}
