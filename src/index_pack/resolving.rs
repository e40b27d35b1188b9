//! Resolving the entries of a pack to objects: the work on each entry, and the pass over the remaining deltas after the
//! pack has arrived. [`windows`](super::windows) does the same while it arrives.

use std::{
    io,
    ops::Range,
    path::Path,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
};

use gix::{hash::Hasher, objs::Kind};

use super::{
    budget::Budget,
    delta_batch::DeltaBatch,
    excess::too_large,
    inflated_cache::InflatedCache,
    inspection::{Inspection, SharedFindings},
    pack_reader::{collision, damaged},
    ref_deltas::RefDeltas,
    references::{BaseObject, BaseState},
    table::{Base, Table},
};
use crate::{
    Error, ErrorKind, SyncContext,
    pack::delta_tree::{Chain, ContentMemory, DeltaTraversal, ObjectVisitor},
    scoped_workers::{cores, run_workers},
};

/// The number of entries for each thread.
const ENTRIES_PER_THREAD: usize = 256;

/// A pack on disk whose deltas are to be resolved.
pub(super) struct Pack<'a> {
    pub(super) path: &'a Path,
    pub(super) folder: &'a Path,
    pub(super) table: Table,
    pub(super) findings: &'a SharedFindings<'a>,
    pub(super) budget: &'a Budget<'a>,
    pub(super) context: &'a SyncContext,
}

impl Pack<'_> {
    /// Resolves the remaining deltas whose bases are in the pack. Each is reached from the whole object at the root of
    /// its delta chain, which one thread takes with all deltas of it.
    pub(super) fn resolve(
        &self,
        batch: &DeltaBatch,
        inflated: &InflatedCache<'_>,
        ref_deltas: &RefDeltas,
    ) -> Result<(), Error> {
        let count = batch.entries.len();
        if count == 0 {
            return Ok(());
        }
        let threads = cores().min(count.div_ceil(ENTRIES_PER_THREAD));
        let content_memory = self.content_memory(threads);
        let (next, is_given_up) = (AtomicUsize::new(0), AtomicBool::new(false));
        let work = || -> Result<(), Error> {
            let mut inspection = self.findings.inspection();
            let mut traversal = self.traversal(&content_memory)?;
            let mut resolver = Resolver {
                pack: self,
                batch,
                inflated,
                ref_deltas: Some(ref_deltas),
                is_given_up: &is_given_up,
                inspection: &mut inspection,
            };
            while let Some(entry) = batch.entries.get(next.fetch_add(1, Relaxed)) {
                if !self.table.is_delta(*entry) {
                    let done = traversal.traverse(*entry, &mut resolver);
                    // After a failure no thread takes another entry.
                    done.inspect_err(|_| next.store(count, Relaxed))?;
                }
            }
            inspection.finish()
        };
        run_workers(0..threads.max(1), |_| work())?;
        Ok(())
    }

    /// Fails if an entry is not resolved: its base is neither in the pack nor in the store, or it is part of a
    /// circle of deltas.
    pub(super) fn check_that_all_is_resolved(&self) -> Result<(), Error> {
        let entries = 0..self.table.len();
        match entries
            .filter(|entry| self.table.kind(*entry).is_none())
            .count()
        {
            0 => Ok(()),
            count => {
                let text = format!("the pack has {count} deltas whose bases are missing");
                Err(Error::new(ErrorKind::Protocol, text))
            }
        }
    }

    pub(super) fn content_memory(&self, traversals: usize) -> ContentMemory {
        ContentMemory::new(self.context.memory_plan().contents, traversals)
    }

    pub(super) fn traversal<'r>(
        &self,
        content_memory: &'r ContentMemory,
    ) -> Result<DeltaTraversal<'r>, Error> {
        DeltaTraversal::new(self.path, self.table.hash, content_memory, self.folder)
            .map_err(|err| Error::io("reading the pack", err))
    }
}

/// The visitor that hashes, inspects and records the objects of a batch.
pub(super) struct Resolver<'a, 'l> {
    pub(super) pack: &'a Pack<'a>,
    pub(super) batch: &'a DeltaBatch,
    pub(super) inflated: &'a InflatedCache<'a>,
    /// `None` while the pack arrives: a delta that names its base by id may arrive later than the base.
    pub(super) ref_deltas: Option<&'a RefDeltas>,
    pub(super) is_given_up: &'a AtomicBool,
    pub(super) inspection: &'a mut Inspection<'l>,
}

