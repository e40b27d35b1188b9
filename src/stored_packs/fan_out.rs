//! What an index begins with, finer: a few entries for each number in place of thousands.
//!
//! Who looks up every id of a pack once and again would wait for memory at most of the steps of a
//! search (gitformat-pack, "fan-out table").

use std::cmp::Ordering;

use gix::oid;

/// How many entries there are for each number, about.
const ENTRIES: u32 = 4;

pub(crate) struct FanOut {
    bits: u32,
    /// For each number that ids begin with, the first of its entries; and where the last one ends.
    starts: Vec<u32>,
}

impl FanOut {
    /// For `count` ids that are sorted; of others, some are not found.
    pub(crate) fn of<'a>(count: u32, id_at: impl Fn(u32) -> &'a oid) -> Self {
        let bits = (count / ENTRIES).max(1).ilog2().clamp(8, 24);
        let mut starts = vec![0; (1 << bits) + 1];
        for at in 0..count {
            starts[number(id_at(at), bits) + 1] += 1;
        }
        let mut before = 0;
        for start in &mut starts {
            before += *start;
            *start = before;
        }
        FanOut { bits, starts }
    }

    /// Where `id` is among the same ids.
    pub(crate) fn find<'a>(&self, id: &oid, id_at: impl Fn(u32) -> &'a oid) -> Option<u32> {
        let number = number(id, self.bits);
        let (mut start, mut end) = (self.starts[number], self.starts[number + 1]);
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

/// The number that an id begins with.
fn number(id: &oid, bits: u32) -> usize {
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
