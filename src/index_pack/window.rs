//! Cutting a pack into windows of entries, which are resolved while the pack arrives.

use std::ops::Range;

use super::inflated_cache::InflatedCache;

/// A range of entries that have arrived, with their inflated contents.
pub(super) struct Window<'s> {
    pub(super) entries: Range<u32>,
    pub(super) inflated: InflatedCache<'s>,
}

/// The ratio of an object's size to its entry's length above which the object's size counts for the window. It keeps
/// the work small that is left for the last window after the pack has arrived.
const MADE_OF_ONE_BYTE: u64 = 8;

/// The size of the first window, in bytes of the pack.
const FIRST: u64 = 64 * 1024;

/// Cuts a pack into windows.
///
/// Git writes an object together with the deltas of it, so a window extends to the next whole object, but to no more
/// than twice its size.
///
/// The first windows are small, so that a pack smaller than a window is resolved while it arrives as well.
pub(super) struct Cut {
    window: u64,
    /// The size that the windows grow to.
    most: u64,
    /// The first entry of the current window, and its cost so far.
    first: u32,
    size: u64,
}

impl Cut {
    /// `most` is the size in bytes that windows grow to.
    pub(super) fn new(most: u64) -> Self {
        Cut {
            window: most.min(FIRST),
            most,
            first: 0,
            size: 0,
        }
    }

    /// Whether windows have reached their full size: the pack is large.
    pub(super) fn has_grown(&self) -> bool {
        self.window == self.most
    }

    /// Adds an entry of `length` bytes in the pack with an object of `size` bytes. Returns the window that ends with
    /// this entry or before it, if one does.
    pub(super) fn after(
        &mut self,
        entry: u32,
        is_whole: bool,
        length: u64,
        size: u64,
    ) -> Option<Range<u32>> {
        let cost = length.max(size / MADE_OF_ONE_BYTE);
        let (first, before) = (self.first, self.size);
        self.size = before.saturating_add(cost);
        if is_whole && before >= self.window {
            self.begin(entry, cost);
            return Some(first..entry);
        }
        if self.size / 2 >= self.window {
            self.begin(entry + 1, 0);
            return Some(first..entry + 1);
        }
        None
    }

    fn begin(&mut self, first: u32, size: u64) {
        (self.first, self.size) = (first, size);
        self.window = self.most.min(2 * self.window);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_ends_before_a_whole_object_or_when_it_is_twice_as_large() {
        let (whole, delta) = (true, false);
        // Each: what it is, its length, its object's size, and the window that has ended by then.
        let table = [
            (whole, 60, 80, None),
            (delta, 30, 90, None),
            (whole, 10, 10, None),
            (delta, 20, 99, None),
            (whole, 50, 50, Some(0..4)),
            (delta, 60, 60, None),
            (delta, 60, 60, None),
            (delta, 29, 60, None),
            (delta, 1, 1, Some(4..9)),
            (delta, 1, MADE_OF_ONE_BYTE * 99, None),
            (whole, 1, 1, None),
            (whole, 200, 200, Some(9..11)),
            (whole, 250, 250, Some(11..12)),
            (delta, 1, u64::MAX, Some(12..14)),
            (whole, 1, 1, None),
        ];
        let mut cut = Cut::new(100);
        for (entry, (is_whole, length, size, expected)) in (0..).zip(table) {
            let window = cut.after(entry, is_whole, length, size);
            assert_eq!(window, expected, "{entry}");
        }
    }
}
