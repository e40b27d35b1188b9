//! Which object is sent as a delta of which.
//!
//! Objects are sorted so that those that are likely to be alike are neighbours, and each is
//! compared with the few before it. Who comes first is never a delta of who comes later, so there
//! are no cycles.

use std::{
    cmp::Reverse,
    collections::VecDeque,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    thread,
};

use gix::{ObjectId, objs::Kind, oid};

use super::{delta::Base, zlib::Deflater};
use crate::{Error, Run};

/// An object that may become a delta or the base of one.
#[derive(Debug, Clone)]
pub(crate) struct Candidate {
    pub id: ObjectId,
    pub kind: Kind,
    /// Groups the versions of one file: [`name_hash()`] of its path.
    pub name_hash: u32,
    pub size: u64,
    /// The receiver has it: it may be a base and is not sent.
    pub is_base_only: bool,
    /// The pack, by any number, that holds it whole. Two objects of one pack were compared when
    /// that was written.
    pub whole_in: Option<u32>,
    /// How many deltas deep the reused deltas are that hang on this object.
    pub height: u32,
}

/// What to send in place of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Delta {
    /// The index of its base among the candidates.
    pub base: usize,
    /// What the delta takes before compression.
    pub size: u64,
    /// Compressed. `None` if it would have gone over [`Limits::delta_memory`]:
    /// [`Base::encode()`] makes the same delta once more.
    pub data: Option<Vec<u8>>,
}

/// How much is tried.
#[derive(Debug, Clone)]
pub(crate) struct Limits {
    /// How many others an object is compared with.
    pub window: usize,
    /// How many deltas it may take to get at an object.
    pub depth: u32,
    /// Larger objects are sent whole.
    pub big_file: u64,
    pub threads: usize,
    /// Bytes for the objects being compared, in all threads together.
    pub window_memory: usize,
    /// Bytes for the deltas that are found.
    pub delta_memory: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            window: 10,
            depth: 50,
            big_file: 512 << 20,
            threads: thread::available_parallelism().map_or(1, |threads| threads.get()),
            window_memory: 256 << 20,
            delta_memory: 256 << 20,
        }
    }
}

/// A delta would hardly be smaller.
const MIN_SIZE: u64 = 50;

/// What a thread takes on at a time, in bytes of content. Fixed, so that the result doesn't depend
/// on the number of threads.
const CHUNK: u64 = 4 << 20;

/// For each candidate the delta to send, if there is one that is worth it.
///
/// Each thread opens a reader of its own, which leaves an object's content in the buffer.
pub(crate) fn search<R>(
    candidates: &[Candidate],
    open: impl Fn() -> R + Sync,
    limits: &Limits,
    run: &Run,
) -> Result<Vec<Option<Delta>>, Error>
where
    R: FnMut(&oid, &mut Vec<u8>) -> Result<(), Error>,
{
    let order = order(candidates, limits);
    let chunks = chunks(&order, candidates);
    let threads = threads(&order, candidates, limits).min(chunks.len());
    let shared = Shared {
        candidates,
        limits,
        run,
        window_memory: limits.window_memory / threads.max(1),
        delta_memory: AtomicUsize::new(limits.delta_memory),
        next_chunk: AtomicUsize::new(0),
        has_failed: AtomicBool::new(false),
    };
    let work = || Worker::new(&shared, open()).work(&chunks);
    let found = if threads <= 1 {
        work()?
    } else {
        thread::scope(|scope| {
            let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
            let results = workers.into_iter().map(|worker| {
                worker
                    .join()
                    .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            });
            results.collect::<Result<Vec<_>, _>>()
        })?
        .concat()
    };
    let mut deltas = vec![None; candidates.len()];
    for (target, delta) in found {
        deltas[target] = Some(delta);
    }
    Ok(deltas)
}

