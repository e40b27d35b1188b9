//! The cost of a pack so far, against its limits.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use gix::objs::Kind;

use super::excess::Excess;
use crate::{Error, Limits};

/// The bytes of objects that may be made of one byte of a pack in any case. Large histories have some 60.
const USUAL_RATIO: u64 = 256;

/// Shared by the threads that work on a pack.
pub(super) struct Budget<'a> {
    limits: &'a Limits,
    /// Bytes on disk of other packs.
    beside: u64,
    /// Bytes of all objects that have come in, as they or their deltas say.
    declared: AtomicU64,
    /// Bytes on disk beside the pack.
    waiting: AtomicU64,
    /// Bytes of memory that are left for deltas and small objects at hand.
    at_hand: AtomicU64,
}

impl<'a> Budget<'a> {
    #[cfg(test)]
    pub(super) fn new(limits: &'a Limits) -> Self {
        Budget::beside(limits, 0)
    }

    /// With so many bytes of other packs on disk.
    pub(super) fn beside(limits: &'a Limits, beside: u64) -> Self {
        Budget {
            limits,
            beside,
            declared: AtomicU64::new(0),
            waiting: AtomicU64::new(0),
            at_hand: AtomicU64::new(0),
        }
    }

    /// A pack of `count` objects is about to be received, each of which takes that much memory.
    pub(super) fn check_count(&self, count: u64, memory: u64) -> Result<(), Error> {
        within("objects", "objects", count, self.limits.objects)?;
        // The rest is for contents.
        let share = self.limits.memory / 8 * 5;
        match share.checked_sub(count.saturating_mul(memory)) {
            Some(left) => {
                let at_hand = left + self.limits.memory / 16;
                let most = self.limits.memory / 4;
                self.at_hand.store(at_hand.min(most), Relaxed);
                Ok(())
            }
            None => Err(Error::over_budget(
                "memory",
                format_args!("{} bytes for {count} objects", self.limits.memory),
            )),
        }
    }

    /// The limit that an object by itself goes beyond, if any.
    pub(super) fn excess(&self, kind: Kind, size: u64) -> Option<Excess> {
        Excess::of(kind, size, self.limits)
    }

    /// Something is coming in that says to make an object of that size, or so many bytes of a delta that
    /// is as large as no object may be.
    pub(super) fn declare(&self, size: u64) -> Result<(), Error> {
        let before = self.declared.fetch_add(size, Relaxed);
        let bytes = before.saturating_add(size);
        within("inflated_bytes", "bytes", bytes, self.limits.inflated_bytes)
    }

    /// Whether so many bytes of a pack say to make so much that it is all to be summed first.
    pub(super) fn is_much_declared(&self, arrived: u64) -> bool {
        self.declared.load(Relaxed) / USUAL_RATIO > arrived
    }

    /// Whether an object may be made so many deltas away from a whole one.
    pub(super) fn check_depth(&self, depth: u32) -> Result<(), Error> {
        let most = self.limits.delta_depth.into();
        within("delta_depth", "deltas", depth.into(), most)
    }

    pub(super) fn check_bases(&self, size: u64) -> Result<(), Error> {
        within("thin_bases", "bytes", size, self.limits.thin_bases)
    }

    /// So many more bytes of contents are about to wait on disk, beside a pack of this size.
    pub(super) fn on_disk(&self, more: u64, pack: u64) -> Result<(), Error> {
        self.waiting.fetch_add(more, Relaxed);
        self.check_disk(pack)
    }

    /// Takes note that nothing waits on disk any more.
    pub(super) fn nothing_waits(&self) {
        self.waiting.store(0, Relaxed);
    }

    /// Whether there is memory for so many more bytes at hand. What there is none for is read from disk.
    pub(super) fn keep_at_hand(&self, bytes: u64) -> bool {
        let kept = |left: u64| left.checked_sub(bytes);
        self.at_hand.fetch_update(Relaxed, Relaxed, kept).is_ok()
    }

    pub(super) fn let_go(&self, bytes: u64) {
        self.at_hand.fetch_add(bytes, Relaxed);
    }

    pub(super) fn check_disk(&self, pack: u64) -> Result<(), Error> {
        within(
            "quarantine_bytes",
            "bytes",
            pack.saturating_add(self.beside)
                .saturating_add(self.waiting.load(Relaxed)),
            self.limits.quarantine_bytes,
        )
    }
}

fn within(name: &'static str, unit: &str, value: u64, limit: u64) -> Result<(), Error> {
    match value <= limit {
        true => Ok(()),
        false => Err(Error::over_budget(name, format_args!("{limit} {unit}"))),
    }
}
