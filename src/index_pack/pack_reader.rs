//! The reader of a pack stream: cuts it into entries, writes them to disk and inspects the whole objects.
//!
//! Deltas are not applied here. Of a delta only the header is decoded, for the size of its result; [`windows`](super::windows)
//! resolves it.

use std::{
    fs::File,
    io::{self, BufRead, Read, Write},
    mem,
};

use gix::{ObjectId, hash::Kind as HashKind, objs::Kind};
use gix_pack::data::{self, entry::Header};

use super::{
    budget::Budget,
    excess::too_large,
    inflated_cache::InflatedCache,
    inspection::Inspection,
    ref_deltas::RefDeltas,
    table::{Base, Table},
    window::{Cut, Window},
};
use crate::{
    Error, ErrorKind, Phase, SyncContext,
    buffered::{each_piece, invalid_data, read_buffered},
    pack::{delta_apply::sizes, entry_header::read_header, inflate::Inflater},
};

/// A pack's signature, version and count (gitformat-pack(5)).
pub(super) const HEADER: usize = 12;

/// The longest encoding of the two sizes that a delta begins with, at seven bits per byte.
const MAX_SIZES: usize = 2 * 10;

/// The size of the largest whole object that is kept inflated for its window, in bytes.
const MAX_CACHED: u64 = 64 * 1024;

/// The bytes of a pack that are read before they are hashed, written and counted against the limits.
const MAX_TAKEN: usize = 64 * 1024;

/// A pack whose header has arrived.
pub(super) struct PackReader<'a, 's> {
    reader: HashingReader<'a, 's>,
    hash: HashKind,
    /// The number of entries that the pack announces.
    pub(super) count: u32,
}

/// A pack that has arrived completely: the data beside its entries in the [`Table`].
pub(super) struct Arrived<'s> {
    pub(super) checksum: ObjectId,
    pub(super) ref_deltas: RefDeltas,
    /// The inflated entries after the last window.
    pub(super) inflated: InflatedCache<'s>,
}

impl<'a, 's> PackReader<'a, 's> {
    /// Receives the header of a pack.
    pub(super) fn begin(
        pack: &'a mut dyn BufRead,
        file: &'a mut File,
        hash: HashKind,
        budget: &'s Budget<'s>,
        context: &'a SyncContext,
    ) -> Result<Self, Error> {
        let mut reader = HashingReader {
            pack,
            file,
            context,
            hasher: gix::hash::hasher(hash),
            checksum: crc32fast::Hasher::new(),
            taken: 0,
            offset: 0,
            failure: None,
            budget,
        };
        let count = reader.receive_header(hash);
        let count = count.map_err(|stop| reader.error(stop))?;
        Ok(PackReader {
            reader,
            hash,
            count,
        })
    }

    /// Receives the rest of the pack: its entries and its checksum. Its file ends with the last
    /// entry.
    ///
    /// `hand_over` is called for each window of about `window` bytes (see [`Cut`]), when its entries are on disk.
    /// Once the declared sizes of objects are large compared with the bytes that arrived, windows are held back
    /// until the whole pack has arrived and all declared sizes are within the limit. So a small pack that declares
    /// terabytes is refused before any of its deltas is applied.
    pub(super) fn receive(
        mut self,
        table: &Table,
        inspection: &mut Inspection<'_>,
        window: u64,
        hand_over: &mut dyn FnMut(Window<'s>),
    ) -> Result<Arrived<'s>, Error> {
        let entries = Entries {
            table,
            ref_deltas: RefDeltas::default(),
            inflated: InflatedCache::new(self.reader.budget),
            keeps_objects: false,
            inflater: Inflater::new(),
            content: Vec::new(),
            inspection,
        };
        let arrived = self.receive_entries(entries, window, hand_over);
        arrived.map_err(|stop| self.reader.error(stop))
    }

    fn receive_entries(
        &mut self,
        mut entries: Entries<'_, 's, '_>,
        window: u64,
        hand_over: &mut dyn FnMut(Window<'s>),
    ) -> Result<Arrived<'s>, ReadError> {
        let reader = &mut self.reader;
        let mut cut = Cut::new(window);
        let mut held_back = Vec::new();
        for entry in 0..self.count {
            reader.context.check()?;
            let start = reader.offset;
            entries.keeps_objects = cut.has_grown();
            entries.receive(reader)?;
            let (length, size) = (reader.offset - start, entries.table.size(entry));
            let is_whole = !entries.table.is_delta(entry);
            if let Some(window) = cut.after(entry, is_whole, length, size) {
                reader.flush_taken()?;
                let ended = mem::replace(&mut entries.inflated, InflatedCache::new(reader.budget));
                let window = Window {
                    entries: window,
                    inflated: ended,
                };
                if held_back.is_empty() && !reader.budget.is_much_declared(reader.offset) {
                    hand_over(window)
                } else {
                    held_back.push(window)
                }
            }
        }
        let checksum = reader.finish(self.hash)?;
        held_back.into_iter().for_each(hand_over);
        Ok(Arrived {
            checksum,
            ref_deltas: entries.ref_deltas,
            inflated: entries.inflated,
        })
    }
}

