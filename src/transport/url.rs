//! [`RemoteUrl`] and [`Origin`]: the URL of a remote repository.

use std::fmt;

use ureq::http::Uri;

use crate::{Error, ErrorKind};

/// The address of a remote repository: an `https` or `http` URL without credentials.
#[derive(Clone, PartialEq, Eq)]
pub struct RemoteUrl {
    text: String,
    origin: Origin,
}

/// The origin of a URL: scheme, host and port.
///
/// Shown as `https://example.com:443`, always with the port.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Origin {
    is_https: bool,
    host: String,
    port: u16,
}

impl RemoteUrl {
    /// Parses `https://host[:port][/path]`, or the same with `http`. Whether a connection over `http` is allowed
    /// is decided by the [`NetworkPolicy`](crate::NetworkPolicy).
    ///
    /// # Errors
    /// [`ErrorKind::InvalidUrl`] for other schemes, for paths and the `host:path` form, for credentials, a query or
    /// a fragment in the URL, and for anything that RFC 3986 does not allow. The text repeats no part of the URL that
    /// could be a credential.
    pub fn parse(url: &str) -> Result<Self, Error> {
        let invalid = |complaint: &str| Error::new(ErrorKind::InvalidUrl, complaint);
        if let Some(complaint) = complaint(url) {
            return Err(invalid(complaint));
        }
        let malformed = || invalid("the URL is malformed");
        if !is_percent_encoded(url) {
            return Err(malformed());
        }
        let uri: Uri = url.parse().map_err(|_| malformed())?;
        let origin =
            Origin::of(&uri).ok_or_else(|| invalid("the URL has no valid host or port"))?;
        let text = format!("{}{}", origin.in_url(), uri.path());
        Ok(RemoteUrl { text, origin })
    }

    /// Scheme, host and port.
    pub fn origin(&self) -> &Origin {
        &self.origin
    }

    /// Whether the scheme is `https`.
    pub fn is_https(&self) -> bool {
        self.origin.is_https
    }

    /// The URL with scheme and host in lower case.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

/// The fault of a URL that can be found before parsing it. The texts are fixed, because any part of the input may
/// be a credential.
fn complaint(url: &str) -> Option<&'static str> {
    let after_scheme = url.split_once("://").map_or("", |(_, rest)| rest);
    let authority = after_scheme
        .split(['/', '?', '#', '\\'])
        .next()
        .unwrap_or_default();
    // An IPv6 address in brackets may have a zone after `%`, which has an error text of its own.
    let is_foreign = !authority.is_ascii() || authority.contains('%') && !authority.contains('[');
    if is_foreign && !authority.contains('@') {
        return Some(
            "the URL's host has a character that host names don't have; write one beyond ASCII in \
             punycode, as in xn--bcher-kva.example",
        );
    }
    if !url.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Some(
            "the URL contains white space, a control character or a character beyond ASCII \
             (use percent-encoding)",
        );
    }
    let Some((scheme, rest)) = url.split_once("://") else {
        return Some(match url.split_once(':') {
            Some((host, _)) if !host.contains('/') => {
                "the URL has no scheme, such as https://; ssh's `host:path` is not supported"
            }
            _ => "the URL has no scheme, such as https://; local paths are not supported here",
        });
    };
    if !["https", "http"].contains(&scheme.to_ascii_lowercase().as_str()) {
        return Some("the URL's scheme is not supported; use https:// (or http://)");
    }
    if authority.contains('@') {
        return Some("the URL contains a username or password; pass credentials separately");
    }
    if authority.is_empty() || authority.starts_with(':') {
        return Some("the URL has no host");
    }
    if rest.contains('?') {
        return Some("the URL has a query, which Git's smart HTTP does not allow");
    }
    if rest.contains('#') {
        return Some("the URL has a fragment, which Git's smart HTTP does not allow");
    }
    None
}

/// Whether every `%` begins a percent-encoded byte (RFC 3986 section 2.1).
fn is_percent_encoded(url: &str) -> bool {
    let mut codes = url.as_bytes().split(|byte| *byte == b'%').skip(1);
    codes.all(|code| matches!(code, [high, low, ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit()))
}

impl Origin {
    /// Whether the scheme is `https`.
    pub fn is_https(&self) -> bool {
        self.is_https
    }

    /// The host in lower case; IPv6 addresses without brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port; the scheme's default if the URL has none.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The origin of `uri`, which is `None` unless it is `http(s)` with nothing but a host and an
    /// optional port in its authority.
    pub(super) fn of(uri: &Uri) -> Option<Self> {
        let is_https = match uri.scheme_str()? {
            "https" => true,
            "http" => false,
            _ => return None,
        };
        let authority = uri.authority()?.as_str();
        let (host, port) = match authority.strip_prefix('[') {
            Some(rest) => {
                let (host, port) = rest.split_once(']')?;
                host.parse::<std::net::Ipv6Addr>().ok()?;
                (host, port)
            }
            None => {
                let (host, port) =
                    authority.split_at(authority.find(':').unwrap_or(authority.len()));
                let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
                // A final dot would make a second name of the same host.
                if host.is_empty() || host.ends_with('.') || !host.bytes().all(is_name) {
                    return None;
                }
                (host, port)
            }
        };
        let port = match port.strip_prefix(':') {
            // `parse` would accept a sign.
            Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
                digits.parse().ok().filter(|&port| port != 0)?
            }
            Some(_) => return None,
            None if port.is_empty() => default_port(is_https),
            None => return None,
        };
        Some(Origin {
            is_https,
            host: host.to_ascii_lowercase(),
            port,
        })
    }

    /// The origin as the start of a URL, with the port only if it is not the default.
    fn in_url(&self) -> String {
        let with_port = self.to_string();
        let default = format!(":{}", default_port(self.is_https));
        match with_port.strip_suffix(&default) {
            Some(without) => without.to_owned(),
            None => with_port,
        }
    }
}

