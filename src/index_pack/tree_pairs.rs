//! Pairs of a tree and one of its subtrees, recorded while the trees of a pack are inspected, for
//! [`nesting`](super::nesting).

use std::sync::{
    Mutex,
    atomic::{AtomicUsize, Ordering::Relaxed},
};

use gix::oid;

use super::locked;

/// The [prefixes](prefix) of a tree's id and of a subtree's id.
pub(super) type Pair = [u64; 2];

/// The number of pairs that are recorded in any pack; each object of the pack adds [`EACH`].
const MIN_PAIRS: usize = 1 << 14;
const EACH: usize = 2;

/// The pairs of a pack, shared by the threads that inspect its trees.
#[derive(Default)]
pub(super) struct TreePairs {
    pub(super) pairs: Mutex<Vec<Pairs>>,
    count: AtomicUsize,
    most: AtomicUsize,
}

/// The pairs that one thread has found.
#[derive(Default)]
pub(super) struct Pairs {
    pub(super) added: Vec<Pair>,
    pub(super) removed: Vec<Pair>,
}

impl TreePairs {
    /// Bytes for each object of the pack.
    pub(super) const MEMORY_OF_ONE: usize = EACH * size_of::<Pair>();

    /// Sets the most pairs for a pack of so many objects.
    pub(super) fn expect(&self, objects: usize) {
        let most = objects.saturating_mul(EACH).saturating_add(MIN_PAIRS);
        self.most.store(most, Relaxed);
    }

    pub(super) fn are_known(&self) -> bool {
        self.count.load(Relaxed) <= self.most.load(Relaxed)
    }
}

impl Pairs {
    /// The number of pairs that are handed over at a time.
    const MANY: usize = 4096;

    /// Records a subtree of `tree` that its delta base lacks.
    pub(super) fn add(&mut self, tree: &oid, below: &oid) {
        self.added.push([tree, below].map(prefix));
    }

    pub(super) fn remove(&mut self, tree: &oid, below: &oid) {
        self.removed.push([tree, below].map(prefix));
    }

    /// Records, as a pair of the tree with itself, that its pairs list all of its subtrees.
    pub(super) fn is_whole(&mut self, tree: &oid) {
        self.add(tree, tree);
    }

    pub(super) fn hand_over_if_many(&mut self, to: &TreePairs) {
        if self.added.len() + self.removed.len() >= Self::MANY {
            self.hand_over(to);
        }
    }

    pub(super) fn hand_over(&mut self, to: &TreePairs) {
        let mut pairs = std::mem::take(self);
        let count = pairs.added.len() + pairs.removed.len();
        to.count.fetch_add(count, Relaxed);
        if count > 0 && to.are_known() {
            pairs.added.shrink_to_fit();
            pairs.removed.shrink_to_fit();
            locked(&to.pairs).push(pairs);
        }
    }
}

/// The first 64 bits of an id.
pub(super) fn prefix(id: &oid) -> u64 {
    id.as_bytes()
        .first_chunk()
        .map_or(0, |bytes| u64::from_be_bytes(*bytes))
}
