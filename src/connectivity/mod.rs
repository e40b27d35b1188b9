//! The connectivity check: whether every object reachable from a tip exists (`git rev-list --objects --not --all`).
//!
//! The check walks from the tips over all objects that are not reachable from a ref of the store. The walk is
//! depth-first, so an object is marked complete only after everything that it references, and it reads each object at
//! most once for any number of tips.
//!
//! A tree is compared with the trees that the commit's parents have at the same path, which are complete by then: an
//! entry that a parent has under the same name is skipped. Otherwise one new commit would cost a walk over its whole
//! tree.
//!
//! Two shortcuts avoid the walk. Most objects outside a received pack that its objects reference are in a few older
//! trees of the store: see [`are_complete`]. If very many commits have to be checked, all trees of the store's
//! largest pack are read first, in the order of its deltas: see
//! [`SelfContainedPack`](crate::stored_packs::self_contained::SelfContainedPack).
//!
//! The sender decides the number of objects, their nesting and their sizes. So the walk needs no recursion, and only
//! some bytes for each object: see [`ObjectStates`](object_states::ObjectStates) and [`Trees`](trees::Trees).

use std::{
    collections::{HashMap, HashSet},
    iter,
};

use gix::{ObjectId, objs::Kind};
use gix_pack::index;

mod levels;
mod object_states;
mod outside;
mod reading;
#[cfg(test)]
mod tests;
mod tree_cache;
mod tree_visitor;
mod trees;
mod walk;

use self::walk::Walk;
pub(crate) use self::{
    object_states::MAX_LEVELS,
    outside::{Outside, are_complete},
};
use crate::{
    Error, Phase, Reason, SyncContext, history::CompleteHistory, memory_plan::ConnectivityMemory,
    object::lookup::ObjectLookup, stored_packs::self_contained::SelfContainedPack,
};

/// The input of a check: the objects that the walk reads, and the facts about them.
pub(crate) struct Check<'a> {
    /// The objects of the store and the quarantine.
    pub lookup: &'a dyn ObjectLookup,
    /// The commits that exist without their parents.
    pub shallow: &'a HashSet<ObjectId>,
    /// The largest pack of the store, which is read at once where that pays off.
    pub largest_pack: Option<SelfContainedPack<'a>>,
    /// The received objects. They count as unverified even if the store has them as well.
    pub arrived: Option<Arrived<'a>>,
    /// Existing objects that are refused (faulty, too large), each with the reason.
    pub refused: &'a HashMap<ObjectId, Reason>,
    /// The history that is assumed to be complete, with everything that it references.
    pub complete: &'a mut dyn CompleteHistory,
    /// Collects the objects of the store that the tips need and that are not known to be reachable from a ref: until
    /// refs point to them, `git gc` could remove them, so the caller holds on to them.
    pub to_freshen: &'a mut Vec<ObjectId>,
    pub memory: ConnectivityMemory,
}

/// A received pack, all objects of which were inspected.
#[derive(Clone, Copy)]
pub(crate) struct Arrived<'a> {
    pub index: &'a index::File,
    /// The kind of each object, in the order of the index.
    pub kinds: &'a [Kind],
}

/// The incomplete ones of `tips`, each with the first fault that was found.
pub(crate) fn find_incomplete<'a>(
    check: Check<'a>,
    tips: &[ObjectId],
    context: &'a SyncContext,
) -> Result<Vec<(ObjectId, Reason)>, Error> {
    find_incomplete_and_first_beside(check, tips, iter::empty(), context).map(|(faults, _)| faults)
}

/// The incomplete ones of `tips` and, if there are none, the first fault behind the `others`.
pub(crate) fn find_incomplete_and_first_beside<'a>(
    check: Check<'a>,
    tips: &[ObjectId],
    mut others: impl Iterator<Item = ObjectId>,
    context: &'a SyncContext,
) -> Result<(FaultsOfTips, Option<Reason>), Error> {
    let mut walk = Walk::new(check, context);
    let mut faults = Vec::new();
    for tip in tips {
        if let Some(fault) = walk.find_fault(*tip)? {
            faults.push((*tip, fault));
        }
    }
    let mut beside = None;
    while faults.is_empty()
        && beside.is_none()
        && let Some(other) = others.next()
    {
        beside = walk.find_fault(other)?;
    }
    context.advance(Phase::Verify, walk.visited, Some(walk.visited));
    Ok((faults, beside))
}

/// Incomplete tips, each with the first fault that was found.
pub(crate) type FaultsOfTips = Vec<(ObjectId, Reason)>;

/// The reason why an object is not complete.
type Fault = Reason;
