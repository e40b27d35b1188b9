//! The encoder of git's deltas (gitformat-pack, "Deltified representation"): copies from a base, and insertions
//! between them, make the target.
//!
//! An index over blocks of the base finds the block of the target at any offset. A match grows in both
//! directions, and the longest one wins.

use std::{cell::OnceCell, mem};

/// Bytes of a block of the index: the shortest match that the index finds.
const BLOCK: usize = 16;

/// Bytes from one block of the base to the next: every common run of `BLOCK + STRIDE` bytes is found.
/// Deltas come out 3 % smaller than with 16, and still more with 4, but that costs twice the time.
const STRIDE: usize = 8;

/// The shortest match outside of the index. With shorter ones, deltas are smaller only before they are
/// deflated.
const MIN_ALIGNED: usize = 12;

/// Limit of the blocks in a bucket. Repetitive content has the same block at very many offsets, and trying all of
/// them would take quadratic time.
const MAX_BUCKET: usize = 64;

/// A match of this length ends the search for a longer one.
const LONG_MATCH: usize = 4096;

/// Limit of a copy. The instruction has room for more, but version 2 of the pack doesn't allow it.
const MAX_COPY: usize = 0x10000;

const MAX_INSERT: usize = 0x7f;

/// The base of deltas, indexed when the first of them is made.
pub(crate) struct DeltaBase {
    pub(crate) content: Vec<u8>,
    index: OnceCell<Index>,
}

impl DeltaBase {
    pub(crate) fn new(content: Vec<u8>) -> Self {
        DeltaBase {
            content,
            index: OnceCell::new(),
        }
    }

    /// Memory of an indexed base of `size` bytes, about.
    pub(crate) fn memory(size: usize) -> usize {
        size + size / STRIDE * size_of::<Block>() + bucket_count(size) * size_of::<u32>()
    }

    /// The delta that makes `target` of this base. `None` if it would take more than `max_size` bytes, and for an
    /// empty target: git takes so short a delta for a broken one.
    pub(crate) fn encode(&self, target: &[u8], max_size: usize) -> Option<Vec<u8>> {
        if target.is_empty() {
            return None;
        }
        let index = self.index.get_or_init(|| Index::new(&self.content));
        let base = reachable(&self.content);
        let mut delta = Vec::new();
        push_size(&mut delta, self.content.len());
        push_size(&mut delta, target.len());
        let mut at = 0;
        // The delta makes the target up to `told`; its last copy ends at `copied` in the base.
        let mut told = 0;
        let mut copied = 0;
        while let Some(block) = target[at..].first_chunk() {
            // The next match may reach back over up to `STRIDE` of the bytes to be inserted.
            if delta.len() + (at - told).saturating_sub(STRIDE) > max_size {
                return None;
            }
            let matches = index
                .candidates(block)
                .filter_map(|offset| Match::around(base, offset, target, at, told))
                .chain(Match::aligned(base, copied + (at - told), target, at));
            let Some(found) = longest(matches) else {
                at += 1;
                continue;
            };
            push_insert(&mut delta, &target[told..found.target]);
            push_copy(&mut delta, found.offset, found.length);
            at = found.target + found.length;
            told = at;
            copied = found.offset + found.length;
        }
        push_insert(&mut delta, &target[told..]);
        (delta.len() <= max_size).then_some(delta)
    }
}

/// A run of bytes that base and target share.
struct Match {
    offset: usize,
    target: usize,
    length: usize,
}

impl Match {
    /// The longest match around the block at `offset` of the base and `at` of the target. It reaches back at most
    /// to `told`.
    fn around(base: &[u8], offset: usize, target: &[u8], at: usize, told: usize) -> Option<Self> {
        let forward = common_prefix(&base[offset..], &target[at..]);
        if forward < BLOCK {
            return None;
        }
        let backward = common_suffix(&base[..offset], &target[told..at]);
        Some(Match {
            offset: offset - backward,
            target: at - backward,
            length: forward + backward,
        })
    }

    /// The match at the offset where the base goes on if bytes were replaced by as many others. Numbers and ids
    /// are, and the run between two of them is often too short for the index.
    fn aligned(base: &[u8], offset: usize, target: &[u8], at: usize) -> Option<Self> {
        let length = common_prefix(base.get(offset..)?, &target[at..]);
        (length >= MIN_ALIGNED).then_some(Match {
            offset,
            target: at,
            length,
        })
    }
}

fn longest(matches: impl Iterator<Item = Match>) -> Option<Match> {
    let mut longest: Option<Match> = None;
    for found in matches {
        let is_long = found.length >= LONG_MATCH;
        if longest
            .as_ref()
            .is_none_or(|best| found.length > best.length)
        {
            longest = Some(found);
        }
        if is_long {
            break;
        }
    }
    longest
}

fn common_prefix(a: &[u8], b: &[u8]) -> usize {
    let words = a
        .chunks_exact(8)
        .zip(b.chunks_exact(8))
        .take_while(|(a, b)| a == b)
        .count();
    let rest = a[words * 8..].iter().zip(&b[words * 8..]);
    words * 8 + rest.take_while(|(a, b)| a == b).count()
}

fn common_suffix(a: &[u8], b: &[u8]) -> usize {
    let pairs = a.iter().rev().zip(b.iter().rev());
    pairs.take_while(|(a, b)| a == b).count()
}

