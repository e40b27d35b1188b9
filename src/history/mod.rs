//! The history behind tips: reading commits, and which of them descends from which.

pub mod ancestry;
mod commit_graph;
pub(crate) mod reachable_from_refs;
pub(crate) mod store_commits;

use gix::ObjectId;

use crate::{Error, SyncContext};

/// The part of a history that is complete: the commits that refs vouch for, with everything they reference.
pub(crate) trait CompleteHistory {
    /// Whether a ref points to `id`.
    fn is_tip(&self, id: &ObjectId) -> bool;

    /// Whether `id`, which exists, is a commit, and a ref points to it or to a descendant of it.
    fn has_commit(&mut self, id: &ObjectId, context: &SyncContext) -> Result<bool, Error>;
}
