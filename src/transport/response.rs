//! Judging an HTTP answer by its status line and headers alone.

use std::time::{Duration, SystemTime};

use ureq::http::{HeaderMap, StatusCode, Uri, header};

use super::{Redirects, RemoteUrl, redirect::moved_within_origin, socket::connection_broke};
use crate::{Error, ErrorKind};

/// The longest `Retry-After` that is reported.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(24 * 60 * 60);

/// The longest URL that an error shows, in bytes.
const MAX_SHOWN: usize = 400;

/// The most bytes of an error answer's text that an error repeats.
pub(super) const MAX_WORDS: usize = 512;

/// The status line and headers of an answer, and the facts about its request.
pub(super) struct Head<'a> {
    pub(super) status: StatusCode,
    pub(super) headers: &'a HeaderMap,
    /// Whether the request carried credentials.
    pub(super) authorized: bool,
}

impl Head<'_> {
    /// Fails unless the request was successful. `words` is the text of the error answer.
    pub(super) fn check_status(
        &self,
        now: SystemTime,
        words: impl FnOnce() -> String,
    ) -> Result<(), Error> {
        let wait = self
            .header(header::RETRY_AFTER)
            .and_then(|value| retry_after(value, now));
        let Some((kind, what)) = self.refusal(wait.is_some()) else {
            return Ok(());
        };
        let words = words();
        let colon = if words.is_empty() { "" } else { ": " };
        let text = format!("{what} (HTTP {}){colon}{words}", self.status.as_u16());
        Err(Error::new(kind, text).with_retry_after(wait))
    }

    fn refusal(&self, asks_to_wait: bool) -> Option<(ErrorKind, String)> {
        let (kind, what) = match self.status.as_u16() {
            200 => return None,
            300..=399 => return Some((ErrorKind::Redirected, self.redirect())),
            401 if self.authorized => (
                ErrorKind::Authentication,
                "the server does not accept these credentials",
            ),
            401 => (ErrorKind::Authentication, "the server asks for credentials"),
            // GitHub's secondary rate limit.
            403 if asks_to_wait => (ErrorKind::RateLimited, "the server asks for fewer requests"),
            403 => (ErrorKind::PermissionDenied, "the server denies access"),
            404 | 410 if self.authorized => (
                ErrorKind::NotFound,
                "the server has no such repository, or none that these credentials may see",
            ),
            404 | 410 => (ErrorKind::NotFound, "the server has no such repository"),
            408 => (
                ErrorKind::ServerError,
                "the server has given up waiting for the request",
            ),
            411 => (
                ErrorKind::Remote,
                "the server wants to know the length of the request beforehand",
            ),
            413 => (ErrorKind::Remote, "the request is too large for the server"),
            425 => (ErrorKind::RateLimited, "the server asks to try again later"),
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
        match self.header(header::LOCATION).and_then(leads_to) {
            Some((url, true)) => format!("{text}; try {url}"),
            Some((url, false)) => {
                let cause = if self.authorized {
                    "it does not accept these credentials"
                } else {
                    "it wants credentials"
                };
                format!("the server redirects to {url}, which is no repository: perhaps {cause}")
            }
            None => text.to_owned(),
        }
    }

    /// The new URL of the repository, if the redirect of what was `asked` may be followed.
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
        if self.is_of_type(expected) {
            return Ok(());
        }
        let text = if self.authorized && self.is_of_type("text/html") {
            "the answer is a page: this URL does not speak Git's smart HTTP, or the server does not \
             accept these credentials and shows where to log in"
                .to_owned()
        } else {
            format!(
                "the answer is not of the type {expected}; this URL does not speak Git's smart HTTP"
            )
        };
        Err(Error::new(ErrorKind::NotAGitServer, text))
    }

    /// Whether the body is text that can be repeated as it is.
    pub(super) fn is_plain_text(&self) -> bool {
        self.is_of_type("text/plain") && !self.headers.contains_key(header::CONTENT_ENCODING)
    }

    fn is_of_type(&self, essence: &str) -> bool {
        let content_type = self.header(header::CONTENT_TYPE).unwrap_or_default();
        let found = content_type.split(';').next().unwrap_or_default();
        found.trim().eq_ignore_ascii_case(essence)
    }

    fn header(&self, name: header::HeaderName) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

