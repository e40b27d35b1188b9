//! Objects as they lie in a store's packs: compressed, and often as a delta already.

use std::{
    cell::OnceCell,
    fs, io,
    path::{Path, PathBuf},
};

use gix::{ObjectId, hash::Kind as HashKind, objs::Kind, oid};
use gix_pack::{data, index};

use crate::Error;

/// The packs of a store and of its alternates.
pub(super) struct StoredPacks {
    packs: Vec<StoredPack>,
}

struct StoredPack {
    index: index::File,
    data: data::File,
    /// The entries of the index in the order of the pack.
    by_offset: OnceCell<Vec<index::EntryIndex>>,
}

/// An object in one of the packs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    pub(super) pack: u32,
    pub(super) offset: data::Offset,
    entry: index::EntryIndex,
}

/// The form in which an object lies in a pack.
pub(super) enum Form {
    Whole(Kind),
    /// A delta of this object.
    Delta(ObjectId),
}

/// The bytes of an entry behind its header.
pub(super) struct Compressed<'a> {
    /// Of the object or of the delta, before compression.
    pub(super) size: u64,
    pub(super) data: &'a [u8],
}

impl StoredPacks {
    /// Opens the packs in these `objects` folders. One that can't be opened is passed over: its
    /// objects may be elsewhere, too.
    pub(super) fn open(folders: &[PathBuf], hash: HashKind) -> Result<Self, Error> {
        let mut packs = Vec::new();
        for folder in folders {
            for path in indices(&folder.join("pack"))? {
                let index = index::File::at(&path, hash);
                let data = data::File::at(path.with_extension("pack"), hash);
                match (index, data) {
                    (Ok(index), Ok(data)) => packs.push(StoredPack {
                        index,
                        data,
                        by_offset: OnceCell::new(),
                    }),
                    (Err(err), _) | (_, Err(err)) => {
                        tracing::warn!(path = %path.display(), %err, "a pack can't be opened");
                    }
                }
            }
        }
        Ok(StoredPacks { packs })
    }

    /// Every place that an object is at.
    pub(super) fn find<'a>(&'a self, id: &'a oid) -> impl Iterator<Item = Place> + 'a {
        self.packs
            .iter()
            .zip(0..)
            .filter_map(move |(pack, number)| {
                let entry = pack.index.lookup(id)?;
                Some(Place {
                    pack: number,
                    offset: pack.index.pack_offset_at_index(entry),
                    entry,
                })
            })
    }

    /// The form of an object, and its size before compression; `None` if it can't be read.
    pub(super) fn form(&self, place: Place) -> Option<(Form, u64)> {
        let pack = &self.packs[place.pack as usize];
        let entry = pack.data.entry(place.offset).ok()?;
        let form = match entry.header {
            data::entry::Header::OfsDelta { base_distance } => {
                let base = entry.checked_base_pack_offset(base_distance)?;
                Form::Delta(pack.at_offset(base)?)
            }
            data::entry::Header::RefDelta { base_id } => Form::Delta(base_id),
            whole => Form::Whole(whole.as_kind()?),
        };
        Some((form, entry.decompressed_size))
    }

    /// What lies in the pack, as it is.
    pub(super) fn read(&self, place: Place) -> Option<Compressed<'_>> {
        let pack = &self.packs[place.pack as usize];
        let entry = pack.data.entry(place.offset).ok()?;
        let data = pack
            .data
            .entry_slice(place.offset..pack.end_of(place.offset)?)?;
        Some(Compressed {
            size: entry.decompressed_size,
            data: data.get(entry.header_size()..)?,
        })
    }

    /// Whether the bytes are those that the index was made from.
    pub(super) fn is_intact(&self, place: Place) -> bool {
        let pack = &self.packs[place.pack as usize];
        let Some(crc) = pack.index.crc32_at_index(place.entry) else {
            // The first version of the index format has none.
            return true;
        };
        let size = pack
            .end_of(place.offset)
            .and_then(|end| end.checked_sub(place.offset));
        size.is_some_and(|size| pack.data.entry_crc32(place.offset, size as usize) == crc)
    }
}

impl StoredPack {
    fn by_offset(&self) -> &[index::EntryIndex] {
        self.by_offset.get_or_init(|| {
            let count = self.index.num_objects();
            let path = self.index.path().with_extension("rev");
            let known = fs::read(path)
                .ok()
                .and_then(|file| reverse_index(&file, count));
            known.unwrap_or_else(|| {
                let mut entries: Vec<_> = (0..count).collect();
                entries.sort_unstable_by_key(|entry| self.index.pack_offset_at_index(*entry));
                entries
            })
        })
    }

    fn at_offset(&self, offset: data::Offset) -> Option<ObjectId> {
        let entries = self.by_offset();
        let offset_of = |entry: &index::EntryIndex| self.index.pack_offset_at_index(*entry);
        let at = entries.binary_search_by_key(&offset, offset_of).ok()?;
        Some(self.index.oid_at_index(entries[at]).to_owned())
    }

    fn end_of(&self, offset: data::Offset) -> Option<data::Offset> {
        let entries = self.by_offset();
        let offset_of = |entry: index::EntryIndex| self.index.pack_offset_at_index(entry);
        let next = entries.partition_point(|entry| offset_of(*entry) <= offset);
        let end = entries
            .get(next)
            .map_or(self.data.pack_end() as u64, |next| offset_of(*next));
        (end <= self.data.pack_end() as u64).then_some(end)
    }
}

/// What git keeps in a `.rev` file, which spares sorting (gitformat-pack, "pack-*.rev files"). A file
/// that lies makes entries look damaged, by their checksums.
fn reverse_index(file: &[u8], count: u32) -> Option<Vec<index::EntryIndex>> {
    let rest = file.strip_prefix(b"RIDX\0\0\0\x01")?.get(4..)?;
    let (table, _) = rest.split_at_checked(count as usize * 4)?;
    let numbers = table.as_chunks::<4>().0.iter();
    let entries: Vec<_> = numbers.map(|number| u32::from_be_bytes(*number)).collect();
    entries
        .iter()
        .all(|entry| *entry < count)
        .then_some(entries)
}

fn indices(folder: &Path) -> Result<Vec<PathBuf>, Error> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(err) if err.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(err) => return Err(Error::io(format!("reading {}", folder.display()), err)),
    };
    let mut paths = Vec::new();
    for entry in entries {
        let path = entry
            .map_err(|err| Error::io(format!("reading {}", folder.display()), err))?
            .path();
        if path.extension().is_some_and(|extension| extension == "idx") {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}
