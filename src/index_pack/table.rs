//! The table of a received pack's entries: offset, size, base, kind and id of each.

use std::{
    ops::Range,
    sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering::Relaxed},
};

use gix::{ObjectId, hash::Kind as HashKind, objs::Kind, oid};

use super::{ref_deltas::RefDeltas, tree_pairs::TreePairs};
use crate::pack::delta_tree::NO_BASE;

/// The entries in the order of the pack, with some 40 bytes for each.
///
/// The thread that reads the pack adds entries while other threads resolve earlier ones. All fields are atomics with
/// relaxed order: an entry is visible to another thread because its window is handed over through a mutex, and
/// each entry is resolved by exactly one thread.
pub(super) struct Table {
    pub(super) hash: HashKind,
    len: AtomicU32,
    /// The start of each entry, and the end of the last one behind them.
    offsets: Vec<AtomicU64>,
    checksums: Vec<AtomicU32>,
    /// The declared sizes of the objects; `u32::MAX` stands for that size and any larger one.
    sizes: Vec<AtomicU32>,
    /// The base of each entry: an earlier entry, [`WHOLE`] or [`NAMED`].
    bases: Vec<AtomicU32>,
    /// The kind of each entry plus one, with [`SOUND`]; 0 while the entry is not resolved.
    kinds: Vec<AtomicU8>,
    ids: Vec<AtomicU32>,
}

/// The base of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Base {
    /// None: the entry is a whole object.
    None,
    Entry(u32),
    /// An object named by id (`REF_DELTA`), in the pack or outside of it.
    Named,
}

/// Marks, beside its kind, an object in which the inspection found nothing wrong.
const SOUND: u8 = 1 << 7;

// These numbers are no entries: at 40 bytes each, no table has so many.
const WHOLE: u32 = NO_BASE;
const NAMED: u32 = NO_BASE - 1;

impl Table {
    /// The size that stands for all larger ones as well.
    pub(super) const MAX_SIZE: u64 = u32::MAX as u64;

    /// Makes a table for the number of entries that the pack's header declares.
    pub(super) fn new(hash: HashKind, count: usize) -> Self {
        Table {
            hash,
            len: AtomicU32::new(0),
            offsets: zeros(count + 1, AtomicU64::new),
            checksums: zeros(count, AtomicU32::new),
            sizes: zeros(count, AtomicU32::new),
            bases: zeros(count, AtomicU32::new),
            kinds: zeros(count, AtomicU8::new),
            ids: zeros(count * words(hash), AtomicU32::new),
        }
    }

    /// The most bytes of memory for one entry until the pack is indexed. It includes the entry's share of the data
    /// that is derived from the table: delta batches, the order by id, the references between objects (see
    /// [`References`](super::references::References)) in sets of which one has just grown, and the nesting of trees (see
    /// [`TreePairs`]).
    pub(super) fn memory_of_an_entry(hash: HashKind) -> u64 {
        let id = hash.len_in_bytes();
        let own = size_of::<u64>() + 3 * size_of::<u32>() + 1 + id;
        let made = 5 * size_of::<u32>() + 5 * (id + 2) / 2 + TreePairs::MEMORY_OF_ONE;
        (own + made + RefDeltas::MEMORY_OF_ONE / 2) as u64
    }

    /// Makes room for `more` entries: the appended bases of a thin pack.
    pub(super) fn extend(&mut self, more: usize) {
        let words = words(self.hash);
        self.offsets.extend(zeros(more, AtomicU64::new));
        self.checksums.extend(zeros(more, AtomicU32::new));
        self.sizes.extend(zeros(more, AtomicU32::new));
        self.bases.extend(zeros(more, AtomicU32::new));
        self.kinds.extend(zeros(more, AtomicU8::new));
        self.ids.extend(zeros(more * words, AtomicU32::new));
    }

    pub(super) fn len(&self) -> u32 {
        self.len.load(Relaxed)
    }

    /// Adds the entry at the offsets `range`, which declares `size` bytes for its object. The table must have room.
    pub(super) fn push(&self, range: Range<u64>, checksum: u32, base: Base, size: u64) -> u32 {
        let entry = self.len();
        let at = entry as usize;
        let base = match base {
            Base::None => WHOLE,
            Base::Entry(base) => base,
            Base::Named => NAMED,
        };
        self.offsets[at].store(range.start, Relaxed);
        self.offsets[at + 1].store(range.end, Relaxed);
        self.checksums[at].store(checksum, Relaxed);
        self.bases[at].store(base, Relaxed);
        let size = u32::try_from(size).unwrap_or(u32::MAX);
        self.sizes[at].store(size, Relaxed);
        self.len.store(entry + 1, Relaxed);
        entry
    }

