//! Answers about the service itself.

use std::time::Duration;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use hyper::header;

use super::answer::{Answer, ok};
use super::error::ApiError;
use crate::{Error, ErrorKind, Service};

/// The description of the API.
const OPENAPI: &str = include_str!("../../openapi.json");

/// GET `/v1/openapi.json`
pub(super) async fn openapi() -> Response {
    ([(header::CONTENT_TYPE, "application/json")], OPENAPI).into_response()
}

/// GET `/healthz`: the process answers.
pub(super) async fn alive() -> Answer {
    ok(&serde_json::json!({ "status": "ok" }))
}

/// The time in which the database has to answer.
const READY_TIME: Duration = Duration::from_secs(2);

/// GET `/readyz`: the database answers.
pub(super) async fn ready(State(service): State<Service>) -> Answer {
    let late = |_| Error::new(ErrorKind::DatabaseBusy, "the database does not answer");
    let answer = tokio::time::timeout(READY_TIME, service.store.ping()).await;
    match answer.map_err(late).flatten() {
        Ok(()) => ok(&serde_json::json!({ "status": "ready" })),
        Err(err) => Err(ApiError::unavailable(&err)),
    }
}
