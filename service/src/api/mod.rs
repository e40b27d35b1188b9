//! The REST API: routes, keys and scopes, errors. `openapi.json` describes it; a request passes `checks`, `caller`
//! (key, organization, scope, repository), its query and its body, in this order.

mod answer;
mod body;
mod caller;
mod checks;
pub(crate) mod error;
mod health;
mod keys;
mod query;
mod repo_view;
mod repos;
mod schedule;
mod syncs;
mod targets;
mod upstream;
mod upstream_hooks;
mod whoami;

use axum::Router;
use axum::middleware;
use axum::routing::{delete, get, post};
use tower_http::catch_panic::CatchPanicLayer;

use self::error::ApiError;
use crate::Service;

/// The routes of the API, with an answer in the form of the API for everything that they don't take.
pub fn router(service: Service) -> Router {
    let target = "/v1/{org}/webhook-targets/{id}";
    let syncs = "/v1/{org}/{repo}/upstream/syncs";
    Router::new()
        .route("/healthz", get(health::alive))
        .route("/readyz", get(health::ready))
        .route("/v1/openapi.json", get(health::openapi))
        .route("/v1/whoami", get(whoami::get))
        .route("/v1/{org}/repos", get(repos::list).post(repos::create))
        .route("/v1/{org}/api-keys", get(keys::list).post(keys::create))
        .route("/v1/{org}/api-keys/{id}", delete(keys::delete))
        .route(
            "/v1/{org}/webhook-targets",
            get(targets::list).post(targets::create),
        )
        .route(
            target,
            get(targets::get)
                .patch(targets::change)
                .delete(targets::delete),
        )
        .route(
            &format!("{target}/rotate-secret"),
            post(targets::rotate_secret),
        )
        .route(&format!("{target}/test"), post(targets::test))
        .route(&format!("{target}/deliveries"), get(targets::deliveries))
        .route(
            &format!("{target}/deliveries/{{sub_id}}/redeliver"),
            post(targets::redeliver),
        )
        .route(
            "/v1/{org}/{repo}",
            get(repos::get).patch(repos::change).delete(repos::delete),
        )
        .route(
            "/v1/{org}/{repo}/upstream/hook",
            post(upstream_hooks::create).delete(upstream_hooks::delete),
        )
        .route("/v1/hooks/{id}/{token}", post(upstream_hooks::receive))
        .route(syncs, get(syncs::list).post(syncs::create))
        .route(&format!("{syncs}/{{id}}"), get(syncs::get))
        .route(&format!("{syncs}/{{id}}/cancel"), post(syncs::cancel))
        .method_not_allowed_fallback(ApiError::method_not_allowed)
        .fallback(ApiError::unknown_route)
        .layer(middleware::from_fn(checks::before_routes))
        .layer(CatchPanicLayer::custom(error::panicked))
        .with_state(service)
}
