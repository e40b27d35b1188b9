//! [`ServerProfile`]: the facts about a server that are worth storing between runs.

use std::{fmt, str::FromStr};

use crate::{Error, ErrorKind, ObjectFormat, RemoteUrl};

/// The profile of a server that speaks protocol v2. A run with a profile sends `ls-refs` at once and does not
/// request the capabilities first, which saves one round trip per run.
///
/// [`SmartHttp::profile`](crate::SmartHttp::profile) returns it after a run, and
/// [`SmartHttp::with_profile`](crate::SmartHttp::with_profile) takes it for a later one, for example in another
/// process. A profile is for one URL and holds no secret. A wrong or stale profile costs one request: after an
/// unexpected answer the capabilities are requested as usual.
///
/// Its text form, `1 v2 sha1 https://git.example.com/acme/app.git`, starts with the version of the format. With the
/// feature `serde` a profile is a string of that text. Drop a text that cannot be parsed, for example one from a
/// later version of this crate.
///
/// ```
/// let text = "1 v2 sha1 https://git.example.com/acme/app.git";
/// let profile: refsync::ServerProfile = text.parse()?;
/// assert_eq!(profile.to_string(), text);
/// let upstream = refsync::SmartHttp::new(profile.url().as_str())?.with_profile(profile);
/// # Ok::<_, refsync::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(try_from = "String", into = "String")
)]
pub struct ServerProfile {
    url: RemoteUrl,
    object_format: ObjectFormat,
}

/// The version of the text form, and the version of the protocol.
const FORM: &str = "1 v2";

impl ServerProfile {
    /// The profile of a server that speaks protocol v2.
    pub(super) fn new(url: RemoteUrl, object_format: ObjectFormat) -> Self {
        ServerProfile { url, object_format }
    }

    /// The URL of the repository.
    pub fn url(&self) -> &RemoteUrl {
        &self.url
    }

    /// The hash of the repository's object ids.
    pub fn object_format(&self) -> ObjectFormat {
        self.object_format
    }
}

impl fmt::Display for ServerProfile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{FORM} {} {}", self.object_format, self.url)
    }
}

/// Fails with [`ErrorKind::InvalidOptions`] if the text is not in the format of this version of the crate, and
/// with [`ErrorKind::InvalidUrl`] if its URL is invalid.
impl FromStr for ServerProfile {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let rest = text.strip_prefix(FORM);
        let rest = rest.and_then(|rest| rest.strip_prefix(' '));
        let (format, url) = rest.and_then(|rest| rest.split_once(' ')).ok_or_else(|| {
            let text = "the text is not a server profile of a known version";
            Error::new(ErrorKind::InvalidOptions, text)
        })?;
        let formats = [ObjectFormat::Sha1, ObjectFormat::Sha256];
        let mut formats = formats.into_iter();
        let format = formats.find(|known| known.to_string() == format);
        let object_format = format.ok_or_else(|| {
            let text = "the server profile has an unknown object format";
            Error::new(ErrorKind::InvalidOptions, text)
        })?;
        let url = RemoteUrl::parse(url)?;
        Ok(ServerProfile { url, object_format })
    }
}

impl TryFrom<String> for ServerProfile {
    type Error = Error;

    fn try_from(text: String) -> Result<Self, Error> {
        text.parse()
    }
}

impl From<ServerProfile> for String {
    fn from(profile: ServerProfile) -> Self {
        profile.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn written_and_read_again() {
        for (url, format, text) in [
            (
                "https://Git.example.com/a.git",
                ObjectFormat::Sha1,
                "1 v2 sha1 https://git.example.com/a.git",
            ),
            (
                "http://[::1]:8080/a%20b/",
                ObjectFormat::Sha256,
                "1 v2 sha256 http://[::1]:8080/a%20b/",
            ),
        ] {
            let url = RemoteUrl::parse(url).expect("a URL");
            let profile = ServerProfile::new(url, format);
            assert_eq!(profile.to_string(), text);
            assert_eq!(text.parse::<ServerProfile>().expect("a profile"), profile);
            assert_eq!(String::from(profile.clone()), text);
            #[cfg(feature = "serde")]
            {
                let json = serde_json::to_string(&profile).expect("JSON");
                assert_eq!(json, format!("{text:?}"));
                let read: ServerProfile = serde_json::from_str(&json).expect("a profile");
                assert_eq!(read, profile);
            }
        }
    }

    #[test]
    fn what_is_no_profile() {
        use ErrorKind::{InvalidOptions, InvalidUrl};
        for (text, kind) in [
            ("", InvalidOptions),
            ("1 v2", InvalidOptions),
            ("1 v2 sha1", InvalidOptions),
            ("2 v2 sha1 https://h/a", InvalidOptions),
            ("1 v0 sha1 https://h/a", InvalidOptions),
            ("1 v2 sha512 https://h/a", InvalidOptions),
            ("1 v2 SHA1 https://h/a", InvalidOptions),
            ("1 v2  sha1 https://h/a", InvalidOptions),
            ("1 v2sha1 https://h/a", InvalidOptions),
            ("1 v2 sha1 ", InvalidUrl),
            ("1 v2 sha1 https://h/a b", InvalidUrl),
            ("1 v2 sha1 https://h/a\n", InvalidUrl),
            ("1 v2 sha1 https://me:canary@h/a", InvalidUrl),
            ("1 v2 sha1 file:///canary", InvalidUrl),
        ] {
            let err = text.parse::<ServerProfile>().expect_err(text);
            assert_eq!(err.kind(), kind, "{text}");
            assert!(!format!("{err} {err:?}").contains("canary"), "{err}");
            #[cfg(feature = "serde")]
            assert!(serde_json::from_value::<ServerProfile>(text.into()).is_err());
        }
    }
}