enum ReadError {
    Failed(Error),
    /// The stream is damaged, or broke off.
    Damaged(io::Error),
}

impl From<io::Error> for ReadError {
    fn from(err: io::Error) -> Self {
        ReadError::Damaged(err)
    }
}

impl From<Error> for ReadError {
    fn from(err: Error) -> Self {
        ReadError::Failed(err)
    }
}

struct Entries<'t, 's, 'i> {
    table: &'t Table,
    ref_deltas: RefDeltas,
    /// The contents of the window that is arriving.
    inflated: InflatedCache<'s>,
    /// Whether small objects are left to the threads that resolve windows. For a small pack it is faster to
    /// inspect them here.
    keeps_objects: bool,
    inflater: Inflater,
    content: Vec<u8>,
    inspection: &'t mut Inspection<'i>,
}

impl Entries<'_, '_, '_> {
    fn receive(&mut self, reader: &mut HashingReader<'_, '_>) -> Result<(), ReadError> {
        let start = reader.offset;
        reader.checksum = crc32fast::Hasher::new();
        let (header, size) = read_header(reader, self.table.hash)?;
        let (base, size, whole) = match header {
            Header::OfsDelta { base_distance } => {
                let base = start.checked_sub(base_distance);
                let base = base.ok_or_else(|| {
                    invalid_data("has a delta whose base would lie before the pack")
                })?;
                let size = self.delta(reader, size)?;
                let base = self.table.entry_at(base);
                let base =
                    base.ok_or_else(|| invalid_data("has a delta whose base offset is no entry"))?;
                (Base::Entry(base), size, None)
            }
            Header::RefDelta { .. } => {
                let size = self.delta(reader, size)?;
                (Base::Named, size, None)
            }
            whole => {
                let kind = whole.as_kind();
                let kind = kind.ok_or_else(|| invalid_data("has an entry of an unknown type"))?;
                reader.budget.declare(size)?;
                let id = self.whole(reader, kind, size)?;
                (
                    Base::None,
                    size,
                    id.map(|(id, is_sound)| (kind, id, is_sound)),
                )
            }
        };
        let checksum = mem::take(&mut reader.checksum).finalize();
        let range = start..reader.offset;
        let entry = self.table.push(range, checksum, base, size);
        if let Some((kind, id, is_sound)) = whole {
            self.table.resolve(entry, kind, &id);
            if is_sound {
                self.table.mark_sound(entry);
            }
        }
        if let Header::RefDelta { base_id } = header {
            self.ref_deltas.push(entry, base_id);
        }
        Ok(())
    }

    /// Reads a delta and returns the size that it declares for its result, 0 for a damaged one. It is applied
    /// together with its window.
    fn delta(&mut self, reader: &mut HashingReader<'_, '_>, size: u64) -> Result<u64, ReadError> {
        if reader.budget.excess(Kind::Blob, size).is_some() {
            reader.budget.declare(size)?;
        }
        let is_kept = self.inflated.reserve(size);
        self.content.clear();
        each_piece(self.inflater.read(&mut *reader, size), |piece| {
            let missing = MAX_SIZES.saturating_sub(self.content.len());
            self.content
                .extend_from_slice(&piece[..piece.len().min(missing)]);
            if is_kept {
                self.inflated.extend(piece);
            }
            Ok(())
        })?;
        if is_kept {
            self.inflated.end(self.table.len(), None);
        }
        let result = sizes(&mut &self.content[..]).map_or(0, |(_, result)| result);
        reader.budget.declare(result)?;
        Ok(result)
    }

    /// Reads a whole object and returns its id, and whether nothing is wrong with it; `None` for an object that is left
    /// to its window. An object over a limit is hashed as a stream and not held in memory.
    fn whole(
        &mut self,
        reader: &mut HashingReader<'_, '_>,
        kind: Kind,
        size: u64,
    ) -> Result<Option<(ObjectId, bool)>, ReadError> {
        let excess = reader.budget.excess(kind, size);
        let is_looked_at = excess.is_none();
        if is_looked_at && self.keeps_objects && size <= MAX_CACHED && self.inflated.reserve(size) {
            let stream = self.inflater.read(reader, size);
            each_piece(stream, |piece| {
                self.inflated.extend(piece);
                Ok(())
            })?;
            self.inflated.end(self.table.len(), Some(kind));
            return Ok(None);
        }
        let mut hasher = gix::hash::hasher(self.table.hash);
        hasher.update(&gix::objs::encode::loose_header(kind, size));
        self.content.clear();
        each_piece(self.inflater.read(reader, size), |piece| {
            hasher.update(piece);
            // Blobs have no references, and fsck checks only those that trees name specially, later.
            if is_looked_at && kind != Kind::Blob {
                self.content.extend_from_slice(piece);
            }
            Ok(())
        })?;
        let id = hasher.try_finalize().map_err(|_| collision())?;
        let is_sound = match excess {
            None => self.inspection.look_at(kind, id, &self.content, None)?,
            Some(limit) => {
                let reason = too_large(&id, size, &limit);
                self.inspection.leave_out(id, reason)?;
                false
            }
        };
        if self.content.capacity() > 1024 * 1024 {
            self.content = Vec::new();
        }
        Ok(Some((id, is_sound)))
    }
}

