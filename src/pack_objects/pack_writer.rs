//! The pack as a stream, made while it is read.

use std::{
    cell::RefCell,
    io::{self, BufRead, Read},
};

use gix::{ObjectId, hash::Hasher, objs::Find};
use gix_pack::data::{self, entry::Header};

use super::{
    planned_objects::{BaseRef, Encoding, PlannedObjects},
    selection::SelectedObject,
};
use crate::{
    Phase, SyncContext,
    buffered::read_buffered,
    pack::{deflate::Deflater, delta_encode, entry_header::header_of},
    stored_packs::{
        EntryBytes, StoredPacks,
        loose_objects::{LooseObjects, LooseStream},
        odb::Odb,
    },
};

/// Bytes that are made at a time, about.
const CHUNK: usize = 64 * 1024;

/// The pack of the planned objects. Reading fails once an object can't be read any more; the bytes that were
/// read by then are no pack, as they lack the checksum.
pub(crate) struct OutgoingPack<'a> {
    odb: Odb,
    loose: RefCell<LooseObjects>,
    packs: StoredPacks,
    planned: PlannedObjects,
    /// The offset of each object that was begun. The plan has the base of a delta before it, so its offset is known.
    offsets: Vec<u64>,
    ofs_delta: bool,
    hasher: Hasher,
    /// At most one object is unfinished, so one deflater does for all.
    unfinished: Option<Unfinished>,
    deflater: Deflater,
    state: WriterState,
    /// Bytes that were made, and the number of them that were read.
    buffer: Vec<u8>,
    read: usize,
    /// Length of the pack before the buffer.
    length: u64,
    context: &'a SyncContext,
}

/// The part of the pack that is made next.
#[derive(Clone, Copy, PartialEq, Eq)]
enum WriterState {
    Header,
    Objects,
    Checksum,
    Over,
}

/// An object whose header was written.
enum Unfinished {
    Deflate { content: Vec<u8>, done: usize },
    DeflateStream(Box<LooseStream>),
    Copy(EntryBytes),
}

impl Unfinished {
    fn deflate(content: Vec<u8>) -> Self {
        Unfinished::Deflate { content, done: 0 }
    }
}

impl<'a> OutgoingPack<'a> {
    pub(super) fn new(
        odb: Odb,
        packs: StoredPacks,
        planned: PlannedObjects,
        ofs_delta: bool,
        context: &'a SyncContext,
    ) -> Self {
        let hash = odb.store_ref().object_hash();
        let loose = odb.loose_objects();
        let mut odb = odb;
        // From here on hardly any object is read twice.
        odb.unset_pack_cache();
        // A `git gc` may put objects elsewhere while the pack is being sent.
        odb.refresh = Default::default();
        OutgoingPack {
            odb,
            loose: RefCell::new(loose),
            packs,
            offsets: Vec::with_capacity(planned.objects.len()),
            planned,
            ofs_delta,
            hasher: gix::hash::hasher(hash),
            unfinished: None,
            deflater: Deflater::new(),
            state: WriterState::Header,
            buffer: Vec::with_capacity(2 * CHUNK),
            read: 0,
            length: 0,
            context,
        }
    }

    /// Fills the buffer anew, unless the pack is at its end.
    fn make_more(&mut self) -> io::Result<()> {
        self.context.check().map_err(io::Error::other)?;
        self.buffer.clear();
        self.read = 0;
        match self.state {
            WriterState::Header => {
                let count = u32::try_from(self.planned.objects.len()).map_err(io::Error::other)?;
                self.buffer
                    .extend(data::header::encode(data::Version::V2, count));
                self.state = WriterState::Objects;
            }
            WriterState::Objects => {
                while self.buffer.len() < CHUNK && self.state == WriterState::Objects {
                    self.make_part_of_objects()?;
                }
            }
            WriterState::Checksum => {
                let checksum = self
                    .hasher
                    .clone()
                    .try_finalize()
                    .map_err(io::Error::other)?;
                self.buffer.extend_from_slice(checksum.as_slice());
                self.state = WriterState::Over;
                // The checksum does not cover itself.
                return Ok(());
            }
            WriterState::Over => return Ok(()),
        }
        self.hasher.update(&self.buffer);
        self.length += self.buffer.len() as u64;
        Ok(())
    }

