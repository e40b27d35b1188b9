//! The deltas of a pack that name their base by object id (`REF_DELTA`). The base may be outside the pack.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use gix::{ObjectId, oid};

/// The deltas sorted by base. The deltas of one base are taken once, by the thread that resolves the base.
#[derive(Default)]
pub(super) struct RefDeltas {
    deltas: Vec<RefDelta>,
}

struct RefDelta {
    base: ObjectId,
    entry: u32,
    is_taken: AtomicBool,
}

impl RefDeltas {
    pub(super) const MEMORY_OF_ONE: usize = size_of::<RefDelta>();

    pub(super) fn push(&mut self, entry: u32, base: ObjectId) {
        self.deltas.push(RefDelta {
            base,
            entry,
            is_taken: AtomicBool::new(false),
        });
    }

    /// Sorts the deltas: afterwards none is added, and before it none is found.
    pub(super) fn sort(&mut self) {
        self.deltas
            .sort_unstable_by_key(|delta| (delta.base, delta.entry));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.deltas.is_empty()
    }

    /// Whether there is a delta of this object.
    pub(super) fn has(&self, base: &oid) -> bool {
        self.of(base).next().is_some()
    }

    /// Takes the deltas of this object. `None` if they were taken for another entry with the same object.
    pub(super) fn take(&self, base: &oid) -> Option<impl Iterator<Item = u32>> {
        let mut own = self.of(base).peekable();
        let first = own.peek();
        if first.is_some_and(|first| first.is_taken.swap(true, Relaxed)) {
            return None;
        }
        Some(own.map(|delta| {
            delta.is_taken.store(true, Relaxed);
            delta.entry
        }))
    }

    /// Whether no delta waits for this object.
    pub(super) fn are_taken(&self, base: &oid) -> bool {
        self.of(base).all(|delta| delta.is_taken.load(Relaxed))
    }

    /// The bases of the deltas that were not taken, each once, in the order of their first deltas. Git writes a base
    /// before its deltas, so a base that is itself a delta of an earlier one is resolved by then.
    pub(super) fn absent_bases(&self) -> Vec<ObjectId> {
        let open = self
            .deltas
            .iter()
            .filter(|delta| !delta.is_taken.load(Relaxed));
        let mut bases: Vec<_> = open.map(|delta| (delta.entry, delta.base)).collect();
        bases.dedup_by_key(|(_, base)| *base);
        bases.sort_unstable();
        bases.into_iter().map(|(_, base)| base).collect()
    }

    fn of(&self, base: &oid) -> impl Iterator<Item = &RefDelta> {
        let first = self
            .deltas
            .partition_point(|delta| delta.base.as_ref() < base);
        self.deltas[first..]
            .iter()
            .take_while(move |delta| delta.base == base)
    }
}
