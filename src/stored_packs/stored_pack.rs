//! One pack of a store, and its index.

use std::{
    cell::OnceCell,
    fs::{self, File},
    io::{self, Read as _, Seek as _},
    path::{Path, PathBuf},
};

use gix::{ObjectId, hash::Kind as HashKind};
use gix_pack::{data, index};

use super::{
    pack_location::{PackLocation, StoredEncoding},
    pack_scan::{ScannedEntry, scan_entries},
    rev_index::{self, RevIndex},
};
use crate::{
    SyncContext,
    pack::fan_out::{FanOut, prefix},
};

/// Limits of a `.bitmap` file, which is read as a whole. Git's own history takes 6 bytes for each object.
const MAX_BITMAPS: u64 = 64 * 1024;
const MAX_BITMAPS_PER_OBJECT: u64 = 128;

/// A pack and its index. The pack is read piece by piece: a mapped one would end up in memory as a whole.
pub(crate) struct StoredPack {
    pub(crate) index: index::File,
    pub(crate) path: PathBuf,
    /// The offset at which the last entry ends.
    pub(crate) end: data::Offset,
    /// The index position of each pack position.
    by_offset: OnceCell<Vec<index::EntryIndex>>,
    /// The pack position of each index position.
    pack_positions: OnceCell<Vec<u32>>,
    /// Present once the pack was [scanned](super::StoredPacks::scan_largest).
    pub(crate) scanned: OnceCell<ScannedPack>,
}

/// The entries and offsets of a pack, by pack position, and the places of ids in its index by prefix.
pub(crate) struct ScannedPack {
    pub(crate) entries: Vec<ScannedEntry>,
    pub(crate) offsets: Vec<data::Offset>,
    fan_out: FanOut,
}

impl StoredPack {
    /// Opens the pack of an index, and returns its file beside it: the caller limits the open files.
    pub(crate) fn open(
        index: &Path,
        hash: HashKind,
    ) -> Result<(Self, File), Box<dyn std::error::Error>> {
        let mut file = File::open(index.with_extension("pack"))?;
        let mut header = [0; 12];
        file.read_exact(&mut header)?;
        data::header::decode(&header)?;
        let end = file
            .metadata()?
            .len()
            .saturating_sub(hash.len_in_bytes() as u64);
        let pack = StoredPack {
            index: index::File::at(index, hash)?,
            path: index.with_extension("pack"),
            end,
            by_offset: OnceCell::new(),
            pack_positions: OnceCell::new(),
            scanned: OnceCell::new(),
        };
        Ok((pack, file))
    }

    /// The content of the `.bitmap` file.
    pub(crate) fn bitmaps(&self) -> io::Result<Vec<u8>> {
        let mut bitmaps = Vec::new();
        let limit = MAX_BITMAPS + MAX_BITMAPS_PER_OBJECT * u64::from(self.index.num_objects());
        // A larger file is cut off, and fails its checksum.
        let file = File::open(self.path.with_extension("bitmap"))?;
        file.take(limit).read_to_end(&mut bitmaps)?;
        Ok(bitmaps)
    }

    /// Whether the trailer of the pack is the checksum that the index names.
    pub(crate) fn ends_as_indexed(&self) -> io::Result<bool> {
        let mut end = Vec::new();
        let mut file = File::open(&self.path)?;
        file.seek(io::SeekFrom::Start(self.end))?;
        file.read_to_end(&mut end)?;
        Ok(end == self.index.pack_checksum().as_slice())
    }

    pub(crate) fn scan(&self, context: &SyncContext) -> io::Result<ScannedPack> {
        let rev_index = self.rev_index();
        let positions = 0..rev_index.len() as u32;
        let offsets: Vec<_> = positions
            .map(|pack_pos| rev_index.offset(pack_pos))
            .collect();
        let prefix_at = |entry| prefix(self.index.oid_at_index(entry));
        Ok(ScannedPack {
            entries: scan_entries(&self.path, rev_index, &offsets, context)?,
            offsets,
            fan_out: FanOut::of(self.index.num_objects(), prefix_at),
        })
    }

