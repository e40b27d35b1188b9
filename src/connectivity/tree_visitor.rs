//! [`TreeVisitor`]: the operations of the walk over objects that the walk over trees calls.

use gix::{ObjectId, objs::Kind};

use super::{
    Fault,
    object_states::{Levels, Node},
};
use crate::Error;

/// The owner of the object states, called by the walk over trees.
pub(super) trait TreeVisitor {
    /// Replaces `content` by the content of a tree.
    fn read(&mut self, tree: &ObjectId, content: &mut Vec<u8>) -> Result<(), Fault>;

    /// Called before the first entry of a tree is visited.
    fn entered(&mut self, tree: Node);

    /// Called when all entries of a tree are complete.
    fn left(&mut self, tree: Node, levels: Levels);

    /// Visits an object that a tree entry references as one of this kind.
    fn link(&mut self, id: ObjectId, kind: Kind) -> Result<Result<Link, Fault>, Error>;
}

/// The next step for an object that a tree entry references.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Link {
    /// Nothing is to be done.
    Done,
    /// A tree that is complete.
    Complete(Node, Levels),
    /// A tree to enter.
    Tree(Node),
}
