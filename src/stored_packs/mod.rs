//! Objects as they lie in a store's packs: compressed, and often as a delta already.

mod delta_chains;
mod fan_out;
pub(crate) mod loose_objects;
pub(crate) mod odb;
mod open_files;
pub(crate) mod pack_scan;
mod read_ahead;
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

use gix::{ObjectId, hash::Kind as HashKind, objs::Kind, oid};
use gix_pack::{data, index};

use self::{
    fan_out::FanOut,
    open_files::OpenFiles,
    read_ahead::ReadAhead,
    rev_index::{PackOrder, Survey},
    stored_pack::StoredPack,
};
use crate::{Error, SyncContext};

/// The packs of a store and of its alternates.
pub(crate) struct StoredPacks {
    packs: Vec<StoredPack>,
    open: RefCell<OpenFiles>,
    ahead: RefCell<ReadAhead>,
}

/// An object in one of the packs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    pub(crate) pack: u32,
    pub(crate) offset: data::Offset,
    pub(crate) entry: index::EntryIndex,
}

/// The form in which an object lies in a pack.
pub(crate) enum Form {
    /// An object of this size.
    Whole(Kind, u64),
    /// A delta of this object.
    Delta(ObjectId),
}

/// The largest header that an entry can have: a size of 64 bits and the longest id.
const MAX_HEADER: usize = 10 + 32;

/// How much of an entry is read at a time.
const CHUNK: u64 = 64 * 1024;

/// What is left to copy: the compressed bytes of an entry, or all of a pack.
#[derive(Default)]
pub(crate) struct Rest {
    pack: u32,
    /// Read already.
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
            for path in indices(&folder.join("pack"))? {
                match StoredPack::open(&path, hash) {
                    Ok((pack, file)) => {
                        open.add(packs.len() as u32, file);
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
            ahead: RefCell::default(),
        })
    }

    /// In any one of the packs.
    pub(crate) fn most_objects(&self) -> usize {
        let counts = self.packs.iter().map(|pack| pack.index.num_objects());
        counts.max().unwrap_or_default() as usize
    }

    fn largest(&self) -> Option<&StoredPack> {
        Some(&self.packs[self.number_of_largest()?])
    }

    fn number_of_largest(&self) -> Option<usize> {
        (0..self.packs.len()).max_by_key(|number| self.packs[*number].index.num_objects())
    }

    /// The order of the pack with the most objects.
    pub(crate) fn largest_order(&self) -> Option<PackOrder<'_>> {
        self.largest().map(StoredPack::order)
    }

    /// All entries of that pack.
    pub(crate) fn entries_of_largest(&self) -> Rest {
        let largest = self.number_of_largest();
        largest.map_or_else(Rest::default, |number| {
            let order = self.packs[number].order();
            Rest {
                pack: number as u32,
                ahead: Vec::new(),
                bytes: order.offset(0)..order.end,
            }
        })
    }

    /// How many of them were copied.
    pub(crate) fn copied_of_largest(&self, rest: &Rest) -> usize {
        let order = self.packs[rest.pack as usize].order();
        let offset_of = |entry: index::EntryIndex| order.index.pack_offset_at_index(entry);
        order
            .by_offset
            .partition_point(|entry| offset_of(*entry) < rest.bytes.start)
    }

    /// The order of the pack with the most objects, and its `.bitmap` file, if it has one and can be
    /// relied on.
    pub(crate) fn largest_with_bitmap(&self) -> Option<(PackOrder<'_>, Vec<u8>)> {
        let pack = self.largest()?;
        let bitmaps = pack.bitmaps().ok()?;
        let is_sound = pack.ends_as_indexed().ok()? && pack.order().is_sound();
        is_sound.then(|| (pack.order(), bitmaps))
    }

    /// Looks at all of the pack with the most objects. `None` if that can't be read to its end.
    pub(crate) fn survey_largest(&self, run: &SyncContext) -> Result<Option<Survey<'_>>, Error> {
        let Some(pack) = self.largest() else {
            return Ok(None);
        };
        if pack.scanned.get().is_some() {
            return Ok(self.surveyed());
        }
        let scanned = pack.scan(run);
        run.check()?;
        let Ok(scanned) = scanned else {
            return Ok(None);
        };
        pack.scanned.get_or_init(|| scanned);
        let id_at = |entry| pack.index.oid_at_index(entry);
        let count = pack.index.num_objects();
        pack.fan_out.get_or_init(|| FanOut::of(count, id_at));
        Ok(self.surveyed())
    }

    /// What [`survey_largest`](Self::survey_largest) found, if it was called.
    pub(crate) fn surveyed(&self) -> Option<Survey<'_>> {
        let mut packs = (0..).zip(&self.packs);
        packs.find_map(|(number, pack)| {
            let scanned = pack.scanned.get()?;
            Some(Survey {
                pack: &pack.path,
                order: pack.order(),
                entries: &scanned.entries,
                offsets: &scanned.offsets,
                pack_number: number,
            })
        })
    }

    pub(crate) fn count(&self) -> usize {
        self.packs.len()
    }

    /// Every place that an object is at.
    pub(crate) fn find<'a>(&'a self, id: &'a oid) -> impl Iterator<Item = Place> + 'a {
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

    /// The form of an object, if its bytes are those that the index was made from.
    pub(crate) fn inspect(&self, place: Place) -> Option<Form> {
        let pack = &self.packs[place.pack as usize];
        if let Some(form) = pack.scanned_form(place.entry) {
            return form;
        }
        let (entry, mut rest) = self.open_entry(place)?;
        // The first version of the index format has no checksums.
        if let Some(known) = pack.index.crc32_at_index(place.entry) {
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
        pack.form(&entry)
    }

    /// The size before compression, of the delta if it is one, and the bytes.
    pub(crate) fn open(&self, place: Place) -> Option<(u64, Rest)> {
        let (entry, mut rest) = self.open_entry(place)?;
        rest.ahead.drain(..entry.header_size());
        Some((entry.decompressed_size, rest))
    }

    /// The entry with its first bytes, header and all.
    fn open_entry(&self, place: Place) -> Option<(data::Entry, Rest)> {
        let pack = &self.packs[place.pack as usize];
        let bytes = place.offset..pack.end_of(place)?;
        let mut rest = Rest {
            pack: place.pack,
            ahead: Vec::new(),
            bytes,
        };
        let mut ahead = Vec::new();
        self.copy(&mut rest, &mut ahead).ok()?;
        let size = ahead.len();
        // So that an entry that is cut off is no shorter than its header says.
        ahead.resize(size + MAX_HEADER, 0);
        let entry = data::Entry::from_bytes(&ahead, place.offset, pack.index.object_hash()).ok()?;
        ahead.truncate(size);
        rest.ahead = ahead;
        (entry.header_size() <= size).then_some((entry, rest))
    }

    /// Appends the next bytes to `to`; `false` once nothing is left.
    pub(crate) fn copy(&self, rest: &mut Rest, to: &mut Vec<u8>) -> io::Result<bool> {
        if rest.ahead.is_empty() {
            let size = CHUNK.min(rest.bytes.end.saturating_sub(rest.bytes.start));
            let StoredPack { path, end, .. } = &self.packs[rest.pack as usize];
            let piece = rest.bytes.start..rest.bytes.start + size;
            let mut open = self.open.borrow_mut();
            let file = open.get(rest.pack, path)?;
            let mut ahead = self.ahead.borrow_mut();
            ahead.read(rest.pack, file, *end, piece, to)?;
            rest.bytes.start += size;
        } else {
            to.append(&mut rest.ahead);
        }
        Ok(!rest.bytes.is_empty())
    }
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
