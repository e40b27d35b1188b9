//! Upper bounds of the depths to which the trees of a pack are nested.

use super::delta_tree::NO_BASE;
use crate::{Error, SyncContext};

/// The most passes over all trees. Each settles one more level, so no depth that is found is larger.
pub(crate) const MAX_PASSES: usize = 64;

/// The depth of each tree below a tree that is in no other one, or more. `None` if that takes too many passes.
///
/// `bases` has the delta base of each tree, which comes before it, or [`NO_BASE`]; `pairs` each tree with the
/// subtrees of it that its base lacks. Any other subtree of a tree is one of its base, so the bound of a base is at
/// least that of its deltas, although the base itself may be less deep. Trees that are in a circle of both relations
/// have no bound.
pub(crate) fn tree_depths<P: Iterator<Item = [u32; 2]>>(
    bases: &[u32],
    pairs: impl Fn() -> P,
    context: &SyncContext,
) -> Result<Option<Vec<u16>>, Error> {
    let mut depths = vec![0_u16; bases.len()];
    for _ in 0..MAX_PASSES {
        context.check()?;
        for (tree, base) in bases.iter().enumerate().rev() {
            if *base != NO_BASE {
                depths[*base as usize] = depths[*base as usize].max(depths[tree]);
            }
        }
        let before = depths.clone();
        for [tree, below] in pairs() {
            let depth = &mut depths[below as usize];
            *depth = before[tree as usize].saturating_add(1).max(*depth);
        }
        if depths == before {
            return Ok(Some(depths));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SyncOptions;

    /// The bases, the pairs and the depths.
    type Case = (&'static [u32], &'static [[u32; 2]], Option<&'static [u16]>);

    #[test]
    fn a_base_is_as_deep_as_its_deltas_and_each_subtree_is_deeper() {
        const NO: u32 = NO_BASE;
        let table: [Case; 7] = [
            (&[], &[], Some(&[])),
            (&[NO, NO, NO], &[[0, 1], [1, 2]], Some(&[0, 1, 2])),
            (&[NO, NO, NO], &[[2, 1], [1, 0], [2, 0]], Some(&[2, 1, 0])),
            // What is in the base, may be in its delta: one more level where that is in another one.
            (&[NO, 0, NO, NO], &[[0, 2], [3, 1]], Some(&[1, 1, 2, 0])),
            (&[NO, 0, 1], &[[0, 1]], None),
            (&[NO, NO, 0], &[[0, 1], [1, 2]], None),
            (&[NO, 0, 1], &[[2, 0]], Some(&[1, 0, 0])),
        ];
        let context = SyncContext::new(&SyncOptions::default());
        for (bases, pairs, expected) in table {
            let found = tree_depths(bases, || pairs.iter().copied(), &context);
            let found = found.expect("not cancelled");
            assert_eq!(found.as_deref(), expected, "{bases:?} {pairs:?}");
        }
    }

    #[test]
    fn there_is_an_end_to_the_passes() {
        let context = SyncContext::new(&SyncOptions::default());
        for (levels, is_known) in [(MAX_PASSES as u32, true), (MAX_PASSES as u32 + 1, false)] {
            let bases = vec![NO_BASE; levels as usize];
            let pairs = || (1..levels).map(|tree| [tree - 1, tree]);
            let found = tree_depths(&bases, pairs, &context).expect("not cancelled");
            assert_eq!(found.is_some(), is_known, "{levels}");
        }
    }
}
