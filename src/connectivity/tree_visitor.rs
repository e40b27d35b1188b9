//! The part of the walk over trees that knows objects.

use gix::{ObjectId, objs::Kind};

use super::{
    Fault,
    object_states::{Levels, Node},
};
use crate::Error;

/// The receiver of what the walk meets.
pub(super) trait TreeVisitor {
    /// Puts the content of a tree into `text`, in place of what is there.
    fn read(&mut self, tree: &ObjectId, text: &mut Vec<u8>) -> Result<(), Fault>;

    /// From here on, its entries are being visited.
    fn entered(&mut self, tree: Node);

    /// All of its entries are complete.
    fn left(&mut self, tree: Node, levels: Levels);

    /// Takes an object that a tree names as one of this kind.
    fn link(&mut self, id: ObjectId, kind: Kind) -> Result<Result<Link, Fault>, Error>;
}

/// An object that a tree names.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Link {
    /// Nothing is to be done about it.
    Done,
    /// A tree that is complete.
    Complete(Node, Levels),
    /// A tree to enter.
    Tree(Node),
}
