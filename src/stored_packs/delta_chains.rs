//! A walk over all objects of one kind in a pack, each made once, from whole entries down their deltas.

use std::{
    io,
    ops::Range,
    sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
};

use gix::{hash::Hasher, objs::Kind};

use super::pack_scan::PackScan;
use crate::{
    Error, SyncContext,
    pack::delta_tree::{Chain, ContentMemory, DeltaTraversal, Deltas, NO_BASE, ObjectVisitor},
    scoped_workers::{cores, run_workers},
};

/// A pack whose deltas are known by their bases.
pub(crate) struct DeltaChains<'a> {
    pub(crate) scan: &'a PackScan<'a>,
    pub(crate) bases: &'a [u32],
    pub(crate) kinds: &'a [Option<Kind>],
    pub(crate) memory: ChainMemory,
    pub(crate) context: &'a SyncContext,
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

/// Memory for reading the trees and commits of a pack, in bytes.
#[derive(Clone, Copy)]
pub(crate) struct ChainMemory {
    /// The share of contents that wait for the visit of their deltas, in all threads together.
    pub(crate) contents: usize,
    /// The limit of one object. A larger one counts as unreadable.
    pub(crate) largest: u64,
    /// The share of the edges of trees. Trees that aren't deltas of each other have very many.
    pub(crate) edges: usize,
}

impl DeltaChains<'_> {
    /// Visits all objects of a kind, on every core, and returns the state of each thread. The first error ends the walk.
    ///
    /// `state` makes the state of a thread from its number. `visit` is called with the pack position and the content of
    /// an object, and with the content of the object that it was made from, if that is in memory.
    pub(crate) fn visit_all<T: Send>(
        &self,
        kind: Kind,
        state: impl Fn(u32) -> T + Sync,
        visit: impl Fn(&mut T, u32, &[u8], Option<&[u8]>) -> Result<(), ChainError> + Sync,
    ) -> Result<Vec<T>, ChainError> {
        let deltas = &Deltas::of_bases(self.bases);
        let threads = cores();
        let content_memory = ContentMemory::new(self.memory.contents, threads);
        let (next, on_disk) = (AtomicUsize::new(0), AtomicU64::new(0));
        let scratch = &self.context.scratch_folder();
        run_workers(0..threads as u32, |number| {
            let mut state = state(number);
            let mut visitor = ChainVisitor {
                chains: self,
                deltas,
                on_disk: &on_disk,
                visit: |pack_pos, content: &[u8], base: Option<&[u8]>| {
                    visit(&mut state, pack_pos, content, base)
                },
            };
            let hash = self.scan.rev_index.index.object_hash();
            let mut traversal =
                DeltaTraversal::new(self.scan.path, hash, &content_memory, scratch)?;
            loop {
                let root = next.fetch_add(1, Relaxed);
                let Some(found) = self.kinds.get(root) else {
                    return Ok(state);
                };
                if *found == Some(kind) && self.bases[root] == NO_BASE {
                    let done = traversal.traverse(root as u32, &mut visitor);
                    // No thread takes another root after an error.
                    done.inspect_err(|_| next.store(self.kinds.len(), Relaxed))?;
                }
            }
        })
    }
}

/// The visit of one object, as the traversal of the deltas sees it.
struct ChainVisitor<'a, V> {
    chains: &'a DeltaChains<'a>,
    deltas: &'a Deltas,
    /// The bytes in temporary files, of all threads together.
    on_disk: &'a AtomicU64,
    visit: V,
}

impl<V> ObjectVisitor for ChainVisitor<'_, V>
where
    V: FnMut(u32, &[u8], Option<&[u8]>) -> Result<(), ChainError>,
{
    type Error = ChainError;

    fn byte_range(&self, entry: u32) -> Range<u64> {
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
        (self.visit)(entry, content, base)
    }

    fn deltas(&mut self, entry: u32, to: &mut Vec<u32>) -> Result<(), ChainError> {
        to.extend_from_slice(self.deltas.of(entry));
        Ok(())
    }

    fn allows(
        &mut self,
        _entry: u32,
        _kind: Kind,
        size: u64,
        _chain: Chain,
    ) -> Result<bool, ChainError> {
        let is_allowed = size <= self.chains.memory.largest;
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

    /// Beyond the limit of a quarantine the pack counts as unreadable: it is not worth more.
    fn allows_on_disk(&mut self, more: u64) -> Result<(), ChainError> {
        let total = self.on_disk.fetch_add(more, Relaxed).saturating_add(more);
        let is_allowed = total <= self.chains.context.limits().quarantine_bytes;
        is_allowed.then_some(()).ok_or(ChainError::Unreadable)
    }

    fn may_lead_on(&self, entry: u32) -> bool {
        !self.deltas.of(entry).is_empty()
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
