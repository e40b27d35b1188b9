//! What a store's refs vouch for.

use std::collections::{BinaryHeap, HashSet};

use gix::{ObjectId, objs::Kind, oid};

use super::commits::StoreCommits;
use crate::{Error, SyncContext, ancestry::CommitGraph};

/// The history behind a store's refs, explored only as far as it is asked about.
///
/// Refs are what vouches for completeness: git never lets one point to something that isn't all
/// there, while an object that merely exists may be the debris of a fetch that was cut off.
pub(crate) struct VerifiedHistory {
    tips: HashSet<ObjectId>,
    seen: HashSet<ObjectId>,
    /// Commits that are in `seen` while their parents may not be. `None` until it is needed.
    frontier: Option<BinaryHeap<Explored>>,
}

/// Ordered by generation first, then by date: the highest comes out of the heap first.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Explored {
    /// The highest there is for a commit without one: a commit that has one can't reach it.
    generation: u32,
    date: i64,
    parents: Vec<ObjectId>,
}

impl VerifiedHistory {
    pub(crate) fn new(tips: HashSet<ObjectId>) -> Self {
        VerifiedHistory {
            tips,
            seen: HashSet::new(),
            frontier: None,
        }
    }

    pub(crate) fn tips(&self) -> &HashSet<ObjectId> {
        &self.tips
    }

    /// Whether `id`, which is there, is a commit, and a ref points to it or to a descendant of it.
    pub(crate) fn contains(
        &mut self,
        id: &ObjectId,
        commits: &mut StoreCommits<'_>,
        run: &SyncContext,
    ) -> Result<bool, Error> {
        // A ref may as well point to a tag, and that to anything.
        Ok(commits.kind(id) == Some(Kind::Commit) && self.is_known(id, commits, run)?)
    }

    fn is_known(
        &mut self,
        id: &ObjectId,
        commits: &mut StoreCommits<'_>,
        run: &SyncContext,
    ) -> Result<bool, Error> {
        if self.tips.contains(id) || self.seen.contains(id) {
            return Ok(true);
        }
        let frontier = match &mut self.frontier {
            Some(frontier) => frontier,
            none => {
                let mut frontier = BinaryHeap::new();
                for tip in &self.tips {
                    run.check()?;
                    let commit = commits.peel(*tip, run)?;
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
            run.check()?;
            for parent in next.parents {
                frontier.extend(commits.explore_once(parent, &mut self.seen));
            }
        }
        Ok(self.seen.contains(id))
    }
}

impl StoreCommits<'_> {
    fn explore_once(&mut self, id: ObjectId, seen: &mut HashSet<ObjectId>) -> Option<Explored> {
        seen.insert(id).then(|| self.explore(&id))?
    }

    /// A commit that can't be read leads nowhere.
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
