//! The work that a [`DeltaTraversal`](super::DeltaTraversal) does on each object.

use std::{io, ops::Range};

use gix::{hash::Hasher, objs::Kind};

/// The work on the objects of a pack.
pub(crate) trait ObjectVisitor {
    type Error;

    /// The note that is kept of an object while others are to be built on it.
    type Note;

    /// The range of an entry in the pack, with its header.
    fn place(&self, entry: u32) -> Range<u64>;

    /// Looks at an object. `base` is what it was made from, if it is at hand.
    fn visit(
        &mut self,
        entry: u32,
        kind: Kind,
        content: &[u8],
        base: Option<Visited<'_, Self::Note>>,
    ) -> Result<Self::Note, Self::Error>;

    /// Appends the deltas of an entry that was visited, that with the most behind it first.
    fn deltas(&mut self, entry: u32, to: &mut Vec<u32>) -> Result<(), Self::Error>;

    /// Replaces `to` by the whole object in an entry, if that is at hand as it was inflated before; its kind.
    fn whole(&self, entry: u32, to: &mut Vec<u8>) -> Option<Kind> {
        let _ = (entry, to);
        None
    }

    /// Replaces `to` by the delta of an entry, if that is at hand as it was inflated before and has no
    /// more bytes than `most`.
    fn inflated(&self, entry: u32, most: usize, to: &mut Vec<u8>) -> bool {
        let _ = (entry, most, to);
        false
    }

    /// Whether an object of that kind and size, so many deltas away from a whole one, may be in memory
    /// and looked at. One that may not is made all the same, for what is built on it.
    fn allows(
        &mut self,
        entry: u32,
        kind: Kind,
        size: u64,
        depth: u32,
    ) -> Result<bool, Self::Error>;

    /// Takes note of an object that was made and not looked at. The hasher has seen all of it.
    fn oversized(
        &mut self,
        entry: u32,
        kind: Kind,
        size: u64,
        hasher: Hasher,
    ) -> Result<Self::Note, Self::Error>;

    /// Whether anything may be built on the object of an entry, as far as is known before it is made.
    fn may_lead_on(&self, entry: u32) -> bool;

    /// Whether there is time to go on. Asked every now and then while one object is made; what it is
    /// that ended the run is for [`unreadable`](ObjectVisitor::unreadable) to say.
    fn may_go_on(&self) -> bool;

    /// Whether a descent may keep so many more bytes on disk than it ever has.
    fn allows_on_disk(&mut self, more: u64) -> Result<(), Self::Error> {
        let _ = more;
        Ok(())
    }

    /// The error for an entry that doesn't hold what it should, or that there was no time for.
    fn unreadable(&self, entry: u32, err: io::Error) -> Self::Error;

    /// The error for a failure of our own disk.
    fn failed(&self, err: io::Error) -> Self::Error;
}

/// An object that was looked at before.
pub(crate) struct Visited<'a, N> {
    pub(crate) content: &'a [u8],
    pub(crate) note: &'a N,
}
