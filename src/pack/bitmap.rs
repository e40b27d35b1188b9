//! Git's `.bitmap` files, which have the objects behind some commits of a pack (`bitmap-format.adoc` in git's
//! documentation).
//!
//! A file may be damaged, or of another pack. Whatever its content, a decoded bitmap is a set of objects of the
//! pack, and takes no more memory than the sizes of file and pack allow.

use std::collections::HashMap;

use gix::{hash::Kind as HashKind, oid};
use gix_bitmap::ewah;
use gix_pack::index::EntryIndex;

/// The flag for a pack that has everything behind each of its objects. Git requires it.
const FULL_DAG: u16 = 0x1;
const HASH_CACHE: u16 = 0x4;
/// The flags of optional sections before the hash cache: a lookup table of the entries, and bitmaps of several
/// commits at once.
const LOOKUP_TABLE: u16 = 0x10;
const PSEUDO_MERGES: u16 = 0x20;
const KNOWN_FLAGS: u16 = FULL_DAG | HASH_CACHE | LOOKUP_TABLE | PSEUDO_MERGES;

/// Number of bitmaps by type: commits, trees, blobs and tags.
const TYPE_BITMAPS: usize = 4;

/// Limit of the distance from an entry to the one that it builds on.
const MAX_XOR_OFFSET: u8 = 160;

/// The bitmaps of a pack's commits.
pub(crate) struct Bitmaps<'a> {
    objects: u32,
    entries: Vec<Entry<'a>>,
    by_commit: HashMap<EntryIndex, u32>,
    /// By index position.
    name_hashes: Option<&'a [[u8; 4]]>,
}

/// The bitmap of one commit.
struct Entry<'a> {
    /// The number of the earlier entry that the bits are the difference to.
    base: Option<u32>,
    bits: &'a [u8],
}

impl<'a> Bitmaps<'a> {
    /// The bitmaps in `file` for a pack with the checksum `pack` and so many objects. `None` for a file that is
    /// damaged, of another pack, or of an unknown version.
    pub(crate) fn parse(file: &'a [u8], pack: &oid, objects: u32) -> Option<Self> {
        let format = pack.kind();
        let size = file.len().checked_sub(format.len_in_bytes())?;
        let (content, checksum) = file.split_at(size);
        let sum = checksum_of(content, format)?;
        (sum.as_slice() == checksum).then(|| Self::parse_content(content, pack, objects))?
    }

    /// Parses a file without its checksum.
    fn parse_content(content: &'a [u8], pack: &oid, objects: u32) -> Option<Self> {
        let mut reader = Reader(content.strip_prefix(b"BITM\0\x01")?);
        let flags = u16::from_be_bytes(reader.array()?);
        if flags & FULL_DAG == 0 || flags & !KNOWN_FLAGS != 0 {
            return None;
        }
        let count = u32::from_be_bytes(reader.array()?);
        if reader.0.split_off(..pack.kind().len_in_bytes())? != pack.as_bytes() {
            return None;
        }
        let name_hashes = match flags & HASH_CACHE {
            0 => None,
            _ => Some(reader.split_off_end(objects)?),
        };
        for _ in 0..TYPE_BITMAPS {
            reader.bitmap(objects)?;
        }
        let mut bitmaps = Bitmaps {
            objects,
            entries: Vec::new(),
            by_commit: HashMap::new(),
            name_hashes,
        };
        for number in 0..count {
            let commit = u32::from_be_bytes(reader.array()?);
            let [xor_offset, _flags] = reader.array()?;
            let base = match xor_offset {
                0 => None,
                1..=MAX_XOR_OFFSET => Some(number.checked_sub(xor_offset.into())?),
                _ => return None,
            };
            let bits = reader.bitmap(objects)?;
            bitmaps.entries.push(Entry { base, bits });
            if commit >= objects || bitmaps.by_commit.insert(commit, number).is_some() {
                return None;
            }
        }
        Some(bitmaps)
    }