    fn make_part_of_objects(&mut self) -> io::Result<()> {
        if let Some(unfinished) = self.unfinished.take() {
            return self.go_on(unfinished);
        }
        let number = self.offsets.len();
        if number == self.planned.objects.len() {
            self.state = WriterState::Checksum;
            return Ok(());
        }
        if number.is_multiple_of(256) {
            let total = self.planned.objects.len() as u64;
            self.context
                .advance(Phase::Send, number as u64, Some(total));
        }
        let offset = self.length + self.buffer.len() as u64;
        self.offsets.push(offset);
        let object = &self.planned.objects[number];
        // The plan has compared the entry with its checksum. Damage since then is found by the receiver, which computes
        // the id of each object.
        let stored = |location| {
            self.packs
                .open(location)
                .ok_or_else(|| unreadable(&object.id))
        };
        let (header, size, unfinished) = match &self.planned.encodings[number] {
            Encoding::Unpacked(_) | Encoding::Undeltified => {
                let (size, unfinished) = self.whole(&object.id)?;
                (header_of(object.kind), size, unfinished)
            }
            Encoding::LooseWhole(size) => {
                // The object may have been packed since it was planned.
                let (size, unfinished) = match self.loose_stream(object, *size) {
                    Some(stream) => (*size, Unfinished::DeflateStream(Box::new(stream))),
                    None => self.whole(&object.id)?,
                };
                self.deflater.restart();
                (header_of(object.kind), size, unfinished)
            }
            Encoding::StoredWhole(location, _) => {
                let (size, rest) = stored(*location)?;
                (header_of(object.kind), size, Unfinished::Copy(rest))
            }
            Encoding::StoredDelta(location, base) => {
                let (size, rest) = stored(*location)?;
                (
                    self.delta_header(base, offset),
                    size,
                    Unfinished::Copy(rest),
                )
            }
            Encoding::Delta(delta, base) => {
                let header = self.delta_header(base, offset);
                // The search has deflated it.
                if let Some(data) = &delta.data {
                    header.write_to(delta.size, &mut self.buffer)?;
                    self.buffer.extend_from_slice(data);
                    return Ok(());
                }
                let delta = self.make_delta(&object.id, base, delta.size)?;
                (header, delta.len() as u64, Unfinished::deflate(delta))
            }
        };
        header.write_to(size, &mut self.buffer)?;
        self.go_on(unfinished)
    }

    fn go_on(&mut self, mut unfinished: Unfinished) -> io::Result<()> {
        let more = match &mut unfinished {
            Unfinished::Copy(rest) => self.packs.copy(rest, &mut self.buffer)?,
            Unfinished::DeflateStream(content) => {
                let ready = content.fill_buf()?;
                let (taken, goes_on) = self.deflater.append(ready, &mut self.buffer);
                content.consume(taken);
                goes_on
            }
            Unfinished::Deflate { content, done } => {
                self.deflater.step(content, done, &mut self.buffer)
            }
        };
        self.unfinished = more.then_some(unfinished);
        Ok(())
    }

    fn whole(&self, id: &ObjectId) -> io::Result<(u64, Unfinished)> {
        let content = self.content(id)?;
        Ok((content.len() as u64, Unfinished::deflate(content)))
    }

    fn loose_stream(&self, object: &SelectedObject, size: u64) -> Option<LooseStream> {
        let (kind, found, stream) = self.loose.borrow_mut().stream(&object.id)?;
        (kind == object.kind && found == size).then_some(stream)
    }

    /// Makes a delta once more that the search had no memory to keep.
    fn make_delta(&self, target: &ObjectId, base: &BaseRef, size: u64) -> io::Result<Vec<u8>> {
        let content = self.content(target)?;
        let base = delta_encode::DeltaBase::new(self.content(&self.id_of(base))?);
        let delta = base.encode(&content, size as usize);
        delta
            .filter(|delta| delta.len() as u64 == size)
            .ok_or_else(|| unreadable(target))
    }

    fn delta_header(&self, base: &BaseRef, offset: u64) -> Header {
        match base {
            BaseRef::Planned(base) if self.ofs_delta => Header::OfsDelta {
                base_distance: offset - self.offsets[*base as usize],
            },
            base => Header::RefDelta {
                base_id: self.id_of(base),
            },
        }
    }

    fn id_of(&self, base: &BaseRef) -> ObjectId {
        match base {
            BaseRef::Planned(base) => self.planned.objects[*base as usize].id,
            BaseRef::AtReceiver(id) => **id,
        }
    }

    /// Reads an object the same way as the plan did.
    fn content(&self, id: &ObjectId) -> io::Result<Vec<u8>> {
        let mut content = Vec::new();
        let loose = self.loose.borrow_mut().read_sound(id, &mut content);
        if loose.is_some() {
            return Ok(content);
        }
        match self.odb.try_find(id, &mut content) {
            Ok(Some(_)) => Ok(content),
            _ => Err(unreadable(id)),
        }
    }
}

impl BufRead for OutgoingPack<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        // The buffer may stay empty: a compressor keeps its input for a while.
        while self.read == self.buffer.len() && self.state != WriterState::Over {
            self.make_more()?;
        }
        Ok(&self.buffer[self.read..])
    }

    fn consume(&mut self, amount: usize) {
        self.read += amount;
    }
}

impl Read for OutgoingPack<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        read_buffered(self, into)
    }
}

pub(super) fn unreadable(id: &ObjectId) -> io::Error {
    io::Error::other(format!("{id} can't be read any more"))
}
