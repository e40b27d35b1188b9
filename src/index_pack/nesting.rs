//! The nesting depth of the trees in a pack.
//!
//! Git refuses to read trees nested deeper than a limit. The inspection of each tree records the subtrees that it has
//! and its delta base lacks, and the reverse ([`TreePairs`]); the depths follow from these pairs without reading trees
//! again. Pairs hold only the first 64 bits of ids. If two objects share them, the result is "unknown", and a walk over
//! the trees decides.

use std::{collections::HashMap, sync::PoisonError};

use gix::{ObjectId, objs::Kind};

use super::{
    indexing::ById,
    table::{Base, Table},
    tree_pairs::{Pairs, TreePairs, prefix},
};
use crate::{Error, SyncContext, connectivity::MAX_LEVELS, pack::delta_tree::NO_BASE};

/// The most passes over all trees, one per level. Deeper nesting is left to a walk.
const MAX_PASSES: usize = 64;

/// The most subtrees that are listed in all for a pack that references trees outside of it.
const MAX_LISTED: usize = 1 << 20;

/// The depth of each tree in `needed`, which are outside the pack, below the root trees of the pack. `None` if the
/// pack's trees may be nested too deep, or if that is unknown.
pub(super) fn depths(
    pairs: TreePairs,
    table: &Table,
    by_id: &ById<'_>,
    arrived: u32,
    needed: &[(Kind, ObjectId)],
    run: &SyncContext,
) -> Result<Option<HashMap<ObjectId, u16>>, Error> {
    let trees = (0..arrived).filter(|entry| table.kind(*entry) == Some(Kind::Tree));
    let trees: Vec<_> = trees.collect();
    let outside = needed.iter().filter(|(kind, _)| *kind == Kind::Tree);
    let outside: Vec<_> = outside.map(|(_, id)| *id).collect();
    // So few trees cannot be nested deeper than that.
    let are_few = trees.len() <= MAX_LEVELS;
    if are_few && outside.is_empty() {
        return Ok(Some(HashMap::new()));
    }
    if (!are_few && !needed.is_empty()) || !pairs.are_known() {
        return Ok(None);
    }
    let Some(nesting) = Nesting::find(pairs, table, by_id, arrived, trees, &outside) else {
        return Ok(None);
    };
    if outside.is_empty() {
        let nest = nesting.are_few_levels(run)?;
        return Ok(nest.then(HashMap::new));
    }
    let depths = nesting.depths_of_outside(outside.len(), run)?;
    Ok(depths.map(|depths| outside.into_iter().zip(depths).collect()))
}

/// The subtrees of each tree, as entry numbers. Trees outside the pack are numbered after the pack's entries.
struct Nesting {
    arrived: u32,
    /// The tree entries in the order of the pack. An offset delta comes after its base.
    trees: Vec<u32>,
    /// The delta base of each entry; [`NO_BASE`] for one whose pairs list all of its subtrees.
    bases: Vec<u32>,
    added: Vec<[u32; 2]>,
    removed: Vec<[u32; 2]>,
}

impl Nesting {
    /// `None` if a prefix does not identify one tree.
    fn find(
        pairs: TreePairs,
        table: &Table,
        by_id: &ById<'_>,
        arrived: u32,
        trees: Vec<u32>,
        outside: &[ObjectId],
    ) -> Option<Self> {
        let by_prefix = (arrived..)
            .zip(outside)
            .map(|(number, id)| (prefix(id), number));
        let by_prefix: HashMap<_, _> = by_prefix.collect();
        let is_elsewhere = |prefix: &u64| by_id.find_prefix(*prefix).is_none_or(|at| at >= arrived);
        if by_prefix.len() < outside.len()
            || by_id.has_a_prefix_twice()
            || !by_prefix.keys().all(is_elsewhere)
        {
            return None;
        }
        let number = |prefix| match by_prefix.get(&prefix) {
            Some(outside) => Some(*outside),
            None => by_id.find_prefix(prefix).filter(|entry| *entry < arrived),
        };
        let mut bases = vec![NO_BASE; arrived as usize];
        for tree in &trees {
            if let Base::Entry(base) = table.base(*tree) {
                bases[*tree as usize] = base;
            }
        }
        let (mut added, mut removed) = (Vec::new(), Vec::new());
        let found = pairs.pairs.into_inner();
        for Pairs {
            added: more,
            removed: fewer,
        } in found.unwrap_or_else(PoisonError::into_inner)
        {
            for [tree, below] in more {
                let [tree, below] = [number(tree)?, number(below)?];
                if tree == below {
                    bases[tree as usize] = NO_BASE
                } else {
                    added.push([tree, below])
                }
            }
            for [tree, below] in fewer {
                removed.push([number(tree)?, number(below)?]);
            }
        }
        Some(Nesting {
            arrived,
            trees,
            bases,
            added,
            removed,
        })
    }

