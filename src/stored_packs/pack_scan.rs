//! A pass over all entries of a pack, in the order in which they lie on disk.
//!
//! If most entries are needed, that is several times as fast as reading them one by one.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, Read, Seek, SeekFrom},
    ops::Range,
    path::Path,
};

use gix::{hash::Kind as HashKind, objs::Kind};
use gix_pack::data;

use super::{pack_location::PackLocation, rev_index::RevIndex};
use crate::{
    SyncContext,
    buffered::read_buffered,
    pack::delta_tree::NO_BASE,
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

/// An entry as the index describes it.
pub(crate) struct IndexedEntry {
    pub(crate) offset: data::Offset,
    /// The CRC-32 of the entry. `None` in version 1 of the index format, which has none.
    pub(crate) checksum: Option<u32>,
}

/// Reads `entries`, which lie in a pack one behind the other and up to `end`.
pub(crate) fn scan_entries(
    pack: &Path,
    entries: &[IndexedEntry],
    end: data::Offset,
    hash: HashKind,
    context: &SyncContext,
) -> io::Result<Vec<ScannedEntry>> {
    let threads = cores().min(entries.len().div_ceil(ENTRIES_PER_THREAD));
    let shares = shares(entries, end, threads.max(1));
    let scanned = run_workers(shares, |share| {
        scan_share(pack, entries, share, end, hash, context)
    })?;
    Ok(scanned.concat())
}

fn scan_share(
    pack: &Path,
    entries: &[IndexedEntry],
    share: Range<usize>,
    end: data::Offset,
    hash: HashKind,
    context: &SyncContext,
) -> io::Result<Vec<ScannedEntry>> {
    let Some(first) = entries.get(share.start).filter(|_| !share.is_empty()) else {
        return Ok(Vec::new());
    };
    let mut file = File::open(pack)?;
    file.seek(SeekFrom::Start(first.offset))?;
    let mut reader = ChecksummedReader {
        inner: BufReader::with_capacity(CHUNK, file),
        checksum: crc32fast::Hasher::new(),
    };
    let mut scanned = Vec::with_capacity(share.len());
    for at in share {
        context.check().map_err(io::Error::other)?;
        let end = entries.get(at + 1).map_or(end, |next| next.offset);
        scanned.push(scan_entry(&mut reader, entries, at, end, hash)?);
    }
    Ok(scanned)
}

/// The entries of each thread: about the same number of bytes.
fn shares(entries: &[IndexedEntry], end: data::Offset, threads: usize) -> Vec<Range<usize>> {
    let first = entries.first().map_or(end, |entry| entry.offset);
    let bytes = end.saturating_sub(first) / threads as u64;
    // Every entry has a share, also where a damaged reverse index has the offsets in no order.
    let start_of = |share: usize| match share {
        0 => 0,
        _ if share == threads => entries.len(),
        _ => {
            let start = first + bytes * share as u64;
            entries.partition_point(|entry| entry.offset < start)
        }
    };
    (0..threads)
        .map(|share| start_of(share)..start_of(share + 1))
        .collect()
}

fn scan_entry(
    reader: &mut ChecksummedReader<impl BufRead>,
    entries: &[IndexedEntry],
    at: usize,
    end: data::Offset,
    hash: HashKind,
) -> io::Result<ScannedEntry> {
    let IndexedEntry { offset, checksum } = entries[at];
    reader.checksum = crc32fast::Hasher::new();
    let entry = data::Entry::from_read(reader, offset, hash.len_in_bytes())?;
    let rest = end.checked_sub(entry.data_offset);
    let rest = rest.ok_or(io::ErrorKind::InvalidData)?;
    io::copy(&mut reader.by_ref().take(rest), &mut io::sink())?;
    if checksum.is_some_and(|known| known != reader.checksum.clone().finalize()) {
        return Ok(ScannedEntry::Damaged);
    }
    Ok(match entry.header {
        data::entry::Header::RefDelta { .. } => ScannedEntry::DeltaById,
        data::entry::Header::OfsDelta { base_distance } => {
            let base = entry.checked_base_pack_offset(base_distance);
            let find = |base| {
                entries
                    .binary_search_by_key(&base, |entry| entry.offset)
                    .ok()
            };
            base.and_then(find)
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

/// Counts the bytes that are read into a checksum.
struct ChecksummedReader<R> {
    inner: R,
    checksum: crc32fast::Hasher,
}

impl<R: BufRead> BufRead for ChecksummedReader<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.inner.fill_buf()
    }

    fn consume(&mut self, amount: usize) {
        if let Ok(ready) = self.inner.fill_buf() {
            self.checksum.update(&ready[..amount]);
        }
        self.inner.consume(amount);
    }
}

impl<R: BufRead> Read for ChecksummedReader<R> {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        read_buffered(self, to)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_entry_is_looked_at_once_and_the_bytes_are_shared() {
        let entries = |offsets: &[u64]| -> Vec<IndexedEntry> {
            let entry = |offset: &u64| IndexedEntry {
                offset: *offset,
                checksum: None,
            };
            offsets.iter().map(entry).collect()
        };
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
            let found = shares(&entries(offsets), end, threads).into_iter();
            let found: Vec<_> = found.map(|share| (share.start, share.end)).collect();
            assert_eq!(found, expected, "{offsets:?} by {threads}");
        }
    }
}
