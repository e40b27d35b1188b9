//! The packs of a store and its alternates, with the objects as the packs hold them: compressed, and often
//! as deltas.

pub(crate) mod delta_chains;
pub(crate) mod loose_objects;
pub(crate) mod odb;
mod open_files;
pub(crate) mod pack_location;
pub(crate) mod pack_scan;
pub(crate) mod rev_index;
pub(crate) mod self_contained;
mod stored_pack;
pub(crate) mod tree_graph;

use std::{
    cell::RefCell,
    fs, io, mem,
    ops::Range,
    path::{Path, PathBuf},
};

use gix::{hash::Kind as HashKind, oid};
use gix_pack::data;

use self::{
    open_files::OpenFiles,
    pack_location::{PackLocation, StoredEncoding},
    pack_scan::PackScan,
    rev_index::RevIndex,
    stored_pack::StoredPack,
};
use crate::{Error, SyncContext, files::if_exists, pack::entry_header::MAX_HEADER};

/// The packs of a store and of its alternates.
pub(crate) struct StoredPacks {
    packs: Vec<StoredPack>,
    open: RefCell<OpenFiles>,
}

/// Bytes of an entry that are read at a time.
const CHUNK: u64 = 64 * 1024;

/// The bytes of an entry that are left to copy.
pub(crate) struct EntryBytes {
    pack: u32,
    /// Bytes that were read already.
    ahead: Vec<u8>,
    bytes: Range<data::Offset>,
}

impl StoredPacks {
    /// Opens the packs in these `objects` folders. One that can't be opened is passed over: its
    /// objects may be elsewhere, too.
    pub(crate) fn at(folders: &[PathBuf], hash: HashKind) -> Result<Self, Error> {
        let mut packs = Vec::new();
        let mut open = OpenFiles::default();
        for folder in folders {
            let folder = folder.join("pack");
            let unread = |err| Error::io(format!("reading {}", folder.display()), err);
            for path in indices(&folder).map_err(unread)? {
                match StoredPack::open(&path, hash) {
                    Ok((pack, file)) => {
                        open.add(packs.len() as u32, file)
                            .map_err(|err| Error::io("reading a pack", err))?;
                        packs.push(pack);
                    }
                    Err(err) => {
                        tracing::warn!(path = %path.display(), %err, "a pack can't be opened");
                    }
                }
            }
        }
        Ok(StoredPacks {
            packs,
            open: open.into(),
        })
    }

    /// The number of objects of the largest pack.
    pub(crate) fn most_objects(&self) -> usize {
        let largest = self.largest();
        largest.map_or(0, |pack| pack.index.num_objects() as usize)
    }

    fn largest(&self) -> Option<&StoredPack> {
        let packs = self.packs.iter();
        packs.max_by_key(|pack| pack.index.num_objects())
    }

    /// The reverse index and the `.bitmap` file of the pack with the most objects. `None` if the pack has no
    /// bitmaps, or does not match its index.
    pub(crate) fn largest_with_bitmap(&self) -> Option<(RevIndex<'_>, Vec<u8>)> {
        let pack = self.largest()?;
        let bitmaps = pack.bitmaps().ok()?;
        let is_sound = pack.ends_as_indexed().ok()? && pack.rev_index().is_sorted();
        is_sound.then(|| (pack.rev_index(), bitmaps))
    }

