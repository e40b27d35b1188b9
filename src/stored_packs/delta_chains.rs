//! A walk over all objects of one kind in a pack, each made once, from whole entries down their deltas.

use std::{
    io,
    ops::Range,
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
};

use gix::{hash::Hasher, objs::Kind};

use super::pack_scan::PackScan;
use crate::{
    Error, SyncContext,
    pack::delta_tree::{ContentMemory, DeltaTraversal, Deltas, NO_BASE, ObjectVisitor},
    scoped_workers::{cores, run_workers},
};

/// A pack whose deltas are known by their bases.
pub(crate) struct DeltaChains<'a> {
    pub(crate) scan: &'a PackScan<'a>,
    pub(crate) bases: &'a [u32],
    pub(crate) kinds: &'a [Option<Kind>],
    pub(crate) deltas: Deltas,
    pub(crate) context: &'a SyncContext,
}

/// A visitor of the objects of a pack.
pub(crate) trait ChainVisitor {
    /// Visits one object. `base` is the object that the content was made from, if that is in memory.
    fn visit(
        &mut self,
        pack_pos: u32,
        content: &[u8],
        base: Option<&[u8]>,
    ) -> Result<(), ChainError>;
}

/// The reason why a walk did not visit all objects.
pub(crate) enum ChainError {
    Stopped(Error),
    Unreadable,
}

impl From<io::Error> for ChainError {
    fn from(_: io::Error) -> Self {
        ChainError::Unreadable
    }
}

/// Memory of a walk in bytes.
#[derive(Clone, Copy)]
pub(crate) struct ChainMemory {
    /// For contents that wait for the visit of their deltas, in all threads together.
    pub(crate) contents: usize,
    /// For one object. A larger one counts as unreadable.
    pub(crate) largest: u64,
}

impl DeltaChains<'_> {
    /// Visits all objects of a kind, on every core, with a visitor for each number of a thread. The first
    /// error ends the walk.
    pub(crate) fn visit_all<V: ChainVisitor + Send>(
        &self,
        kind: Kind,
        memory: ChainMemory,
        visitor: impl Fn(u32) -> V + Sync,
    ) -> Result<Vec<V>, ChainError> {
        let threads = cores();
        let content_memory = ContentMemory::new(memory.contents, threads);
        let next = AtomicUsize::new(0);
        run_workers(0..threads as u32, |number| {
            let mut adapter = VisitorAdapter {
                chains: self,
                largest: memory.largest,
                visitor: visitor(number),
            };
            let hash = self.scan.rev_index.index.object_hash();
            let mut traversal =
                DeltaTraversal::new(self.scan.path, hash, &content_memory, &std::env::temp_dir())?;
            loop {
                let root = next.fetch_add(1, Relaxed);
                let Some(found) = self.kinds.get(root) else {
                    return Ok(adapter.visitor);
                };
                if *found == Some(kind) && self.bases[root] == NO_BASE {
                    let done = traversal.traverse(root as u32, &mut adapter);
                    // No thread takes another root after an error.
                    done.inspect_err(|_| next.store(self.kinds.len(), Relaxed))?;
                }
            }
        })
    }
}

/// A [`ChainVisitor`] as the traversal of the deltas sees it.
struct VisitorAdapter<'a, V> {
    chains: &'a DeltaChains<'a>,
    largest: u64,
    visitor: V,
}

impl<V: ChainVisitor> ObjectVisitor for VisitorAdapter<'_, V> {
    type Error = ChainError;

    fn place(&self, entry: u32) -> Range<u64> {
        self.chains.scan.range(entry)
    }

    fn visit(
        &mut self,
        entry: u32,
        _kind: Kind,
        content: &[u8],
        base: Option<&[u8]>,
    ) -> Result<(), ChainError> {
        self.chains.context.check().map_err(ChainError::Stopped)?;
        self.visitor.visit(entry, content, base)
    }

    fn deltas(&mut self, entry: u32, to: &mut Vec<u32>) -> Result<(), ChainError> {
        to.extend_from_slice(self.chains.deltas.of(entry));
        Ok(())
    }

    fn allows(
        &mut self,
        _entry: u32,
        _kind: Kind,
        size: u64,
        _depth: u32,
    ) -> Result<bool, ChainError> {
        let is_allowed = size <= self.largest;
        is_allowed.then_some(true).ok_or(ChainError::Unreadable)
    }

    fn oversized(
        &mut self,
        _entry: u32,
        _kind: Kind,
        _size: u64,
        _hasher: Hasher,
    ) -> Result<(), ChainError> {
        Err(ChainError::Unreadable)
    }

    fn may_lead_on(&self, entry: u32) -> bool {
        !self.chains.deltas.of(entry).is_empty()
    }

    fn may_go_on(&self) -> bool {
        self.chains.context.check().is_ok()
    }

    fn unreadable(&self, _entry: u32, _err: io::Error) -> ChainError {
        let stopped = self.chains.context.check().err().map(ChainError::Stopped);
        stopped.unwrap_or(ChainError::Unreadable)
    }

    fn failed(&self, _err: io::Error) -> ChainError {
        ChainError::Unreadable
    }
}
