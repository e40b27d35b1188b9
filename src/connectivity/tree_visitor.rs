//! [`TreeVisitor`]: the operations of the walk over objects that the walk over trees calls.

use gix::{ObjectId, objs::Kind};

use super::{
    Fault,
    object_states::{Levels, Node, State},
};
use crate::Error;

/// The owner of the object states, called by the walk over trees.
pub(super) trait TreeVisitor {
    /// Replaces `content` by the content of a tree.
    fn read(&mut self, tree: &ObjectId, content: &mut Vec<u8>) -> Result<(), Fault>;

    /// Sets the state of a tree: before its first entry is visited, and when all of its entries are complete.
    fn set(&mut self, tree: Node, state: State);

    /// Visits an object that a tree entry references as one of this kind.
    fn visit_entry(&mut self, id: ObjectId, kind: Kind) -> Result<Visit, Stop>;
}

/// The next step for an object.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Visit {
    Nothing,
    /// Nothing: a complete tree with these levels.
    Complete(Node, Levels),
    Enter(Node),
}

/// The reason why a walk ends early.
#[derive(Debug)]
pub(super) enum Stop {
    Fault(Fault),
    Failed(Error),
}

impl From<Fault> for Stop {
    fn from(fault: Fault) -> Self {
        Stop::Fault(fault)
    }
}

impl From<Error> for Stop {
    fn from(err: Error) -> Self {
        Stop::Failed(err)
    }
}
