//! [`TargetUrl`], the address of a webhook target.

use std::net::IpAddr;

use hyper::Uri;
use refsync::{NetworkPolicy, Origin, RemoteUrl};

/// The longest address that is taken.
const MOST_BYTES: usize = 2048;

/// The address of a webhook target: an `https` or `http` URL, which may have a query, but no user, password or
/// fragment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TargetUrl {
    origin: Origin,
    uri: Uri,
}

impl TargetUrl {
    /// Parses the address.
    ///
    /// # Errors
    /// The fault of the address, in a text that repeats no part of it.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.len() > MOST_BYTES {
            return Err("the URL has more than 2048 bytes".into());
        }
        if text.contains('#') {
            return Err("the URL has a fragment, which is never sent".into());
        }
        let is_plain = text.bytes().all(|byte| byte.is_ascii_graphic());
        let without_query = text.split('?').next().unwrap_or_default();
        // The rules for upstreams hold for all but the query.
        let parsed = RemoteUrl::parse(without_query).map_err(|err| err.to_string())?;
        match text.parse() {
            Ok(uri) if is_plain => Ok(TargetUrl {
                origin: parsed.origin().clone(),
                uri,
            }),
            _ => Err("the URL is malformed".into()),
        }
    }

    /// Whether the policy can refuse the address without resolving its name.
    ///
    /// # Errors
    /// The reason of the refusal.
    pub fn check(&self, policy: &NetworkPolicy) -> Result<(), &'static str> {
        if !self.origin.is_https() && !policy.allow_plain_http {
            return Err("the URL has to begin with https://");
        }
        let literal = self.origin.host().parse::<IpAddr>();
        if literal.is_ok_and(|address| !policy.allows(address)) {
            return Err("the network policy does not allow the address of this URL");
        }
        Ok(())
    }

    /// Scheme, host and port.
    pub fn origin(&self) -> &Origin {
        &self.origin
    }

    /// Path and query, as they stand in a request.
    pub(super) fn path(&self) -> String {
        match self.uri.path_and_query().map(|path| path.as_str()) {
            Some(query) if query.starts_with('?') => format!("/{query}"),
            Some(path) => path.to_owned(),
            None => "/".to_owned(),
        }
    }

    /// The value of the `host` header: the port only where it is not the scheme's own.
    pub(super) fn host_header(&self) -> String {
        let with_port = self.origin.to_string();
        let authority = with_port.split_once("://").map_or("", |(_, rest)| rest);
        let usual = if self.origin.is_https() {
            ":443"
        } else {
            ":80"
        };
        authority
            .strip_suffix(usual)
            .unwrap_or(authority)
            .to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_that_can_be_sent_to() {
        for (text, path, host) in [
            ("https://a.example", "/", "a.example"),
            ("https://a.example/x?y=1&z", "/x?y=1&z", "a.example"),
            ("https://a.example?y", "/?y", "a.example"),
            ("http://A.example:8080/X", "/X", "a.example:8080"),
            ("http://a.example:80/", "/", "a.example"),
            ("https://[2606:4700::1]:8443/", "/", "[2606:4700::1]:8443"),
        ] {
            let url = TargetUrl::parse(text).expect(text);
            assert_eq!(
                (url.path().as_str(), url.host_header().as_str()),
                (path, host),
                "{text}"
            );
        }
        let long = format!("https://a.example/{}", "x".repeat(2048));
        for text in [
            "",
            "a.example",
            "ftp://a.example/",
            "https://user:canary@a.example/",
            "https://a.example/#canary",
            "https://a.example/?can ary",
            "https://a.example/?\r\nx: y",
            "https://a.example/?\0",
            "https://a.example/?ä",
            "https://a.example:0/",
            "https://?x",
            "file:///etc/passwd",
            &long,
        ] {
            let err = TargetUrl::parse(text).expect_err(text);
            assert!(!err.contains("ary"), "{err}");
        }
    }

    #[test]
    fn what_a_policy_refuses_at_once() {
        let (public, any) = (NetworkPolicy::public(), NetworkPolicy::any());
        for (text, by_public) in [
            ("https://a.example/", true),
            ("http://a.example/", false),
            ("https://127.0.0.1/", false),
            ("https://[::1]/", false),
            ("https://[::ffff:10.0.0.1]/", false),
            ("https://169.254.169.254/latest", false),
            ("https://1.1.1.1/", true),
        ] {
            let url = TargetUrl::parse(text).expect(text);
            assert_eq!(url.check(&public).is_ok(), by_public, "{text}");
            assert!(url.check(&any).is_ok(), "{text}");
        }
    }
}
