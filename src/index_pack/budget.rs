//! The limits on a received pack, and its use of them so far.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use gix::objs::Kind;

use super::excess::excess;
use crate::{Error, Limits, error::check_limit, memory_plan::MemoryPlan, pack::delta_tree::Chain};

/// The ratio of declared object bytes to pack bytes from which on windows are held back. Large histories have some 60.
const USUAL_RATIO: u64 = 256;

/// The use of the [`Limits`] by one pack, shared by the threads that work on it.
pub(super) struct Budget<'a> {
    limits: &'a Limits,
    /// Bytes on disk of packs received earlier in the run.
    earlier_packs: u64,
    /// The sum of the sizes that entries and deltas declare for their objects.
    declared: AtomicU64,
    /// Bytes of contents on disk beside the pack.
    waiting: AtomicU64,
    /// Bytes of memory that are left for inflated entries.
    inflated: AtomicU64,
}

impl<'a> Budget<'a> {
    #[cfg(test)]
    pub(super) fn new(limits: &'a Limits) -> Self {
        Budget::beside(limits, 0)
    }

    /// Makes the budget of a pack; `earlier_packs` are the bytes of earlier packs on disk.
    pub(super) fn beside(limits: &'a Limits, earlier_packs: u64) -> Self {
        Budget {
            limits,
            earlier_packs,
            declared: AtomicU64::new(0),
            waiting: AtomicU64::new(0),
            inflated: AtomicU64::new(0),
        }
    }

    /// Checks the number of objects that a pack's header declares, each with `memory` bytes in the table.
    pub(super) fn check_count(&self, count: u64, memory: u64) -> Result<(), Error> {
        check_limit("objects", "objects", count, self.limits.objects)?;
        let plan = MemoryPlan::of(self.limits);
        match (plan.entries as u64).checked_sub(count.saturating_mul(memory)) {
            Some(left) => {
                let inflated = left + plan.inflated_entries as u64;
                self.inflated
                    .store(inflated.min(plan.most_inflated as u64), Relaxed);
                Ok(())
            }
            None => Err(Error::over_budget(
                "memory",
                format_args!("{} bytes for {count} objects", self.limits.memory),
            )),
        }
    }

    /// The limit that a single object of this size exceeds, if any, in words.
    pub(super) fn excess(&self, kind: Kind, size: u64) -> Option<String> {
        excess(kind, size, self.limits)
    }

    /// Adds the declared size of an object, or of a delta that is larger than an object may be.
    pub(super) fn declare(&self, size: u64) -> Result<(), Error> {
        let before = self.declared.fetch_add(size, Relaxed);
        let bytes = before.saturating_add(size);
        check_limit("inflated_bytes", "bytes", bytes, self.limits.inflated_bytes)
    }

    /// Whether the declared sizes are so large for the bytes that arrived that no delta is applied before all of them
    /// are known.
    pub(super) fn is_much_declared(&self, arrived: u64) -> bool {
        self.declared.load(Relaxed) / USUAL_RATIO > arrived
    }

    /// Checks the number of deltas in the chain of an object, and the bytes in the chain of one that is read again, which a
    /// blob is not.
    pub(super) fn check_chain(&self, kind: Kind, chain: Chain) -> Result<(), Error> {
        let (deltas, most) = (chain.objects.saturating_sub(1), self.limits.delta_depth);
        check_limit("delta_depth", "deltas", deltas.into(), most.into())?;
        if kind == Kind::Blob {
            return Ok(());
        }
        let most = self.limits.delta_chain_bytes;
        check_limit("delta_chain_bytes", "bytes", chain.bytes, most)
    }

    pub(super) fn check_bases(&self, size: u64) -> Result<(), Error> {
        check_limit("thin_bases", "bytes", size, self.limits.thin_bases)
    }

    /// Adds contents that are written to disk, beside a pack of `pack` bytes.
    pub(super) fn on_disk(&self, more: u64, pack: u64) -> Result<(), Error> {
        self.waiting.fetch_add(more, Relaxed);
        self.check_disk(pack)
    }

    /// Records that the contents on disk were removed.
    pub(super) fn nothing_waits(&self) {
        self.waiting.store(0, Relaxed);
    }

    /// Reserves memory for inflated entries. False if there is none: such an entry is read from disk again.
    pub(super) fn reserve_cache(&self, bytes: u64) -> bool {
        let kept = |left: u64| left.checked_sub(bytes);
        self.inflated.fetch_update(Relaxed, Relaxed, kept).is_ok()
    }

    pub(super) fn release_cache(&self, bytes: u64) {
        self.inflated.fetch_add(bytes, Relaxed);
    }

    pub(super) fn check_disk(&self, pack: u64) -> Result<(), Error> {
        check_limit(
            "quarantine_bytes",
            "bytes",
            pack.saturating_add(self.earlier_packs)
                .saturating_add(self.waiting.load(Relaxed)),
            self.limits.quarantine_bytes,
        )
    }
}
