//! Object ids, and the hash that makes them.

use std::{fmt, str::FromStr};

use gix::hash::Kind;

/// The digits of the longest id.
pub(crate) const MAX_HEX: usize = Kind::longest().len_in_hex();

/// The id of an object: the hash of its content, SHA-1 or SHA-256.
///
/// It is parsed and displayed as hex. The null id, all zeros, stands for no object.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectId(pub(crate) gix::ObjectId);

impl ObjectId {
    /// The null id of a format.
    pub fn null(format: ObjectFormat) -> Self {
        ObjectId(gix::ObjectId::null(format.hash_kind()))
    }

    /// The id with the bytes of a hash.
    ///
    /// # Errors
    /// [`InvalidObjectId`] unless there are 20 or 32 of them.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, InvalidObjectId> {
        let id = gix::ObjectId::try_from(bytes);
        id.map(ObjectId).map_err(|_| InvalidObjectId(()))
    }

    /// Parses hex digits, in either case.
    ///
    /// # Errors
    /// [`InvalidObjectId`] unless there are 40 or 64 of them, and nothing else.
    pub fn from_hex(hex: &[u8]) -> Result<Self, InvalidObjectId> {
        let formats = [ObjectFormat::Sha1, ObjectFormat::Sha256];
        let id = formats.iter().find_map(|format| parse_hex(hex, *format));
        id.ok_or(InvalidObjectId(()))
    }

    /// The bytes of the hash.
    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_slice()
    }

    /// The format of the id.
    pub fn format(&self) -> ObjectFormat {
        ObjectFormat::of(self.0.kind())
    }

    /// Whether this is the null id.
    pub fn is_null(&self) -> bool {
        self.0.is_null()
    }
}

impl From<[u8; 20]> for ObjectId {
    fn from(sha1: [u8; 20]) -> Self {
        ObjectId(gix::ObjectId::Sha1(sha1))
    }
}

impl From<[u8; 32]> for ObjectId {
    fn from(sha256: [u8; 32]) -> Self {
        ObjectId(gix::ObjectId::Sha256(sha256))
    }
}

/// The same ids in the type of gix.
pub(crate) fn to_gix(ids: &[ObjectId]) -> Vec<gix::ObjectId> {
    ids.iter().map(|id| id.0).collect()
}

#[cfg(feature = "gix")]
impl From<gix::ObjectId> for ObjectId {
    fn from(id: gix::ObjectId) -> Self {
        ObjectId(id)
    }
}

#[cfg(feature = "gix")]
impl From<ObjectId> for gix::ObjectId {
    fn from(id: ObjectId) -> Self {
        id.0
    }
}

/// Displays the id as hex. A precision limits the number of digits: `{id:.7}`.
impl fmt::Display for ObjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.0.hex_to_buf(&mut [0; MAX_HEX]))
    }
}

/// The same as [`Display`](fmt::Display).
impl fmt::Debug for ObjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for ObjectId {
    type Err = InvalidObjectId;

    fn from_str(hex: &str) -> Result<Self, InvalidObjectId> {
        ObjectId::from_hex(hex.as_bytes())
    }
}

/// Serializes the id as hex.
#[cfg(feature = "serde")]
impl serde::Serialize for ObjectId {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

#[cfg(feature = "serde")]
impl<'de> serde::Deserialize<'de> for ObjectId {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let hex = String::deserialize(from)?;
        hex.parse().map_err(serde::de::Error::custom)
    }
}

/// The error for a value that is not an object id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("an object id is 40 or 64 hex digits")]
pub struct InvalidObjectId(());

/// The hash function of a repository's object ids.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ObjectFormat {
    /// SHA-1, with collision detection.
    Sha1,
    /// SHA-256.
    Sha256,
}

impl ObjectFormat {
    /// The format with this hash. gix opens no repository with another one.
    pub(crate) fn of(hash: Kind) -> Self {
        match hash {
            Kind::Sha256 => ObjectFormat::Sha256,
            _ => ObjectFormat::Sha1,
        }
    }

    pub(crate) fn hash_kind(self) -> Kind {
        match self {
            ObjectFormat::Sha1 => Kind::Sha1,
            ObjectFormat::Sha256 => Kind::Sha256,
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

/// The id that these digits stand for, if there are as many of them as the format has.
pub(crate) fn parse_hex(hex: &[u8], format: ObjectFormat) -> Option<ObjectId> {
    let id = match format {
        ObjectFormat::Sha1 => gix::ObjectId::Sha1(bytes_of::<40, 20>(hex.try_into().ok()?)?),
        ObjectFormat::Sha256 => gix::ObjectId::Sha256(bytes_of::<64, 32>(hex.try_into().ok()?)?),
    };
    Some(ObjectId(id))
}

/// The bytes that hex digits stand for. Valid and invalid digits take the same path, so that many are converted at a
/// time.
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
    fn an_id_reads_what_it_prints() {
        for (format, length) in [(ObjectFormat::Sha1, 20), (ObjectFormat::Sha256, 32)] {
            let bytes: Vec<_> = (0..length).map(|at: u8| at.wrapping_mul(0x1d)).collect();
            let id = ObjectId::from_bytes(&bytes).expect("an id");
            let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            assert_eq!(id.to_string(), hex);
            assert_eq!(format!("{id:?} {id:.7}"), format!("{hex} {}", &hex[..7]));
            assert_eq!(hex.to_uppercase().parse(), Ok(id));
            assert_eq!(id.as_bytes(), bytes);
            assert_eq!(id.format(), format);
            let null = ObjectId::null(format);
            assert_eq!(null.to_string(), "0".repeat(hex.len()));
            assert!(null.is_null() && !id.is_null() && null < id);
            let no_ids = [
                "",
                &hex[1..],
                &format!("{hex}0"),
                &format!("{}g", &hex[1..]),
            ];
            for no_id in no_ids {
                assert_eq!(
                    no_id.parse::<ObjectId>(),
                    Err(InvalidObjectId(())),
                    "{no_id}"
                );
            }
            assert!(ObjectId::from_bytes(&bytes[1..]).is_err());
        }
        let [sha1, sha256] = [ObjectId::from([1; 20]), ObjectId::from([1; 32])];
        assert_eq!(sha1.as_bytes(), [1; 20]);
        assert_eq!(sha256.as_bytes(), [1; 32]);
        assert_ne!(sha1, sha256);
    }

    #[test]
    fn ids_are_of_as_many_digits_as_the_format_has() {
        for byte in 0..=u8::MAX {
            for (format, digits) in [(ObjectFormat::Sha1, 40), (ObjectFormat::Sha256, 64)] {
                for at in [0, 1, 17, digits - 1] {
                    let mut hex = b"0123456789abcdefABCDEF".repeat(3)[..digits].to_vec();
                    hex[at] = byte;
                    let expected = gix::ObjectId::from_hex(&hex.to_ascii_lowercase()).ok();
                    let expected = expected.map(ObjectId);
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