    /// The number of the bitmap of the commit at an index position.
    pub(crate) fn of(&self, commit: EntryIndex) -> Option<u32> {
        self.by_commit.get(&commit).copied()
    }

    /// The [name hash](super::name_hash::name_hash) of the object at an index position; 0 if the file has none.
    pub(crate) fn name_hash(&self, entry: EntryIndex) -> u32 {
        let hashes = self.name_hashes.unwrap_or_default();
        let hash = hashes.get(entry as usize).copied();
        u32::from_be_bytes(hash.unwrap_or_default())
    }
}

fn checksum_of(content: &[u8], format: HashKind) -> Option<gix::ObjectId> {
    let mut hasher = gix::hash::hasher(format);
    hasher.update(content);
    hasher.try_finalize().ok()
}

/// The unread rest of the file.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn array<const SIZE: usize>(&mut self) -> Option<[u8; SIZE]> {
        self.0.split_off(..SIZE)?.try_into().ok()
    }

    fn split_off_end(&mut self, numbers: u32) -> Option<&'a [[u8; 4]]> {
        let size = usize::try_from(numbers).ok()?.checked_mul(4)?;
        let table = self.0.split_off(self.0.len().checked_sub(size)?..)?;
        Some(table.as_chunks().0)
    }

    /// The bytes of a bitmap of so many objects, not decoded. Git rounds their number up to whole words.
    fn bitmap(&mut self, objects: u32) -> Option<&'a [u8]> {
        let start = self.0;
        let (bitmap, rest) = ewah::decode(start).ok()?;
        self.0 = rest;
        let is_small = bitmap.num_bits() <= words(objects) * 64;
        is_small.then(|| &start[..start.len() - rest.len()])
    }
}

fn words(objects: u32) -> usize {
    (objects as usize).div_ceil(64)
}

/// One decoded bitmap at a time, with a bit for each pack position.
pub(crate) struct Decoded<'a> {
    bitmaps: &'a Bitmaps<'a>,
    current: Option<u32>,
    words: Vec<u64>,
    /// A decoding has stopped in the middle of a bitmap.
    is_spoilt: bool,
}

impl<'a> Decoded<'a> {
    pub(crate) fn new(bitmaps: &'a Bitmaps<'a>) -> Self {
        Decoded {
            bitmaps,
            current: None,
            words: vec![0; words(bitmaps.objects)],
            is_spoilt: false,
        }
    }

    /// Decodes the bitmap of this number. `None`, now and from then on, if it can't be decoded or `may_go_on`
    /// returns `false`.
    ///
    /// Only the difference to the bitmap decoded before is decoded: neighbours share most of the entries that they
    /// build on.
    pub(crate) fn turn_to(&mut self, number: u32, may_go_on: impl Fn() -> bool) -> Option<&[u64]> {
        if self.is_spoilt {
            return None;
        }
        let (mut from, mut to) = (self.current, Some(number));
        while from != to {
            // Bases come first, so the higher of the two is no base of the other.
            let higher = if from > to { &mut from } else { &mut to };
            let entry = (*higher)?;
            *higher = self.bitmaps.entries[entry as usize].base;
            self.is_spoilt = true;
            self.toggle(entry).filter(|()| may_go_on())?;
            self.is_spoilt = false;
        }
        self.current = Some(number);
        Some(&self.words)
    }

