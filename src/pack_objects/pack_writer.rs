//! A pack as a stream, made while it is read.

use std::{
    cell::RefCell,
    io::{self, BufRead, Read},
};

use gix::{
    ObjectId,
    hash::Hasher,
    objs::{Find, Kind},
};
use gix_pack::data::{self, entry::Header};

use super::{
    object_selection::Selected,
    planned_objects::{Base, Item, SentAs},
};
use crate::{
    Phase, SyncContext,
    pack::{deflate::Deflater, delta_encode},
    stored_packs::odb::Odb,
    stored_packs::{
        Rest, StoredPacks,
        loose_objects::{LooseObjects, LooseStream},
    },
};

/// How much is made at a time, about.
const CHUNK: usize = 64 * 1024;

/// The pack of these items. Reading fails if an object can't be read any more; what was read then is
/// no pack, since it lacks its checksum.
pub(crate) struct OutgoingPack<'a> {
    odb: Odb,
    loose: RefCell<LooseObjects>,
    packs: StoredPacks,
    items: Vec<Item>,
    /// What comes after the items: the entries of the largest pack, as they are.
    whole: Option<Rest>,
    /// How many objects there are.
    count: usize,
    /// Where each of the items so far begins.
    offsets: Vec<u64>,
    ofs_delta: bool,
    hasher: Hasher,
    unfinished: Option<Unfinished>,
    deflater: Deflater,
    part: Part,
    /// What has been made, and how much of it was read.
    buffer: Vec<u8>,
    read: usize,
    /// How long the pack is so far.
    length: u64,
    run: &'a SyncContext,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    Header,
    Items,
    WholePack,
    Checksum,
    Over,
}

/// An item on its way, behind its header.
enum Unfinished {
    Deflate { content: Vec<u8>, done: usize },
    DeflateStream(Box<LooseStream>),
    Compressed(Vec<u8>),
    Copy(Rest),
}

impl Unfinished {
    fn deflate(content: Vec<u8>) -> Self {
        Unfinished::Deflate { content, done: 0 }
    }
}

impl<'a> OutgoingPack<'a> {
    pub(super) fn new(
        odb: Odb,
        loose: LooseObjects,
        packs: StoredPacks,
        items: Vec<Item>,
        is_with_pack: bool,
        ofs_delta: bool,
        run: &'a SyncContext,
    ) -> Self {
        let hash = odb.store_ref().object_hash();
        let mut odb = odb;
        // Hardly anything is read twice from here on.
        odb.unset_pack_cache();
        // A `git gc` may put objects elsewhere while the pack is being sent.
        odb.refresh = Default::default();
        let whole = is_with_pack.then(|| packs.entries_of_largest());
        let count = items.len() + whole.as_ref().map_or(0, |_| packs.most_objects());
        OutgoingPack {
            odb,
            loose: RefCell::new(loose),
            packs,
            whole,
            count,
            offsets: Vec::with_capacity(items.len()),
            items,
            ofs_delta,
            hasher: gix::hash::hasher(hash),
            unfinished: None,
            deflater: Deflater::new(),
            part: Part::Header,
            buffer: Vec::with_capacity(2 * CHUNK),
            read: 0,
            length: 0,
            run,
        }
    }

    /// Makes something more to read, unless the pack is at its end.
    fn make_more(&mut self) -> io::Result<()> {
        self.run.check().map_err(io::Error::other)?;
        self.buffer.clear();
        self.read = 0;
        match self.part {
            Part::Header => {
                let count = u32::try_from(self.count).map_err(io::Error::other)?;
                self.buffer
                    .extend(data::header::encode(data::Version::V2, count));
                self.part = Part::Items;
            }
            Part::Items => {
                while self.buffer.len() < CHUNK && self.part == Part::Items {
                    self.make_part_of_items()?;
                }
            }
            Part::WholePack => self.copy_whole_pack()?,
            Part::Checksum => {
                let checksum = self
                    .hasher
                    .clone()
                    .try_finalize()
                    .map_err(io::Error::other)?;
                self.buffer.extend_from_slice(checksum.as_slice());
                self.part = Part::Over;
                return Ok(());
            }
            Part::Over => return Ok(()),
        }
        self.hasher.update(&self.buffer);
        self.length += self.buffer.len() as u64;
        Ok(())
    }

