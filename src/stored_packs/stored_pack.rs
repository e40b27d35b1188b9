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
    Form, Place,
    fan_out::FanOut,
    pack_scan::{Expected, Scanned, scan},
    rev_index::PackOrder,
};
use crate::SyncContext;

/// How large a file of bitmaps may be, which is read as a whole: git's takes 6 bytes for each object
/// of its own history.
const MAX_BITMAPS: u64 = 64 * 1024;
const MAX_BITMAPS_PER_OBJECT: u64 = 128;

/// Read piece by piece: mapped into memory a whole pack would end up there.
pub(crate) struct StoredPack {
    pub(crate) index: index::File,
    pub(crate) path: PathBuf,
    /// Where the last entry ends.
    pub(crate) end: data::Offset,
    /// The entries of the index in the order of the pack.
    by_offset: OnceCell<Vec<index::EntryIndex>>,
    /// Where in that order each entry of the index is.
    places: OnceCell<Vec<u32>>,
    /// All of it, if it was [surveyed](StoredPacks::survey_largest).
    pub(crate) scanned: OnceCell<ScannedPack>,
    pub(crate) fan_out: OnceCell<FanOut>,
}

pub(crate) struct ScannedPack {
    pub(crate) entries: Vec<Scanned>,
    pub(crate) offsets: Vec<data::Offset>,
}

impl StoredPack {
    /// With its file, which whoever asks may close.
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
            places: OnceCell::new(),
            scanned: OnceCell::new(),
            fan_out: OnceCell::new(),
        };
        Ok((pack, file))
    }

    pub(crate) fn bitmaps(&self) -> io::Result<Vec<u8>> {
        let mut bitmaps = Vec::new();
        let limit = MAX_BITMAPS + MAX_BITMAPS_PER_OBJECT * u64::from(self.index.num_objects());
        // The first bytes of a file that is larger have the wrong checksum.
        let file = File::open(self.path.with_extension("bitmap"))?;
        file.take(limit).read_to_end(&mut bitmaps)?;
        Ok(bitmaps)
    }

    /// Whether this is the pack that the index was made from, as far as its end tells.
    pub(crate) fn ends_as_indexed(&self) -> io::Result<bool> {
        let mut end = Vec::new();
        let mut file = File::open(&self.path)?;
        file.seek(io::SeekFrom::Start(self.end))?;
        file.read_to_end(&mut end)?;
        Ok(end == self.index.pack_checksum().as_slice())
    }

    pub(crate) fn scan(&self, run: &SyncContext) -> io::Result<ScannedPack> {
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
    pub(crate) fn scanned_form(&self, entry: index::EntryIndex) -> Option<Option<Form>> {
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

    pub(crate) fn form(&self, entry: &data::Entry) -> Option<Form> {
        Some(match entry.header {
            data::entry::Header::OfsDelta { base_distance } => {
                let base = entry.checked_base_pack_offset(base_distance)?;
                Form::Delta(self.at_offset(base)?)
            }
            data::entry::Header::RefDelta { base_id } => Form::Delta(base_id),
            whole => Form::Whole(whole.as_kind()?, entry.decompressed_size),
        })
    }

    pub(crate) fn by_offset(&self) -> &[index::EntryIndex] {
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

    pub(crate) fn places(&self) -> &[u32] {
        self.places.get_or_init(|| {
            let by_offset = self.by_offset();
            let mut places = vec![0; by_offset.len()];
            for (place, entry) in by_offset.iter().enumerate() {
                places[*entry as usize] = place as u32;
            }
            places
        })
    }

    pub(crate) fn order(&self) -> PackOrder<'_> {
        PackOrder {
            index: &self.index,
            fan_out: self.fan_out.get(),
            by_offset: self.by_offset(),
            places: self.places(),
            end: self.end,
        }
    }

    pub(crate) fn at_offset(&self, offset: data::Offset) -> Option<ObjectId> {
        let entries = self.by_offset();
        let offset_of = |entry: &index::EntryIndex| self.index.pack_offset_at_index(*entry);
        let at = entries.binary_search_by_key(&offset, offset_of).ok()?;
        Some(self.index.oid_at_index(entries[at]).to_owned())
    }

    pub(crate) fn end_of(&self, place: Place) -> Option<data::Offset> {
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
