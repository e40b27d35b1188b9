//! Answers about the service itself.

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use hyper::header;

use super::answer::{Answer, ok};
use super::error::ApiError;
use crate::Service;

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

/// GET `/readyz`: the database answers.
pub(super) async fn ready(State(service): State<Service>) -> Answer {
    match service.store.has_orgs().await {
        Ok(_) => ok(&serde_json::json!({ "status": "ready" })),
        Err(err) => Err(ApiError::unavailable(&err)),
    }
}