/// A reader of a pack that hashes its bytes and writes them to disk.
struct HashingReader<'a, 's> {
    pack: &'a mut dyn BufRead,
    file: &'a mut File,
    context: &'a SyncContext,
    budget: &'s Budget<'s>,
    hasher: gix::hash::Hasher,
    /// The checksum of the entry that is being read.
    checksum: crc32fast::Hasher,
    /// The bytes of the pack that were consumed but are still in `pack`'s buffer: not hashed, not written.
    taken: usize,
    offset: u64,
    /// An error of this side, hidden behind an `io::Error` on its way through the zlib reader.
    failure: Option<Error>,
}

impl HashingReader<'_, '_> {
    fn receive_header(&mut self, hash: HashKind) -> Result<u32, ReadError> {
        let mut header = [0; HEADER];
        self.read_exact(&mut header)?;
        let (version, count) =
            data::header::decode(&header).map_err(|_| invalid_data("is no pack"))?;
        if version != data::Version::V2 {
            return Err(invalid_data("is of an unknown version").into());
        }
        let memory = Table::memory_of_an_entry(hash);
        self.budget.check_count(count.into(), memory)?;
        Ok(count)
    }

    /// Hashes and writes the consumed bytes, and checks the limits.
    fn flush_taken(&mut self) -> io::Result<()> {
        if self.taken == 0 {
            return Ok(());
        }
        // Checked here, because a single entry may be as long as the pack.
        self.context.check().map_err(|err| self.fail(err))?;
        let taken = &self.pack.fill_buf()?[..self.taken];
        self.hasher.update(taken);
        let written = self.file.write_all(taken);
        self.pack.consume(self.taken);
        self.taken = 0;
        self.context.advance(Phase::Receive, self.offset, None);
        let budget = self.budget.check_disk(self.offset);
        let written = written.map_err(|err| Error::io("writing the pack", err));
        written.and(budget).map_err(|err| self.fail(err))
    }

    fn fail(&mut self, err: Error) -> io::Error {
        self.failure = Some(err);
        io::ErrorKind::Other.into()
    }

    fn error(&mut self, stop: ReadError) -> Error {
        match (self.failure.take(), stop) {
            (Some(own), _) | (None, ReadError::Failed(own)) => own,
            (None, ReadError::Damaged(err)) => damaged(err, self.context),
        }
    }

    /// Checks the trailer, and that nothing follows it. The trailer is not written: appended bases would make it
    /// wrong.
    fn finish(&mut self, hash: HashKind) -> Result<ObjectId, ReadError> {
        self.flush_taken()?;
        let hasher = mem::replace(&mut self.hasher, gix::hash::hasher(hash));
        let computed = hasher.try_finalize().map_err(|_| collision())?;
        let mut trailer = ObjectId::null(hash);
        self.pack.read_exact(trailer.as_mut_slice())?;
        if trailer != computed {
            return Err(invalid_data("has another checksum than it says").into());
        }
        if self.pack.fill_buf()?.is_empty() {
            Ok(computed)
        } else {
            Err(invalid_data("goes on after its end").into())
        }
    }
}

impl BufRead for HashingReader<'_, '_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.taken >= MAX_TAKEN || self.pack.fill_buf()?.len() == self.taken {
            self.flush_taken()?;
        }
        let ready = &self.pack.fill_buf()?[self.taken..];
        Ok(&ready[..ready.len().min(MAX_TAKEN)])
    }

    fn consume(&mut self, amount: usize) {
        // The bytes are in the buffer: `fill_buf` has returned them.
        if let Ok(ready) = self.pack.fill_buf() {
            self.checksum.update(&ready[self.taken..][..amount]);
        }
        self.taken += amount;
        self.offset += amount as u64;
    }
}

impl Read for HashingReader<'_, '_> {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        read_buffered(self, to)
    }
}

pub(super) fn collision() -> Error {
    Error::new(
        ErrorKind::Protocol,
        "the pack was made to collide with another object's SHA-1",
    )
}

/// The error for a stream that ended early or cannot be inflated; cancellation and timeout take precedence.
pub(super) fn damaged(err: io::Error, context: &SyncContext) -> Error {
    context
        .check()
        .err()
        .unwrap_or_else(|| Error::new(ErrorKind::Protocol, "the pack is damaged").with_source(err))
}