    /// Reads all entries of the pack with the most objects. `None` if the pack can't be read to its end.
    pub(crate) fn scan_largest(
        &self,
        context: &SyncContext,
    ) -> Result<Option<PackScan<'_>>, Error> {
        let Some(pack) = self.largest() else {
            return Ok(None);
        };
        if pack.scanned.get().is_some() {
            return Ok(self.scanned());
        }
        let scanned = pack.scan(context);
        context.check()?;
        let Ok(scanned) = scanned else {
            return Ok(None);
        };
        pack.scanned.get_or_init(|| scanned);
        Ok(self.scanned())
    }

    /// The result of [`scan_largest`](Self::scan_largest), if it was called.
    pub(crate) fn scanned(&self) -> Option<PackScan<'_>> {
        let mut packs = (0..).zip(&self.packs);
        packs.find_map(|(number, pack)| {
            let scanned = pack.scanned.get()?;
            Some(PackScan {
                path: &pack.path,
                pack: number,
                rev_index: pack.rev_index(),
                entries: &scanned.entries,
                offsets: &scanned.offsets,
            })
        })
    }

    pub(crate) fn count(&self) -> usize {
        self.packs.len()
    }

    /// Every copy of an object.
    pub(crate) fn find<'a>(&'a self, id: &'a oid) -> impl Iterator<Item = PackLocation> + 'a {
        self.packs
            .iter()
            .zip(0..)
            .filter_map(move |(pack, number)| {
                let index_pos = pack.index.lookup(id)?;
                Some(PackLocation {
                    pack: number,
                    offset: pack.index.pack_offset_at_index(index_pos),
                    index_pos,
                })
            })
    }

    /// The encoding of a copy. `None` if its bytes don't match the checksum of the index.
    pub(crate) fn inspect(&self, location: PackLocation) -> Option<StoredEncoding> {
        let pack = &self.packs[location.pack as usize];
        if let Some(encoding) = pack.scanned_encoding(location.index_pos) {
            return encoding;
        }
        let (entry, mut rest) = self.open_entry(location)?;
        // The first version of the index format has no checksums.
        if let Some(known) = pack.index.crc32_at_index(location.index_pos) {
            let mut crc = crc32fast::Hasher::new();
            let mut buffer = mem::take(&mut rest.ahead);
            crc.update(&buffer);
            while !rest.bytes.is_empty() {
                buffer.clear();
                self.copy(&mut rest, &mut buffer).ok()?;
                crc.update(&buffer);
            }
            if crc.finalize() != known {
                return None;
            }
        }
        pack.encoding(&entry)
    }

    /// The inflated size of an entry, that of the delta if it is one, and the deflated bytes.
    pub(crate) fn open(&self, location: PackLocation) -> Option<(u64, EntryBytes)> {
        let (entry, mut rest) = self.open_entry(location)?;
        rest.ahead.drain(..entry.header_size());
        Some((entry.decompressed_size, rest))
    }

    /// The parsed header of an entry, and its bytes with the header.
    fn open_entry(&self, location: PackLocation) -> Option<(data::Entry, EntryBytes)> {
        let pack = &self.packs[location.pack as usize];
        let bytes = location.offset..pack.end_of(location)?;
        let mut rest = EntryBytes {
            pack: location.pack,
            ahead: Vec::new(),
            bytes,
        };
        // Padded, so that the parser can't run out of bytes; a cut off header is noticed below.
        let most = CHUNK.min(rest.bytes.end.saturating_sub(rest.bytes.start)) as usize;
        let mut ahead = Vec::with_capacity(most + MAX_HEADER);
        self.copy(&mut rest, &mut ahead).ok()?;
        let size = ahead.len();
        ahead.resize(size + MAX_HEADER, 0);
        let entry =
            data::Entry::from_bytes(&ahead, location.offset, pack.index.object_hash()).ok()?;
        ahead.truncate(size);
        rest.ahead = ahead;
        (entry.header_size() <= size).then_some((entry, rest))
    }

    /// Appends the next bytes to `to`; `false` once nothing is left.
    pub(crate) fn copy(&self, rest: &mut EntryBytes, to: &mut Vec<u8>) -> io::Result<bool> {
        if rest.ahead.is_empty() {
            let size = CHUNK.min(rest.bytes.end.saturating_sub(rest.bytes.start));
            let path = &self.packs[rest.pack as usize].path;
            let mut open = self.open.borrow_mut();
            open.read(rest.pack, path, rest.bytes.start, size as usize, to)?;
            rest.bytes.start += size;
        } else {
            to.append(&mut rest.ahead);
        }
        Ok(!rest.bytes.is_empty())
    }
}

/// The paths of the pack indices in a folder, sorted; none if the folder does not exist.
fn indices(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = if_exists(fs::read_dir(folder))?.into_iter().flatten();
    let paths = entries.map(|entry| Ok(entry?.path()));
    let mut paths = paths.collect::<io::Result<Vec<_>>>()?;
    paths.retain(|path| is_index(path));
    paths.sort();
    Ok(paths)
}

/// The paths of the pack indices in a folder, as far as it can be read.
pub(crate) fn readable_indices(folder: &Path) -> impl Iterator<Item = PathBuf> + use<> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .map(|entry| entry.path())
        .filter(|path| is_index(path))
}

fn is_index(path: &Path) -> bool {
    path.extension().is_some_and(|found| found == "idx")
}
