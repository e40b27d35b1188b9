//! Undoing the deltas of a pack: each object once, in little memory.
//!
//! A delta's base can be a delta, too, so the entries of a pack form trees with whole objects as
//! their roots. A [`Descent`] goes down such a tree depth-first and has only the contents on its way
//! at hand. It takes the largest branch of an entry last, when the entry's own content isn't needed
//! any more: a chain takes two contents however long it is, and a tree of n entries at most log2(n).
//! Those that memory has no room for wait on disk.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write},
    ops::Range,
    path::{Path, PathBuf},
};

use gix::objs::Kind;
use gix_pack::data;

pub(crate) mod apply;
mod deltas;
mod paced;
mod room;
mod work;
mod zlib;

use apply::{Base, OnDisk, apply, sizes};
pub(crate) use deltas::{Deltas, NO_BASE};
use paced::Paced;
use room::Permit;
pub(crate) use room::Room;
pub(crate) use work::{Visited, Work};
pub(crate) use zlib::{Inflater, Inflating};

/// The longest header of an entry: a size of 64 bits, and the longest distance or id.
const MAX_HEADER: usize = 10 + 32;

/// One walk down at a time, through one pack.
pub(crate) struct Descent<'a, N> {
    pack: File,
    hash: gix::hash::Kind,
    room: &'a Room,
    folder: PathBuf,
    inflater: Inflater,
    /// The entry that was read last, unless it is a large one.
    raw: Vec<u8>,
    delta: Vec<u8>,
    /// A base that was on disk.
    base: Vec<u8>,
    /// The entries on the way, each with deltas that are still to be looked at.
    way: Vec<Waiting<N>>,
    /// Of all on the way, in order.
    deltas: Vec<u32>,
    in_memory: usize,
    disk: Option<File>,
    on_disk: u64,
    /// How long the file on disk has become.
    disk_size: u64,
    spare: Vec<Vec<u8>>,
}

struct Waiting<N> {
    kind: Kind,
    depth: u32,
    content: Content,
    note: N,
    /// Where in [`Descent::deltas`] its own begin.
    first: usize,
}

enum Content {
    InMemory(Vec<u8>),
    OnDisk { start: u64, size: u64 },
}

/// How much of a large entry is read at a time.
const CHUNK: usize = 64 * 1024;

/// How many buffers are kept for contents to come, and how large they are at most.
const MAX_SPARE: usize = 4;
const MAX_SPARE_SIZE: usize = 1024 * 1024;

/// An object that was just looked at, with the permit for a large one.
struct Made<'a, N> {
    kind: Kind,
    content: Vec<u8>,
    note: N,
    permit: Option<Permit<'a>>,
}

impl<'a, N> Descent<'a, N> {
    /// `folder` is where contents wait that memory has no room for.
    pub(crate) fn new(
        pack: &Path,
        hash: gix::hash::Kind,
        room: &'a Room,
        folder: &Path,
    ) -> io::Result<Self> {
        Ok(Descent {
            pack: File::open(pack)?,
            hash,
            room,
            folder: folder.to_owned(),
            inflater: Inflater::new(),
            raw: Vec::new(),
            delta: Vec::new(),
            base: Vec::new(),
            way: Vec::new(),
            deltas: Vec::new(),
            in_memory: 0,
            disk: None,
            on_disk: 0,
            disk_size: 0,
            spare: Vec::new(),
        })
    }

    /// Looks at the whole object `root` and at everything that is built on it.
    pub(crate) fn descend<W>(&mut self, root: u32, work: &mut W) -> Result<(), W::Error>
    where
        W: Work<Note = N>,
    {
        let whole = self.whole(root, work)?;
        self.go_down(root, whole, work)
    }

    /// The same from an object that is at hand.
    pub(crate) fn descend_from<W>(
        &mut self,
        root: u32,
        kind: Kind,
        content: Vec<u8>,
        work: &mut W,
    ) -> Result<(), W::Error>
    where
        W: Work<Note = N>,
    {
        let permit = self.room.permit_for(content.len() as u64);
        let note = work.visit(root, kind, &content, None)?;
        let whole = Made {
            kind,
            content,
            note,
            permit,
        };
        self.go_down(root, whole, work)
    }

