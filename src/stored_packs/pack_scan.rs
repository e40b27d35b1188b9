//! A pass over all entries of a pack, in the order in which they lie on disk.
//!
//! If most entries are needed, that is several times as fast as reading them one by one.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, Read, Seek, SeekFrom},
    ops::Range,
    path::Path,
};

use gix::objs::Kind;
use gix_pack::data;

use super::{pack_location::PackLocation, rev_index::RevIndex};
use crate::{
    SyncContext,
    buffered::each_piece,
    pack::{delta_tree::NO_BASE, entry_header::MAX_HEADER},
    scoped_workers::{cores, run_workers},
};

/// Bytes that are read at a time.
const CHUNK: usize = 256 * 1024;

/// Entries that are worth a thread of their own.
const ENTRIES_PER_THREAD: usize = 16 * 1024;

/// An entry as the pass found it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum ScannedEntry {
    /// An object of this size.
    Whole(Kind, u64),
    /// A delta of the entry at this pack position, which is before its own.
    Delta(u32),
    /// A delta that names its base by id. The pass doesn't look the base up.
    DeltaById,
    /// Bytes that don't match the index.
    Damaged,
}

/// The result of a pass over a pack, by pack position.
pub(crate) struct PackScan<'a> {
    pub(crate) path: &'a Path,
    /// The number of the pack in its [`StoredPacks`](super::StoredPacks).
    pub(crate) pack: u32,
    pub(crate) rev_index: RevIndex<'a>,
    pub(crate) entries: &'a [ScannedEntry],
    pub(crate) offsets: &'a [data::Offset],
}

impl PackScan<'_> {
    pub(crate) fn is_whole(&self, pack_pos: u32) -> bool {
        matches!(self.entries[pack_pos as usize], ScannedEntry::Whole(..))
    }

    pub(crate) fn location(&self, pack_pos: u32) -> PackLocation {
        PackLocation {
            pack: self.pack,
            offset: self.offsets[pack_pos as usize],
            index_pos: self.rev_index.by_offset[pack_pos as usize],
        }
    }

    /// The bytes of an entry, header included.
    pub(crate) fn range(&self, pack_pos: u32) -> Range<data::Offset> {
        let end = self.offsets.get(pack_pos as usize + 1);
        self.offsets[pack_pos as usize]..end.copied().unwrap_or(self.rev_index.end)
    }
}

/// Reads the entries of a pack. `offsets` are those of the entries, by pack position.
pub(crate) fn scan_entries(
    pack: &Path,
    rev_index: RevIndex<'_>,
    offsets: &[data::Offset],
    context: &SyncContext,
) -> io::Result<Vec<ScannedEntry>> {
    let threads = cores().min(offsets.len().div_ceil(ENTRIES_PER_THREAD));
    let shares = shares(offsets, rev_index.end, threads.max(1));
    let scanned = run_workers(shares, |share| {
        scan_share(pack, rev_index, offsets, share, context)
    })?;
    Ok(scanned.concat())
}

fn scan_share(
    pack: &Path,
    rev_index: RevIndex<'_>,
    offsets: &[data::Offset],
    share: Range<usize>,
    context: &SyncContext,
) -> io::Result<Vec<ScannedEntry>> {
    let Some(first) = offsets.get(share.start).filter(|_| !share.is_empty()) else {
        return Ok(Vec::new());
    };
    let mut file = File::open(pack)?;
    file.seek(SeekFrom::Start(*first))?;
    let mut reader = BufReader::with_capacity(CHUNK, file);
    let mut scanned = Vec::with_capacity(share.len());
    for at in share {
        context.check().map_err(io::Error::other)?;
        scanned.push(scan_entry(&mut reader, rev_index, offsets, at)?);
    }
    Ok(scanned)
}

/// The entries of each thread: about the same number of bytes.
fn shares(offsets: &[data::Offset], end: data::Offset, threads: usize) -> Vec<Range<usize>> {
    let first = offsets.first().copied().unwrap_or(end);
    let bytes = end.saturating_sub(first) / threads as u64;
    // Every entry has a share, also where a damaged reverse index has the offsets in no order.
    let start_of = |share: usize| match share {
        0 => 0,
        _ if share == threads => offsets.len(),
        _ => {
            let start = first + bytes * share as u64;
            offsets.partition_point(|offset| *offset < start)
        }
    };
    (0..threads)
        .map(|share| start_of(share)..start_of(share + 1))
        .collect()
}

