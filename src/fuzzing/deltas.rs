//! Deltas and zlib streams: what is made is undone, and what comes is applied as by a plain reading.

use std::io::Read;

use super::bytes::{Bytes, Pieces};
use crate::pack::{
    deflate::Deflater,
    delta_apply::{apply, sizes},
    delta_encode::DeltaBase,
    inflate::Inflater,
};

/// A base, and a target made from parts of it and new ones; then a delta that may be none.
pub fn delta(data: &[u8]) {
    let mut bytes = Bytes(data);
    let (base, target, seed) = base_and_target(&mut bytes);
    let max_size = [usize::MAX, 20, 200, 70_000][usize::from(seed & 3)];
    let indexed = DeltaBase::new(base.clone());
    let encoded = indexed.encode(&target, max_size);
    // A second one, with the index that is there by now.
    assert_eq!(indexed.encode(&target, max_size), encoded);
    match &encoded {
        Some(delta) => {
            assert!(delta.len() <= max_size);
            assert_eq!(applied(delta, &base, seed).as_ref(), Some(&target));
            assert_eq!(plainly_applied(delta, &base).as_ref(), Some(&target));
        }
        None => assert!(target.is_empty() || max_size != usize::MAX),
    }
    for content in [&target, &encoded.unwrap_or_default()] {
        goes_through_zlib(content, seed);
    }
    let ours = applied(bytes.0, &base, seed);
    assert_eq!(ours, plainly_applied(bytes.0, &base));
    inflates_alike(bytes.0, seed);
}

fn base_and_target(bytes: &mut Bytes<'_>) -> (Vec<u8>, Vec<u8>, u8) {
    let seed = bytes.byte();
    let mut base = Vec::new();
    let mut target = Vec::new();
    for _ in 0..bytes.below(16) {
        let length = bytes.below(64);
        let times = 1 << bytes.below(9);
        base.extend(bytes.take(length).repeat(times));
    }
    for _ in 0..bytes.below(16) {
        let length = bytes.below(64);
        if bytes.bit() {
            target.extend_from_slice(bytes.take(length));
            continue;
        }
        let at = (bytes.below(256) << 8 | bytes.below(256)) % (base.len() + 1);
        let length = (length << bytes.below(12)).min(base.len() - at);
        target.extend_from_slice(&base[at..][..length]);
    }
    target.truncate(256 * 1024);
    (base, target, seed)
}

/// `None` for what is no delta of this base, or one with a result that is too large.
fn applied(delta: &[u8], base: &[u8], seed: u8) -> Option<Vec<u8>> {
    let mut pieces = Pieces::new(delta, seed);
    let (base_size, size) = sizes(&mut pieces).ok()?;
    if base_size != base.len() as u64 || size > MAX_SIZE {
        return None;
    }
    let mut found = vec![7; 3];
    apply(&mut pieces, &mut &*base, size as usize, &mut found, || true).ok()?;
    assert_eq!(found.len() as u64, size);
    assert!(
        found.capacity() as u64 <= size.max(3),
        "no more memory than it takes"
    );
    Some(found)
}

const MAX_SIZE: u64 = 1024 * 1024;

fn plainly_applied(delta: &[u8], base: &[u8]) -> Option<Vec<u8>> {
    let mut rest = delta.iter().copied();
    let mut size = || {
        let mut size = 0_u128;
        for shift in (0..70).step_by(7) {
            let byte = rest.next()?;
            size |= u128::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return u64::try_from(size).ok();
            }
        }
        None
    };
    let (base_size, size) = (size()?, size()?);
    if base_size != base.len() as u64 || size > MAX_SIZE {
        return None;
    }
    let mut target = Vec::new();
    while let Some(instruction) = rest.next() {
        if instruction & 0x80 == 0 {
            let before = target.len();
            target.extend(rest.by_ref().take(instruction.into()));
            if instruction == 0 || target.len() != before + usize::from(instruction) {
                return None;
            }
        } else {
            let mut fields = [0; 7];
            for (bit, field) in fields.iter_mut().enumerate() {
                if instruction & 1 << bit != 0 {
                    *field = rest.next()?;
                }
            }
            let [o0, o1, o2, o3, s0, s1, s2] = fields;
            let offset = u32::from_le_bytes([o0, o1, o2, o3]) as usize;
            let length = match u32::from_le_bytes([s0, s1, s2, 0]) {
                0 => 0x10000,
                length => length as usize,
            };
            target.extend_from_slice(base.get(offset..offset + length)?);
        }
        if target.len() as u64 > size {
            return None;
        }
    }
    // Git reads none of an empty object.
    (target.len() as u64 == size && size > 0).then_some(target)
}

fn goes_through_zlib(content: &[u8], seed: u8) {
    let stream = Deflater::new().deflate(content);
    let mut found = Vec::new();
    let mut inflater = Inflater::new();
    inflater
        .inflate(&stream, content.len(), &mut found)
        .expect("what was deflated");
    assert_eq!(found, content);
    let followed = [&stream[..], b"next"].concat();
    let mut pieces = Pieces::new(&followed, seed);
    found.clear();
    inflater
        .read(&mut pieces, content.len() as u64)
        .read_to_end(&mut found)
        .expect("what was deflated");
    assert_eq!(found, content);
    assert_eq!(pieces.rest, b"next");
    for wrong in [content.len() + 1, content.len().wrapping_sub(1)] {
        if wrong < usize::MAX {
            assert!(inflater.inflate(&stream, wrong, &mut found).is_err());
            let read = inflater
                .read(&stream[..], wrong as u64)
                .read_to_end(&mut found);
            assert!(read.is_err());
        }
    }
}

/// Whatever the bytes are, both ways to inflate them agree where both have all of the stream.
fn inflates_alike(stream: &[u8], seed: u8) {
    let size = usize::from(seed) * 16;
    let (mut whole, mut pieces) = (Vec::new(), Vec::new());
    let at_once = Inflater::new().inflate(stream, size, &mut whole);
    let read = Inflater::new()
        .read(Pieces::new(stream, seed), size as u64)
        .read_to_end(&mut pieces);
    assert_eq!(at_once.is_ok(), read.is_ok());
    assert!(at_once.is_err() || whole == pieces);
}