impl Resolver<'_, '_> {
    fn is_to_be_resolved(&self, entry: u32) -> bool {
        !self.batch.only_leads_on(entry) && self.pack.table.kind(entry).is_none()
    }
}

impl ObjectVisitor for Resolver<'_, '_> {
    type Error = Error;

    fn byte_range(&self, entry: u32) -> Range<u64> {
        self.pack.table.byte_range(entry)
    }

    fn visit(
        &mut self,
        entry: u32,
        kind: Kind,
        content: &[u8],
        base: Option<&[u8]>,
    ) -> Result<(), Error> {
        self.pack.context.check()?;
        if self.is_given_up.load(Relaxed) {
            return Err(Error::cancelled());
        }
        // Whole objects were inspected when they arrived, and bases of earlier windows with their window.
        if !self.is_to_be_resolved(entry) {
            return Ok(());
        }
        let table = &self.pack.table;
        let id = gix::objs::compute_hash(table.hash, kind, content).map_err(|_| collision())?;
        table.resolve(entry, kind, &id);
        let state = match table.base(entry) {
            Base::Entry(base) if table.is_sound(base) => BaseState::Sound,
            Base::Entry(_) | Base::None => BaseState::Inspected,
            Base::Named => BaseState::NotInspected,
        };
        let base = base.map(|content| BaseObject { content, state });
        if self.inspection.look_at(kind, id, content, base)? {
            table.mark_sound(entry);
        }
        Ok(())
    }

    /// The deltas of an entry. A pack with an object twice and a delta that names it by id is refused: which of the
    /// two is the base would depend on the reader, and one of them may itself be a delta of that delta.
    fn deltas(&mut self, entry: u32, to: &mut Vec<u32>) -> Result<(), Error> {
        to.extend(self.batch.deltas_of(entry));
        let Some(ref_deltas) = self.ref_deltas else {
            return Ok(());
        };
        let id = self.pack.table.id(entry);
        let taken = ref_deltas.take(&id).ok_or_else(|| {
            let text = format!("the pack has {id} twice, and a delta of it");
            Error::new(ErrorKind::Protocol, text)
        })?;
        to.extend(taken);
        Ok(())
    }

    fn whole(&self, entry: u32, to: &mut Vec<u8>) -> Option<Kind> {
        let (kind, object) = self.inflated.object(entry)?;
        to.clear();
        to.extend_from_slice(object);
        Some(kind)
    }

    fn inflated(&self, entry: u32, most: usize, to: &mut Vec<u8>) -> bool {
        let delta = self.inflated.delta(entry);
        let delta = delta.filter(|delta| delta.len() <= most);
        if let Some(delta) = delta {
            to.clear();
            to.extend_from_slice(delta);
        }
        delta.is_some()
    }

    fn allows(&mut self, _entry: u32, kind: Kind, size: u64, chain: Chain) -> Result<bool, Error> {
        self.pack.budget.check_chain(kind, chain)?;
        Ok(self.pack.budget.excess(kind, size).is_none())
    }

    fn oversized(
        &mut self,
        entry: u32,
        kind: Kind,
        size: u64,
        hasher: Hasher,
    ) -> Result<(), Error> {
        // A base of an earlier window was recorded with that window.
        let excess = self.pack.budget.excess(kind, size);
        if let Some(limit) = excess.filter(|_| self.is_to_be_resolved(entry)) {
            let id = hasher.try_finalize().map_err(|_| collision())?;
            self.pack.table.resolve(entry, kind, &id);
            let reason = too_large(&id, size, &limit);
            self.inspection.leave_out(id, reason)?;
        }
        Ok(())
    }

    fn may_lead_on(&self, entry: u32) -> bool {
        // Any object may be named by id: its own is known only after it was reconstructed.
        let are_named = self.ref_deltas.is_some_and(|named| !named.is_empty());
        are_named || self.batch.deltas_of(entry).next().is_some()
    }

    fn may_go_on(&self) -> bool {
        self.pack.context.check().is_ok() && !self.is_given_up.load(Relaxed)
    }

    fn allows_on_disk(&mut self, more: u64) -> Result<(), Error> {
        self.pack.budget.on_disk(more, self.pack.table.end())
    }

    fn unreadable(&self, _entry: u32, err: io::Error) -> Error {
        damaged(err, self.pack.context)
    }

    fn failed(&self, err: io::Error) -> Error {
        Error::io("keeping objects on disk", err)
    }
}
