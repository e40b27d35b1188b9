//! The work that a [`DeltaTraversal`](super::DeltaTraversal) does on each object.

use std::{io, ops::Range};

use gix::{hash::Hasher, objs::Kind};

use super::Chain;

/// The work on the objects of a pack: lookups before an object is reconstructed, and the visit of its content.
#[allow(unused_variables, reason = "the names are for implementors")]
pub(crate) trait ObjectVisitor {
    type Error;

    /// The range of bytes of an entry in the pack, its header included.
    fn byte_range(&self, entry: u32) -> Range<u64>;

    /// Visits an object. `base` is the object that it is a delta of, if that is in memory.
    fn visit(
        &mut self,
        entry: u32,
        kind: Kind,
        content: &[u8],
        base: Option<&[u8]>,
    ) -> Result<(), Self::Error>;

    /// Appends the deltas of a visited entry, the one with the largest subtree first: it is reconstructed last.
    fn deltas(&mut self, entry: u32, to: &mut Vec<u32>) -> Result<(), Self::Error>;

    /// Replaces `to` by the whole object of an entry and returns its kind, if the visitor has kept it inflated.
    fn whole(&self, entry: u32, to: &mut Vec<u8>) -> Option<Kind> {
        None
    }

    /// Replaces `to` by the delta of an entry, if the visitor has kept it inflated and it has at most `most` bytes.
    fn inflated(&self, entry: u32, most: usize, to: &mut Vec<u8>) -> bool {
        false
    }

    /// Whether an object of this kind and size, the last one of its `chain`, may be in memory and visited.
    /// Otherwise it is reconstructed as a stream, because deltas of it may need it.
    fn allows(
        &mut self,
        entry: u32,
        kind: Kind,
        size: u64,
        chain: Chain,
    ) -> Result<bool, Self::Error>;

    /// Records an object that was reconstructed and not visited. The hasher has its header and content.
    fn oversized(
        &mut self,
        entry: u32,
        kind: Kind,
        size: u64,
        hasher: Hasher,
    ) -> Result<(), Self::Error>;

    /// Whether an entry may have deltas, as far as that is known before its id is. `false` if it has none for certain:
    /// [`deltas`](ObjectVisitor::deltas) is not called for an object over a size limit then.
    fn may_lead_on(&self, entry: u32) -> bool;

    /// Whether the run goes on. It is called regularly while one object is reconstructed;
    /// [`unreadable`](ObjectVisitor::unreadable) then returns the reason why the run has ended.
    fn may_go_on(&self) -> bool;

    /// Checks the limit on disk space when a traversal exceeds its previous maximum by `more` bytes.
    fn allows_on_disk(&mut self, more: u64) -> Result<(), Self::Error> {
        Ok(())
    }

    /// The error for an entry that is damaged, or whose reconstruction was interrupted.
    fn unreadable(&self, entry: u32, err: io::Error) -> Self::Error;

    /// The error for a failure of the local disk.
    fn failed(&self, err: io::Error) -> Self::Error;
}