/// Reads the entry at the position of `reader`, up to the next one.
fn scan_entry(
    reader: &mut impl BufRead,
    rev_index: RevIndex<'_>,
    offsets: &[data::Offset],
    at: usize,
) -> io::Result<ScannedEntry> {
    let RevIndex { index, end, .. } = rev_index;
    let end = offsets.get(at + 1).copied().unwrap_or(end);
    let size = end.checked_sub(offsets[at]);
    let size = size.ok_or(io::ErrorKind::InvalidData)?;
    // Padded, so that the parser can't run out of bytes: a header that is cut off seems to go on beyond the entry.
    let mut header = [0; MAX_HEADER];
    let known = &mut header[..size.min(MAX_HEADER as u64) as usize];
    reader.read_exact(known)?;
    let rest = size - known.len() as u64;
    let mut checksum = crc32fast::Hasher::new();
    checksum.update(known);
    each_piece(reader.by_ref().take(rest), |piece| {
        checksum.update(piece);
        Ok(())
    })?;
    let entry = data::Entry::from_bytes(&header, offsets[at], index.object_hash());
    let entry = entry.map_err(io::Error::other)?;
    if entry.data_offset > end {
        return Err(io::ErrorKind::InvalidData.into());
    }
    // The first version of the index format has no checksums.
    let expected = index.crc32_at_index(rev_index.by_offset[at]);
    if expected.is_some_and(|expected| expected != checksum.finalize()) {
        return Ok(ScannedEntry::Damaged);
    }
    Ok(match entry.header {
        data::entry::Header::RefDelta { .. } => ScannedEntry::DeltaById,
        data::entry::Header::OfsDelta { base_distance } => {
            let base = entry.checked_base_pack_offset(base_distance);
            base.and_then(|base| offsets.binary_search(&base).ok())
                .filter(|base| *base < at)
                .map_or(ScannedEntry::Damaged, |base| {
                    ScannedEntry::Delta(base as u32)
                })
        }
        whole => whole.as_kind().map_or(ScannedEntry::Damaged, |kind| {
            ScannedEntry::Whole(kind, entry.decompressed_size)
        }),
    })
}

/// The base of each entry, and its kind where headers tell.
pub(crate) fn bases_and_kinds(entries: &[ScannedEntry]) -> (Vec<u32>, Vec<Option<Kind>>) {
    let mut kinds: Vec<Option<Kind>> = Vec::with_capacity(entries.len());
    let bases = entries.iter().map(|entry| {
        let (base, kind) = match *entry {
            ScannedEntry::Whole(kind, _) => (NO_BASE, Some(kind)),
            ScannedEntry::Delta(base) => (base, kinds[base as usize]),
            ScannedEntry::DeltaById | ScannedEntry::Damaged => (NO_BASE, None),
        };
        kinds.push(kind);
        base
    });
    (bases.collect(), kinds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_entry_is_looked_at_once_and_the_bytes_are_shared() {
        let table = [
            (&[][..], 12, 2, &[(0, 0), (0, 0)][..]),
            (&[12], 100, 1, &[(0, 1)]),
            (&[12], 100, 3, &[(0, 1), (1, 1), (1, 1)]),
            (&[12, 22, 32, 42], 52, 2, &[(0, 2), (2, 4)]),
            (&[12, 22, 32, 42], 1000, 2, &[(0, 4), (4, 4)]),
            (&[12, 500, 600, 700], 800, 2, &[(0, 1), (1, 4)]),
            (&[12, 22, 32, 42, 52, 62], 72, 3, &[(0, 2), (2, 4), (4, 6)]),
            // A damaged index or reverse index.
            (&[12, 500], 100, 2, &[(0, 1), (1, 2)]),
            (&[42, 32, 22, 12], 52, 1, &[(0, 4)]),
            (&[42, 32, 22, 12], 52, 2, &[(0, 4), (4, 4)]),
        ];
        for (offsets, end, threads, expected) in table {
            let found = shares(offsets, end, threads).into_iter();
            let found: Vec<_> = found.map(|share| (share.start, share.end)).collect();
            assert_eq!(found, expected, "{offsets:?} by {threads}");
        }
    }
}