/// The candidates that take part, versions of one file beside each other. The largest comes first,
/// since it is cheaper to leave out than to add, and usually the newest.
fn order(candidates: &[Candidate], limits: &Limits) -> Vec<usize> {
    let mut order: Vec<_> = (0..candidates.len())
        .filter(|index| (MIN_SIZE..=limits.big_file).contains(&candidates[*index].size))
        .collect();
    order.sort_unstable_by_key(|index| {
        let candidate = &candidates[*index];
        (
            Reverse(candidate.kind),
            Reverse(candidate.name_hash),
            !candidate.is_base_only,
            Reverse(candidate.size),
            *index,
        )
    });
    order
}

/// Versions of one file stay together, but without names there are none.
fn chunks<'a>(order: &'a [usize], candidates: &[Candidate]) -> Vec<&'a [usize]> {
    let mut work = 0;
    order
        .chunk_by(|a, b| {
            let (a, b) = (&candidates[*a], &candidates[*b]);
            work += a.size;
            let same_name = a.kind == b.kind && a.name_hash == b.name_hash && a.name_hash != 0;
            let goes_on = work < CHUNK || same_name;
            if !goes_on {
                work = 0;
            }
            goes_on
        })
        .collect()
}

/// Fewer where objects are large, so that each has room to compare two of them.
fn threads(order: &[usize], candidates: &[Candidate], limits: &Limits) -> usize {
    let largest = order.iter().map(|index| candidates[*index].size).max();
    let pair = 2 * Base::memory(largest.unwrap_or(0) as usize);
    limits.threads.min(limits.window_memory / pair).max(1)
}

/// What the workers have in common.
struct Shared<'a> {
    candidates: &'a [Candidate],
    limits: &'a Limits,
    run: &'a Run,
    /// What one worker may use.
    window_memory: usize,
    /// What is left for all of them.
    delta_memory: AtomicUsize,
    next_chunk: AtomicUsize,
    /// Nobody needs the result any more.
    has_failed: AtomicBool,
}

impl Shared<'_> {
    fn reserve(&self, bytes: usize) -> bool {
        let take = |left: usize| left.checked_sub(bytes);
        self.delta_memory
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, take)
            .is_ok()
    }
}

struct Worker<'a, R> {
    shared: &'a Shared<'a>,
    read: R,
    buffer: Vec<u8>,
    deflater: Deflater,
    /// What the next target is compared with, in this order.
    window: VecDeque<Slot>,
    /// What the window and the target take, counting an index for each.
    memory: usize,
}

struct Slot {
    candidate: usize,
    /// How many deltas it takes to get at it.
    depth: u32,
    /// Read when it is first needed.
    base: Option<Base>,
}

/// The best delta so far.
struct Best {
    /// Its base's place in the window.
    slot: usize,
    depth: u32,
    delta: Vec<u8>,
}

