//! Pairs of a tree and one of its subtrees, recorded while the trees of a pack are inspected, for
//! [`nesting`](super::nesting).

use std::sync::{
    Mutex,
    atomic::{AtomicUsize, Ordering::Relaxed},
};

use crate::scoped_workers::{into_inner, lock};

/// The [prefixes](crate::pack::fan_out::prefix) of a tree's id and of a subtree's id.
pub(super) type Pair = [u64; 2];

/// The number of pairs that are recorded in any pack; each object of the pack adds [`EACH`].
const MIN_PAIRS: usize = 1 << 14;
const EACH: usize = 2;

/// The number of pairs that a thread hands over at a time.
const MANY: usize = 4096;

/// The pairs of a pack, shared by the threads that inspect its trees.
pub(super) struct TreePairs {
    pairs: Mutex<Vec<Vec<Pair>>>,
    count: AtomicUsize,
    most: usize,
}

impl TreePairs {
    /// Bytes for each object of the pack.
    pub(super) const MEMORY_OF_ONE: usize = EACH * size_of::<Pair>();

    /// The pairs of a pack of so many objects.
    pub(super) fn of(objects: usize) -> Self {
        TreePairs {
            pairs: Mutex::default(),
            count: AtomicUsize::new(0),
            most: objects.saturating_mul(EACH).saturating_add(MIN_PAIRS),
        }
    }

    pub(super) fn are_known(&self) -> bool {
        self.count.load(Relaxed) <= self.most
    }

    /// Takes over the pairs that one thread has found.
    pub(super) fn take(&self, pairs: &mut Vec<Pair>) {
        let mut pairs = std::mem::take(pairs);
        self.count.fetch_add(pairs.len(), Relaxed);
        if self.are_known() {
            pairs.shrink_to_fit();
            lock(&self.pairs).push(pairs);
        }
    }

    /// Takes the pairs over if they are many.
    pub(super) fn take_if_many(&self, pairs: &mut Vec<Pair>) {
        if pairs.len() >= MANY {
            self.take(pairs);
        }
    }

    pub(super) fn into_pairs(self) -> impl Iterator<Item = Pair> {
        into_inner(self.pairs).into_iter().flatten()
    }
}
