//! All entries of a pack at once, in the order in which they lie on disk.
//!
//! That is several times as fast as looking at them one by one, if most of them are asked for.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, Read, Seek, SeekFrom},
    ops::Range,
    path::Path,
    thread,
};

use gix::{hash::Kind as HashKind, objs::Kind};
use gix_pack::data;

use crate::{SyncContext, pack::resolve::NO_BASE};

/// How much is read at a time.
const CHUNK: usize = 256 * 1024;

/// Entries that are worth a thread of their own.
const ENTRIES_PER_THREAD: usize = 16 * 1024;

/// What an entry is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scanned {
    /// An object of this size.
    Whole(Kind, u64),
    /// A delta of the entry at this place in the pack.
    Delta(u32),
    /// A delta that names its base by id; to be looked at by itself.
    DeltaById,
    /// Its bytes are not those that the index was made from.
    Damaged,
}

/// An entry to look at.
pub(crate) struct Expected {
    pub(crate) offset: data::Offset,
    /// If the index knows it.
    pub(crate) checksum: Option<u32>,
}

/// Looks at `entries`, which lie in a pack one behind the other and up to `end`.
pub(crate) fn scan(
    pack: &Path,
    entries: &[Expected],
    end: data::Offset,
    hash: HashKind,
    run: &SyncContext,
) -> io::Result<Vec<Scanned>> {
    let threads = thread::available_parallelism().map_or(1, |cores| cores.get());
    let threads = threads.min(entries.len().div_ceil(ENTRIES_PER_THREAD));
    let part = |share: Range<usize>| -> io::Result<Vec<Scanned>> {
        let Some(first) = entries.get(share.start).filter(|_| !share.is_empty()) else {
            return Ok(Vec::new());
        };
        let mut file = File::open(pack)?;
        file.seek(SeekFrom::Start(first.offset))?;
        let mut reader = Summed {
            inner: BufReader::with_capacity(CHUNK, file),
            checksum: crc32fast::Hasher::new(),
        };
        let mut found = Vec::with_capacity(share.len());
        for at in share {
            run.check().map_err(io::Error::other)?;
            let end = entries.get(at + 1).map_or(end, |next| next.offset);
            found.push(look_at(&mut reader, entries, at, end, hash)?);
        }
        Ok(found)
    };
    thread::scope(|scope| {
        let part = &part;
        let mut shares = shares(entries, end, threads.max(1)).into_iter();
        let own = shares.next().unwrap_or_default();
        let helpers: Vec<_> = shares
            .map(|share| scope.spawn(move || part(share)))
            .collect();
        let mut all = part(own);
        for helper in helpers {
            let found = helper
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            all = all.and_then(|mut all| {
                all.append(&mut found?);
                Ok(all)
            });
        }
        all
    })
}

/// What each of so many threads looks at: about as many bytes.
fn shares(entries: &[Expected], end: data::Offset, threads: usize) -> Vec<Range<usize>> {
    let first = entries.first().map_or(end, |entry| entry.offset);
    let bytes = end.saturating_sub(first) / threads as u64;
    // All of them, whatever order they are in: a reverse index can lie.
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

fn look_at(
    reader: &mut Summed<impl BufRead>,
    entries: &[Expected],
    at: usize,
    end: data::Offset,
    hash: HashKind,
) -> io::Result<Scanned> {
    let Expected { offset, checksum } = entries[at];
    reader.checksum = crc32fast::Hasher::new();
    let entry = data::Entry::from_read(reader, offset, hash.len_in_bytes())?;
    let rest = end.checked_sub(entry.data_offset);
    let rest = rest.ok_or(io::ErrorKind::InvalidData)?;
    io::copy(&mut reader.by_ref().take(rest), &mut io::sink())?;
    if checksum.is_some_and(|known| known != reader.checksum.clone().finalize()) {
        return Ok(Scanned::Damaged);
    }
    Ok(match entry.header {
        data::entry::Header::RefDelta { .. } => Scanned::DeltaById,
        data::entry::Header::OfsDelta { base_distance } => {
            let base = entry.checked_base_pack_offset(base_distance);
            let find = |base| {
                entries
                    .binary_search_by_key(&base, |entry| entry.offset)
                    .ok()
            };
            base.and_then(find)
                .filter(|base| *base < at)
                .map_or(Scanned::Damaged, |base| Scanned::Delta(base as u32))
        }
        whole => whole.as_kind().map_or(Scanned::Damaged, |kind| {
            Scanned::Whole(kind, entry.decompressed_size)
        }),
    })
}

/// The base of each entry, and its kind where the entries say so.
pub(crate) fn bases_and_kinds(entries: &[Scanned]) -> (Vec<u32>, Vec<Option<Kind>>) {
    let mut kinds: Vec<Option<Kind>> = Vec::with_capacity(entries.len());
    let bases = entries.iter().map(|entry| {
        let (base, kind) = match *entry {
            Scanned::Whole(kind, _) => (NO_BASE, Some(kind)),
            Scanned::Delta(base) => (base, kinds[base as usize]),
            Scanned::DeltaById | Scanned::Damaged => (NO_BASE, None),
        };
        kinds.push(kind);
        base
    });
    (bases.collect(), kinds)
}

struct Summed<R> {
    inner: R,
    checksum: crc32fast::Hasher,
}

impl<R: BufRead> BufRead for Summed<R> {
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

impl<R: BufRead> Read for Summed<R> {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(to)?;
        self.checksum.update(&to[..read]);
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_entry_is_looked_at_once_and_the_bytes_are_shared() {
        let entries = |offsets: &[u64]| -> Vec<Expected> {
            let entry = |offset: &u64| Expected {
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
            // Of a damaged index, or a reverse index that lies.
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
