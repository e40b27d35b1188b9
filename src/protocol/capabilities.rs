//! The capabilities that a server advertises (gitprotocol-capabilities(5)).

use std::fmt;

use bstr::{BStr, BString, ByteSlice as _};

/// The capabilities of a server, each `<name>[=<value>]`.
#[derive(Default, Clone)]
pub(crate) struct Capabilities {
    text: BString,
    separator: u8,
}

/// The number of bytes in place of the text: a server may repeat a credential in it.
impl fmt::Debug for Capabilities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.text.len())
    }
}

impl Capabilities {
    /// The capabilities of protocol v2, one per line.
    pub(crate) fn of_v2(lines: impl Into<BString>) -> Self {
        Capabilities {
            text: lines.into(),
            separator: b'\n',
        }
    }

    /// The capabilities of an older protocol, in one line.
    pub(crate) fn of_v0(words: impl Into<BString>) -> Self {
        Capabilities {
            text: words.into(),
            separator: b' ',
        }
    }

    /// Whether the capability `word` is advertised; `word` may include a value.
    pub(crate) fn has(&self, word: &str) -> bool {
        let name = word.split('=').next().unwrap_or_default();
        self.value(name).is_some()
    }

    /// Whether the value of the capability `name` contains `word`.
    pub(crate) fn has_feature(&self, name: &str, word: &str) -> bool {
        let value = self.value(name).unwrap_or_default();
        value
            .split_str(" ")
            .any(|feature| feature == word.as_bytes())
    }

    /// The value of the first capability `name`; empty if it has no value.
    pub(crate) fn value(&self, name: &str) -> Option<&BStr> {
        self.values(name).next()
    }

    pub(super) fn values(&self, name: &str) -> impl Iterator<Item = &BStr> {
        let words = self.text.split(|byte| *byte == self.separator);
        words.filter_map(move |word| match word.strip_prefix(name.as_bytes())? {
            [] => Some(BStr::new(b"")),
            rest => rest.strip_prefix(b"=").map(BStr::new),
        })
    }
}
