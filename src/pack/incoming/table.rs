//! What is known of the entries of a pack that is being received.

use std::{
    ops::Range,
    sync::atomic::{AtomicBool, AtomicU8, AtomicU32, Ordering::Relaxed},
};

use gix::{ObjectId, hash::Kind as HashKind, objs::Kind, oid};

use crate::pack::resolve::{Deltas, NO_BASE};

/// Its entries in the order of the pack, some 60 bytes for each. Threads that work on different
/// entries share it.
pub(super) struct Table {
    pub(super) hash: HashKind,
    offsets: Vec<u64>,
    end: u64,
    pub(super) checksums: Vec<u32>,
    /// Of each entry whose object is known.
    kinds: Vec<AtomicU8>,
    ids: Vec<AtomicU32>,
    is_delta: Vec<bool>,
    /// What the deltas are built on that name another entry of this pack.
    bases: Vec<u32>,
    by_id: Vec<DeltaById>,
}

/// A delta that names its base by id. The base may be elsewhere.
struct DeltaById {
    base: ObjectId,
    entry: u32,
    is_taken: AtomicBool,
}

/// What an entry was found to be as it came in.
pub(super) enum Form {
    Whole(Kind, ObjectId),
    /// Of the entry at this offset.
    Delta(u64),
    DeltaById(ObjectId),
}

const UNKNOWN: u8 = 0;

impl Table {
    /// For a pack that is said to have so many entries.
    pub(super) fn new(hash: HashKind, count: usize) -> Self {
        Table {
            hash,
            offsets: Vec::with_capacity(count),
            end: 0,
            checksums: Vec::with_capacity(count),
            kinds: Vec::with_capacity(count),
            is_delta: Vec::with_capacity(count),
            ids: Vec::with_capacity(count * (hash.len_in_bytes() / size_of::<u32>())),
            bases: Vec::with_capacity(count),
            by_id: Vec::new(),
        }
    }

    /// Bytes that an entry takes in memory at most until the pack is indexed, with its share of what
    /// is made from the table: the deltas of each entry, the order by id, and what objects need of
    /// each other (see [`Links`](super::links::Links)), in a set that has just grown.
    pub(super) fn memory_of_an_entry(hash: HashKind) -> u64 {
        let id = hash.len_in_bytes();
        let own = size_of::<u64>() + 2 * size_of::<u32>() + 2 + id;
        let made = 4 * size_of::<u32>() + 3 * (id + 2);
        (own + made + size_of::<DeltaById>() / 2) as u64
    }

    pub(super) fn len(&self) -> usize {
        self.offsets.len()
    }

    /// Adds the entry in `place`; `None` if it is a delta of what isn't the start of one before it.
    pub(super) fn push(&mut self, place: Range<u64>, checksum: u32, form: Form) -> Option<()> {
        let entry = self.offsets.len() as u32;
        let base = match form {
            Form::Delta(offset) => self.offsets.binary_search(&offset).ok()? as u32,
            Form::Whole(..) | Form::DeltaById(_) => NO_BASE,
        };
        self.offsets.push(place.start);
        self.end = place.end;
        self.checksums.push(checksum);
        self.bases.push(base);
        self.is_delta.push(!matches!(form, Form::Whole(..)));
        self.kinds.push(AtomicU8::new(UNKNOWN));
        let words = self.words();
        self.ids.extend((0..words).map(|_| AtomicU32::new(0)));
        match form {
            Form::Whole(kind, id) => self.resolve(entry, kind, &id),
            Form::DeltaById(base) => self.by_id.push(DeltaById {
                base,
                entry,
                is_taken: AtomicBool::new(false),
            }),
            Form::Delta(_) => {}
        }
        Some(())
    }

    pub(super) fn place(&self, entry: u32) -> Range<u64> {
        let end = self.offsets.get(entry as usize + 1);
        self.offsets[entry as usize]..end.copied().unwrap_or(self.end)
    }

    /// Where the last entry ends.
    pub(super) fn end(&self) -> u64 {
        self.end
    }

    pub(super) fn is_delta(&self, entry: u32) -> bool {
        self.is_delta[entry as usize]
    }

    pub(super) fn resolve(&self, entry: u32, kind: Kind, id: &oid) {
        let words = self.words();
        let own = &self.ids[entry as usize * words..][..words];
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
        let words = self.words();
        let own = &self.ids[entry as usize * words..][..words];
        for (word, bytes) in own.iter().zip(id.as_mut_slice().as_chunks_mut::<4>().0) {
            *bytes = word.load(Relaxed).to_be_bytes();
        }
        id
    }

    fn words(&self) -> usize {
        self.hash.len_in_bytes() / size_of::<u32>()
    }

    pub(super) fn has_deltas(&self) -> bool {
        self.is_delta.contains(&true)
    }

    /// Which deltas are built on which entry. No entry is added to the pack's own after that.
    pub(super) fn deltas(&mut self) -> Deltas {
        self.by_id
            .sort_unstable_by_key(|delta| (delta.base, delta.entry));
        Deltas::of_bases(&self.bases)
    }

    /// Takes the deltas that name this object as their base. `None` if they were taken: for another
    /// entry with the same object.
    pub(super) fn take_deltas_of(&self, base: &oid) -> Option<impl Iterator<Item = u32>> {
        let mut own = self.deltas_of(base).peekable();
        let first = own.peek();
        if first.is_some_and(|first| first.is_taken.swap(true, Relaxed)) {
            return None;
        }
        Some(own.map(|delta| {
            delta.is_taken.store(true, Relaxed);
            delta.entry
        }))
    }

    fn deltas_of(&self, base: &oid) -> impl Iterator<Item = &DeltaById> {
        let first = self
            .by_id
            .partition_point(|delta| delta.base.as_ref() < base);
        self.by_id[first..]
            .iter()
            .take_while(move |delta| delta.base == base)
    }

    /// Whether no delta waits for this base.
    pub(super) fn is_complete_without(&self, base: &oid) -> bool {
        self.deltas_of(base)
            .all(|delta| delta.is_taken.load(Relaxed))
    }

    /// The bases that are not in this pack, each once, in the order of their first deltas: git puts a
    /// base before its deltas, so what one of them leads to is found before it is looked for.
    pub(super) fn absent_bases(&self) -> Vec<ObjectId> {
        let open = self
            .by_id
            .iter()
            .filter(|delta| !delta.is_taken.load(Relaxed));
        let mut bases: Vec<_> = open.map(|delta| (delta.entry, delta.base)).collect();
        bases.dedup_by_key(|(_, base)| *base);
        bases.sort_unstable();
        bases.into_iter().map(|(_, base)| base).collect()
    }
}