impl<'a, R> Worker<'a, R>
where
    R: FnMut(&oid, &mut Vec<u8>) -> Result<(), Error>,
{
    fn new(shared: &'a Shared<'a>, read: R) -> Self {
        Worker {
            shared,
            read,
            buffer: Vec::new(),
            deflater: Deflater::new(),
            window: VecDeque::new(),
            memory: 0,
        }
    }

    fn work(mut self, chunks: &[&[usize]]) -> Result<Vec<(usize, Delta)>, Error> {
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

    /// Looks for a base in the window, and puts the candidate into it.
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
            // What was good for one is likely to be good for the next.
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
        let shared = self.shared;
        let mut best: Option<Best> = None;
        let mut at = 0;
        while at < self.window.len() {
            shared.run.check()?;
            let slot = at;
            at += 1;
            let source = &self.window[slot];
            let max_size = max_size(
                &shared.candidates[source.candidate],
                source.depth,
                &shared.candidates[target.candidate],
                best.as_ref()
                    .map(|best| (best.delta.len() as u64, best.depth)),
                shared.limits.depth,
            );
            let Some(max_size) = max_size else { continue };
            if !self.load_slot(slot)? || !self.load_target(target, slot)? {
                continue;
            }
            let source = &self.window[slot];
            let (Some(base), Some(content)) = (&source.base, &target.base) else {
                continue;
            };
            let depth = source.depth + 1;
            let Some(delta) = base.encode(content.content(), max_size as usize) else {
                continue;
            };
            if best
                .as_ref()
                .is_some_and(|best| delta.len() == best.delta.len() && depth >= best.depth)
            {
                continue;
            }
            best = Some(Best { slot, depth, delta });
        }
        Ok(best)
    }

    fn load_slot(&mut self, slot: usize) -> Result<bool, Error> {
        if self.window[slot].base.is_some() {
            return Ok(true);
        }
        let candidate = self.window[slot].candidate;
        let base = self.load(candidate, slot)?;
        self.window[slot].base = base;
        Ok(self.window[slot].base.is_some())
    }

    fn load_target(&mut self, target: &mut Slot, slot: usize) -> Result<bool, Error> {
        if target.base.is_none() {
            target.base = self.load(target.candidate, slot)?;
        }
        Ok(target.base.is_some())
    }

    /// Reads an object, unless there is no room for it beside the first ones of the window, up to
    /// `last`.
    fn load(&mut self, candidate: usize, last: usize) -> Result<Option<Base>, Error> {
        let candidate = &self.shared.candidates[candidate];
        let needed = Base::memory(candidate.size as usize);
        while self.memory + needed > self.shared.window_memory && self.window.len() > last + 1 {
            self.forget_oldest();
        }
        if self.memory + needed > self.shared.window_memory {
            return Ok(None);
        }
        match (self.read)(&candidate.id, &mut self.buffer) {
            Ok(()) => {
                let base = Base::new(self.buffer.clone());
                self.memory += Base::memory(base.content().len());
                Ok(Some(base))
            }
            // The receiver has it, so nobody else has to.
            Err(_) if candidate.is_base_only => Ok(None),
            Err(err) => Err(Error::new(
                err.kind(),
                format!("{} {} can't be read", candidate.kind, candidate.id),
            )
            .with_source(err)),
        }
    }

    fn forget_oldest(&mut self) {
        if let Some(base) = self.window.pop_back().and_then(|slot| slot.base) {
            self.memory -= Base::memory(base.content().len());
        }
    }
}

/// What a delta may take to be worth it, or better than the one there is, of this size and depth;
/// `None` if no delta can be.
///
/// Longer chains have to save more: they make everything that hangs on them slower to read.
fn max_size(
    source: &Candidate,
    source_depth: u32,
    target: &Candidate,
    best: Option<(u64, u32)>,
    max_depth: u32,
) -> Option<u64> {
    if target.is_base_only || source.kind != target.kind {
        return None;
    }
    let were_compared = source.whole_in.is_some() && source.whole_in == target.whole_in;
    if were_compared && !source.is_base_only {
        return None;
    }
    let max_depth = max_depth.saturating_sub(target.height);
    if source_depth >= max_depth || target.size < source.size / 32 {
        return None;
    }
    let id_size = target.id.as_slice().len() as u64;
    let (size, depth) = best.unwrap_or(((target.size / 2).saturating_sub(id_size), 1));
    let max_size = size * u64::from(max_depth - source_depth) / u64::from(max_depth - depth + 1);
    let added = target.size.saturating_sub(source.size);
    (added < max_size).then_some(max_size)
}

/// Sorts paths by how they end, so that a file that moved is close to where it was.
///
/// Each character weighs four times what the one before it does, so that sixteen count. White
/// space doesn't.
pub(crate) fn name_hash(path: &[u8]) -> u32 {
    path.iter()
        .filter(|byte| !byte.is_ascii_whitespace())
        .fold(0, |hash: u32, byte| {
            (hash >> 2).wrapping_add(u32::from(*byte) << 24)
        })
}
