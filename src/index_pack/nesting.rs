//! The nesting depth of the trees in a pack.
//!
//! Git refuses to read trees nested deeper than a limit. The inspection of each tree records the subtrees that it has
//! and its delta base lacks ([`TreePairs`]); bounds of the depths follow from these pairs without reading trees again.
//! Pairs hold only the first 64 bits of ids. If two objects share them, the result is "unknown", and a walk over the
//! trees decides.

use std::collections::HashMap;

use gix::{ObjectId, objs::Kind};

use super::{
    indexing::ById,
    table::{Base, Table},
    tree_pairs::TreePairs,
};
use crate::{
    Error, SyncContext,
    connectivity::MAX_LEVELS,
    pack::{delta_tree::NO_BASE, fan_out::prefix, tree_depths::tree_depths},
};

/// A bound of the depth of each tree in `needed`, which are outside the pack, below the root trees of the pack. `None` if the
/// pack's trees may be nested too deep, or if that is unknown.
pub(super) fn depths(
    pairs: TreePairs,
    table: &Table,
    by_id: &ById<'_>,
    arrived: u32,
    needed: &[(Kind, ObjectId)],
    context: &SyncContext,
) -> Result<Option<HashMap<ObjectId, u16>>, Error> {
    let trees = (0..arrived).filter(|entry| table.kind(*entry) == Some(Kind::Tree));
    let outside = needed.iter().filter(|(kind, _)| *kind == Kind::Tree);
    let outside: Vec<_> = outside.map(|(_, id)| *id).collect();
    // So few trees cannot be nested deeper than that.
    let are_few = trees.count() <= MAX_LEVELS;
    if are_few && outside.is_empty() {
        return Ok(Some(HashMap::new()));
    }
    if (!are_few && !needed.is_empty()) || !pairs.are_known() {
        return Ok(None);
    }
    let Some(pairs) = numbered(pairs, by_id, arrived, &outside) else {
        return Ok(None);
    };
    let base_of = |entry| match table.base(entry) {
        Base::Entry(base) => base,
        Base::None | Base::Named => NO_BASE,
    };
    let in_pack = (0..arrived).map(base_of);
    let bases: Vec<_> = in_pack.chain(outside.iter().map(|_| NO_BASE)).collect();
    // Depths that are found are far within git's limit.
    let depths = tree_depths(&bases, || pairs.iter().copied(), context)?;
    Ok(depths.map(|mut depths| {
        outside
            .into_iter()
            .zip(depths.split_off(arrived as usize))
            .collect()
    }))
}

/// The pairs by the numbers of the entries; the trees `outside` the pack are numbered after these. `None` if a prefix
/// does not identify one tree.
fn numbered(
    pairs: TreePairs,
    by_id: &ById<'_>,
    arrived: u32,
    outside: &[ObjectId],
) -> Option<Vec<[u32; 2]>> {
    let by_prefix = (arrived..)
        .zip(outside)
        .map(|(number, id)| (prefix(id), number));
    let by_prefix: HashMap<_, _> = by_prefix.collect();
    let in_pack = |prefix| by_id.find_prefix(prefix).filter(|entry| *entry < arrived);
    let is_elsewhere = |prefix: &u64| in_pack(*prefix).is_none();
    if by_prefix.len() < outside.len()
        || by_id.has_a_prefix_twice()
        || !by_prefix.keys().all(is_elsewhere)
    {
        return None;
    }
    let number = |prefix| by_prefix.get(&prefix).copied().or_else(|| in_pack(prefix));
    let pairs = pairs.into_pairs();
    pairs
        .map(|[tree, below]| Some([number(tree)?, number(below)?]))
        .collect()
}
