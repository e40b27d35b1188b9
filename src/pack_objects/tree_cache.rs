//! The contents of the trees that were read last.
//!
//! A tree is read for itself and as another version of its successor, and once more when deltas are searched.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

use gix::{ObjectId, oid};

/// The trees that one thread has read last, or several threads that have ended.
#[derive(Default)]
pub(super) struct TreeCache {
    /// Limit of the trees in bytes.
    memory: usize,
    trees: HashMap<ObjectId, Arc<[u8]>>,
    /// The tree that was read last is at the end.
    order: VecDeque<ObjectId>,
    held: usize,
}

impl TreeCache {
    pub(super) fn new(memory: usize) -> Self {
        TreeCache {
            memory,
            ..TreeCache::default()
        }
    }

    pub(super) fn get(&self, tree: &oid) -> Option<&Arc<[u8]>> {
        self.trees.get(tree)
    }

    pub(super) fn keep(&mut self, tree: ObjectId, content: &Arc<[u8]>) {
        if self.trees.insert(tree, Arc::clone(content)).is_some() {
            return;
        }
        self.held += content.len();
        self.order.push_back(tree);
        while self.held > self.memory
            && let Some(oldest) = self.order.pop_front()
        {
            let oldest = self.trees.remove(&oldest);
            self.held -= oldest.map_or(0, |content| content.len());
        }
    }

    /// Adds the trees that another thread has kept. The result is only to be read: the memory and the order do not
    /// count the added trees.
    pub(super) fn merge(&mut self, other: TreeCache) {
        self.trees.extend(other.trees);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MEMORY: usize = 3000;

    #[test]
    fn the_last_ones_are_kept() {
        let id = |number: u8| ObjectId::from_bytes_or_panic(&[number; 20]);
        let text: Arc<[u8]> = vec![0; MEMORY / 3].into();
        let mut contents = TreeCache::new(MEMORY);
        for number in [1, 2, 3, 1, 4] {
            contents.keep(id(number), &text);
        }
        let kept = |contents: &TreeCache| {
            (1..6)
                .filter(|number| contents.get(&id(*number)).is_some())
                .collect::<Vec<_>>()
        };
        assert_eq!(kept(&contents), [2, 3, 4]);
        let mut other = TreeCache::new(MEMORY);
        other.keep(id(5), &text);
        other.merge(contents);
        assert_eq!(kept(&other), [2, 3, 4, 5]);
        other.keep(id(1), &vec![0; MEMORY + 1].into());
        assert_eq!(kept(&other), [2, 3, 4]);
    }
}
