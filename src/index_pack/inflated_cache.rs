//! The inflated contents of entries that have just arrived, so that resolving them needs no second inflate.

use gix::objs::Kind;

use super::budget::Budget;

/// The deltas and small objects of one window, as many as the memory allowed. The others are read from disk again.
pub(super) struct InflatedCache<'s> {
    budget: &'s Budget<'s>,
    bytes: Vec<u8>,
    ends: Vec<End>,
    kept: u64,
}

struct End {
    entry: u32,
    /// `None` for a delta.
    kind: Option<Kind>,
    /// The end of the object in the bytes.
    at: usize,
}

/// The memory of an entry beside its bytes.
const EACH: u64 = size_of::<End>() as u64;

impl<'s> InflatedCache<'s> {
    pub(super) fn new(budget: &'s Budget<'s>) -> Self {
        InflatedCache {
            budget,
            bytes: Vec::new(),
            ends: Vec::new(),
            kept: 0,
        }
    }

    /// Reserves memory for the next entry of `size` bytes. False if there is none.
    pub(super) fn reserve(&mut self, size: u64) -> bool {
        // Twice the size, because the buffers double as they grow.
        let kept = size.saturating_add(EACH).saturating_mul(2);
        let has_room = self.budget.reserve_cache(kept);
        if has_room {
            self.kept += kept;
        }
        has_room
    }

    /// Adds a piece of the reserved entry.
    pub(super) fn extend(&mut self, piece: &[u8]) {
        self.bytes.extend_from_slice(piece);
    }

    /// Ends the reserved entry: an object of `kind`, or a delta. Entries are added in the order of the pack.
    pub(super) fn end(&mut self, entry: u32, kind: Option<Kind>) {
        let at = self.bytes.len();
        self.ends.push(End { entry, kind, at });
    }

    pub(super) fn delta(&self, entry: u32) -> Option<&[u8]> {
        match self.of(entry)? {
            (None, delta) => Some(delta),
            (Some(_), _) => None,
        }
    }

    pub(super) fn object(&self, entry: u32) -> Option<(Kind, &[u8])> {
        let (kind, object) = self.of(entry)?;
        Some((kind?, object))
    }

    fn of(&self, entry: u32) -> Option<(Option<Kind>, &[u8])> {
        let found = self.ends.binary_search_by_key(&entry, |end| end.entry);
        let found = found.ok()?;
        let start = found.checked_sub(1).map_or(0, |at| self.ends[at].at);
        let End { kind, at, .. } = self.ends[found];
        Some((kind, &self.bytes[start..at]))
    }
}

impl Drop for InflatedCache<'_> {
    fn drop(&mut self) {
        self.budget.release_cache(self.kept);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Limits;

    #[test]
    fn there_is_an_end_to_what_is_kept() {
        let limits = Limits {
            memory: 32 * 2 * (3 * EACH + 12),
            ..Limits::default()
        };
        let budget = Budget::new(&limits);
        let entries = limits.memory / 8 * 5;
        budget.check_count(1, entries).expect("all of their share");
        let mut first = InflatedCache::new(&budget);
        for (entry, kind, bytes) in [(3, None, &b"abc"[..]), (5, Some(Kind::Tag), b"defgh")] {
            assert!(first.reserve(bytes.len() as u64));
            bytes.chunks(2).for_each(|piece| first.extend(piece));
            first.end(entry, kind);
        }
        let mut second = InflatedCache::new(&budget);
        assert!(!second.reserve(5));
        assert!(second.reserve(4));
        let deltas = [2, 3, 4, 5, 6].map(|entry| first.delta(entry));
        assert_eq!(deltas, [None, Some(&b"abc"[..]), None, None, None]);
        let objects = [2, 3, 4, 5, 6].map(|entry| first.object(entry));
        let tag = (Kind::Tag, &b"defgh"[..]);
        assert_eq!(objects, [None, None, None, Some(tag), None]);
        assert!(!second.reserve(u64::MAX));
        drop(first);
        assert!(second.reserve(8));
    }
}
