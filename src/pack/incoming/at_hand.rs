//! Deltas as they were inflated when they came in: to make their objects they needn't be read again.

use super::spent::Spent;

/// Deltas of entries that followed each other, as many of them as there was memory for.
pub(super) struct DeltasAtHand<'s> {
    spent: &'s Spent<'s>,
    bytes: Vec<u8>,
    /// Of which entries, and where in those bytes each ends.
    ends: Vec<(u32, usize)>,
    kept: u64,
}

/// What one takes beside its bytes.
const EACH: u64 = size_of::<(u32, usize)>() as u64;

impl<'s> DeltasAtHand<'s> {
    pub(super) fn new(spent: &'s Spent<'s>) -> Self {
        DeltasAtHand {
            spent,
            bytes: Vec::new(),
            ends: Vec::new(),
            kept: 0,
        }
    }

    /// Takes the memory for the next delta, which has so many bytes. `false` if it can't be kept.
    pub(super) fn reserve(&mut self, size: u64) -> bool {
        // The buffers double as they grow.
        let kept = size.saturating_add(EACH).saturating_mul(2);
        let has_room = self.spent.keep_at_hand(kept);
        if has_room {
            self.kept += kept;
        }
        has_room
    }

    /// Adds a piece of that delta.
    pub(super) fn extend(&mut self, piece: &[u8]) {
        self.bytes.extend_from_slice(piece);
    }

    /// Ends that delta: it is of this entry, which comes after the others.
    pub(super) fn end(&mut self, entry: u32) {
        self.ends.push((entry, self.bytes.len()));
    }

    pub(super) fn of(&self, entry: u32) -> Option<&[u8]> {
        let at = self.ends.binary_search_by_key(&entry, |(entry, _)| *entry);
        let at = at.ok()?;
        let start = at.checked_sub(1).map_or(0, |before| self.ends[before].1);
        Some(&self.bytes[start..self.ends[at].1])
    }
}

impl Drop for DeltasAtHand<'_> {
    fn drop(&mut self) {
        self.spent.let_go(self.kept);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Limits;

    #[test]
    fn there_is_an_end_to_what_is_kept() {
        let limits = Limits {
            memory: 16 * 2 * (3 * EACH + 12),
            ..Limits::default()
        };
        let spent = Spent::new(&limits);
        let entries = limits.memory / 8 * 5;
        spent.check_count(1, entries).expect("all of their share");
        let mut first = DeltasAtHand::new(&spent);
        for (entry, delta) in [(3, &b"abc"[..]), (5, b"defgh")] {
            assert!(first.reserve(delta.len() as u64));
            delta.chunks(2).for_each(|piece| first.extend(piece));
            first.end(entry);
        }
        let mut second = DeltasAtHand::new(&spent);
        assert!(!second.reserve(5));
        assert!(second.reserve(4));
        let found = [2, 3, 4, 5, 6].map(|entry| first.of(entry));
        assert_eq!(found, [None, Some(&b"abc"[..]), None, Some(b"defgh"), None]);
        assert!(!second.reserve(u64::MAX));
        drop(first);
        assert!(second.reserve(8));
    }
}
