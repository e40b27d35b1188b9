//! The commits that a walk has met, by number: a history can have millions of them.

use std::{
    hash::{BuildHasher as _, RandomState},
    ops::Range,
};

use gix::ObjectId;
use hashbrown::{HashTable, hash_table::Entry};

use crate::history::ancestry::Hole;

/// The number of a commit, in the order in which commits are met.
pub(super) type CommitNumber = u32;

/// The end whose history a commit belongs to.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Sender,
    /// The receiver's history, and possibly the sender's, too.
    Receiver,
}

/// The commits that a walk has met.
#[derive(Default)]
pub(super) struct CommitTable {
    /// By the hash of the id. Empty once the walk is over.
    numbers: HashTable<CommitNumber>,
    /// Keyed: a remote may list a million ids that begin alike.
    hasher: RandomState,
    commits: Vec<MetCommit>,
    /// The trees of the commits, of which neighbours often have the same.
    trees: Vec<ObjectId>,
    /// The parents of the commits to send; those of one commit are neighbours.
    parents: Vec<CommitNumber>,
}

/// A commit of the table.
struct MetCommit {
    id: ObjectId,
    side: Side,
    is_queued: bool,
    /// The reason why the parents are unknown. A fault, unless the commit turns out to be the receiver's.
    hole: Option<Hole>,
    /// The number of the tree, or [`NO_TREE`].
    tree: u32,
    /// The range of the parents.
    parents: Range<u32>,
}

const NO_TREE: u32 = u32::MAX;

/// The effect of painting a commit.
pub(super) enum Painted {
    /// None: the commit had this side.
    AsItWas(CommitNumber),
    /// The commit has changed sides, and waits in the queue.
    InQueue(CommitNumber),
    /// The commit has to be read and queued.
    ToRead(CommitNumber),
}

impl CommitTable {
    /// Paints a commit. A commit of the receiver's stays that.
    pub(super) fn repaint(&mut self, id: &ObjectId, side: Side) -> Painted {
        let next = self.commits.len() as CommitNumber;
        let id_of = |number: &CommitNumber| &self.commits[*number as usize].id;
        let hash = |id: &ObjectId| self.hasher.hash_one(id);
        let is_it = |number: &CommitNumber| id_of(number) == id;
        let found = self
            .numbers
            .entry(hash(id), is_it, |number| hash(id_of(number)));
        let number = match found {
            Entry::Occupied(known) => *known.get(),
            Entry::Vacant(new) => {
                new.insert(next);
                self.commits.push(MetCommit {
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

    /// Takes a commit out of the queue, and returns its side.
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

    /// The commit to send with unknown parents that has the lowest id.
    pub(super) fn hole(&self) -> Option<(ObjectId, Hole)> {
        let sent = self.commits.iter().filter(|met| met.side == Side::Sender);
        sent.filter_map(|met| Some((met.id, met.hole?)))
            .min_by_key(|(id, _)| *id)
    }

    /// Drops the numbers by id, which only the walk needs.
    pub(super) fn into_numbered(self) -> Self {
        CommitTable {
            numbers: HashTable::new(),
            ..self
        }
    }

    pub(super) fn id(&self, commit: CommitNumber) -> ObjectId {
        self.commits[commit as usize].id
    }

    pub(super) fn is_sent(&self, commit: CommitNumber) -> bool {
        self.commits[commit as usize].side == Side::Sender
    }

    /// The tree of a commit that could be read.
    pub(super) fn tree(&self, commit: CommitNumber) -> Option<ObjectId> {
        let tree = self.commits[commit as usize].tree;
        self.trees.get(tree as usize).copied()
    }

    /// The parents of a commit to send.
    pub(super) fn parents(&self, commit: CommitNumber) -> &[CommitNumber] {
        let Range { start, end } = self.commits[commit as usize].parents;
        &self.parents[start as usize..end as usize]
    }
}
