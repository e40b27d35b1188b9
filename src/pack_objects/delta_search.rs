//! Which object is sent as a delta of which.
//!
//! Objects are sorted so that those that are likely to be alike are neighbours, and each is
//! compared with the few before it. Who comes first is never a delta of who comes later, so there
//! are no cycles.

mod worker;

use std::{
    cmp::Reverse,
    iter,
    sync::atomic::{AtomicBool, AtomicUsize},
    thread,
};

use gix::{ObjectId, objs::Kind, oid};

use self::worker::{Shared, Worker};
use crate::{Error, SyncContext, pack::delta_encode::Base};

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
    /// Bytes of content that a thread takes on at a time. The deltas are the same for any number of
    /// threads, as long as these have memory enough.
    pub chunk: u64,
    /// Bytes for the objects being compared, in all threads together.
    pub window_memory: usize,
    /// Bytes for the deltas that are found.
    pub delta_memory: usize,
}

impl Limits {
    /// With that many bytes of memory for the objects that are compared and the deltas that are kept.
    pub(crate) fn within(memory: usize) -> Self {
        Limits {
            window_memory: memory / 3 * 2,
            delta_memory: memory / 3,
            ..Limits::default()
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            window: 10,
            depth: 50,
            big_file: 512 << 20,
            threads: thread::available_parallelism().map_or(1, |threads| threads.get()),
            chunk: 4 << 20,
            window_memory: 256 << 20,
            delta_memory: 256 << 20,
        }
    }
}

/// A delta would hardly be smaller.
const MIN_SIZE: u64 = 50;

/// For each candidate the delta to send, if there is one that is worth it.
///
/// Each thread opens a reader of its own, which leaves an object's content in the buffer.
pub(crate) fn search<R>(
    candidates: &[Candidate],
    open: impl Fn() -> R + Sync,
    limits: &Limits,
    run: &SyncContext,
) -> Result<Vec<Option<Delta>>, Error>
where
    R: FnMut(&oid, &mut Vec<u8>) -> Result<(), Error>,
{
    let order = order(candidates, limits);
    let chunks = chunks(&order, candidates, limits.chunk);
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
    let found = thread::scope(|scope| {
        let helpers: Vec<_> = (1..threads).map(|_| scope.spawn(work)).collect();
        let first = work();
        let helped = helpers.into_iter().map(|helper| {
            let result = helper.join();
            result.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        });
        let helped: Vec<_> = helped.collect();
        iter::once(first)
            .chain(helped)
            .collect::<Result<Vec<_>, _>>()
    })?;
    let mut deltas = vec![None; candidates.len()];
    for (target, delta) in found.into_iter().flatten() {
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
            candidate.kind,
            Reverse(candidate.name_hash),
            !candidate.is_base_only,
            Reverse(candidate.size),
            *index,
        )
    });
    order
}

/// Versions of one file stay together, but without names there are none.
fn chunks<'a>(order: &'a [usize], candidates: &[Candidate], size: u64) -> Vec<&'a [usize]> {
    let mut work = 0;
    order
        .chunk_by(|a, b| {
            let (a, b) = (&candidates[*a], &candidates[*b]);
            work += a.size;
            let same_name = a.kind == b.kind && a.name_hash == b.name_hash && a.name_hash != 0;
            let goes_on = work < size || same_name;
            if !goes_on {
                work = 0;
            }
            goes_on
        })
        .collect()
}

/// Fewer where objects are large, so that each has room to compare two of them. Those that are too
/// large even for one don't count.
fn threads(order: &[usize], candidates: &[Candidate], limits: &Limits) -> usize {
    let largest_pair = order
        .iter()
        .map(|index| 2 * Base::memory(candidates[*index].size as usize))
        .filter(|pair| *pair <= limits.window_memory)
        .max();
    let room = largest_pair.map_or(1, |pair| limits.window_memory / pair);
    limits.threads.min(room).max(1)
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

/// Whether a delta of that size is so small that none is sought that may be smaller: what one entry of a
/// tree takes that has another id.
fn is_good_enough(delta: u64, target: u64) -> bool {
    delta <= 64 && delta <= target / 32
}

#[cfg(test)]
mod tests;
