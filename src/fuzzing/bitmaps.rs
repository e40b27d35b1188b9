//! Bitmap files of git.

use gix::ObjectId;

use super::bytes::Bytes;
use crate::pack::bitmap::{Bitmaps, Decoded};

/// A `.bitmap` file without its checksum, behind two bytes: which hash it has, and of how many objects
/// it is.
///
/// Whatever is in it, a bitmap that can be decoded is one of so many objects, and comes out the same
/// whichever was decoded before it.
pub fn bitmap(data: &[u8]) {
    let mut bytes = Bytes(data);
    let format = match bytes.byte() & 1 {
        0 => gix::hash::Kind::Sha1,
        _ => gix::hash::Kind::Sha256,
    };
    let objects = u32::from(bytes.byte());
    let content = bytes.0;
    let mut hasher = gix::hash::hasher(format);
    hasher.update(content);
    let Ok(checksum) = hasher.try_finalize() else {
        return;
    };
    let file = [content, checksum.as_slice()].concat();
    let pack = content.get(12..12 + format.len_in_bytes());
    let pack = pack.map_or(ObjectId::null(format), ObjectId::from_bytes_or_panic);
    let Some(bitmaps) = Bitmaps::parse(&file, &pack, objects) else {
        return;
    };
    let none = ObjectId::null(format);
    assert!(pack == none || Bitmaps::parse(&file, &none, objects).is_none());
    assert!(Bitmaps::parse(&file[..file.len() - 1], &pack, objects).is_none());
    let alone = |number| {
        let mut decoded = Decoded::new(&bitmaps);
        decoded.turn_to(number, || true).map(<[u64]>::to_vec)
    };
    let numbers = (0..objects).filter_map(|commit| bitmaps.of(commit));
    let sound = numbers.filter_map(|number| Some((number, alone(number)?)));
    let sound: Vec<_> = sound.collect();
    let mut decoded = Decoded::new(&bitmaps);
    for (number, expected) in sound.iter().chain(sound.iter().rev()) {
        assert_eq!(expected.len(), objects.div_ceil(64) as usize);
        assert_eq!(decoded.turn_to(*number, || true), Some(&expected[..]));
    }
    for commit in 0..=objects {
        bitmaps.name_hash(commit);
    }
}
