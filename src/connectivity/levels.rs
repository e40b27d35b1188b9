//! Counting the levels of nested trees in a tree of the store.

use std::collections::HashMap;

use gix::{ObjectId, objs::Kind};

use super::object_states::MAX_LEVELS;
use crate::{
    Error, SyncContext,
    object::lookup::ObjectLookup,
    object::tree_entries::{each_new, kind_of},
};

/// The most trees that are read for counting.
const MAX_READ: usize = 1 << 14;

/// The trees of a store whose levels were counted, each once.
#[derive(Default)]
pub(super) struct CountedTrees {
    /// The number of levels of each tree, itself included.
    levels: HashMap<ObjectId, usize>,
}

/// A tree on the path that is not counted yet.
struct OpenTree {
    tree: ObjectId,
    /// The subtrees that are still to be counted.
    subtrees: Vec<ObjectId>,
    /// The most levels so far, the tree itself included.
    levels: usize,
}

impl CountedTrees {
    /// The number of levels of a tree, itself included. `None` if there are too many levels or trees, or if a tree
    /// cannot be read.
    pub(super) fn count(
        &mut self,
        tree: ObjectId,
        objects: &dyn ObjectLookup,
        context: &SyncContext,
    ) -> Result<Option<usize>, Error> {
        let mut path = Vec::new();
        let mut next = Some(tree);
        loop {
            if let Some(tree) = next.take() {
                context.check()?;
                let has_room = path.len() < MAX_LEVELS && self.levels.len() + path.len() < MAX_READ;
                let Some(subtrees) = has_room.then(|| trees_in(&tree, objects)).flatten() else {
                    return Ok(None);
                };
                let levels = 1;
                path.push(OpenTree {
                    tree,
                    subtrees,
                    levels,
                });
            }
            let Some(open) = path.last_mut() else {
                return Ok(self.levels.get(&tree).copied());
            };
            let Some(subtree) = open.subtrees.pop() else {
                self.levels.insert(open.tree, open.levels);
                let levels = open.levels + 1;
                path.pop();
                if let Some(above) = path.last_mut() {
                    above.levels = above.levels.max(levels);
                }
                continue;
            };
            match self.levels.get(&subtree) {
                Some(levels) => open.levels = open.levels.max(levels + 1),
                None => next = Some(subtree),
            }
        }
    }
}

fn trees_in(tree: &ObjectId, objects: &dyn ObjectLookup) -> Option<Vec<ObjectId>> {
    let mut buffer = Vec::new();
    let found = objects.try_find(tree, &mut buffer).ok()??;
    let mut trees = Vec::new();
    (found.kind == Kind::Tree).then_some(())?;
    each_new(found.data, &[], tree.kind(), |entry, _| {
        if kind_of(&entry) == Some(Kind::Tree) {
            trees.push(entry.oid.to_owned());
        }
    })?;
    Some(trees)
}
