//! The query of an address.

use axum::extract::FromRequestParts;
use hyper::http::request::Parts;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::error::ApiError;
use crate::store::Page;

/// The values of a query. Unknown ones are refused, since a filter that is ignored gives a wrong answer.
pub(super) struct Query<T>(pub(super) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Query<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let query = axum::extract::Query::<T>::from_request_parts(parts, state).await;
        let query = query.map_err(|err| ApiError::bad("INVALID_QUERY", err.body_text()))?;
        Ok(Query(query.0))
    }
}

/// The part of a list that is asked for.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PageQuery {
    cursor: Option<String>,
    limit: Option<u32>,
}

impl PageQuery {
    pub(super) fn new(cursor: Option<String>, limit: Option<u32>) -> Self {
        PageQuery { cursor, limit }
    }

    /// The page as the store takes it.
    pub(super) fn page(self) -> Result<Page, ApiError> {
        let limit = self.limit.unwrap_or(50);
        if !(1..=100).contains(&limit) {
            return Err(ApiError::bad("INVALID_QUERY", "limit is 1 to 100"));
        }
        Ok(Page {
            after: self.cursor,
            limit,
        })
    }
}
