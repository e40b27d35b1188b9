//! The commits that a walk has met, each looked up at most once.

use super::graph::{Commit, Hole, PositionedGraph};
use crate::{Error, ObjectId, tuning::Tuning};
use std::{cmp::Reverse, collections::HashMap, ops::Range};

/// The number of a commit in all dense arrays.
pub(super) type Index = u32;

/// The generation of commits that have none: above all that have one, since only commits outside
/// a commit-graph file lead to other commits outside it.
pub(super) const UNKNOWN: u32 = u32::MAX - 1;
/// The highest generation that counts as a [level](WalkedHistory::level): a [descent](super::descent) has a
/// list for each level.
const MAX_LEVEL: u32 = 1 << 24;

/// Steps between two checks for cancellation.
pub(super) const STEPS_PER_CANCEL_CHECK: u32 = 64;

/// The order of the queue: children before parents as far as generations and dates can tell, and
/// otherwise the commit that was met first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Priority {
    pub(super) generation: u32,
    rank: i64,
    index: Reverse<Index>,
}

impl Priority {
    pub(super) fn index(self) -> Index {
        self.index.0
    }
}

/// The commits met so far and the edges between them.
pub(super) struct WalkedHistory<'a> {
    graph: &'a mut dyn PositionedGraph,
    cancelled: &'a dyn Fn() -> bool,
    steps: u32,
    /// The indexes of commits without position.
    indexes: HashMap<ObjectId, Index>,
    /// The index at each position; [`NOT_SEEN`] for positions that were not met.
    by_position: Vec<Index>,
    /// The ids of commits without position.
    ids: Vec<ObjectId>,
    commits: Vec<Node>,
    extra_edges: usize,
    /// The parents of all commits; those of one commit are neighbours.
    edges: Vec<Index>,
    parent_ids: Vec<ObjectId>,
    parent_positions: Vec<u32>,
}

const NOT_SEEN: Index = Index::MAX;

#[derive(Clone, Copy)]
struct Node {
    lookup: Lookup,
    generation: u32,
    /// The date, or the topological level after [`WalkedHistory::rank_by_level`].
    rank: i64,
}

/// The state of a commit's lookup.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Lookup {
    /// A lookup to do, by the id at this place of [`WalkedHistory::ids`].
    ById(u32),
    /// A lookup to do, by position.
    ByPosition(u32),
    /// A lookup that is done: start and end of the parents in [`WalkedHistory::edges`].
    Known(u32, u32),
    Hole(Hole),
}

impl Node {
    fn new(lookup: Lookup) -> Self {
        Node {
            lookup,
            generation: UNKNOWN,
            rank: 0,
        }
    }
}

impl<'a> WalkedHistory<'a> {
    pub(super) fn new(
        graph: &'a mut dyn PositionedGraph,
        tuning: &Tuning,
        cancelled: &'a dyn Fn() -> bool,
    ) -> Self {
        WalkedHistory {
            extra_edges: tuning.extra_edges,
            graph,
            cancelled,
            steps: 0,
            indexes: Default::default(),
            by_position: Vec::new(),
            ids: Vec::new(),
            commits: Vec::new(),
            edges: Vec::new(),
            parent_ids: Vec::new(),
            parent_positions: Vec::new(),
        }
    }

    /// The number of commits met so far.
    pub(super) fn len(&self) -> usize {
        self.commits.len()
    }

    pub(super) fn look_up(&mut self, id: &ObjectId) -> Result<Index, Error> {
        let index = self.intern(*id);
        self.load(index)?;
        Ok(index)
    }

    /// Looks `index` up unless that was done before.
    pub(super) fn load(&mut self, index: Index) -> Result<(), Error> {
        match self.commits[index as usize].lookup {
            Lookup::Known(..) | Lookup::Hole(_) => Ok(()),
            Lookup::ById(id) => self.load_by_id(index, id),
            Lookup::ByPosition(position) => self.load_by_position(index, position),
        }
    }

    fn load_by_id(&mut self, index: Index, id: u32) -> Result<(), Error> {
        self.step()?;
        let mut parents = std::mem::take(&mut self.parent_ids);
        parents.clear();
        let found = self.graph.commit(&self.ids[id as usize], &mut parents);
        self.know(index, found, &parents, Self::intern);
        self.parent_ids = parents;
        Ok(())
    }

    fn load_by_position(&mut self, index: Index, position: u32) -> Result<(), Error> {
        self.step()?;
        let mut parents = std::mem::take(&mut self.parent_positions);
        parents.clear();
        let found = self.graph.commit_at(position, &mut parents);
        self.know(index, found, &parents, Self::intern_position);
        self.parent_positions = parents;
        Ok(())
    }