    /// Whether no tree has more levels than [`MAX_PASSES`]. Each pass completes the trees with one more level.
    fn are_few_levels(&self, run: &SyncContext) -> Result<bool, Error> {
        let mut is_done = vec![false; self.arrived as usize];
        // The number of subtrees in each tree that are not done.
        let mut open = vec![0_i32; self.arrived as usize];
        for _ in 0..MAX_PASSES {
            run.check()?;
            open.fill(0);
            for [tree, below] in &self.added {
                open[*tree as usize] += i32::from(!is_done[*below as usize]);
            }
            for [tree, below] in &self.removed {
                open[*tree as usize] -= i32::from(!is_done[*below as usize]);
            }
            let mut are_all_done = true;
            for tree in self.trees.iter().map(|tree| *tree as usize) {
                if self.bases[tree] != NO_BASE {
                    open[tree] += open[self.bases[tree] as usize];
                }
                is_done[tree] = open[tree] == 0;
                are_all_done &= is_done[tree];
            }
            if are_all_done {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The depths of the trees outside the pack; `None` if they would take too many steps.
    fn depths_of_outside(
        &self,
        outside: usize,
        run: &SyncContext,
    ) -> Result<Option<Vec<u16>>, Error> {
        let Some(lists) = self.lists() else {
            return Ok(None);
        };
        let mut depths = vec![0_u16; self.arrived as usize + outside];
        for _ in 0..MAX_PASSES {
            run.check()?;
            let mut is_stable = true;
            for (tree, list) in self.trees.iter().zip(&lists) {
                let below = depths[*tree as usize] + 1;
                for tree in list {
                    let depth = &mut depths[*tree as usize];
                    is_stable &= *depth >= below;
                    *depth = below.max(*depth);
                }
            }
            if is_stable {
                return Ok(Some(depths.split_off(self.arrived as usize)));
            }
        }
        Ok(None)
    }

    /// The subtrees of each tree; `None` if there are more than [`MAX_LISTED`].
    fn lists(&self) -> Option<Vec<Vec<u32>>> {
        let mut left = MAX_LISTED;
        let mut spend = |count: usize| -> Option<()> {
            left = left.checked_sub(count)?;
            Some(())
        };
        let [added, removed] = [&self.added, &self.removed].map(|pairs| {
            let mut by_tree: HashMap<u32, Vec<u32>> = HashMap::new();
            for [tree, below] in pairs {
                by_tree.entry(*tree).or_default().push(*below);
            }
            by_tree
        });
        let of =
            |pairs: &HashMap<u32, Vec<u32>>, tree| pairs.get(&tree).cloned().unwrap_or_default();
        let mut lists: Vec<Vec<u32>> = Vec::new();
        for tree in &self.trees {
            let base = self.bases[*tree as usize];
            let base = self.trees[..lists.len()].binary_search(&base).ok();
            let mut list = base.map_or(Vec::new(), |base| lists[base].clone());
            for below in of(&removed, *tree) {
                spend(list.len())?;
                let at = list.iter().position(|listed| *listed == below)?;
                list.swap_remove(at);
            }
            list.extend(of(&added, *tree));
            spend(list.len())?;
            lists.push(list);
        }
        Some(lists)
    }
}
