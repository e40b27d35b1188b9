//! A fan-out table (gitformat-pack) that is finer than the one of a pack index: a few entries for each prefix
//! in place of thousands.
//!
//! With the index's own table, most steps of each binary search are cache misses, which costs much where
//! every id of a pack is looked up again and again.

use std::cmp::Ordering;

use gix::oid;

/// Number of entries for each prefix, about.
const ENTRIES: u32 = 4;

/// The most bits of the prefixes.
const MAX_BITS: u32 = 22;

/// The fan-out table of some sorted ids.
pub(crate) struct FanOut {
    /// The right shift of an id's first 64 bits that leaves the table's prefix.
    shift: u32,
    /// The first entry of each prefix, and the number of all entries.
    starts: Vec<u32>,
}

impl FanOut {
    /// The table of `count` ids, by their [`prefix()`]. If they are not sorted, some will not be found.
    pub(crate) fn of(count: u32, prefix_at: impl Fn(u32) -> u64) -> Self {
        let bits = (count / ENTRIES).max(2).ilog2().min(MAX_BITS);
        let shift = u64::BITS - bits;
        let mut starts = vec![0; (1 << bits) + 1];
        for at in 0..count {
            starts[(prefix_at(at) >> shift) as usize + 1] += 1;
        }
        let mut before = 0;
        for start in &mut starts {
            before += *start;
            *start = before;
        }
        FanOut { shift, starts }
    }

    /// The position of an id with this [`prefix()`], where `compare` compares the id at a position with it.
    pub(crate) fn find(&self, prefix: u64, compare: impl Fn(u32) -> Ordering) -> Option<u32> {
        let at = (prefix >> self.shift) as usize;
        let (mut start, mut end) = (self.starts[at], self.starts[at + 1]);
        while start < end {
            let middle = start + (end - start) / 2;
            match compare(middle) {
                Ordering::Less => start = middle + 1,
                Ordering::Equal => return Some(middle),
                Ordering::Greater => end = middle,
            }
        }
        None
    }
}

/// The first 64 bits of an id.
pub(crate) fn prefix(id: &oid) -> u64 {
    id.as_bytes()
        .first_chunk()
        .map_or(0, |bytes| u64::from_be_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use gix::ObjectId;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn each_id_is_found_where_it_is_and_no_other() {
        // Most begin with the same number, so that it has many entries.
        let id = (0..4_u8, any::<u8>(), 0..8_u8).prop_map(|(first, second, last)| {
            let mut bytes = [7; 20];
            bytes[0] = first.wrapping_mul(85);
            (bytes[1], bytes[19]) = (second, last);
            ObjectId::from_bytes_or_panic(&bytes)
        });
        let ids = prop::collection::btree_set(id, 0..3000);
        proptest!(ProptestConfig::with_cases(32), |(all in ids, step in 1..4_usize)| {
            let (known, others): (Vec<_>, Vec<_>) = all.iter().enumerate().partition(|(at, _)| at % step == 0);
            let known: Vec<_> = known.into_iter().map(|(_, id)| *id).collect();
            let fan_out = FanOut::of(known.len() as u32, |at| prefix(&known[at as usize]));
            let find = |id: &oid| fan_out.find(prefix(id), |at| known[at as usize].as_ref().cmp(id));
            for (at, id) in (0..).zip(&known) {
                prop_assert_eq!(find(id), Some(at));
            }
            for (_, id) in others {
                prop_assert_eq!(find(id), None);
            }
        });
    }
}