/// The suffixes of a repository's URL in requests (gitprotocol-http(5)).
const ASKED_WITH: [&str; 3] = ["/info/refs", "/git-upload-pack", "/git-receive-pack"];

/// The target of a redirect if it can be shown, and whether it is a repository's.
fn leads_to(location: &str) -> Option<(RemoteUrl, bool)> {
    let url = location.split('?').next().unwrap_or_default();
    let repository = ASKED_WITH.iter().find_map(|path| url.strip_suffix(path));
    let parsed = RemoteUrl::parse(repository.unwrap_or(url)).ok();
    let shown = parsed.filter(|url| url.as_str().len() <= MAX_SHOWN);
    shown.map(|url| (url, repository.is_some()))
}

/// `Retry-After`, in seconds or as a date (RFC 9110 section 10.2.3). A date in the past is no wait.
fn retry_after(value: &str, now: SystemTime) -> Option<Duration> {
    let value = value.trim();
    let wait = if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) {
        // A number that does not fit exceeds the maximum in any case.
        Duration::from_secs(value.parse().unwrap_or(u64::MAX))
    } else {
        let date = httpdate::parse_http_date(value).ok()?;
        date.duration_since(now).unwrap_or_default()
    };
    Some(wait.min(MAX_RETRY_AFTER))
}

/// The error for an exchange that ended without a complete answer. `garbled` is its kind if the bytes are not HTTP.
pub(super) fn incomplete(err: ureq::Error, garbled: ErrorKind) -> Error {
    let kept = match &err {
        ureq::Error::LargeResponseHeader(_, limit) => Error::new(
            ErrorKind::BudgetExceeded,
            format!("the headers of the answer exceed {limit} bytes"),
        ),
        // `BodyStalled` means an end within the framing of a chunk.
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
        head.check_status(SystemTime::UNIX_EPOCH, String::new)?;
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
            (408, ServerError),
            (410, NotFound),
            (411, Remote),
            (413, Remote),
            (425, RateLimited),
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
    fn who_is_denied_for_a_time_may_come_back() {
        let waits = [(header::RETRY_AFTER, "60")];
        let err = check(403, &waits).expect_err("refused");
        assert_eq!(err.kind(), ErrorKind::RateLimited);
        assert_eq!(err.retry_after(), Some(Duration::from_secs(60)));
        for status in [408, 425, 429, 503] {
            assert!(check(status, &[]).expect_err("refused").is_retryable());
        }
        let nonsense = [(header::RETRY_AFTER, "soon")];
        let err = check(403, &nonsense).expect_err("refused");
        assert_eq!(err.kind(), ErrorKind::PermissionDenied);
        assert!(!err.is_retryable());
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
                "https://new.example/a.git/git-receive-pack",
                "; try https://new.example/a.git (",
            ),
            (
                "https://new.example/login?next=canary",
                "to https://new.example/login, which is no repository: perhaps it does not accept \
                 these credentials (",
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
        let page = [(header::CONTENT_TYPE, "text/html; charset=utf-8")];
        let login = [(header::LOCATION, "https://git.example/login")];
        for (status, headers, authorized, anonymous) in [
            (
                401,
                &[][..],
                "does not accept these credentials",
                "asks for credentials",
            ),
            (
                404,
                &[],
                "none that these credentials may see",
                "no such repository (",
            ),
            (
                410,
                &[],
                "none that these credentials may see",
                "no such repository (",
            ),
            (
                200,
                &page,
                "does not accept these credentials",
                "not speak Git's smart HTTP",
            ),
            (
                302,
                &login,
                "does not accept these credentials",
                "perhaps it wants credentials",
            ),
        ] {
            for (is_authorized, expected) in [(true, authorized), (false, anonymous)] {
                let head = Head {
                    status: StatusCode::from_u16(status).expect("a status"),
                    headers: &self::headers(headers),
                    authorized: is_authorized,
                };
                let checked = head.check_status(SystemTime::UNIX_EPOCH, String::new);
                let err = checked.and_then(|()| head.check_content_type(TYPE));
                let err = err.expect_err("refused").to_string();
                assert!(err.contains(expected), "{err}");
            }
        }
    }
}
