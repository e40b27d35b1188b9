//! The part of the history that was looked at, each commit looked up once.

use super::{CommitGraph, Hole};
use crate::Error;
use gix::{ObjectId, hashtable::hash_map::Entry};
use std::{cmp::Reverse, ops::Range};

/// Stands for one commit in all dense arrays.
pub(super) type Index = u32;

/// The generation of commits that have none: above all that have one, since only commits outside
/// a commit-graph file lead to other commits outside it.
pub(super) const UNKNOWN: u32 = u32::MAX - 1;
/// The generation of the made-up merge of all tips: nothing leads to it.
const ABOVE_ALL: u32 = u32::MAX;

/// How many parents are kept beyond two for each commit. Those that git makes have some, and all of
/// Linux not a thousand more, but a remote can name as many as it likes, over and over.
#[cfg(not(test))]
const MAX_EXTRA_EDGES: usize = 16 * 1024 * 1024;
#[cfg(test)]
const MAX_EXTRA_EDGES: usize = 100_000;

/// How many steps pass between two questions whether the run is cancelled.
pub(super) const STEPS_PER_CANCEL_CHECK: u32 = 64;

/// Orders the queue: children before parents as far as generations and dates can tell, and
/// otherwise in the order in which the commits were first heard of.
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

pub(super) struct History<'a> {
    graph: &'a mut dyn CommitGraph,
    cancelled: &'a dyn Fn() -> bool,
    steps: u32,
    indexes: gix::hashtable::HashMap<ObjectId, Index>,
    ids: Vec<ObjectId>,
    commits: Vec<Node>,
    /// The parents of all commits, one commit's side by side.
    edges: Vec<Index>,
    parent_ids: Vec<ObjectId>,
}

#[derive(Clone, Copy)]
struct Node {
    state: State,
    generation: u32,
    /// The date, until [`History::rank_by_level`] finds something better.
    rank: i64,
    edges: (usize, usize),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    NotLookedUp,
    Known,
    Hole(Hole),
}

impl Node {
    const NEW: Self = Node {
        state: State::NotLookedUp,
        generation: UNKNOWN,
        rank: 0,
        edges: (0, 0),
    };
}

impl<'a> History<'a> {
    pub(super) fn new(graph: &'a mut dyn CommitGraph, cancelled: &'a dyn Fn() -> bool) -> Self {
        History {
            graph,
            cancelled,
            steps: 0,
            indexes: Default::default(),
            ids: Vec::new(),
            commits: Vec::new(),
            edges: Vec::new(),
            parent_ids: Vec::new(),
        }
    }

    /// How many indexes are given out.
    pub(super) fn len(&self) -> usize {
        self.commits.len()
    }

    pub(super) fn look_up(&mut self, id: &ObjectId) -> Result<Index, Error> {
        let index = self.intern(*id);
        self.load(index)?;
        Ok(index)
    }

    /// Makes up a commit that has `tips` as its parents.
    pub(super) fn merge(&mut self, tips: &[ObjectId]) -> Index {
        let start = self.edges.len();
        for tip in tips {
            let tip = self.intern(*tip);
            self.edges.push(tip);
        }
        let merge = index(self.len());
        // Never looked up, and not to be found by its id either.
        self.ids.push(ObjectId::null(gix::hash::Kind::Sha1));
        self.commits.push(Node {
            state: State::Known,
            generation: ABOVE_ALL,
            rank: 0,
            edges: (start, self.edges.len()),
        });
        merge
    }

    /// Looks `index` up unless that was done before.
    pub(super) fn load(&mut self, index: Index) -> Result<(), Error> {
        let at = index as usize;
        if self.commits[at].state != State::NotLookedUp {
            return Ok(());
        }
        self.step()?;
        let mut parent_ids = std::mem::take(&mut self.parent_ids);
        parent_ids.clear();
        let most = MAX_EXTRA_EDGES + 2 * self.commits.len();
        match self.graph.commit(&self.ids[at], &mut parent_ids) {
            // Not to be known, and that is never a yes.
            Ok(_) if self.edges.len() + parent_ids.len() > most => {
                self.commits[at].state = State::Hole(Hole::Unreadable);
            }
            Ok(commit) => {
                let start = self.edges.len();
                for id in &parent_ids {
                    let parent = self.intern(*id);
                    self.edges.push(parent);
                }
                self.commits[at] = Node {
                    state: State::Known,
                    generation: commit
                        .generation
                        .map_or(UNKNOWN, |known| known.min(UNKNOWN)),
                    rank: commit.date,
                    edges: (start, self.edges.len()),
                };
            }
            Err(hole) => self.commits[at].state = State::Hole(hole),
        }
        self.parent_ids = parent_ids;
        Ok(())
    }

    /// To be called now and then by whatever takes long.
    pub(super) fn step(&mut self) -> Result<(), Error> {
        if self.steps.is_multiple_of(STEPS_PER_CANCEL_CHECK) && (self.cancelled)() {
            return Err(Error::cancelled());
        }
        self.steps = self.steps.wrapping_add(1);
        Ok(())
    }

    pub(super) fn is_hole(&self, index: Index) -> bool {
        matches!(self.commits[index as usize].state, State::Hole(_))
    }

    pub(super) fn is_unreadable(&self, index: Index) -> bool {
        self.commits[index as usize].state == State::Hole(Hole::Unreadable)
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

    /// Where the parents of `index` are among the [edges](Self::edge).
    pub(super) fn edges(&self, index: Index) -> Range<usize> {
        let (start, end) = self.commits[index as usize].edges;
        start..end
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
        match self.indexes.entry(id) {
            Entry::Occupied(known) => *known.get(),
            Entry::Vacant(vacant) => {
                self.ids.push(id);
                self.commits.push(Node::NEW);
                *vacant.insert(index(self.commits.len() - 1))
            }
        }
    }
}

fn index(at: usize) -> Index {
    Index::try_from(at).expect("memory ends long before four billion commits do")
}
