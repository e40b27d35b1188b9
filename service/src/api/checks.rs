//! Checks of a request before any route sees it.

use axum::extract::Request;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use hyper::{HeaderMap, StatusCode, Uri, header};

use super::error::ApiError;

/// The longest address of a request, in bytes.
const MAX_ADDRESS: usize = 2048;

/// Answers a request that no route can take, and passes on the others.
pub(super) async fn before_routes(request: Request, next: Next) -> Response {
    match check(request.uri(), request.headers()) {
        Ok(()) => next.run(request).await,
        Err(err) => err.into_response(),
    }
}

fn check(address: &Uri, headers: &HeaderMap) -> Result<(), ApiError> {
    let query = address.query().unwrap_or_default();
    if address.path().len() + query.len() > MAX_ADDRESS {
        return Err(ApiError::new(
            StatusCode::URI_TOO_LONG,
            "URI_TOO_LONG",
            "the address has more than 2,048 bytes",
        ));
    }
    for (part, code) in [(address.path(), "INVALID_PATH"), (query, "INVALID_QUERY")] {
        if part.contains("%00") {
            return Err(ApiError::bad(code, "the address has a NUL character"));
        }
    }
    let mut accepted = headers.get_all(header::ACCEPT).iter().peekable();
    let is_any = accepted.peek().is_none();
    let text: Vec<_> = accepted.filter_map(|value| value.to_str().ok()).collect();
    if is_any || accepts_json(&text.join(",")) {
        return Ok(());
    }
    Err(ApiError::new(
        StatusCode::NOT_ACCEPTABLE,
        "NOT_ACCEPTABLE",
        "answers are application/json, which the header Accept excludes",
    ))
}

/// Whether the ranges of an `Accept` header allow JSON: the most specific one that fits has a weight over 0.
fn accepts_json(ranges: &str) -> bool {
    let mut best = (0, ranges.trim().is_empty());
    for range in ranges.split(',') {
        let mut parts = range.split(';').map(str::trim);
        let specificity = match parts.next().map(str::to_ascii_lowercase).as_deref() {
            Some("application/json") => 3,
            Some("application/*") => 2,
            Some("*/*") => 1,
            _ => continue,
        };
        let weight = parts.find_map(|part| part.strip_prefix("q=").or(part.strip_prefix("Q=")));
        let is_wanted = weight.is_none_or(|weight| weight.parse().is_ok_and(|w: f32| w > 0.0));
        if specificity > best.0 {
            best = (specificity, is_wanted);
        }
    }
    best.1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_that_allow_json() {
        for (ranges, expected) in [
            ("", true),
            ("*/*", true),
            ("application/json", true),
            ("Application/JSON; charset=utf-8", true),
            ("text/html, application/*;q=0.1", true),
            ("text/html", false),
            ("application/xml, text/*", false),
            ("application/json;q=0", false),
            ("application/json;q=0.0, */*", false),
            ("*/*;q=0, application/json", true),
            ("application/json;q=much", false),
        ] {
            assert_eq!(accepts_json(ranges), expected, "{ranges}");
        }
    }

    #[test]
    fn addresses_that_no_route_can_take() {
        let long = format!("/v1/{}", "a".repeat(MAX_ADDRESS));
        for (address, code) in [
            ("/v1/a%00b", "INVALID_PATH"),
            ("/v1/a?cursor=%00", "INVALID_QUERY"),
            (long.as_str(), "URI_TOO_LONG"),
        ] {
            let uri = address.parse().expect("an address");
            let err = check(&uri, &HeaderMap::new()).expect_err(address);
            assert!(format!("{err:?}").contains(code), "{err:?}");
        }
    }
}
