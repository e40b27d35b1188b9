//! What an answer means, decided from its status line and headers alone.

use std::time::{Duration, SystemTime};

use ureq::http::{HeaderMap, StatusCode, Uri, header};

use super::{Redirects, RemoteUrl, redirect::moved_within_origin, socket::connection_broke};
use crate::{Error, ErrorKind};

/// The longest wait that a server gets to ask for.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(24 * 60 * 60);

/// The longest URL that an error shows, in bytes.
const MAX_SHOWN: usize = 400;

/// An answer, as far as it takes to judge it.
pub(super) struct Head<'a> {
    pub(super) status: StatusCode,
    pub(super) headers: &'a HeaderMap,
    /// Whether the request carried credentials.
    pub(super) authorized: bool,
}

impl Head<'_> {
    /// Fails unless the request was successful.
    pub(super) fn check_status(&self, now: SystemTime) -> Result<(), Error> {
        let Some((kind, what)) = self.refusal() else {
            return Ok(());
        };
        let wait = self
            .header(header::RETRY_AFTER)
            .and_then(|value| retry_after(value, now));
        Err(
            Error::new(kind, format!("{what} (HTTP {})", self.status.as_u16()))
                .with_retry_after(wait),
        )
    }

    fn refusal(&self) -> Option<(ErrorKind, String)> {
        let (kind, what) = match self.status.as_u16() {
            200 => return None,
            300..=399 => return Some((ErrorKind::Redirected, self.redirect())),
            401 if self.authorized => (
                ErrorKind::Authentication,
                "the server does not accept these credentials",
            ),
            401 => (ErrorKind::Authentication, "the server asks for credentials"),
            403 => (ErrorKind::PermissionDenied, "the server denies access"),
            404 | 410 => (ErrorKind::NotFound, "the server has no such repository"),
            413 => (ErrorKind::Remote, "the request is too large for the server"),
            429 => (ErrorKind::RateLimited, "the server asks for fewer requests"),
            400..=499 => (ErrorKind::Remote, "the server refuses the request"),
            500..=599 => (ErrorKind::ServerError, "the server failed"),
            _ => (
                ErrorKind::NotAGitServer,
                "this is not an answer of a Git server",
            ),
        };
        Some((kind, what.to_owned()))
    }

    fn redirect(&self) -> String {
        let text = "the server redirects, and that is not followed";
        match self.header(header::LOCATION).and_then(moved_to) {
            Some(url) => format!("{text}; try {url}"),
            None => text.to_owned(),
        }
    }

    /// Where the repository has moved to, if the redirect of what was `asked` may be followed.
    pub(super) fn moved(&self, redirects: Redirects, asked: &Uri) -> Option<RemoteUrl> {
        match redirects {
            Redirects::Refuse => None,
            Redirects::SameOrigin => {
                let location = self.header(header::LOCATION)?;
                moved_within_origin(asked, self.status, location)
            }
        }
    }

    /// Fails unless this is a smart HTTP answer of the type `expected` (gitprotocol-http(5), "Smart
    /// Clients").
    pub(super) fn check_content_type(&self, expected: &str) -> Result<(), Error> {
        let encoding = self.headers.get(header::CONTENT_ENCODING);
        if encoding.is_some_and(|encoding| !encoding.as_bytes().eq_ignore_ascii_case(b"identity")) {
            let text = "the answer is compressed, which it was not asked to be";
            return Err(Error::new(ErrorKind::NotAGitServer, text));
        }
        let essence = self
            .header(header::CONTENT_TYPE)
            .and_then(|value| value.split(';').next())
            .map(str::trim);
        match essence {
            Some(essence) if essence.eq_ignore_ascii_case(expected) => Ok(()),
            _ => Err(Error::new(
                ErrorKind::NotAGitServer,
                format!(
                    "the answer is not of the type {expected}; this URL does not speak Git's smart HTTP"
                ),
            )),
        }
    }

    fn header(&self, name: header::HeaderName) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

/// The repository that a redirect of the first request leads to, if it can be shown as it is.
fn moved_to(location: &str) -> Option<RemoteUrl> {
    let url = location.split('?').next()?;
    let url = Some(url).filter(|url| url.len() <= MAX_SHOWN)?;
    RemoteUrl::parse(url.strip_suffix("/info/refs").unwrap_or(url)).ok()
}

/// `Retry-After`, in seconds or as a date (RFC 9110 section 10.2.3). A date in the past is no wait.
fn retry_after(value: &str, now: SystemTime) -> Option<Duration> {
    let value = value.trim();
    let wait = if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) {
        // What doesn't fit is too long in any case.
        Duration::from_secs(value.parse().unwrap_or(u64::MAX))
    } else {
        let date = httpdate::parse_http_date(value).ok()?;
        date.duration_since(now).unwrap_or_default()
    };
    Some(wait.min(MAX_RETRY_AFTER))
}

