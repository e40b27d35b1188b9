//! URLs, and where redirects lead.

use ureq::http::{StatusCode, Uri};

use super::bytes::Bytes;
use crate::{ErrorKind, RemoteUrl, transport::moved_within_origin};

/// A byte for the status, then a URL and a redirect's location in a line each.
///
/// What is taken for a URL is one to both parsers behind us, has no credentials, and says the same
/// when it is written down again. A redirect that is followed leads to the same origin.
pub fn url(data: &[u8]) {
    let mut bytes = Bytes(data);
    let status = [200, 300, 301, 302, 303, 304, 307, 308][bytes.below(8)];
    let Ok(text) = str::from_utf8(bytes.0) else {
        return;
    };
    let (url, location) = text.split_once('\n').unwrap_or((text, ""));
    let parsed = match RemoteUrl::parse(url) {
        Ok(parsed) => parsed,
        Err(err) => {
            assert_eq!(err.kind(), ErrorKind::InvalidUrl);
            let shown = format!("{err} {err:?}");
            let secret = url
                .split_once("://")
                .and_then(|(_, rest)| rest.split_once('@'));
            let secret = secret.map_or("", |(secret, _)| secret);
            // Our own words have no digits, so one that has any isn't a piece of them.
            let is_known = secret.len() >= 20 && secret.contains(|c: char| c.is_ascii_digit());
            assert!(!is_known || !shown.contains(secret), "{shown}");
            return;
        }
    };
    is_sound(&parsed);
    let asked = format!(
        "{}/info/refs?service=git-upload-pack",
        parsed.as_str().trim_end_matches('/')
    );
    let asked: Uri = asked.parse().expect("a URI");
    let status = StatusCode::from_u16(status).expect("a status");
    let Some(moved) = moved_within_origin(&asked, status, location) else {
        return;
    };
    is_sound(&moved);
    assert!(![200, 300, 304].contains(&status.as_u16()));
    assert_eq!(moved.origin(), parsed.origin());
    let path = location
        .strip_suffix("/info/refs?service=git-upload-pack")
        .expect("a listing");
    if !location.starts_with('/') {
        let target: Uri = location.parse().expect("a URI");
        assert_eq!(
            target.host().map(str::to_ascii_lowercase),
            asked.host().map(str::to_ascii_lowercase)
        );
        assert_eq!(target.scheme(), asked.scheme());
        assert!(!target.authority().expect("one").as_str().contains('@'));
    }
    assert!(
        moved
            .as_str()
            .trim_end_matches('/')
            .ends_with(path_of(path).trim_end_matches('/'))
    );
}

fn path_of(url: &str) -> &str {
    let Some((_, rest)) = url.split_once("://") else {
        return url;
    };
    rest.find('/').map_or("", |at| &rest[at..])
}

fn is_sound(url: &RemoteUrl) {
    let text = url.as_str();
    assert!(text.bytes().all(|byte| byte.is_ascii_graphic()));
    assert!(!text.contains(['?', '#']));
    let (scheme, rest) = text.split_once("://").expect("a scheme");
    let authority = rest.split('/').next().unwrap_or_default();
    assert!(!authority.contains(['@', '\\', '%']), "{text}");
    let again = RemoteUrl::parse(text).expect("what was one before");
    assert!(again == *url, "{again} {url}");
    assert_eq!(again.as_str(), text);

    let origin = url.origin();
    assert_eq!(scheme, if origin.is_https() { "https" } else { "http" });
    assert_eq!(url.is_https(), origin.is_https());
    let uri: Uri = text.parse().expect("a URI");
    let host = uri.host().expect("a host").trim_matches(['[', ']']);
    assert_eq!(host, origin.host());
    let default = if origin.is_https() { 443 } else { 80 };
    assert_eq!(uri.port_u16().unwrap_or(default), origin.port());
}
