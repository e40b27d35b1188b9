//! The header of a pack's entry (gitformat-pack(5)).

use std::io::{self, Read};

use gix::{ObjectId, hash::Kind as HashKind, objs::Kind};
use gix_pack::data::entry::Header;

use crate::buffered::invalid_data;

/// Git goes on only where all seven bits of the next byte would fit, whichever are set: so no size takes
/// more than nine bytes.
const MAX_SHIFT: u32 = u64::BITS - 7;

/// The longest header of an entry: a size of 64 bits, and the longest distance or id.
pub(crate) const MAX_HEADER: usize = 10 + 32;

/// Reads the header of an entry, and the inflated size of the object or delta in it, in bytes.
///
/// Numbers that don't fit are errors: gix would wrap them around, and `git index-pack` takes what git
/// doesn't read afterwards (`packfile.c:unpack_object_header_buffer()`).
pub(crate) fn read_header(from: &mut impl Read, hash: HashKind) -> io::Result<(Header, u64)> {
    let first = byte(from)?;
    let mut size = u64::from(first & 0x0f);
    let (mut last, mut shift) = (first, 4);
    while last & 0x80 != 0 {
        last = byte(from)?;
        if shift > MAX_SHIFT {
            return Err(invalid_data("has an entry with an impossible size"));
        }
        size |= u64::from(last & 0x7f) << shift;
        shift += 7;
    }
    let header = match first >> 4 & 7 {
        1 => Header::Commit,
        2 => Header::Tree,
        3 => Header::Blob,
        4 => Header::Tag,
        6 => Header::OfsDelta {
            base_distance: distance(from)?,
        },
        7 => {
            let mut base_id = ObjectId::null(hash);
            from.read_exact(base_id.as_mut_slice())?;
            Header::RefDelta { base_id }
        }
        _ => return Err(invalid_data("has an entry of an unknown type")),
    };
    Ok((header, size))
}

/// The header of an entry that holds an object whole.
pub(crate) fn header_of(kind: Kind) -> Header {
    match kind {
        Kind::Commit => Header::Commit,
        Kind::Tree => Header::Tree,
        Kind::Blob => Header::Blob,
        Kind::Tag => Header::Tag,
    }
}

fn distance(from: &mut impl Read) -> io::Result<u64> {
    let mut last = byte(from)?;
    let mut distance = u64::from(last & 0x7f);
    while last & 0x80 != 0 {
        last = byte(from)?;
        let higher = distance.checked_add(1).filter(|d| *d <= u64::MAX >> 7);
        let higher =
            higher.ok_or_else(|| invalid_data("has a delta with an impossible distance"))?;
        distance = higher << 7 | u64::from(last & 0x7f);
    }
    Ok(distance)
}

fn byte(from: &mut impl Read) -> io::Result<u8> {
    let mut byte = [0];
    from.read_exact(&mut byte)?;
    Ok(byte[0])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(mut bytes: &[u8]) -> Option<(Header, u64)> {
        read_header(&mut bytes, HashKind::Sha1).ok()
    }

    #[test]
    fn what_gix_writes_is_read() {
        let base = ObjectId::from_bytes_or_panic(&[9; 20]);
        for size in [0, 1, 15, 16, 2047, 2048, 1 << 32, (1 << 60) - 1] {
            let base = Header::RefDelta { base_id: base };
            let whole = [Kind::Commit, Kind::Tree, Kind::Blob, Kind::Tag].map(header_of);
            for header in whole.into_iter().chain([base]) {
                let mut bytes = Vec::new();
                header.write_to(size, &mut bytes).expect("written");
                assert_eq!(read(&bytes), Some((header, size)));
                assert_eq!(read(&bytes[..bytes.len() - 1]), None);
            }
        }
        for base_distance in [1, 127, 128, 129, 16511, 16512, 1 << 40, u64::MAX >> 1] {
            let mut bytes = Vec::new();
            let header = Header::OfsDelta { base_distance };
            header.write_to(7, &mut bytes).expect("written");
            assert_eq!(read(&bytes), Some((header, 7)));
        }
    }

    #[test]
    fn numbers_that_do_not_fit() {
        let size = |last: &[u8]| {
            let header = [&[0xb4, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80], last].concat();
            read(&header).map(|(_, size)| size)
        };
        assert_eq!(size(&[0x7f]), Some(0x7f << 53 | 4));
        assert_eq!(size(&[0x00]), Some(4), "more bytes than it takes");
        for last in [&[0x80, 0x01][..], &[0x80, 0x00], &[0x80, 0x80, 0x00]] {
            assert_eq!(size(last), None, "a byte too many");
        }
        for kind in [0, 5] {
            assert_eq!(read(&[kind << 4]), None);
        }
        assert_eq!(read(&[&[0x60][..], &[0xff; 20]].concat()), None);
    }
}