fn default_port(is_https: bool) -> u16 {
    if is_https { 443 } else { 80 }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.is_https { "https" } else { "http" };
        let (open, close) = if self.host.contains(':') {
            ("[", "]")
        } else {
            ("", "")
        };
        write!(f, "{scheme}://{open}{}{close}:{}", self.host, self.port)
    }
}

impl fmt::Display for RemoteUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for RemoteUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RemoteUrl({})", self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_accepted_and_how_it_reads() {
        let cases = [
            (
                "https://example.com/a.git",
                "https://example.com/a.git",
                "https://example.com:443",
            ),
            (
                "HTTPS://Example.COM:443/A.git/",
                "https://example.com/A.git/",
                "https://example.com:443",
            ),
            (
                "https://example.com:8443/a%20b",
                "https://example.com:8443/a%20b",
                "https://example.com:8443",
            ),
            (
                "http://localhost:3000/x/@y:z",
                "http://localhost:3000/x/@y:z",
                "http://localhost:3000",
            ),
            ("http://host:443/x", "http://host:443/x", "http://host:443"),
            (
                "https://[2001:DB8::1]:8080/a",
                "https://[2001:db8::1]:8080/a",
                "https://[2001:db8::1]:8080",
            ),
            (
                "https://example.com",
                "https://example.com/",
                "https://example.com:443",
            ),
        ];
        for (input, text, origin) in cases {
            let url = RemoteUrl::parse(input).expect(input);
            assert_eq!(url.as_str(), text);
            assert_eq!(url.to_string(), text);
            assert_eq!(url.origin().to_string(), origin);
        }
    }

    #[test]
    fn what_is_refused_and_why() {
        let cases = [
            ("ssh://git@example.com/canary", "scheme is not supported"),
            ("git://example.com/canary", "scheme is not supported"),
            ("file:///canary", "scheme is not supported"),
            ("ftp://example.com/canary", "scheme is not supported"),
            ("ext::sh -c canary", "white space"),
            ("git@example.com:canary", "`host:path`"),
            (
                "https::https://example.com/canary",
                "scheme is not supported",
            ),
            ("/srv/canary.git", "local paths"),
            ("./a:canary", "local paths"),
            ("", "local paths"),
            ("https://", "no host"),
            ("https:///canary", "no host"),
            ("https://:443/canary", "no host"),
            ("https://canary@example.com/a", "username or password"),
            ("https://me:canary@example.com/a", "username or password"),
            ("https://@example.com/canary", "username or password"),
            ("https://example.com/a?token=canary", "query"),
            ("https://example.com/a#canary", "fragment"),
            ("https://example.com?canary", "query"),
            ("https://exa mple.com/canary", "white space"),
            (
                "https://example.com/a\r\nX-Canary: canary",
                "control character",
            ),
            ("https://exämple.com/canary", "punycode"),
            ("https://ex%C3%A4mple.com/canary", "punycode"),
            ("https://例え.example:8080", "punycode"),
            ("https://exämple.com@evil/canary", "beyond ASCII"),
            ("https://example.com/cänary", "(use percent-encoding)"),
            ("https://example.com./canary", "host or port"),
            ("https://127.0.0.1./canary", "host or port"),
            ("https://example.com:0/canary", "host or port"),
            ("https://example.com:65536/canary", "host or port"),
            ("https://example.com:/canary", "host or port"),
            ("https://example.com:+443/canary", ""),
            ("https://example.com:canary/a", ""),
            ("https://example.com:1:2/canary", ""),
            ("https://exam%70le.com/canary", ""),
            ("https://[::1/canary", ""),
            ("https://[canary]/a", "host or port"),
            ("https://[fe80::1%25eth0]/canary", ""),
            ("https://example.com\\@canary/a", ""),
            ("https://example.com/%zz/canary", "malformed"),
            ("https://example.com/canary%2", "malformed"),
        ];
        for (input, expected) in cases {
            let err = RemoteUrl::parse(input).expect_err(input);
            assert_eq!(err.kind(), ErrorKind::InvalidUrl, "{input}");
            let text = format!("{err} {err:?}");
            assert!(text.contains(expected), "{input}: {text}");
            assert!(!text.contains("anary"), "{input}: {text}");
        }
    }
}