    /// The encoding of an entry if the pack was scanned; `Some(None)` for a damaged entry.
    pub(crate) fn scanned_encoding(
        &self,
        index_pos: index::EntryIndex,
    ) -> Option<Option<StoredEncoding>> {
        let scanned = self.scanned.get()?;
        let pack_pos = self.pack_positions()[index_pos as usize];
        Some(match scanned.entries[pack_pos as usize] {
            ScannedEntry::Whole(kind, size) => Some(StoredEncoding::Whole(kind, size)),
            ScannedEntry::Delta(base) => {
                let base = self.by_offset()[base as usize];
                Some(StoredEncoding::Delta(
                    self.index.oid_at_index(base).to_owned(),
                ))
            }
            ScannedEntry::DeltaById => return None,
            ScannedEntry::Damaged => None,
        })
    }

    pub(crate) fn encoding(&self, entry: &data::Entry) -> Option<StoredEncoding> {
        Some(match entry.header {
            data::entry::Header::OfsDelta { base_distance } => {
                let base = entry.checked_base_pack_offset(base_distance)?;
                StoredEncoding::Delta(self.id_at_offset(base)?)
            }
            data::entry::Header::RefDelta { base_id } => StoredEncoding::Delta(base_id),
            whole => StoredEncoding::Whole(whole.as_kind()?, entry.decompressed_size),
        })
    }

    pub(crate) fn by_offset(&self) -> &[index::EntryIndex] {
        self.by_offset.get_or_init(|| {
            let count = self.index.num_objects();
            let path = self.index.path().with_extension("rev");
            let known = fs::read(path)
                .ok()
                .and_then(|file| rev_index::parse(&file, count));
            known.unwrap_or_else(|| {
                let mut entries: Vec<_> = (0..count).collect();
                entries.sort_unstable_by_key(|entry| self.index.pack_offset_at_index(*entry));
                entries
            })
        })
    }

    pub(crate) fn pack_positions(&self) -> &[u32] {
        self.pack_positions.get_or_init(|| {
            let by_offset = self.by_offset();
            let mut positions = vec![0; by_offset.len()];
            for (pack_pos, index_pos) in by_offset.iter().enumerate() {
                positions[*index_pos as usize] = pack_pos as u32;
            }
            positions
        })
    }

    pub(crate) fn rev_index(&self) -> RevIndex<'_> {
        RevIndex {
            index: &self.index,
            fan_out: self.scanned.get().map(|scanned| &scanned.fan_out),
            by_offset: self.by_offset(),
            pack_positions: self.pack_positions(),
            end: self.end,
        }
    }

    pub(crate) fn id_at_offset(&self, offset: data::Offset) -> Option<ObjectId> {
        let entries = self.by_offset();
        let offset_of = |entry: &index::EntryIndex| self.index.pack_offset_at_index(*entry);
        let at = entries.binary_search_by_key(&offset, offset_of).ok()?;
        Some(self.index.oid_at_index(entries[at]).to_owned())
    }

    /// The offset at which an entry ends.
    pub(crate) fn end_of(&self, location: PackLocation) -> Option<data::Offset> {
        if let Some(scanned) = self.scanned.get() {
            let next = self.pack_positions()[location.index_pos as usize] as usize + 1;
            return Some(scanned.offsets.get(next).copied().unwrap_or(self.end));
        }
        let offset = location.offset;
        let entries = self.by_offset();
        let offset_of = |entry: index::EntryIndex| self.index.pack_offset_at_index(entry);
        let next = entries.partition_point(|entry| offset_of(*entry) <= offset);
        let end = entries.get(next).map_or(self.end, |next| offset_of(*next));
        (end <= self.end).then_some(end)
    }
}
