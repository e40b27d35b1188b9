//! The search for deltas between the objects of a pack.
//!
//! Objects are sorted so that similar ones are likely to be neighbours, and each is compared with a few before
//! it. An object is never a delta of a later one, so there are no cycles.

mod worker;

use std::{
    cmp::Reverse,
    sync::atomic::{AtomicBool, AtomicUsize},
};

use gix::{ObjectId, objs::Kind, oid};

use self::worker::{Shared, Worker};
use crate::{
    Error, SyncContext,
    pack::delta_encode::DeltaBase,
    scoped_workers::{cores, run_workers},
};

/// An object that may become a delta or the base of one.
#[derive(Debug, Clone)]
pub(crate) struct Candidate {
    pub id: ObjectId,
    pub kind: Kind,
    /// The [hash](crate::pack::name_hash::name_hash) of the path, which groups the versions of one file.
    pub name_hash: u32,
    pub size: u64,
    pub role: Role,
}

/// The role of a candidate.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Role {
    /// An object that is sent: it may become a delta, or a base.
    Sent {
        /// The number of the pack that holds the object whole. Two objects of one pack were compared when the pack
        /// was written.
        whole_in: Option<u32>,
        /// The height of the chains of reused deltas on top of this object.
        height: u32,
    },
    /// An object that the receiver has: it may be a base and is not sent.
    BaseOnly,
}

impl Candidate {
    fn is_base_only(&self) -> bool {
        matches!(self.role, Role::BaseOnly)
    }
}

/// A delta to send in place of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Delta {
    /// The index of its base among the candidates.
    pub base: usize,
    /// The inflated size of the delta.
    pub size: u64,
    /// The deflated delta. `None` if it would have gone over [`SearchLimits::delta_memory`]:
    /// [`DeltaBase::encode()`] makes the same delta once more.
    pub data: Option<Vec<u8>>,
}

/// The extent of a search.
#[derive(Debug, Clone)]
pub(crate) struct SearchLimits {
    /// Number of others that an object is compared with.
    pub window: usize,
    /// Limit of the deltas in a chain.
    pub depth: u32,
    /// Larger objects are sent whole.
    pub big_file: u64,
    pub threads: usize,
    /// Bytes of content that a thread claims at a time. The deltas are the same for any number of threads, as
    /// long as the memory suffices.
    pub chunk: u64,
    /// Bytes for the objects being compared, in all threads together.
    pub window_memory: usize,
    /// Bytes for the deltas that are found.
    pub delta_memory: usize,
}

impl Default for SearchLimits {
    fn default() -> Self {
        SearchLimits {
            window: 10,
            depth: 50,
            big_file: 512 << 20,
            threads: cores(),
            chunk: 4 << 20,
            window_memory: 256 << 20,
            delta_memory: 256 << 20,
        }
    }
}

/// The smallest object that is worth a delta.
const MIN_SIZE: u64 = 50;

/// The delta to send for each candidate, if one pays off.
///
/// Each thread opens a reader of its own, which puts the content of an object into the buffer. `open` is given the
/// number of threads, which share the memory for reading.
pub(crate) fn search<R>(
    candidates: &[Candidate],
    open: impl Fn(usize) -> R + Sync,
    limits: &SearchLimits,
    context: &SyncContext,
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
        context,
        window_memory: limits.window_memory / threads.max(1),
        delta_memory: AtomicUsize::new(limits.delta_memory),
        next_chunk: AtomicUsize::new(0),
        has_failed: AtomicBool::new(false),
    };
    let work = |_| Worker::new(&shared, open(threads)).work(&chunks);
    let found = run_workers(0..threads, work)?;
    let mut deltas = vec![None; candidates.len()];
    for (target, delta) in found.into_iter().flatten() {
        deltas[target] = Some(delta);
    }
    Ok(deltas)
}

/// The candidates in the order of the search, versions of one file beside each other. The largest version comes
/// first: it is usually the newest, and to leave bytes out is cheaper than to add them.
fn order(candidates: &[Candidate], limits: &SearchLimits) -> Vec<usize> {
    let mut order: Vec<_> = (0..candidates.len())
        .filter(|index| (MIN_SIZE..=limits.big_file).contains(&candidates[*index].size))
        .collect();
    order.sort_unstable_by_key(|index| {
        let candidate = &candidates[*index];
        (
            candidate.kind,
            Reverse(candidate.name_hash),
            !candidate.is_base_only(),
            Reverse(candidate.size),
            *index,
        )
    });
    order
}

/// The candidates in chunks of about `size` bytes. Versions of one file stay together; objects without a name are
/// no versions of each other.
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

/// The number of threads: few enough that each has memory to compare the two largest objects. Objects that are
/// too large even for one thread don't count.
fn threads(order: &[usize], candidates: &[Candidate], limits: &SearchLimits) -> usize {
    let largest_pair = order
        .iter()
        .map(|index| 2 * DeltaBase::memory(candidates[*index].size as usize))
        .filter(|pair| *pair <= limits.window_memory)
        .max();
    let room = largest_pair.map_or(1, |pair| limits.window_memory / pair);
    limits.threads.min(room).max(1)
}

/// Limit of a delta's size to pay off, or to be better than the `best` one of this size and depth. `None` if no
/// delta can be.
///
/// Longer chains have to save more: every object on top of them gets slower to read.
fn max_size(
    source: &Candidate,
    source_depth: u32,
    target: &Candidate,
    best: Option<(u64, u32)>,
    max_depth: u32,
) -> Option<u64> {
    let Role::Sent { whole_in, height } = target.role else {
        return None;
    };
    let were_compared =
        matches!(source.role, Role::Sent { whole_in: Some(pack), .. } if whole_in == Some(pack));
    if source.kind != target.kind || were_compared {
        return None;
    }
    let max_depth = max_depth.saturating_sub(height);
    if source_depth >= max_depth || target.size < source.size / 32 {
        return None;
    }
    let id_size = target.id.as_slice().len() as u64;
    let (size, depth) = best.unwrap_or(((target.size / 2).saturating_sub(id_size), 1));
    let max_size = size * u64::from(max_depth - source_depth) / u64::from(max_depth - depth + 1);
    let added = target.size.saturating_sub(source.size);
    (added < max_size).then_some(max_size)
}

/// Whether a delta is so small that the search for a smaller one ends: about the size of one changed entry of a
/// tree.
fn is_good_enough(delta: u64, target: u64) -> bool {
    delta <= 64 && delta <= target / 32
}

#[cfg(test)]
mod tests;