/// An exchange that ended without a whole answer. `garbled` is the kind if what arrived is not HTTP.
pub(super) fn incomplete(err: ureq::Error, garbled: ErrorKind) -> Error {
    let kept = match &err {
        ureq::Error::LargeResponseHeader(_, limit) => Error::new(
            ErrorKind::BudgetExceeded,
            format!("the headers of the answer exceed {limit} bytes"),
        ),
        // Stalled: it ended within the framing of a chunk.
        ureq::Error::Io(_) | ureq::Error::BodyStalled => connection_broke(),
        _ => Error::new(garbled, "the answer is not valid HTTP"),
    };
    kept.with_source(err)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TYPE: &str = "application/x-git-upload-pack-advertisement";

    fn headers(pairs: &[(header::HeaderName, &str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| (name.clone(), value.parse().expect("a header value")))
            .collect()
    }

    fn check(status: u16, pairs: &[(header::HeaderName, &str)]) -> Result<(), Error> {
        let head = Head {
            status: StatusCode::from_u16(status).expect("a status"),
            headers: &headers(pairs),
            authorized: true,
        };
        head.check_status(SystemTime::UNIX_EPOCH)?;
        head.check_content_type(TYPE)
    }

    #[test]
    fn each_status_has_a_kind() {
        use ErrorKind::*;
        let cases = [
            (101, NotAGitServer),
            (204, NotAGitServer),
            (206, NotAGitServer),
            (301, Redirected),
            (302, Redirected),
            (303, Redirected),
            (304, Redirected),
            (307, Redirected),
            (308, Redirected),
            (400, Remote),
            (401, Authentication),
            (402, Remote),
            (403, PermissionDenied),
            (404, NotFound),
            (407, Remote),
            (410, NotFound),
            (413, Remote),
            (429, RateLimited),
            (451, Remote),
            (500, ServerError),
            (502, ServerError),
            (503, ServerError),
            (599, ServerError),
            (600, NotAGitServer),
        ];
        for (status, kind) in cases {
            // The right content type makes no difference.
            let err = check(status, &[(header::CONTENT_TYPE, TYPE)]).expect_err("refused");
            assert_eq!(err.kind(), kind, "{status}");
            assert!(err.to_string().contains(&status.to_string()), "{err}");
        }
    }

    #[test]
    fn a_good_answer_has_the_right_content_type() {
        let cases = [
            (Some(TYPE), true),
            (
                Some("Application/X-Git-Upload-Pack-Advertisement; charset=utf-8"),
                true,
            ),
            (Some("application/x-git-upload-pack-result"), false),
            (Some("text/html"), false),
            (
                Some("text/plain; x=application/x-git-upload-pack-advertisement"),
                false,
            ),
            (None, false),
        ];
        for (value, good) in cases {
            let pairs: Vec<_> = value
                .map(|v| (header::CONTENT_TYPE, v))
                .into_iter()
                .collect();
            let kind = check(200, &pairs).err().map(|err| err.kind());
            assert_eq!(
                kind,
                (!good).then_some(ErrorKind::NotAGitServer),
                "{value:?}"
            );
        }
    }

    #[test]
    fn nothing_is_unpacked() {
        for (encoding, good) in [("identity", true), ("gzip", false), ("deflate, br", false)] {
            let answer = check(
                200,
                &[
                    (header::CONTENT_TYPE, TYPE),
                    (header::CONTENT_ENCODING, encoding),
                ],
            );
            assert_eq!(answer.is_ok(), good, "{encoding}");
        }
    }

    #[test]
    fn retry_after_in_all_forms() {
        let now = httpdate::parse_http_date("Sun, 06 Nov 1994 08:49:00 GMT").expect("a date");
        let seconds = Duration::from_secs;
        let cases = [
            ("120", Some(seconds(120))),
            (" 0 ", Some(seconds(0))),
            ("Sun, 06 Nov 1994 08:49:37 GMT", Some(seconds(37))),
            ("Sunday, 06-Nov-94 08:49:37 GMT", Some(seconds(37))),
            ("Sun Nov  6 08:49:37 1994", Some(seconds(37))),
            ("Sun, 06 Nov 1994 08:48:00 GMT", Some(seconds(0))),
            ("Sat, 06 Nov 2094 08:48:00 GMT", Some(MAX_RETRY_AFTER)),
            ("99999999999999999999999999", Some(MAX_RETRY_AFTER)),
            ("", None),
            ("-1", None),
            ("+1", None),
            ("1.5", None),
            ("soon", None),
        ];
        for (value, expected) in cases {
            assert_eq!(retry_after(value, now), expected, "{value:?}");
        }
        let err = check(429, &[(header::RETRY_AFTER, "7")]).expect_err("refused");
        assert_eq!(err.retry_after(), Some(seconds(7)));
    }

    #[test]
    fn a_redirect_names_its_target_if_that_is_a_usable_url() {
        let cases = [
            (
                "https://new.example/a.git/info/refs?service=git-upload-pack",
                "; try https://new.example/a.git (",
            ),
            (
                "https://new.example/login?next=canary",
                "; try https://new.example/login (",
            ),
            (
                "https://me:canary@new.example/a.git/info/refs",
                "not followed (",
            ),
            ("/canary/info/refs", "not followed ("),
            ("javascript:canary", "not followed ("),
            (
                &format!("https://new.example/{}", "canary/".repeat(100)),
                "not followed (",
            ),
        ];
        for (location, expected) in cases {
            let err = check(302, &[(header::LOCATION, location)]).expect_err("refused");
            assert!(err.to_string().contains(expected), "{err}");
            assert!(!err.to_string().contains("canary"), "{err}");
        }
    }

    #[test]
    fn whether_credentials_were_sent_shows_in_the_text() {
        let err = |authorized| {
            let headers = HeaderMap::new();
            let head = Head {
                status: StatusCode::UNAUTHORIZED,
                headers: &headers,
                authorized,
            };
            head.check_status(SystemTime::UNIX_EPOCH)
                .expect_err("refused")
                .to_string()
        };
        assert!(err(true).contains("does not accept these"));
        assert!(err(false).contains("asks for"));
    }
}
