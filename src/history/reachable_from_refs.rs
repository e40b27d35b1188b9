//! The commits that are reachable from the refs of a store.

use std::collections::{BinaryHeap, HashSet};

use gix::{ObjectId, objs::Kind, oid};

use super::{CompleteHistory, store_commits::StoreCommits};
use crate::{Error, SyncContext};

/// The history behind the refs of a store, walked only as far as callers ask.
///
/// Reachable means complete: git never lets a ref point to something that isn't all there, while an object
/// that merely exists may be the debris of a fetch that was cut off.
pub(crate) struct ReachableFromRefs {
    pub(crate) tips: HashSet<ObjectId>,
    seen: HashSet<ObjectId>,
    /// Commits in `seen` whose parents may not be. `None` until the first walk.
    frontier: Option<BinaryHeap<Explored>>,
}

/// A commit of the frontier. The highest generation comes out of the heap first, then the newest date.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Explored {
    /// `u32::MAX` for a commit without one: no commit with a generation can reach it.
    generation: u32,
    date: i64,
    parents: Vec<ObjectId>,
}

impl ReachableFromRefs {
    pub(crate) fn new(tips: HashSet<ObjectId>) -> Self {
        ReachableFromRefs {
            tips,
            seen: HashSet::new(),
            frontier: None,
        }
    }

    fn is_known(
        &mut self,
        id: &ObjectId,
        commits: &mut StoreCommits<'_>,
        context: &SyncContext,
    ) -> Result<bool, Error> {
        if self.tips.contains(id) || self.seen.contains(id) {
            return Ok(true);
        }
        let frontier = match &mut self.frontier {
            Some(frontier) => frontier,
            none => {
                let mut frontier = BinaryHeap::new();
                for tip in &self.tips {
                    context.check()?;
                    let commit = commits.peel(*tip, context)?;
                    frontier.extend(commits.explore_once(commit, &mut self.seen));
                }
                none.insert(frontier)
            }
        };
        if frontier.is_empty() || self.seen.contains(id) {
            return Ok(self.seen.contains(id));
        }
        let sought = commits.explore(id);
        let lowest = sought.map_or(u32::MAX, |sought| sought.generation);
        while !self.seen.contains(id)
            && frontier
                .peek()
                .is_some_and(|highest| highest.generation >= lowest)
            && let Some(next) = frontier.pop()
        {
            context.check()?;
            for parent in next.parents {
                frontier.extend(commits.explore_once(parent, &mut self.seen));
            }
        }
        Ok(self.seen.contains(id))
    }
}

/// The commits of a store, and those of them that its refs reach.
pub(crate) struct StoreHistory<'a> {
    pub(crate) commits: StoreCommits<'a>,
    pub(crate) reachable: &'a mut ReachableFromRefs,
}

impl CompleteHistory for StoreHistory<'_> {
    fn is_tip(&self, id: &ObjectId) -> bool {
        self.reachable.tips.contains(id)
    }

    fn has_commit(&mut self, id: &ObjectId, context: &SyncContext) -> Result<bool, Error> {
        // A ref may also point to a tag, and the tag to anything.
        let is_commit = self.commits.kind(id) == Some(Kind::Commit);
        Ok(is_commit && self.reachable.is_known(id, &mut self.commits, context)?)
    }
}

impl StoreCommits<'_> {
    fn explore_once(&mut self, id: ObjectId, seen: &mut HashSet<ObjectId>) -> Option<Explored> {
        seen.insert(id).then(|| self.explore(&id))?
    }

    /// The commit with its parents; `None` if it can't be read.
    fn explore(&mut self, id: &oid) -> Option<Explored> {
        let mut parents = Vec::new();
        let commit = self.commit(id, &mut parents).ok()?;
        Some(Explored {
            generation: commit.generation.unwrap_or(u32::MAX),
            date: commit.date,
            parents,
        })
    }
}
