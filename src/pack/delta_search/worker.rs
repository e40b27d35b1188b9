//! One thread of the search for deltas.

use std::{
    collections::VecDeque,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
};

use gix::oid;

use super::{Candidate, Delta, SearchLimits, is_good_enough, max_size};
use crate::{
    Error, SyncContext,
    pack::{deflate::Deflater, delta_encode::DeltaBase},
};

/// The state that all workers share.
pub(super) struct Shared<'a> {
    pub(super) candidates: &'a [Candidate],
    pub(super) limits: &'a SearchLimits,
    pub(super) context: &'a SyncContext,
    /// Bytes for the window of one worker.
    pub(super) window_memory: usize,
    /// Bytes that are left for the deltas of all workers.
    pub(super) delta_memory: AtomicUsize,
    pub(super) next_chunk: AtomicUsize,
    /// Whether a worker has failed, so that no result is needed.
    pub(super) has_failed: AtomicBool,
}

impl Shared<'_> {
    fn reserve(&self, bytes: usize) -> bool {
        let take = |left: usize| left.checked_sub(bytes);
        self.delta_memory
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, take)
            .is_ok()
    }
}

/// A thread of the search, with a window of candidates.
pub(super) struct Worker<'a, R> {
    shared: &'a Shared<'a>,
    read: R,
    buffer: Vec<u8>,
    deflater: Deflater,
    /// The candidates that the next target is compared with, in this order.
    window: VecDeque<Slot>,
    /// Bytes of the window and the target, with an index for each.
    memory: usize,
}

/// A candidate in the window.
struct Slot {
    candidate: usize,
    /// Number of deltas in the candidate's chain.
    depth: u32,
    /// Read when it is first needed.
    base: Option<DeltaBase>,
}

/// The best delta so far.
struct Best {
    /// The position of its base in the window.
    slot: usize,
    depth: u32,
    delta: Vec<u8>,
}

impl Best {
    /// Whether this delta replaces `other`. Both are within [`max_size()`]; of equal ones the first stays.
    fn is_better(&self, other: &Best) -> bool {
        self.delta.len() != other.delta.len() || self.depth < other.depth
    }
}

impl<'a, R> Worker<'a, R>
where
    R: FnMut(&oid, &mut Vec<u8>) -> Result<(), Error>,
{
    pub(super) fn new(shared: &'a Shared<'a>, read: R) -> Self {
        Worker {
            shared,
            read,
            buffer: Vec::new(),
            deflater: Deflater::new(),
            window: VecDeque::new(),
            memory: 0,
        }
    }

    pub(super) fn work(mut self, chunks: &[&[usize]]) -> Result<Vec<(usize, Delta)>, Error> {
        let mut found = Vec::new();
        while let Some(chunk) = chunks.get(self.shared.next_chunk.fetch_add(1, Ordering::Relaxed)) {
            if let Err(err) = self.find_all(chunk, &mut found) {
                self.shared.has_failed.store(true, Ordering::Relaxed);
                return Err(err);
            }
        }
        Ok(found)
    }

    fn find_all(&mut self, chunk: &[usize], found: &mut Vec<(usize, Delta)>) -> Result<(), Error> {
        self.window.clear();
        self.memory = 0;
        for candidate in chunk {
            if self.shared.has_failed.load(Ordering::Relaxed) {
                return Ok(());
            }
            if let Some(delta) = self.add(*candidate)? {
                found.push((*candidate, delta));
            }
        }
        Ok(())
    }

    /// Searches a base for the candidate in the window, and puts the candidate into it.
    fn add(&mut self, candidate: usize) -> Result<Option<Delta>, Error> {
        let mut slot = Slot {
            candidate,
            depth: 0,
            base: None,
        };
        let best = self.best(&mut slot)?;
        let mut found = None;
        if let Some(best) = best {
            slot.depth = best.depth;
            let data = self.deflater.deflate(&best.delta);
            found = Some(Delta {
                base: self.window[best.slot].candidate,
                size: best.delta.len() as u64,
                data: self.shared.reserve(data.len()).then_some(data),
            });
            // A good base for one target is likely to be good for the next.
            if let Some(base) = self.window.remove(best.slot) {
                self.window.push_front(base);
            }
        }
        self.window.push_front(slot);
        if self.window.len() > self.shared.limits.window {
            self.forget_oldest();
        }
        Ok(found)
    }

    fn best(&mut self, target: &mut Slot) -> Result<Option<Best>, Error> {
        let mut best = None;
        let mut slot = 0;
        // Invariant: reading may drop the end of the window, but never `slot` or what is before it.
        while slot < self.window.len() {
            self.shared.context.check()?;
            if let Some(better) = self.compare(slot, target, best.as_ref())? {
                let size = self.shared.candidates[target.candidate].size;
                let is_good_enough = is_good_enough(better.delta.len() as u64, size);
                best = Some(better);
                if is_good_enough {
                    break;
                }
            }
            slot += 1;
        }
        Ok(best)
    }

    fn compare(
        &mut self,
        slot: usize,
        target: &mut Slot,
        best: Option<&Best>,
    ) -> Result<Option<Best>, Error> {
        let shared = self.shared;
        let source = &self.window[slot];
        let max_size = max_size(
            &shared.candidates[source.candidate],
            source.depth,
            &shared.candidates[target.candidate],
            best.map(|best| (best.delta.len() as u64, best.depth)),
            shared.limits.depth,
        );
        let Some(max_size) = max_size else {
            return Ok(None);
        };
        if source.base.is_none() {
            self.window[slot].base = self.load(source.candidate, slot)?;
        }
        if target.base.is_none() {
            target.base = self.load(target.candidate, slot)?;
        }
        let source = &self.window[slot];
        let (Some(base), Some(content)) = (&source.base, &target.base) else {
            return Ok(None);
        };
        let delta = base.encode(&content.content, max_size as usize);
        let better = delta.map(|delta| Best {
            slot,
            depth: source.depth + 1,
            delta,
        });
        Ok(better.filter(|better| best.is_none_or(|best| better.is_better(best))))
    }

    /// Reads an object, unless there is no room for it beside the window up to `last`.
    fn load(&mut self, candidate: usize, last: usize) -> Result<Option<DeltaBase>, Error> {
        let candidate = &self.shared.candidates[candidate];
        let needed = DeltaBase::memory(candidate.size as usize);
        while self.memory + needed > self.shared.window_memory && self.window.len() > last + 1 {
            self.forget_oldest();
        }
        if self.memory + needed > self.shared.window_memory {
            return Ok(None);
        }
        match (self.read)(&candidate.id, &mut self.buffer) {
            Ok(()) => {
                let base = DeltaBase::new(copy_or_take(&mut self.buffer));
                self.memory += DeltaBase::memory(base.content.len());
                Ok(Some(base))
            }
            // The pack can do without an object that is not sent.
            Err(_) if candidate.is_base_only() => Ok(None),
            Err(err) => Err(Error::new(
                err.kind(),
                format!("{} {} can't be read", candidate.kind, candidate.id),
            )
            .with_source(err)),
        }
    }

    fn forget_oldest(&mut self) {
        if let Some(base) = self.window.pop_back().and_then(|slot| slot.base) {
            self.memory -= DeltaBase::memory(base.content.len());
        }
    }
}

/// The content of the buffer, whose memory is used again unless it is large.
fn copy_or_take(buffer: &mut Vec<u8>) -> Vec<u8> {
    const LARGE: usize = 1024 * 1024;
    if buffer.len() < LARGE {
        return buffer.clone();
    }
    let mut taken = std::mem::take(buffer);
    taken.shrink_to_fit();
    taken
}
