//! A cache of the trees that the walk read last, and buffers for the next ones.

use std::collections::VecDeque;

use gix::ObjectId;

use super::{Fault, tree_visitor::TreeVisitor};

/// The trees that the walk left last: the next commit's trees are compared with those of its parent, which often is the
/// commit just before.
///
/// Buffers are reused, because without that the heap would grow and shrink with every tree, and the system would
/// clear its pages each time.
pub(super) struct TreeCache {
    /// The tree that was left last is the last one.
    recent: VecDeque<(ObjectId, Vec<u8>)>,
    /// Bytes of the `recent` contents.
    held: usize,
    memory: usize,
    spare: Vec<Vec<u8>>,
}

const MAX_RECENT: usize = 12;
const MAX_SPARE: usize = 8;
const MAX_SPARE_BYTES: usize = 256 * 1024;

impl TreeCache {
    /// `memory` bounds the bytes of cached contents.
    pub(super) fn new(memory: usize) -> Self {
        TreeCache {
            recent: VecDeque::new(),
            held: 0,
            memory,
            spare: Vec::new(),
        }
    }

    pub(super) fn read(
        &mut self,
        tree: &ObjectId,
        visitor: &mut impl TreeVisitor,
    ) -> Result<Vec<u8>, Fault> {
        let recent = self.recent.iter().rposition(|(id, _)| id == tree);
        if let Some((_, content)) = recent.and_then(|at| self.recent.remove(at)) {
            self.held -= content.capacity();
            return Ok(content);
        }
        let mut content = self.spare.pop().unwrap_or_default();
        visitor.read(tree, &mut content)?;
        Ok(content)
    }

    /// Puts a content into the cache, and drops the oldest ones beyond the memory.
    pub(super) fn leave(&mut self, tree: ObjectId, content: Vec<u8>) {
        self.held += content.capacity();
        self.recent.push_back((tree, content));
        while self.held > self.memory || self.recent.len() > MAX_RECENT {
            let Some((_, oldest)) = self.recent.pop_front() else {
                break;
            };
            self.held -= oldest.capacity();
            if self.spare.len() < MAX_SPARE && oldest.capacity() <= MAX_SPARE_BYTES {
                self.spare.push(oldest);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connectivity::{
        object_states::{Node, State},
        tree_visitor::{Stop, Visit},
    };
    use gix::objs::Kind;

    /// Has every tree, of that size, and counts what is asked of it.
    struct Store(usize, u32);

    impl TreeVisitor for Store {
        fn read(&mut self, tree: &ObjectId, content: &mut Vec<u8>) -> Result<(), Fault> {
            self.1 += 1;
            content.clear();
            content.resize(self.0, tree.as_bytes()[0]);
            Ok(())
        }
        fn set(&mut self, _: Node, _: State) {}
        fn visit_entry(&mut self, _: ObjectId, _: Kind) -> Result<Visit, Stop> {
            Ok(Visit::Nothing)
        }
    }

    fn id(number: u8) -> ObjectId {
        ObjectId::from_bytes_or_panic(&[number; 20])
    }

    #[test]
    fn the_last_ones_that_were_left_are_not_read_again() {
        for (memory, size, kept) in [(1000, 100, 10), (usize::MAX, 100, 12), (50, 100, 0)] {
            let mut cache = TreeCache::new(memory);
            let mut store = Store(size, 0);
            for number in 0..50 {
                let content = cache.read(&id(number), &mut store).expect("a tree");
                cache.leave(id(number), content);
                assert!(cache.held <= memory);
            }
            assert_eq!(store.1, 50);
            for number in (0..50).rev() {
                let content = cache.read(&id(number), &mut store).expect("a tree");
                assert_eq!(content, [number; 100]);
            }
            assert_eq!((store.1, cache.held), (100 - kept, 0), "{memory}");
        }
    }
}
