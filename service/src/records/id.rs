//! Identifiers: a prefix that says what they name, and 32 hexadecimal digits that sort by the time of their
//! making.

use serde::{Deserialize, Serialize};

/// The text is not an identifier of the wanted kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvalidId {
    prefix: &'static str,
}

impl std::fmt::Display for InvalidId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "an id has the form {}_ and 32 hexadecimal digits",
            self.prefix
        )
    }
}

impl std::error::Error for InvalidId {}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $prefix:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// The identifier with these 128 bits.
            pub fn from_bits(bits: u128) -> Self {
                $name(format!(concat!($prefix, "_{:032x}"), bits))
            }

            /// The text of the identifier.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl std::str::FromStr for $name {
            type Err = InvalidId;

            fn from_str(text: &str) -> Result<Self, InvalidId> {
                let digits = text.strip_prefix(concat!($prefix, "_"));
                let is_digit = |b: u8| matches!(b, b'0'..=b'9' | b'a'..=b'f');
                match digits {
                    Some(digits) if digits.len() == 32 && digits.bytes().all(is_digit) => Ok($name(text.to_owned())),
                    _ => Err(InvalidId { prefix: $prefix }),
                }
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidId;

            fn try_from(text: String) -> Result<Self, InvalidId> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> String {
                id.0
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

id!(/** The identifier of an organization. */ OrgId, "org");
id!(/** The identifier of a repository. */ RepoId, "repo");
id!(/** The identifier of a run. */ SyncId, "sync");
id!(/** The identifier of an API key. */ KeyId, "key");
id!(/** The identifier of a webhook target. */ TargetId, "wht");
id!(/** The identifier of a delivery to a target. */ DeliveryId, "whd");
id!(/** The identifier of an address that an upstream calls. */ HookId, "hook");
id!(/** The identifier of an event. */ EventId, "evt");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_read_as_they_are_written() {
        let id = SyncId::from_bits(0x1f);
        assert_eq!(id.as_str(), "sync_0000000000000000000000000000001f");
        assert_eq!(id.as_str().parse(), Ok(id));
        for wrong in [
            "",
            "sync_",
            "sync_1f",
            "repo_0000000000000000000000000000001f",
            "sync_0000000000000000000000000000001F",
        ] {
            assert!(wrong.parse::<SyncId>().is_err(), "{wrong}");
        }
    }
}