/// The offsets of the blocks of a base, by hash: all in one array, bucket after bucket.
struct Index {
    /// The start of each bucket, and the end of the last one.
    starts: Vec<u32>,
    blocks: Vec<Block>,
}

#[derive(Clone, Copy, Default)]
struct Block {
    hash: u32,
    offset: u32,
}

impl Index {
    fn new(base: &[u8]) -> Self {
        let mut index = Index {
            starts: vec![0; bucket_count(base.len()) + 1],
            blocks: Vec::new(),
        };
        for block in blocks(base) {
            let bucket = index.bucket(block.hash);
            index.starts[bucket] += 1;
        }
        let mut end = 0;
        for start in &mut index.starts {
            end += mem::replace(start, end);
        }
        index.blocks = vec![Block::default(); end as usize];
        for block in blocks(base) {
            let bucket = index.bucket(block.hash);
            let next = &mut index.starts[bucket];
            index.blocks[*next as usize] = block;
            *next += 1;
        }
        // Each start has moved to the end of its bucket, which is the start of the next one.
        index.starts.rotate_right(1);
        index.starts[0] = 0;
        index.thin();
        index
    }

    /// Thins each bucket to [`MAX_BUCKET`] blocks, taken evenly from the whole base.
    fn thin(&mut self) {
        let mut sizes = self.starts.windows(2).map(|pair| pair[1] - pair[0]);
        if sizes.all(|size| size as usize <= MAX_BUCKET) {
            return;
        }
        let mut end = 0;
        let mut kept = 0;
        for bucket in 0..self.starts.len() - 1 {
            let start = end;
            end = self.starts[bucket + 1] as usize;
            self.starts[bucket] = kept as u32;
            let count = end - start;
            let keep = count.min(MAX_BUCKET);
            for nth in 0..keep {
                self.blocks[kept + nth] = self.blocks[start + nth * count / keep];
            }
            kept += keep;
        }
        if let Some(last) = self.starts.last_mut() {
            *last = kept as u32;
        }
        self.blocks.truncate(kept);
    }

    fn bucket(&self, hash: u32) -> usize {
        let bits = (self.starts.len() - 1).ilog2();
        (hash >> (u32::BITS - bits)) as usize
    }

    /// Offsets in the base at which this block may be.
    fn candidates(&self, block: &[u8; BLOCK]) -> impl Iterator<Item = usize> {
        let hash = hash(block);
        let bucket = self.bucket(hash);
        let range = self.starts[bucket] as usize..self.starts[bucket + 1] as usize;
        let same_hash = self.blocks[range].iter().filter(move |b| b.hash == hash);
        same_hash.map(|block| block.offset as usize)
    }
}

/// The part of a base that copies can reach: the format has 32 bits for the offset.
fn reachable(base: &[u8]) -> &[u8] {
    &base[..base.len().min(u32::MAX as usize)]
}

/// The blocks of a base; of equal neighbours only the first.
fn blocks(base: &[u8]) -> impl Iterator<Item = Block> {
    let mut previous = None;
    let offsets = (0..).step_by(STRIDE);
    let blocks = reachable(base).windows(BLOCK).step_by(STRIDE).zip(offsets);
    blocks.filter_map(move |(block, offset)| {
        let hash = hash(block.first_chunk()?);
        let is_new = previous.replace(hash) != Some(hash);
        is_new.then_some(Block { hash, offset })
    })
}

/// Number of buckets: at least one for each block, so that most lookups of absent blocks end at an empty one.
fn bucket_count(base_size: usize) -> usize {
    (base_size / STRIDE).next_power_of_two().max(2)
}

fn hash(block: &[u8; BLOCK]) -> u32 {
    let bits = u128::from_le_bytes(*block);
    let low = bits as u64 ^ 0x9e37_79b9_7f4a_7c15;
    let high = (bits >> 64) as u64 ^ 0xd1b5_4a32_d192_ed03;
    let product = u128::from(low) * u128::from(high);
    let folded = product as u64 ^ (product >> 64) as u64;
    (folded >> 32) as u32
}

fn push_size(delta: &mut Vec<u8>, mut size: usize) {
    while size > 0x7f {
        delta.push(size as u8 | 0x80);
        size >>= 7;
    }
    delta.push(size as u8);
}

fn push_insert(delta: &mut Vec<u8>, bytes: &[u8]) {
    for bytes in bytes.chunks(MAX_INSERT) {
        delta.push(bytes.len() as u8);
        delta.extend_from_slice(bytes);
    }
}

fn push_copy(delta: &mut Vec<u8>, mut offset: usize, mut length: usize) {
    while length > 0 {
        let size = length.min(MAX_COPY);
        let instruction = delta.len();
        delta.push(0x80);
        // A size of 0x10000 is encoded as no byte at all.
        let [s0, s1, ..] = (size as u32).to_le_bytes();
        let [o0, o1, o2, o3] = (offset as u32).to_le_bytes();
        for (bit, byte) in [o0, o1, o2, o3, s0, s1].into_iter().enumerate() {
            if byte != 0 {
                delta[instruction] |= 1 << bit;
                delta.push(byte);
            }
        }
        offset += size;
        length -= size;
    }
}

#[cfg(test)]
mod tests;
