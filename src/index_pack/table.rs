//! The table of the entries of a pack that is being received.

use std::{
    ops::Range,
    sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering::Relaxed},
};

use gix::{ObjectId, hash::Kind as HashKind, objs::Kind, oid};

use super::{ref_deltas::RefDeltas, tree_pairs::TreePairs};
use crate::pack::delta_tree::NO_BASE;

/// Its entries in the order of the pack, some 40 bytes for each. They are added by the thread that
/// reads the pack, while others make objects of those that are there.
pub(super) struct Table {
    pub(super) hash: HashKind,
    len: AtomicU32,
    /// The start of each entry, and the end of the last one behind them.
    offsets: Vec<AtomicU64>,
    checksums: Vec<AtomicU32>,
    /// The sizes of their objects, as far as 32 bits go.
    sizes: Vec<AtomicU32>,
    /// The base of each entry, if that is known to be another entry of this pack, or one of the values for
    /// other bases.
    bases: Vec<AtomicU32>,
    /// One more than the kind of each entry whose object is known.
    kinds: Vec<AtomicU8>,
    ids: Vec<AtomicU32>,
}

/// The base of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Base {
    /// On nothing: it is whole.
    None,
    Entry(u32),
    /// On an object that it calls by its id.
    Named,
}

/// No entry has these numbers: they take 40 bytes each.
const WHOLE: u32 = NO_BASE;
const NAMED: u32 = NO_BASE - 1;

impl Table {
    /// The size that stands for larger ones, too.
    pub(super) const MAX_SIZE: u64 = u32::MAX as u64;

    /// For a pack that is said to have so many entries.
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

    /// Bytes that an entry takes in memory at most until the pack is indexed, with its share of what
    /// is made from the table: which entries lead to an object, the deltas of each, the order by id,
    /// what objects need of each other (see [`References`](super::references::References)), in sets of which one has
    /// just grown, and how trees are nested (see [`TreePairs`]).
    pub(super) fn memory_of_an_entry(hash: HashKind) -> u64 {
        let id = hash.len_in_bytes();
        let own = size_of::<u64>() + 3 * size_of::<u32>() + 1 + id;
        let made = 5 * size_of::<u32>() + 5 * (id + 2) / 2 + TreePairs::MEMORY_OF_ONE;
        (own + made + RefDeltas::MEMORY_OF_ONE / 2) as u64
    }

    /// ContentMemory for so many more entries.
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

    /// Adds the entry in `place`, whose object is said to have `size` bytes, and for which there has to be room.
    pub(super) fn push(&self, place: Range<u64>, checksum: u32, base: Base, size: u64) -> u32 {
        let entry = self.len();
        let at = entry as usize;
        let base = match base {
            Base::None => WHOLE,
            Base::Entry(base) => base,
            Base::Named => NAMED,
        };
        self.offsets[at].store(place.start, Relaxed);
        self.offsets[at + 1].store(place.end, Relaxed);
        self.checksums[at].store(checksum, Relaxed);
        self.bases[at].store(base, Relaxed);
        let size = u32::try_from(size).unwrap_or(u32::MAX);
        self.sizes[at].store(size, Relaxed);
        self.len.store(entry + 1, Relaxed);
        entry
    }

    /// The entry that begins there.
    pub(super) fn entry_at(&self, offset: u64) -> Option<u32> {
        let starts = &self.offsets[..self.len() as usize];
        let found = starts.binary_search_by_key(&offset, |start| start.load(Relaxed));
        found.ok().map(|entry| entry as u32)
    }

    pub(super) fn place(&self, entry: u32) -> Range<u64> {
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

    /// The size of its object in bytes, as its delta says; [`MAX_SIZE`](Table::MAX_SIZE) for larger ones.
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

    /// `None` as long as it isn't known.
    pub(super) fn kind(&self, entry: u32) -> Option<Kind> {
        match self.kinds[entry as usize].load(Relaxed).checked_sub(1)? {
            kind if kind == Kind::Tree as u8 => Some(Kind::Tree),
            kind if kind == Kind::Blob as u8 => Some(Kind::Blob),
            kind if kind == Kind::Commit as u8 => Some(Kind::Commit),
            _ => Some(Kind::Tag),
        }
    }

    pub(super) fn id(&self, entry: u32) -> ObjectId {
        let mut id = ObjectId::null(self.hash);
        let own = self.id_words(entry);
        for (word, bytes) in own.iter().zip(id.as_mut_slice().as_chunks_mut::<4>().0) {
            *bytes = word.load(Relaxed).to_be_bytes();
        }
        id
    }

    /// See [`prefix()`](super::tree_pairs::prefix).
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

/// Memory that isn't touched before it is used: a pack can say that it has any number of entries.
fn zeros<N: Copy + Default, A>(count: usize, atomic: impl Fn(N) -> A) -> Vec<A> {
    // The allocator has zeros, and they are taken over as they are.
    vec![N::default(); count].into_iter().map(atomic).collect()
}
