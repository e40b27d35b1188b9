//! Objects as they lie in a store's packs: compressed, and often as a delta already.

use std::{
    cell::{OnceCell, RefCell},
    fs::{self, File},
    io::{self, Read as _, Seek as _},
    mem,
    ops::Range,
    path::{Path, PathBuf},
};

use gix::{ObjectId, hash::Kind as HashKind, objs::Kind, oid};
use gix_pack::{data, index};

use super::{
    ahead::ReadAhead,
    fan_out::FanOut,
    scan::{Expected, Scanned, scan},
    survey::{PackOrder, Survey},
};
use crate::{Error, Run};

/// The packs of a store and of its alternates.
pub(super) struct StoredPacks {
    packs: Vec<StoredPack>,
    ahead: RefCell<ReadAhead>,
}

/// Read piece by piece: mapped into memory a whole pack would end up there.
struct StoredPack {
    index: index::File,
    file: File,
    path: PathBuf,
    /// Where the last entry ends.
    end: data::Offset,
    /// The entries of the index in the order of the pack.
    by_offset: OnceCell<Vec<index::EntryIndex>>,
    /// Where in that order each entry of the index is.
    places: OnceCell<Vec<u32>>,
    /// All of it, if it was [surveyed](StoredPacks::survey_largest).
    scanned: OnceCell<ScannedPack>,
    fan_out: OnceCell<FanOut>,
}

struct ScannedPack {
    entries: Vec<Scanned>,
    offsets: Vec<data::Offset>,
}

/// An object in one of the packs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    pub(super) pack: u32,
    pub(super) offset: data::Offset,
    pub(super) entry: index::EntryIndex,
}

/// The form in which an object lies in a pack.
pub(super) enum Form {
    /// An object of this size.
    Whole(Kind, u64),
    /// A delta of this object.
    Delta(ObjectId),
}

/// The largest header that an entry can have: a size of 64 bits and the longest id.
const MAX_HEADER: usize = 10 + 32;

/// How much of an entry is read at a time.
const CHUNK: u64 = 64 * 1024;

/// How large a file of bitmaps may be, which is read as a whole: git's takes 6 bytes for each object
/// of its own history.
const MAX_BITMAPS: u64 = 64 * 1024;
const MAX_BITMAPS_PER_OBJECT: u64 = 128;

/// What is left to copy: the compressed bytes of an entry, or all of a pack.
#[derive(Default)]
pub(super) struct Rest {
    pack: u32,
    /// Read already.
    ahead: Vec<u8>,
    bytes: Range<data::Offset>,
}

impl StoredPacks {
    /// Opens the packs in these `objects` folders. One that can't be opened is passed over: its
    /// objects may be elsewhere, too.
    pub(super) fn at(folders: &[PathBuf], hash: HashKind) -> Result<Self, Error> {
        let mut packs = Vec::new();
        for folder in folders {
            for path in indices(&folder.join("pack"))? {
                match StoredPack::open(&path, hash) {
                    Ok(pack) => packs.push(pack),
                    Err(err) => {
                        tracing::warn!(path = %path.display(), %err, "a pack can't be opened");
                    }
                }
            }
        }
        Ok(StoredPacks {
            packs,
            ahead: RefCell::default(),
        })
    }

    /// In any one of the packs.
    pub(super) fn most_objects(&self) -> usize {
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
    pub(super) fn largest_order(&self) -> Option<PackOrder<'_>> {
        self.largest().map(StoredPack::order)
    }