    /// The entry that begins at `offset`.
    pub(super) fn entry_at(&self, offset: u64) -> Option<u32> {
        let starts = &self.offsets[..self.len() as usize];
        let found = starts.binary_search_by_key(&offset, |start| start.load(Relaxed));
        found.ok().map(|entry| entry as u32)
    }

    /// The range of bytes of an entry in the pack, its header included.
    pub(super) fn byte_range(&self, entry: u32) -> Range<u64> {
        let [start, end] = [0, 1].map(|next| &self.offsets[entry as usize + next]);
        start.load(Relaxed)..end.load(Relaxed)
    }

    /// The end of the last entry.
    pub(super) fn end(&self) -> u64 {
        self.offsets[self.len() as usize].load(Relaxed)
    }

    /// The CRC-32 of an entry as it is in the pack.
    pub(super) fn checksum(&self, entry: u32) -> u32 {
        self.checksums[entry as usize].load(Relaxed)
    }

    /// The declared size of the entry's object in bytes; [`MAX_SIZE`](Table::MAX_SIZE) for larger ones.
    pub(super) fn size(&self, entry: u32) -> u64 {
        self.sizes[entry as usize].load(Relaxed).into()
    }

    pub(super) fn base(&self, entry: u32) -> Base {
        match self.bases[entry as usize].load(Relaxed) {
            WHOLE => Base::None,
            NAMED => Base::Named,
            base => Base::Entry(base),
        }
    }

    pub(super) fn is_delta(&self, entry: u32) -> bool {
        self.base(entry) != Base::None
    }

    pub(super) fn resolve(&self, entry: u32, kind: Kind, id: &oid) {
        let own = self.id_words(entry);
        for (word, bytes) in own.iter().zip(id.as_bytes().as_chunks::<4>().0) {
            word.store(u32::from_be_bytes(*bytes), Relaxed);
        }
        self.kinds[entry as usize].store(kind as u8 + 1, Relaxed);
    }

    /// The kind of the entry's object; `None` while the entry is not resolved.
    pub(super) fn kind(&self, entry: u32) -> Option<Kind> {
        let kind = (self.kinds[entry as usize].load(Relaxed) & !SOUND).checked_sub(1)?;
        let mut kinds = [Kind::Tree, Kind::Blob, Kind::Commit, Kind::Tag].into_iter();
        kinds.find(|known| *known as u8 == kind)
    }

    pub(super) fn mark_sound(&self, entry: u32) {
        self.kinds[entry as usize].fetch_or(SOUND, Relaxed);
    }

    /// Whether the object of an entry was marked by now.
    pub(super) fn is_sound(&self, entry: u32) -> bool {
        self.kinds[entry as usize].load(Relaxed) & SOUND != 0
    }

    pub(super) fn id(&self, entry: u32) -> ObjectId {
        let mut id = ObjectId::null(self.hash);
        let own = self.id_words(entry);
        for (word, bytes) in own.iter().zip(id.as_mut_slice().as_chunks_mut::<4>().0) {
            *bytes = word.load(Relaxed).to_be_bytes();
        }
        id
    }

    /// The first 64 bits of the entry's id ([`prefix()`](crate::pack::fan_out::prefix)).
    pub(super) fn id_prefix(&self, entry: u32) -> u64 {
        let [high, low] = [0, 1].map(|word| self.id_words(entry)[word].load(Relaxed));
        u64::from(high) << u32::BITS | u64::from(low)
    }

    fn id_words(&self, entry: u32) -> &[AtomicU32] {
        let words = words(self.hash);
        &self.ids[entry as usize * words..][..words]
    }
}

fn words(hash: HashKind) -> usize {
    hash.len_in_bytes() / size_of::<u32>()
}

/// Zeroed memory that is not touched before it is used: a pack's header can declare any number of entries.
fn zeros<N: Copy + Default, A>(count: usize, atomic: impl Fn(N) -> A) -> Vec<A> {
    // `vec![0; n]` is `calloc`, and the conversion to atomics happens in place.
    vec![N::default(); count].into_iter().map(atomic).collect()
}