    fn make_part_of_items(&mut self) -> io::Result<()> {
        if let Some(unfinished) = self.unfinished.take() {
            return self.go_on(unfinished);
        }
        let number = self.offsets.len();
        if number == self.items.len() {
            self.part = Part::WholePack;
            return Ok(());
        }
        if number.is_multiple_of(256) {
            let total = self.count as u64;
            self.run.advance(Phase::Send, number as u64, Some(total));
        }
        let offset = self.length + self.buffer.len() as u64;
        self.offsets.push(offset);
        let Item { object, sent_as } = &self.items[number];
        let stored = |place| self.packs.open(place).ok_or_else(|| unreadable(&object.id));
        let (header, size, unfinished) = match sent_as {
            SentAs::Whole(_) => {
                let (size, unfinished) = self.whole(&object.id)?;
                (header_of(object.kind), size, unfinished)
            }
            SentAs::LooseWhole(size) => {
                // It may have been packed meanwhile.
                let (size, unfinished) = match self.loose_stream(object, *size) {
                    Some(stream) => (*size, Unfinished::DeflateStream(Box::new(stream))),
                    None => self.whole(&object.id)?,
                };
                self.deflater.restart();
                (header_of(object.kind), size, unfinished)
            }
            SentAs::StoredWhole(place, _) => {
                let (size, rest) = stored(*place)?;
                (header_of(object.kind), size, Unfinished::Copy(rest))
            }
            SentAs::StoredDelta(place, base) => {
                let (size, rest) = stored(*place)?;
                (
                    self.delta_header(base, offset),
                    size,
                    Unfinished::Copy(rest),
                )
            }
            SentAs::Delta(delta, base) => {
                let header = self.delta_header(base, offset);
                let unfinished = match &delta.data {
                    Some(data) => Unfinished::Compressed(data.clone()),
                    None => Unfinished::deflate(self.make_delta(&object.id, base, delta.size)?),
                };
                (header, delta.size, unfinished)
            }
        };
        header.write_to(size, &mut self.buffer)?;
        self.go_on(unfinished)
    }

    fn copy_whole_pack(&mut self) -> io::Result<()> {
        let is_more = match &mut self.whole {
            Some(rest) => {
                let done = self.items.len() + self.packs.copied_of_largest(rest);
                self.run
                    .advance(Phase::Send, done as u64, Some(self.count as u64));
                self.packs.copy(rest, &mut self.buffer)?
            }
            None => false,
        };
        if !is_more {
            self.part = Part::Checksum;
        }
        Ok(())
    }

    fn go_on(&mut self, mut unfinished: Unfinished) -> io::Result<()> {
        let more = match &mut unfinished {
            Unfinished::Copy(rest) => self.packs.copy(rest, &mut self.buffer)?,
            Unfinished::Compressed(data) => {
                self.buffer.append(data);
                false
            }
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

    fn loose_stream(&self, object: &Selected, size: u64) -> Option<LooseStream> {
        let (kind, found, stream) = self.loose.borrow_mut().stream(&object.id)?;
        (kind == object.kind && found == size).then_some(stream)
    }

    /// A delta that there was no room to keep.
    fn make_delta(&self, target: &ObjectId, base: &Base, size: u64) -> io::Result<Vec<u8>> {
        let content = self.content(target)?;
        let base = delta_encode::Base::new(self.content(&self.id_of(base))?);
        let delta = base.encode(&content, size as usize);
        delta
            .filter(|delta| delta.len() as u64 == size)
            .ok_or_else(|| unreadable(target))
    }

    fn delta_header(&self, base: &Base, offset: u64) -> Header {
        match base {
            Base::Item(base) if self.ofs_delta => Header::OfsDelta {
                base_distance: offset - self.offsets[*base as usize],
            },
            base => Header::RefDelta {
                base_id: self.id_of(base),
            },
        }
    }

    fn id_of(&self, base: &Base) -> ObjectId {
        match base {
            Base::Item(base) => self.items[*base as usize].object.id,
            Base::AtReceiver(id) => **id,
        }
    }

    /// By the same way as when it was found to be readable.
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
        // A part may come out empty: a compressor takes its time.
        while self.read == self.buffer.len() && self.part != Part::Over {
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
        let read = self.fill_buf()?.read(into)?;
        self.consume(read);
        Ok(read)
    }
}

fn header_of(kind: Kind) -> Header {
    match kind {
        Kind::Commit => Header::Commit,
        Kind::Tree => Header::Tree,
        Kind::Blob => Header::Blob,
        Kind::Tag => Header::Tag,
    }
}

pub(super) fn unreadable(id: &ObjectId) -> io::Error {
    io::Error::other(format!("{id} can't be read any more"))
}
