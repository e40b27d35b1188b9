//! Is everything there that a tip needs?
//!
//! A walk from the tips over every object that is not behind a verified ref. It goes depth-first
//! so that an object counts as complete only once everything behind it does, and each object is
//! read at most once however many tips lead to it.
//!
//! Trees are read side by side with those of the commit's parents, which are complete by then: an
//! entry that a parent has under the same name needs no second look. Without that, one new commit
//! would cost a walk over its whole tree.
//!
//! What a pack leads to is mostly found in a few of those older trees, and then nothing is to be walked:
//! see [`are_complete`].
//!
//! Where very many commits are to be checked, all trees of the store's largest pack are read first, in
//! the order of its deltas: see [`SelfContainedPack`](crate::stored_packs::self_contained::SelfContainedPack).
//!
//! Who sent the objects decides how many there are, how deep they are nested and how large they are.
//! So what is kept of each is some bytes: see [`ObjectStates`](object_states::ObjectStates) and [`Trees`](trees::Trees).

use std::iter;

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
use crate::history::{reachable_from_refs::ReachableFromRefs, store_commits::StoreCommits};
use crate::{Error, Phase, Reason, SyncContext};

/// The objects that the walk reads from.
pub(crate) struct Objects<'a> {
    /// The store and the quarantine.
    pub commits: StoreCommits<'a>,
    /// The objects that have just arrived: they are not verified, wherever else they may be.
    pub arrived: Option<Arrived<'a>>,
    /// Those that are there and can't be had all the same.
    pub bad: &'a std::collections::HashMap<ObjectId, Reason>,
    /// The objects that refs vouch for.
    pub verified: &'a mut ReachableFromRefs,
    /// Objects of the store that the tips need, but for what refs are known to vouch for: they are added.
    pub met: &'a mut Vec<ObjectId>,
    /// Bytes that the walk may take, beside the largest tree.
    pub memory: u64,
}

/// A pack, all of whose objects were read once.
#[derive(Clone, Copy)]
pub(crate) struct Arrived<'a> {
    pub index: &'a index::File,
    /// In the order of the index.
    pub kinds: &'a [Kind],
}

/// Those of `tips` that aren't complete, each with the first fault that was found.
pub(crate) fn find_incomplete(
    objects: Objects<'_>,
    tips: &[ObjectId],
    run: &SyncContext,
) -> Result<Vec<(ObjectId, Reason)>, Error> {
    find_incomplete_and_first_beside(objects, tips, iter::empty(), run).map(|(faults, _)| faults)
}

/// The same and, if there are none, the first fault of all the others.
pub(crate) fn find_incomplete_and_first_beside(
    objects: Objects<'_>,
    tips: &[ObjectId],
    mut others: impl Iterator<Item = ObjectId>,
    run: &SyncContext,
) -> Result<(FaultsOfTips, Option<Reason>), Error> {
    let mut walk = Walk::new(objects, run);
    let mut faults = Vec::new();
    for tip in tips {
        if let Some(fault) = walk.check(*tip)? {
            faults.push((*tip, fault));
        }
    }
    let mut beside = None;
    while faults.is_empty()
        && beside.is_none()
        && let Some(other) = others.next()
    {
        beside = walk.check(other)?;
    }
    run.advance(Phase::Verify, walk.visited, Some(walk.visited));
    Ok((faults, beside))
}

/// Each with the first one.
pub(crate) type FaultsOfTips = Vec<(ObjectId, Reason)>;

/// Why an object isn't complete.
type Fault = Reason;
