//! The commits that a walk has met, numbered: a history can have millions of them.

use std::{
    collections::{HashMap, hash_map::Entry},
    ops::Range,
};

use gix::ObjectId;

use crate::ref_source::Hole;

/// Commits are numbered in the order in which they are met.
pub(super) type CommitNumber = u32;

/// Whose history a commit is part of.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Sender,
    /// The receiver's, whether or not it is the sender's, too.
    Receiver,
}

#[derive(Default)]
pub(super) struct CommitTable {
    /// Empty once the walk is over.
    numbers: HashMap<ObjectId, CommitNumber>,
    commits: Vec<Met>,
    /// Those of neighbours are often the same.
    trees: Vec<ObjectId>,
    /// Those of the commits to send.
    parents: Vec<CommitNumber>,
}

struct Met {
    id: ObjectId,
    side: Side,
    is_queued: bool,
    /// Why its parents aren't known. A fault, unless it turns out to be the receiver's.
    hole: Option<Hole>,
    /// Which of the trees it has, or [`NO_TREE`].
    tree: u32,
    /// Which of the parents it has.
    parents: Range<u32>,
}

const NO_TREE: u32 = u32::MAX;

/// What is left to do for a commit whose side is known now.
pub(super) enum Painted {
    /// Nothing.
    AsItWas(CommitNumber),
    /// It has changed sides, and waits to be visited.
    InQueue(CommitNumber),
    /// It has to be visited.
    ToRead(CommitNumber),
}

impl CommitTable {
    /// Gives a commit to one side. What is the receiver's stays that.
    pub(super) fn repaint(&mut self, id: &ObjectId, side: Side) -> Painted {
        let next = self.commits.len() as CommitNumber;
        let number = match self.numbers.entry(*id) {
            Entry::Occupied(known) => *known.get(),
            Entry::Vacant(new) => {
                new.insert(next);
                self.commits.push(Met {
                    id: *id,
                    side,
                    is_queued: false,
                    hole: None,
                    tree: NO_TREE,
                    parents: 0..0,
                });
                return Painted::ToRead(next);
            }
        };
        let met = &mut self.commits[number as usize];
        if met.side == side || met.side == Side::Receiver {
            return Painted::AsItWas(number);
        }
        met.side = side;
        if met.is_queued {
            Painted::InQueue(number)
        } else {
            Painted::ToRead(number)
        }
    }

    pub(super) fn enter_queue(&mut self, commit: CommitNumber) {
        self.commits[commit as usize].is_queued = true;
    }

    /// Whose it is by then.
    pub(super) fn leave_queue(&mut self, commit: CommitNumber) -> Side {
        let met = &mut self.commits[commit as usize];
        met.is_queued = false;
        met.side
    }

    pub(super) fn set_hole(&mut self, commit: CommitNumber, hole: Hole) {
        self.commits[commit as usize].hole = Some(hole);
    }

    pub(super) fn set_tree(&mut self, commit: CommitNumber, tree: ObjectId) {
        if self.trees.last() != Some(&tree) {
            self.trees.push(tree);
        }
        self.commits[commit as usize].tree = self.trees.len() as u32 - 1;
    }

    pub(super) fn set_parents(&mut self, commit: CommitNumber, parents: &[CommitNumber]) {
        let start = self.parents.len() as u32;
        self.parents.extend_from_slice(parents);
        self.commits[commit as usize].parents = start..self.parents.len() as u32;
    }

    /// The first by its id of the commits to send whose parents aren't known.
    pub(super) fn hole(&self) -> Option<(ObjectId, Hole)> {
        let sent = self.commits.iter().filter(|met| met.side == Side::Sender);
        sent.filter_map(|met| Some((met.id, met.hole?)))
            .min_by_key(|(id, _)| *id)
    }

    /// Without the way from ids to numbers, which takes most of the memory.
    pub(super) fn into_numbered(self) -> Self {
        CommitTable {
            numbers: HashMap::new(),
            ..self
        }
    }

    pub(super) fn id(&self, commit: CommitNumber) -> ObjectId {
        self.commits[commit as usize].id
    }

    pub(super) fn is_sent(&self, commit: CommitNumber) -> bool {
        self.commits[commit as usize].side == Side::Sender
    }

    /// As far as the commit could be read.
    pub(super) fn tree(&self, commit: CommitNumber) -> Option<ObjectId> {
        let tree = self.commits[commit as usize].tree;
        self.trees.get(tree as usize).copied()
    }

    /// Those of a commit to send.
    pub(super) fn parents(&self, commit: CommitNumber) -> &[CommitNumber] {
        let Range { start, end } = self.commits[commit as usize].parents;
        &self.parents[start as usize..end as usize]
    }
}
