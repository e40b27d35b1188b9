//! [`ApiError`], an answer that says why a request was refused.

use std::borrow::Cow;

use axum::response::{IntoResponse, Response};
use hyper::{StatusCode, header};
use serde::Serialize;

use super::answer;
use crate::{Error, ErrorKind};

/// The reason why a request is refused: `{"error":{"code","message","trace_id?"}}`.
#[derive(Debug)]
pub(crate) struct ApiError {
    status: StatusCode,
    code: &'static str,
    message: Cow<'static, str>,
}

#[derive(Serialize)]
struct ErrorBody<'a> {
    error: Fields<'a>,
}

#[derive(Serialize)]
struct Fields<'a> {
    code: &'static str,
    message: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    trace_id: Option<&'a str>,
}

impl ApiError {
    pub(crate) fn new(
        status: StatusCode,
        code: &'static str,
        message: impl Into<Cow<'static, str>>,
    ) -> Self {
        ApiError {
            status,
            code,
            message: message.into(),
        }
    }

    /// 400: the request can't be understood.
    pub(crate) fn bad(code: &'static str, message: impl Into<Cow<'static, str>>) -> Self {
        ApiError::new(StatusCode::BAD_REQUEST, code, message)
    }

    /// 400: a value in the body is not allowed.
    pub(crate) fn body(message: impl Into<Cow<'static, str>>) -> Self {
        ApiError::bad("INVALID_BODY", message)
    }

    /// 401: there is no valid key.
    pub(crate) fn unauthorized(message: &'static str) -> Self {
        ApiError::new(StatusCode::UNAUTHORIZED, "UNAUTHORIZED", message)
    }

    /// 403: the key may not do this.
    pub(crate) fn forbidden(message: impl Into<Cow<'static, str>>) -> Self {
        ApiError::new(StatusCode::FORBIDDEN, "FORBIDDEN", message)
    }

    /// 404: there is no such thing, or the key may not know of it.
    pub(crate) fn not_found(kind: &'static str) -> Self {
        ApiError::new(
            StatusCode::NOT_FOUND,
            "NOT_FOUND",
            format!("there is no such {kind}, or the key may not see it"),
        )
    }

    /// 409: the request doesn't fit the present state.
    pub(crate) fn conflict(code: &'static str, message: &'static str) -> Self {
        ApiError::new(StatusCode::CONFLICT, code, message)
    }

    /// 500: the reason is in the log, under the trace id of the answer.
    pub(crate) fn internal(reason: &dyn std::fmt::Display) -> Self {
        ApiError::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "INTERNAL",
            reason.to_string(),
        )
    }

    /// 429: the queue has no place.
    pub(crate) fn queue_full(message: &'static str) -> Self {
        ApiError::new(StatusCode::TOO_MANY_REQUESTS, "QUEUE_FULL", message)
    }

    /// 503: the service can't work now.
    pub(crate) fn unavailable(reason: &dyn std::fmt::Display) -> Self {
        ApiError {
            status: StatusCode::SERVICE_UNAVAILABLE,
            code: "UNAVAILABLE",
            ..ApiError::internal(reason)
        }
    }

    /// The answer to a method that the route doesn't have.
    pub(crate) async fn method_not_allowed() -> ApiError {
        ApiError::new(
            StatusCode::METHOD_NOT_ALLOWED,
            "METHOD_NOT_ALLOWED",
            "this address does not take this method; the header Allow lists those that it takes",
        )
    }

    /// The answer to a path that leads nowhere.
    pub(super) async fn unknown_route() -> ApiError {
        ApiError::new(
            StatusCode::NOT_FOUND,
            "NOT_FOUND",
            "there is no such address; /v1/openapi.json lists them",
        )
    }
}

impl From<Error> for ApiError {
    fn from(err: Error) -> Self {
        match err.kind() {
            ErrorKind::InvalidCursor => ApiError::bad("INVALID_CURSOR", err.to_string()),
            _ if err.is_retryable() => ApiError::unavailable(&Chain(&err)),
            _ => ApiError::internal(&Chain(&err)),
        }
    }
}

/// An error with its sources.
struct Chain<'a>(&'a dyn std::error::Error);

impl std::fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.0)?;
        let mut source = self.0.source();
        while let Some(err) = source {
            write!(f, ": {err}")?;
            source = err.source();
        }
        Ok(())
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let trace = self.status.is_server_error().then(trace_id);
        if let Some(trace) = &trace {
            tracing::error!(trace_id = trace.as_str(), reason = %self.message, "a request failed");
        }
        let message = match trace {
            Some(_) => "the service failed; its log has the reason under this trace_id",
            None => &self.message,
        };
        let body = ErrorBody {
            error: Fields {
                code: self.code,
                message,
                trace_id: trace.as_deref(),
            },
        };
        let mut response = answer::json(self.status, &body);
        let headers = response.headers_mut();
        if self.status == StatusCode::UNAUTHORIZED {
            let challenge = header::HeaderValue::from_static("Bearer");
            headers.insert(header::WWW_AUTHENTICATE, challenge);
        }
        if self.status == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(header::RETRY_AFTER, header::HeaderValue::from_static("5"));
        }
        response
    }
}

fn trace_id() -> String {
    uuid::Uuid::now_v7().simple().to_string()
}

/// The answer in place of a handler that panicked.
#[allow(clippy::needless_pass_by_value, reason = "the layer's signature")]
pub(crate) fn panicked(panic: Box<dyn std::any::Any + Send>) -> Response {
    let words = panic.downcast_ref::<&str>().copied();
    let words = words.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    ApiError::internal(&format_args!(
        "a panic: {}",
        words.unwrap_or("without words")
    ))
    .into_response()
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use axum::extract::Request;
    use axum::routing::get;
    use http_body_util::BodyExt as _;
    use tower::ServiceExt as _;
    use tower_http::catch_panic::CatchPanicLayer;

    use super::*;

    async fn panics() -> Response {
        panic!("canary")
    }

    async fn fails() -> ApiError {
        ApiError::internal(&"canary")
    }

    #[tokio::test]
    async fn a_failure_says_nothing_of_its_reason() {
        let router = axum::Router::new()
            .route("/panics", get(panics))
            .route("/fails", get(fails))
            .layer(CatchPanicLayer::custom(panicked));
        for path in ["/panics", "/fails"] {
            let request = Request::get(path).body(Body::empty()).expect("a request");
            let response = router.clone().oneshot(request).await.expect("an answer");
            assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
            let body = response.into_body().collect().await.expect("a body");
            let body = String::from_utf8(body.to_bytes().into()).expect("text");
            assert!(!body.contains("canary"), "{body}");
            let body: serde_json::Value = serde_json::from_str(&body).expect("JSON");
            assert_eq!(body["error"]["code"], "INTERNAL");
            assert!(body["error"]["trace_id"].is_string(), "{body}");
        }
    }
}