    fn go_down<W>(&mut self, root: u32, whole: Made<'a, N>, work: &mut W) -> Result<(), W::Error>
    where
        W: Work<Note = N>,
    {
        self.way.clear();
        self.deltas.clear();
        (self.in_memory, self.on_disk) = (0, 0);
        self.enter(root, 0, whole, work)?;
        while let Some(base) = self.way.pop() {
            let Some(entry) = self.deltas.pop() else {
                break;
            };
            let depth = base.depth + 1;
            let made = self.made(entry, &base, work)?;
            match self.deltas.len() == base.first {
                true => self.leave(base.content),
                false => self.way.push(base),
            }
            self.enter(entry, depth, made, work)?;
        }
        Ok(())
    }

    fn whole<W: Work<Note = N>>(
        &mut self,
        entry: u32,
        work: &mut W,
    ) -> Result<Made<'a, N>, W::Error> {
        let unreadable = |work: &W, err| work.unreadable(entry, err);
        let mut content = self.spare.pop().unwrap_or_default();
        if let Some(kind) = work.whole(entry, &mut content) {
            let size = content.len() as u64;
            work.allows(entry, size, 0)?;
            let note = work.visit(entry, kind, &content, None)?;
            return Ok(Made {
                kind,
                content,
                note,
                permit: None,
            });
        }
        let place = work.place(entry);
        let header = self.read(&place).map_err(|err| unreadable(work, err))?;
        let size = header.decompressed_size;
        work.allows(entry, size, 0)?;
        let permit = self.room.permit_for(size);
        let mut whole = || {
            let kind = header.header.as_kind().ok_or_else(not_as_it_was)?;
            let stream = &mut stream(&mut self.pack, &self.raw, &header, &place)?;
            match self.raw.is_empty() {
                false => self
                    .inflater
                    .inflate(stream.fill_buf()?, size as usize, &mut content)?,
                true => {
                    content.clear();
                    content.reserve_exact(size as usize);
                    self.inflater.read(stream, size).read_to_end(&mut content)?;
                }
            }
            Ok(kind)
        };
        let kind = whole().map_err(|err| unreadable(work, err))?;
        let note = work.visit(entry, kind, &content, None)?;
        Ok(Made {
            kind,
            content,
            note,
            permit,
        })
    }