    /// Stores the result of a lookup.
    fn know<P: Copy>(
        &mut self,
        index: Index,
        found: Result<Commit, Hole>,
        parents: &[P],
        intern: impl Fn(&mut Self, P) -> Index,
    ) {
        let most = self.extra_edges + 2 * self.commits.len();
        let known = match found {
            // The limit makes the commit a hole, which is never a yes.
            Ok(_) if self.edges.len() + parents.len() > most => {
                Node::new(Lookup::Hole(Hole::Unreadable))
            }
            Ok(commit) => {
                let start = self.edges.len();
                for parent in parents {
                    let parent = intern(self, *parent);
                    self.edges.push(parent);
                }
                Node {
                    lookup: Lookup::Known(edge_number(start), edge_number(self.edges.len())),
                    generation: commit
                        .generation
                        .map_or(UNKNOWN, |known| known.min(UNKNOWN)),
                    rank: commit.date,
                }
            }
            Err(hole) => Node::new(Lookup::Hole(hole)),
        };
        self.commits[index as usize] = known;
    }

    /// Counts a step of a walk, and ends the walk once it is cancelled.
    pub(super) fn step(&mut self) -> Result<(), Error> {
        if self.steps.is_multiple_of(STEPS_PER_CANCEL_CHECK) && (self.cancelled)() {
            return Err(Error::cancelled());
        }
        self.steps = self.steps.wrapping_add(1);
        Ok(())
    }

    pub(super) fn is_hole(&self, index: Index) -> bool {
        matches!(self.commits[index as usize].lookup, Lookup::Hole(_))
    }

    pub(super) fn is_unreadable(&self, index: Index) -> bool {
        self.commits[index as usize].lookup == Lookup::Hole(Hole::Unreadable)
    }

    pub(super) fn priority(&self, index: Index) -> Priority {
        let commit = &self.commits[index as usize];
        Priority {
            generation: commit.generation,
            rank: commit.rank,
            index: Reverse(index),
        }
    }

    /// The lowest generation of commits that may lead to `index`, except for itself.
    ///
    /// A hole has no generation of its own, and its children might have one all the same.
    pub(super) fn floor(&self, index: Index) -> u32 {
        if self.is_hole(index) {
            return 0;
        }
        self.commits[index as usize].generation
    }

    /// The generation of `index`, if it is known and at most [`MAX_LEVEL`].
    pub(super) fn level(&self, index: Index) -> Option<u32> {
        let generation = self.commits[index as usize].generation;
        (generation <= MAX_LEVEL).then_some(generation)
    }

    /// The range of the parents of `index` among the [edges](Self::edge).
    pub(super) fn edges(&self, index: Index) -> Range<usize> {
        match self.commits[index as usize].lookup {
            Lookup::Known(start, end) => start as usize..end as usize,
            _ => 0..0,
        }
    }

    pub(super) fn edge(&self, edge: usize) -> Index {
        self.edges[edge]
    }

    /// Replaces the dates of `tips` and their ancestors by topological levels, as far as
    /// generations are unknown. Looks all of these commits up.
    pub(super) fn rank_by_level(&mut self, tips: Vec<Index>) -> Result<(), Error> {
        let mut seen = vec![false; self.len()];
        let mut stack: Vec<(Index, Range<usize>)> = Vec::new();
        for tip in tips {
            if std::mem::replace(&mut seen[tip as usize], true) {
                continue;
            }
            stack.push((tip, self.edges(tip)));
            while let Some((_, unseen_edges)) = stack.last_mut() {
                if let Some(edge) = unseen_edges.next() {
                    let parent = self.edges[edge];
                    self.load(parent)?;
                    seen.resize(self.len(), false);
                    let known = self.commits[parent as usize].generation < UNKNOWN;
                    if !known && !std::mem::replace(&mut seen[parent as usize], true) {
                        stack.push((parent, self.edges(parent)));
                    }
                } else if let Some((done, _)) = stack.pop() {
                    self.commits[done as usize].rank = self.level_above_parents(done);
                }
            }
        }
        Ok(())
    }

    fn level_above_parents(&self, index: Index) -> i64 {
        let parents = self.edges[self.edges(index)].iter();
        let levels = parents.map(|parent| match &self.commits[*parent as usize] {
            parent if parent.generation == UNKNOWN => parent.rank,
            _ => 0,
        });
        levels.max().unwrap_or(0).saturating_add(1)
    }

    fn intern(&mut self, id: ObjectId) -> Index {
        if let Some(known) = self.indexes.get(&id) {
            return *known;
        }
        if let Some(position) = self.graph.position(&id) {
            return self.intern_position(position);
        }
        let new = self.add(Node::new(Lookup::ById(index(self.ids.len()))));
        self.ids.push(id);
        self.indexes.insert(id, new);
        new
    }

    fn intern_position(&mut self, position: u32) -> Index {
        let at = position as usize;
        if at >= self.by_position.len() {
            self.by_position.resize(at + 1, NOT_SEEN);
        }
        if self.by_position[at] == NOT_SEEN {
            self.by_position[at] = self.add(Node::new(Lookup::ByPosition(position)));
        }
        self.by_position[at]
    }

    fn add(&mut self, node: Node) -> Index {
        self.commits.push(node);
        index(self.commits.len() - 1)
    }
}

fn index(at: usize) -> Index {
    Index::try_from(at).expect("memory ends long before four billion commits do")
}

fn edge_number(at: usize) -> u32 {
    u32::try_from(at).expect("memory ends long before four billion edges do")
}