    fn toggle(&mut self, entry: u32) -> Option<()> {
        let (bitmap, _) = ewah::decode(self.bitmaps.entries[entry as usize].bits).ok()?;
        bitmap.for_each_set_bit(|bit| {
            *self.words.get_mut(bit / 64)? ^= 1 << (bit % 64);
            Some(())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use gix::ObjectId;
    use std::collections::BTreeSet;

    /// A last word that isn't full.
    const OBJECTS: u32 = 150;

    type Set = BTreeSet<u32>;

    fn pack(format: HashKind) -> ObjectId {
        ObjectId::from_bytes_or_panic(&vec![7; format.len_in_bytes()])
    }

    fn compressed(set: &Set) -> Vec<u8> {
        let bits: Vec<_> = (0..OBJECTS).map(|bit| set.contains(&bit)).collect();
        let mut written = Vec::new();
        let bitmap = ewah::Vec::from_bits(&bits).expect("few bits");
        bitmap.write_to(&mut written).expect("room");
        written
    }

    /// A compressed bitmap of so many bits: a run of zeros or ones, then literal words.
    fn run(bits: u32, ones: bool, words: u64, literal: &[u64]) -> Vec<u8> {
        let marker = u64::from(ones) | words << 1 | (literal.len() as u64) << 33;
        let mut bytes = [bits, 1 + literal.len() as u32]
            .map(u32::to_be_bytes)
            .concat();
        for word in [&[marker], literal].concat() {
            bytes.extend(word.to_be_bytes());
        }
        bytes.extend([0; 4]);
        bytes
    }

    /// A file without its checksum, with an entry for each of commit, XOR offset and bitmap.
    fn content(format: HashKind, entries: &[(u32, u8, Vec<u8>)]) -> Vec<u8> {
        let mut file = b"BITM\0\x01\0\x05".to_vec();
        file.extend((entries.len() as u32).to_be_bytes());
        file.extend_from_slice(pack(format).as_slice());
        file.extend(compressed(&Set::new()).repeat(TYPE_BITMAPS));
        for (commit, xor_offset, bitmap) in entries {
            file.extend(commit.to_be_bytes());
            file.extend([*xor_offset, 0]);
            file.extend_from_slice(bitmap);
        }
        file.extend((0..OBJECTS).flat_map(|entry| (entry * 3).to_be_bytes()));
        file
    }

    fn sealed(mut content: Vec<u8>, format: HashKind) -> Vec<u8> {
        let checksum = checksum_of(&content, format).expect("no collision");
        content.extend_from_slice(checksum.as_slice());
        content
    }

    fn decode(bitmaps: &Bitmaps<'_>, numbers: &[u32]) -> Vec<Option<Set>> {
        let mut decoded = Decoded::new(bitmaps);
        let decode = |number: &u32| {
            let words = decoded.turn_to(*number, || true)?;
            let bits = 0..words.len() as u32 * 64;
            let is_set = |bit: &u32| words[*bit as usize / 64] >> (bit % 64) & 1 == 1;
            Some(bits.filter(is_set).collect())
        };
        numbers.iter().map(decode).collect()
    }

    #[test]
    fn entries_build_on_earlier_ones() {
        let sets: [Set; 4] = [
            (0..100).collect(),
            (50..OBJECTS).collect(),
            [3, 64, 149].into(),
            (0..128).collect(),
        ];
        let difference = |one: usize, two: usize| compressed(&(&sets[one] ^ &sets[two]));
        let entries = [
            (9, 0, compressed(&sets[0])),
            (2, 1, difference(1, 0)),
            (149, 2, difference(2, 0)),
            (0, 0, run(192, true, 2, &[0])),
        ];
        for format in [HashKind::Sha1, HashKind::Sha256] {
            let file = sealed(content(format, &entries), format);
            let bitmaps = Bitmaps::parse(&file, &pack(format), OBJECTS).expect("bitmaps");
            let found = [9, 2, 149, 0, 1].map(|commit| bitmaps.of(commit));
            assert_eq!(found, [Some(0), Some(1), Some(2), Some(3), None]);
            assert_eq!(bitmaps.name_hash(5), 15);
            for first in 0..4 {
                for second in 0..4 {
                    let expected =
                        [first, second].map(|number| Some(sets[number as usize].clone()));
                    assert_eq!(decode(&bitmaps, &[first, second]), expected);
                }
            }
        }
    }

    #[test]
    fn what_makes_no_sense_is_not_used() {
        let format = HashKind::Sha1;
        let sound = compressed(&(0..100).collect());
        let entry = |commit, xor_offset| (commit, xor_offset, sound.clone());
        let parses = |content: Vec<u8>| {
            let file = sealed(content, format);
            Bitmaps::parse(&file, &pack(format), OBJECTS).is_some()
        };
        let far: Vec<_> = (0..149).map(|commit| entry(commit, 0)).collect();
        assert!(parses(content(format, &far)));
        for (what, entries) in [
            ("a base before the first", vec![entry(0, 1)]),
            (
                "a base that is too far",
                [far.clone(), vec![entry(149, 161)]].concat(),
            ),
            ("two for one commit", vec![entry(1, 0), entry(1, 0)]),
            ("no commit of the pack", vec![entry(OBJECTS, 0)]),
            ("too many bits", vec![(0, 0, run(256, false, 4, &[]))]),
        ] {
            assert!(!parses(content(format, &entries)), "{what}");
        }
        let with = |at: usize, byte: u8| {
            let mut content = content(format, &[entry(0, 0)]);
            content[at] = byte;
            content
        };
        assert!(parses(with(7, 0x35)), "sections that nobody has to read");
        for (what, content) in [
            ("another signature", with(0, b'b')),
            ("another version", with(5, 2)),
            ("objects that lack others", with(7, 0x4)),
            ("an unknown flag", with(7, 0x85)),
            ("more entries than there are", with(11, 9)),
            ("another pack", with(12, 8)),
        ] {
            assert!(!parses(content), "{what}");
        }
        let file = sealed(content(format, &[entry(0, 0)]), format);
        assert!(Bitmaps::parse(&file, &pack(HashKind::Sha256), OBJECTS).is_none());
        for fewer in [0, 1, 64, 128] {
            assert!(Bitmaps::parse(&file, &pack(format), fewer).is_none());
        }
    }

    #[test]
    fn a_bitmap_that_says_more_than_it_has_room_for_is_not_decoded() {
        for bitmap in [
            run(64, true, 2, &[]),
            run(64, false, u64::from(u32::MAX), &[]),
            run(64, true, 1, &[1]),
            run(150, false, 2, &[1 << 22]),
        ] {
            let file = sealed(content(HashKind::Sha1, &[(0, 0, bitmap)]), HashKind::Sha1);
            let pack = pack(HashKind::Sha1);
            let bitmaps = Bitmaps::parse(&file, &pack, OBJECTS).expect("bitmaps");
            assert_eq!(decode(&bitmaps, &[0]), [None]);
        }
    }

    #[test]
    fn each_damage_is_noticed() {
        let format = HashKind::Sha1;
        let some = compressed(&(0..100).collect());
        let content = content(format, &[(3, 0, some.clone()), (4, 1, some)]);
        let file = sealed(content.clone(), format);
        let parse = |file: &[u8]| Bitmaps::parse(file, &pack(format), OBJECTS).is_some();
        for size in 0..file.len() {
            assert!(!parse(&file[..size]), "{size}");
            // With a checksum it can be anything, but for a cause to panic.
            crate::fuzzing::bitmap(
                &[&[0, OBJECTS as u8], &content[..size.min(content.len())]].concat(),
            );
        }
        for at in 0..file.len() {
            for bit in 0..8 {
                let mut damaged = file.clone();
                damaged[at] ^= 1 << bit;
                assert!(!parse(&damaged), "{at}");
                crate::fuzzing::bitmap(&[&[0, OBJECTS as u8], &damaged[..content.len()]].concat());
            }
        }
    }

    #[test]
    fn decoding_stops_when_it_is_told_to() {
        let some = compressed(&(0..100).collect());
        let content = content(HashKind::Sha1, &[(3, 0, some.clone()), (4, 1, some)]);
        let file = sealed(content, HashKind::Sha1);
        let pack = pack(HashKind::Sha1);
        let bitmaps = Bitmaps::parse(&file, &pack, OBJECTS).expect("bitmaps");
        let asked = std::cell::Cell::new(0);
        let may_go_on = || {
            asked.set(asked.get() + 1);
            false
        };
        let mut decoded = Decoded::new(&bitmaps);
        assert_eq!(decoded.turn_to(1, may_go_on), None);
        assert_eq!(decoded.turn_to(0, || true), None, "half of one is there");
        assert_eq!(asked.get(), 1);
    }
}