    /// All entries of that pack.
    pub(super) fn entries_of_largest(&self) -> Rest {
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
    pub(super) fn copied_of_largest(&self, rest: &Rest) -> usize {
        let order = self.packs[rest.pack as usize].order();
        let offset_of = |entry: index::EntryIndex| order.index.pack_offset_at_index(entry);
        order
            .by_offset
            .partition_point(|entry| offset_of(*entry) < rest.bytes.start)
    }

    /// The order of the pack with the most objects, and its `.bitmap` file, if it has one and can be
    /// relied on.
    pub(super) fn largest_with_bitmap(&self) -> Option<(PackOrder<'_>, Vec<u8>)> {
        let pack = self.largest()?;
        let bitmaps = pack.bitmaps().ok()?;
        let is_sound = pack.ends_as_indexed().ok()? && pack.order().is_sound();
        is_sound.then(|| (pack.order(), bitmaps))
    }

    /// Looks at all of the pack with the most objects. `None` if that can't be read to its end.
    pub(super) fn survey_largest(&self, run: &Run) -> Result<Option<Survey<'_>>, Error> {
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
    pub(super) fn surveyed(&self) -> Option<Survey<'_>> {
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

    pub(super) fn count(&self) -> usize {
        self.packs.len()
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

    /// The form of an object, if its bytes are those that the index was made from.
    pub(super) fn inspect(&self, place: Place) -> Option<Form> {
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
    pub(super) fn open(&self, place: Place) -> Option<(u64, Rest)> {
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
    pub(super) fn copy(&self, rest: &mut Rest, to: &mut Vec<u8>) -> io::Result<bool> {
        if rest.ahead.is_empty() {
            let size = CHUNK.min(rest.bytes.end.saturating_sub(rest.bytes.start));
            let StoredPack { file, end, .. } = &self.packs[rest.pack as usize];
            let piece = rest.bytes.start..rest.bytes.start + size;
            let mut ahead = self.ahead.borrow_mut();
            ahead.read(rest.pack, file, *end, piece, to)?;
            rest.bytes.start += size;
        } else {
            to.append(&mut rest.ahead);
        }
        Ok(!rest.bytes.is_empty())
    }
}

impl StoredPack {
    fn open(index: &Path, hash: HashKind) -> Result<Self, Box<dyn std::error::Error>> {
        let mut file = File::open(index.with_extension("pack"))?;
        let mut header = [0; 12];
        file.read_exact(&mut header)?;
        data::header::decode(&header)?;
        let end = file
            .metadata()?
            .len()
            .saturating_sub(hash.len_in_bytes() as u64);
        Ok(StoredPack {
            index: index::File::at(index, hash)?,
            file,
            path: index.with_extension("pack"),
            end,
            by_offset: OnceCell::new(),
            places: OnceCell::new(),
            scanned: OnceCell::new(),
            fan_out: OnceCell::new(),
        })
    }

    fn bitmaps(&self) -> io::Result<Vec<u8>> {
        let mut bitmaps = Vec::new();
        let limit = MAX_BITMAPS + MAX_BITMAPS_PER_OBJECT * u64::from(self.index.num_objects());
        // The first bytes of a file that is larger have the wrong checksum.
        let file = File::open(self.path.with_extension("bitmap"))?;
        file.take(limit).read_to_end(&mut bitmaps)?;
        Ok(bitmaps)
    }

    /// Whether this is the pack that the index was made from, as far as its end tells.
    fn ends_as_indexed(&self) -> io::Result<bool> {
        let mut end = Vec::new();
        let mut file = &self.file;
        file.seek(io::SeekFrom::Start(self.end))?;
        file.read_to_end(&mut end)?;
        Ok(end == self.index.pack_checksum().as_slice())
    }

    fn scan(&self, run: &Run) -> io::Result<ScannedPack> {
        let by_offset = self.by_offset();
        let expected = by_offset.iter().map(|entry| Expected {
            offset: self.index.pack_offset_at_index(*entry),
            checksum: self.index.crc32_at_index(*entry),
        });
        let expected: Vec<_> = expected.collect();
        let entries = scan(
            &self.path,
            &expected,
            self.end,
            self.index.object_hash(),
            run,
        )?;
        Ok(ScannedPack {
            entries,
            offsets: expected.into_iter().map(|entry| entry.offset).collect(),
        })
    }

    /// What [`StoredPacks::inspect`] says of an entry that was scanned.
    fn scanned_form(&self, entry: index::EntryIndex) -> Option<Option<Form>> {
        let scanned = self.scanned.get()?;
        let place = self.places()[entry as usize];
        Some(match scanned.entries[place as usize] {
            Scanned::Whole(kind, size) => Some(Form::Whole(kind, size)),
            Scanned::Delta(base) => {
                let base = self.by_offset()[base as usize];
                Some(Form::Delta(self.index.oid_at_index(base).to_owned()))
            }
            Scanned::DeltaById => return None,
            Scanned::Damaged => None,
        })
    }

    fn form(&self, entry: &data::Entry) -> Option<Form> {
        Some(match entry.header {
            data::entry::Header::OfsDelta { base_distance } => {
                let base = entry.checked_base_pack_offset(base_distance)?;
                Form::Delta(self.at_offset(base)?)
            }
            data::entry::Header::RefDelta { base_id } => Form::Delta(base_id),
            whole => Form::Whole(whole.as_kind()?, entry.decompressed_size),
        })
    }

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

    fn places(&self) -> &[u32] {
        self.places.get_or_init(|| {
            let by_offset = self.by_offset();
            let mut places = vec![0; by_offset.len()];
            for (place, entry) in by_offset.iter().enumerate() {
                places[*entry as usize] = place as u32;
            }
            places
        })
    }

    fn order(&self) -> PackOrder<'_> {
        PackOrder {
            index: &self.index,
            fan_out: self.fan_out.get(),
            by_offset: self.by_offset(),
            places: self.places(),
            end: self.end,
        }
    }

    fn at_offset(&self, offset: data::Offset) -> Option<ObjectId> {
        let entries = self.by_offset();
        let offset_of = |entry: &index::EntryIndex| self.index.pack_offset_at_index(*entry);
        let at = entries.binary_search_by_key(&offset, offset_of).ok()?;
        Some(self.index.oid_at_index(entries[at]).to_owned())
    }

    fn end_of(&self, place: Place) -> Option<data::Offset> {
        if let Some(scanned) = self.scanned.get() {
            let next = self.places()[place.entry as usize] as usize + 1;
            return Some(scanned.offsets.get(next).copied().unwrap_or(self.end));
        }
        let offset = place.offset;
        let entries = self.by_offset();
        let offset_of = |entry: index::EntryIndex| self.index.pack_offset_at_index(entry);
        let next = entries.partition_point(|entry| offset_of(*entry) <= offset);
        let end = entries.get(next).map_or(self.end, |next| offset_of(*next));
        (end <= self.end).then_some(end)
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
