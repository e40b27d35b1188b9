//! Answers to git clients: refusals as text, since git prints that and nothing else, and the streamed answers of git's programs.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};

use axum::{
    body::Body,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use hyper::body::Frame;
use tokio::sync::mpsc;

/// A request that is not served.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) status: StatusCode,
    text: String,
}

impl Refusal {
    pub(super) fn new(status: StatusCode, text: impl Into<String>) -> Self {
        Refusal {
            status,
            text: text.into(),
        }
    }

    /// An internal failure; the cause is in the log alone.
    pub(super) fn internal(cause: &(dyn std::error::Error + 'static)) -> Self {
        tracing::error!(error = crate::chain(cause), "a git request has failed");
        Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, "the service has failed")
    }
}

impl From<crate::Error> for Refusal {
    fn from(err: crate::Error) -> Self {
        if err.is_retryable() {
            tracing::warn!(
                error = crate::chain(&err),
                "a git request can't be served now"
            );
            let text = "the service can't do this now";
            return Refusal::new(StatusCode::SERVICE_UNAVAILABLE, text);
        }
        Refusal::internal(&err)
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let mut response = (self.status, format!("{}\n", self.text)).into_response();
        let headers = response.headers_mut();
        if self.status == StatusCode::UNAUTHORIZED {
            let challenge = HeaderValue::from_static("Basic realm=\"refsyncd\", charset=\"UTF-8\"");
            headers.insert(header::WWW_AUTHENTICATE, challenge);
        }
        if self.status == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static("5"));
        }
        response
    }
}

/// A body whose parts come from a task.
pub(super) struct Streamed(pub(super) mpsc::Receiver<io::Result<Bytes>>);

impl hyper::body::Body for Streamed {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        self.0
            .poll_recv(context)
            .map(|part| part.map(|part| part.map(Frame::data)))
    }
}

impl From<Streamed> for Body {
    fn from(streamed: Streamed) -> Body {
        Body::new(streamed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Error, ErrorKind};

    #[test]
    fn a_busy_database_asks_to_come_again() {
        for (kind, status, wait) in [
            (ErrorKind::DatabaseBusy, 503, Some("5")),
            (ErrorKind::DatabaseCorrupt, 500, None),
        ] {
            let refusal = Refusal::from(Error::new(kind, "canary"));
            let response = refusal.into_response();
            assert_eq!(response.status(), status);
            let found = response.headers().get(header::RETRY_AFTER);
            assert_eq!(found.map(HeaderValue::as_bytes), wait.map(str::as_bytes));
        }
    }
}
