//! Object ids, and the hash that makes them.

use crate::ObjectId;

/// The hash that a repository makes its object ids with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ObjectFormat {
    /// SHA-1, with collision detection.
    Sha1,
    /// SHA-256.
    Sha256,
}

impl ObjectFormat {
    pub(crate) fn from_hash_kind(kind: gix::hash::Kind) -> Result<Self, UnknownFormat> {
        match kind {
            gix::hash::Kind::Sha1 => Ok(ObjectFormat::Sha1),
            gix::hash::Kind::Sha256 => Ok(ObjectFormat::Sha256),
            other => Err(UnknownFormat(other)),
        }
    }

    pub(crate) fn hash_kind(self) -> gix::hash::Kind {
        match self {
            ObjectFormat::Sha1 => gix::hash::Kind::Sha1,
            ObjectFormat::Sha256 => gix::hash::Kind::Sha256,
        }
    }
}

/// Git's name for it, as in `extensions.objectFormat`.
impl std::fmt::Display for ObjectFormat {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            ObjectFormat::Sha1 => "sha1",
            ObjectFormat::Sha256 => "sha256",
        })
    }
}

/// A hash that no repository is supported with.
#[derive(Debug, thiserror::Error)]
#[error("object format {0} is not supported")]
pub(crate) struct UnknownFormat(gix::hash::Kind);

/// The id that these digits stand for, if there are as many of them as the format has.
pub(crate) fn parse_hex(hex: &[u8], format: ObjectFormat) -> Option<ObjectId> {
    match format {
        ObjectFormat::Sha1 => Some(ObjectId::Sha1(bytes_of::<40, 20>(hex.try_into().ok()?)?)),
        ObjectFormat::Sha256 => Some(ObjectId::Sha256(bytes_of::<64, 32>(hex.try_into().ok()?)?)),
    }
}

/// All digits in the same way, whatever they are, so that many are taken at a time.
fn bytes_of<const DIGITS: usize, const BYTES: usize>(hex: &[u8; DIGITS]) -> Option<[u8; BYTES]> {
    let mut values = [0; DIGITS];
    let mut all = true;
    for (value, digit) in values.iter_mut().zip(hex) {
        let number = digit.wrapping_sub(b'0');
        let letter = (digit | 0x20).wrapping_sub(b'a');
        all &= (number < 10) | (letter < 6);
        *value = if number < 10 {
            number
        } else {
            letter.wrapping_add(10)
        };
    }
    let mut bytes = [0; BYTES];
    for (byte, [high, low]) in bytes.iter_mut().zip(values.as_chunks().0) {
        *byte = high << 4 | low;
    }
    all.then_some(bytes)
}

#[cfg(test)]
mod tests {
    use bstr::ByteSlice as _;

    use super::*;

    #[test]
    fn ids_are_of_as_many_digits_as_the_format_has() {
        for byte in 0..=u8::MAX {
            for (format, digits) in [(ObjectFormat::Sha1, 40), (ObjectFormat::Sha256, 64)] {
                for at in [0, 1, 17, digits - 1] {
                    let mut hex = b"0123456789abcdefABCDEF".repeat(3)[..digits].to_vec();
                    hex[at] = byte;
                    let expected = ObjectId::from_hex(&hex.to_ascii_lowercase()).ok();
                    assert_eq!(parse_hex(&hex, format), expected, "{}", hex.as_bstr());
                    let others = [&hex[..digits - 1], &hex[..digits - 2], b""];
                    assert!(others.iter().all(|hex| parse_hex(hex, format).is_none()));
                    hex.push(b'0');
                    assert_eq!(parse_hex(&hex, format), None);
                }
            }
        }
    }
}
