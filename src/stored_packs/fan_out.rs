//! A fan-out table (gitformat-pack) that is finer than the one of a pack index: a few entries for each prefix
//! in place of thousands.
//!
//! With the index's own table, most steps of each binary search are cache misses, which costs much where
//! every id of a pack is looked up again and again.

use std::cmp::Ordering;

use gix::oid;

/// Number of entries for each prefix, about.
const ENTRIES: u32 = 4;

/// The fan-out table of some sorted ids.
pub(crate) struct FanOut {
    /// Length of the prefixes.
    bits: u32,
    /// The first entry of each prefix, and the number of all entries.
    starts: Vec<u32>,
}

impl FanOut {
    /// The table of `count` ids. If they are not sorted, some will not be found.
    pub(crate) fn of<'a>(count: u32, id_at: impl Fn(u32) -> &'a oid) -> Self {
        let bits = (count / ENTRIES).max(1).ilog2().clamp(8, 24);
        let mut starts = vec![0; (1 << bits) + 1];
        for at in 0..count {
            starts[prefix(id_at(at), bits) + 1] += 1;
        }
        let mut before = 0;
        for start in &mut starts {
            before += *start;
            *start = before;
        }
        FanOut { bits, starts }
    }

    /// The position of `id` among the same ids.
    pub(crate) fn find<'a>(&self, id: &oid, id_at: impl Fn(u32) -> &'a oid) -> Option<u32> {
        let prefix = prefix(id, self.bits);
        let (mut start, mut end) = (self.starts[prefix], self.starts[prefix + 1]);
        while start < end {
            let middle = start + (end - start) / 2;
            match id_at(middle).cmp(id) {
                Ordering::Less => start = middle + 1,
                Ordering::Equal => return Some(middle),
                Ordering::Greater => end = middle,
            }
        }
        None
    }
}

/// The prefix of an id.
fn prefix(id: &oid, bits: u32) -> usize {
    let (first, _) = id.as_bytes().split_first_chunk().expect("20 bytes");
    (u32::from_be_bytes(*first) >> (32 - bits)) as usize
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
            let id_at = |at: u32| -> &oid { &known[at as usize] };
            let fan_out = FanOut::of(known.len() as u32, id_at);
            for (at, id) in (0..).zip(&known) {
                prop_assert_eq!(fan_out.find(id, id_at), Some(at));
            }
            for (_, id) in others {
                prop_assert_eq!(fan_out.find(id, id_at), None);
            }
        });
    }
}