    fn made<W: Work<Note = N>>(
        &mut self,
        entry: u32,
        base: &Waiting<N>,
        work: &mut W,
    ) -> Result<Made<'a, N>, W::Error> {
        let unreadable = |work: &W, err| work.unreadable(entry, err);
        let place = work.place(entry);
        let large_one = self
            .delta(entry, &place, work)
            .map_err(|err| unreadable(work, err))?;
        let at_hand = self
            .at_hand(&base.content)
            .map_err(|err| unreadable(work, err))?;
        let room = self.room;
        let mut content = self.spare.pop().unwrap_or_default();
        let Descent {
            pack,
            raw,
            delta,
            inflater,
            base: buffer,
            disk,
            ..
        } = self;
        let base_content = match (&base.content, at_hand) {
            (Content::InMemory(content), _) => Some(&content[..]),
            (Content::OnDisk { .. }, true) => Some(&buffer[..]),
            (Content::OnDisk { .. }, false) => None,
        };
        let mut from: Box<dyn Base + '_> = match (base_content, &base.content, disk) {
            (Some(content), ..) => Box::new(content),
            (None, &Content::OnDisk { start, size }, Some(file)) => {
                Box::new(OnDisk { file, start, size })
            }
            (None, ..) => return Err(unreadable(work, io::ErrorKind::NotFound.into())),
        };
        let (mut small, mut large);
        let instructions: &mut dyn BufRead = match &large_one {
            None => {
                small = &delta[..];
                &mut small
            }
            Some(header) => {
                let stream =
                    stream(pack, raw, header, &place).map_err(|err| unreadable(work, err))?;
                large = inflater.read(stream, header.decompressed_size);
                &mut large
            }
        };
        let (base_size, size) = sizes(instructions).map_err(|err| unreadable(work, err))?;
        if base_size != from.size() {
            let err = io::Error::new(io::ErrorKind::InvalidData, "a delta of another base");
            return Err(unreadable(work, err));
        }
        work.allows(entry, size, base.depth + 1)?;
        let permit = room.permit_for(size);
        let may_go_on = || work.may_go_on();
        let applied = match base_content {
            // As nearly all are: what is known to be in memory takes a third of the time.
            Some(mut base) if large_one.is_none() => {
                let mut rest = instructions.fill_buf().unwrap_or_default();
                let mut paced = Paced::new(&mut rest, may_go_on);
                apply(&mut paced, &mut base, size as usize, &mut content)
            }
            _ => {
                let mut paced = Paced::new(instructions, may_go_on);
                apply(&mut paced, &mut *from, size as usize, &mut content)
            }
        };
        applied.map_err(|err| unreadable(work, err))?;
        drop(from);
        let visited = base_content.map(|content| Visited {
            content,
            note: &base.note,
        });
        let kind = base.kind;
        let note = work.visit(entry, kind, &content, visited)?;
        Ok(Made {
            kind,
            content,
            note,
            permit,
        })
    }

    /// Puts the delta of an entry into [`Descent::delta`], unless it is a large one: of that only the
    /// header is told, and the rest is to be read.
    fn delta<W: Work>(
        &mut self,
        entry: u32,
        place: &Range<u64>,
        work: &W,
    ) -> io::Result<Option<data::Entry>> {
        if work.inflated(entry, self.room.large, &mut self.delta) {
            return Ok(None);
        }
        let header = self.read(place)?;
        let size = header.decompressed_size;
        if self.raw.is_empty() || size > self.room.large as u64 {
            return Ok(Some(header));
        }
        let stream = &self.raw[header.header_size()..];
        self.inflater
            .inflate(stream, size as usize, &mut self.delta)?;
        Ok(None)
    }

    /// Goes on to what is built on an object, if there is anything.
    fn enter<W: Work<Note = N>>(
        &mut self,
        entry: u32,
        depth: u32,
        made: Made<'a, N>,
        work: &mut W,
    ) -> Result<(), W::Error> {
        let Made {
            kind,
            mut content,
            note,
            permit: _permit,
        } = made;
        let first = self.deltas.len();
        work.deltas(entry, &mut self.deltas)?;
        if self.deltas.len() == first {
            self.keep_buffer(content);
            return Ok(());
        }
        // A buffer that has held a larger one.
        if content.capacity() / 2 > content.len() {
            content.shrink_to_fit();
        }
        let fits = self.in_memory + content.capacity() <= self.room.waiting;
        let content = match fits && content.len() <= self.room.large {
            true => {
                self.in_memory += content.capacity();
                Content::InMemory(content)
            }
            false => {
                let end = self.on_disk + content.len() as u64;
                work.allows_on_disk(end.saturating_sub(self.disk_size))?;
                self.disk_size = self.disk_size.max(end);
                self.put_on_disk(content).map_err(|err| work.failed(err))?
            }
        };
        self.way.push(Waiting {
            kind,
            depth,
            content,
            note,
            first,
        });
        Ok(())
    }

    fn leave(&mut self, content: Content) {
        match content {
            Content::InMemory(content) => {
                self.in_memory -= content.capacity();
                self.keep_buffer(content);
            }
            // What was put there after it is gone by now.
            Content::OnDisk { start, .. } => self.on_disk = start,
        }
    }

    fn keep_buffer(&mut self, buffer: Vec<u8>) {
        if self.spare.len() < MAX_SPARE && buffer.capacity() <= MAX_SPARE_SIZE {
            self.spare.push(buffer);
        }
    }

    fn put_on_disk(&mut self, content: Vec<u8>) -> io::Result<Content> {
        let disk = match &mut self.disk {
            Some(disk) => disk,
            none => none.insert(tempfile::tempfile_in(&self.folder)?),
        };
        let (start, size) = (self.on_disk, content.len() as u64);
        disk.seek(SeekFrom::Start(start))?;
        disk.write_all(&content)?;
        self.on_disk += size;
        Ok(Content::OnDisk { start, size })
    }

    /// Brings a content from disk, if it is small enough; whether it is in [`Descent::base`] now.
    fn at_hand(&mut self, content: &Content) -> io::Result<bool> {
        let (&Content::OnDisk { start, size }, Some(disk)) = (content, &mut self.disk) else {
            return Ok(false);
        };
        if size > self.room.large as u64 {
            return Ok(false);
        }
        self.base.resize(size as usize, 0);
        disk.seek(SeekFrom::Start(start))?;
        disk.read_exact(&mut self.base)?;
        Ok(true)
    }

    /// The header of an entry. A small entry is in [`Descent::raw`] then, as a whole.
    fn read(&mut self, place: &Range<u64>) -> io::Result<data::Entry> {
        let size = place.end.saturating_sub(place.start);
        let is_small = size <= self.room.large as u64;
        let ahead = if is_small {
            size
        } else {
            size.min(MAX_HEADER as u64)
        };
        self.raw.resize(ahead as usize, 0);
        self.pack.seek(SeekFrom::Start(place.start))?;
        self.pack.read_exact(&mut self.raw)?;
        let header = data::Entry::from_bytes(&self.raw, place.start, self.hash)
            .map_err(|_| not_as_it_was())?;
        if !is_small {
            self.raw.clear();
        }
        Ok(header)
    }
}

/// The zlib stream of an entry that was read.
fn stream<'s>(
    pack: &'s mut File,
    raw: &'s [u8],
    header: &data::Entry,
    place: &Range<u64>,
) -> io::Result<Box<dyn BufRead + 's>> {
    if !raw.is_empty() {
        return Ok(Box::new(&raw[header.header_size()..]));
    }
    pack.seek(SeekFrom::Start(header.data_offset))?;
    let rest = pack.take(place.end.saturating_sub(header.data_offset));
    Ok(Box::new(BufReader::with_capacity(CHUNK, rest)))
}

fn not_as_it_was() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "not what it was before")
}

#[cfg(test)]
mod tests;
