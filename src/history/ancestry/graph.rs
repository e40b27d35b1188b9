//! [`CommitGraph`]: the commits of a history, as an ancestry walk looks them up.

use crate::ObjectId;

/// A source of commits: an object database, a service's own storage, a graph in a test.
pub trait CommitGraph {
    /// Looks up the commit `id` and puts its parents into `parents`, which is empty at the call.
    ///
    /// [`compare`](super::compare) calls it at most once per commit.
    ///
    /// # Errors
    /// A [`Hole`] if the parents are unknown; the content of `parents` is ignored then.
    fn commit(&mut self, id: &ObjectId, parents: &mut Vec<ObjectId>) -> Result<Commit, Hole>;
}

/// A graph whose commits have positions, as in a commit-graph file. A lookup by position is several times as fast as one
/// by id.
pub(crate) trait PositionedGraph: CommitGraph {
    /// The position of the commit `id`, if it has one. Positions start at 0 and are dense. A commit has at most one, by
    /// which its children name it, and the parents of a commit with a position have positions as well.
    fn position(&mut self, id: &ObjectId) -> Option<u32> {
        let _ = id;
        None
    }

    /// [`CommitGraph::commit`] by position, called in its place for a commit that has one.
    fn commit_at(&mut self, position: u32, parents: &mut Vec<u32>) -> Result<Commit, Hole> {
        let _ = (position, parents);
        Err(Hole::Unreadable)
    }
}

/// A graph whose commits have no positions.
pub(super) struct ById<'a>(pub(super) &'a mut dyn CommitGraph);

impl CommitGraph for ById<'_> {
    fn commit(&mut self, id: &ObjectId, parents: &mut Vec<ObjectId>) -> Result<Commit, Hole> {
        self.0.commit(id, parents)
    }
}

impl PositionedGraph for ById<'_> {}

/// The place of a commit in the order of a walk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Commit {
    /// The topological level from a commit-graph file: above that of every parent.
    ///
    /// `None` for a commit that isn't in one. Like the file itself, generations must be closed
    /// under ancestry: a commit that has one has them in all its history, and no hole there.
    /// The format of generations is in gitformat-commit-graph(5).
    pub generation: Option<u32>,
    /// The committer date in seconds since the epoch. A hint that no answer depends on.
    pub date: i64,
}

/// The reason why the parents of a commit are unknown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Hole {
    /// The commit is there, its parents were left out on purpose: the boundary of a shallow clone.
    Shallow,
    /// The object is missing, damaged or not a commit.
    Unreadable,
}
