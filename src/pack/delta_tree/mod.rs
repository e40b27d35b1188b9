//! Applying the deltas of a pack: each object is reconstructed once, in bounded memory.
//!
//! A delta's base can be a delta as well, so the entries of a pack form trees with whole objects as their roots. A
//! [`DeltaTraversal`] walks such a tree depth-first and holds only the contents of the entries on its path. It takes the
//! largest subtree of an entry last, when the entry's own content is no longer needed: a chain of any length needs
//! two contents at a time, a tree of n entries at most log2(n). Contents beyond the [`ContentMemory`] are written
//! to disk, and so are objects over a size limit, which are not visited.

use std::{
    fs::File,
    io::{self, BufRead, Read, Seek},
    ops::Range,
    path::Path,
};

use gix::objs::Kind;
use gix_pack::data;

mod deltas;
mod disk;
mod entry_reader;
mod memory;
mod visitor;

pub(crate) use deltas::{Deltas, NO_BASE};
use disk::{Content, Disk, Oversized};
use entry_reader::{EntryReader, not_as_it_was};
pub(crate) use memory::ContentMemory;
use memory::Permit;
pub(crate) use visitor::ObjectVisitor;

use crate::{
    buffered::each_piece,
    pack::delta_apply::{Base, apply, apply_in_pieces, size_on},
};

/// A traversal of the delta trees of one pack, one tree at a time.
pub(crate) struct DeltaTraversal<'a> {
    entries: EntryReader,
    hash: gix::hash::Kind,
    memory: &'a ContentMemory,
    delta: Vec<u8>,
    /// A base that was read back from disk.
    base: Vec<u8>,
    /// The path: entries that still have deltas to reconstruct, from the root down.
    path: Vec<Waiting>,
    /// The remaining deltas of all entries on the path, in the order of the path.
    deltas: Vec<u32>,
    in_memory: usize,
    disk: Disk,
    spare: Vec<Vec<u8>>,
}

struct Waiting {
    kind: Kind,
    depth: u32,
    content: Content,
    /// The start of the entry's deltas in [`DeltaTraversal::deltas`].
    first: usize,
}

/// The number of buffers that are kept for reuse, and their largest size in bytes.
const MAX_SPARE: usize = 4;
const MAX_SPARE_SIZE: usize = 1024 * 1024;

/// An object that was just visited, with the permit if it is a large one.
struct Reconstructed<'a> {
    kind: Kind,
    /// `None` for an object over a size limit that has no deltas.
    content: Option<Content>,
    permit: Option<Permit<'a>>,
}

impl<'a> Reconstructed<'a> {
    fn in_memory(kind: Kind, content: Vec<u8>, permit: Option<Permit<'a>>) -> Self {
        Reconstructed {
            kind,
            content: Some(Content::InMemory(content)),
            permit,
        }
    }

    fn on_disk(kind: Kind, content: Option<Content>) -> Self {
        Reconstructed {
            kind,
            content,
            permit: None,
        }
    }
}

impl<'a> DeltaTraversal<'a> {
    /// Opens the file `pack`. Contents beyond the memory are written to unnamed files in `folder`.
    pub(crate) fn new(
        pack: &Path,
        hash: gix::hash::Kind,
        memory: &'a ContentMemory,
        folder: &Path,
    ) -> io::Result<Self> {
        Ok(DeltaTraversal {
            entries: EntryReader::new(File::open(pack)?, hash, memory.large),
            hash,
            memory,
            delta: Vec::new(),
            base: Vec::new(),
            path: Vec::new(),
            deltas: Vec::new(),
            in_memory: 0,
            disk: Disk::new(folder.to_owned()),
            spare: Vec::new(),
        })
    }

    /// Visits the whole object `root` and all direct and indirect deltas of it.
    pub(crate) fn traverse<W: ObjectVisitor>(
        &mut self,
        root: u32,
        work: &mut W,
    ) -> Result<(), W::Error> {
        self.begin();
        let whole = self.whole(root, work)?;
        self.walk_down(root, whole, work)
    }

    /// Walks the deltas of a root as [`traverse`](Self::traverse) does; the content of the root is given.
    pub(crate) fn traverse_from<W: ObjectVisitor>(
        &mut self,
        root: u32,
        kind: Kind,
        content: Vec<u8>,
        work: &mut W,
    ) -> Result<(), W::Error> {
        self.begin();
        let permit = self.memory.permit_for(content.len() as u64);
        work.visit(root, kind, &content, None)?;
        let whole = Reconstructed::in_memory(kind, content, permit);
        self.walk_down(root, whole, work)
    }

    fn begin(&mut self) {
        self.path.clear();
        self.deltas.clear();
        (self.in_memory, self.disk.held) = (0, 0);
    }

    fn walk_down<W: ObjectVisitor>(
        &mut self,
        root: u32,
        whole: Reconstructed<'a>,
        work: &mut W,
    ) -> Result<(), W::Error> {
        self.enter(root, 0, whole, work)?;
        while let Some(base) = self.path.pop() {
            let Some(entry) = self.deltas.pop() else {
                break;
            };
            let depth = base.depth + 1;
            let made = self.made(entry, &base, work)?;
            if self.deltas.len() == base.first {
                self.leave(base.content)
            } else {
                self.path.push(base)
            }
            self.enter(entry, depth, made, work)?;
        }
        Ok(())
    }

    fn whole<W: ObjectVisitor>(
        &mut self,
        entry: u32,
        work: &mut W,
    ) -> Result<Reconstructed<'a>, W::Error> {
        let unreadable = |work: &W, err| work.unreadable(entry, err);
        let mut content = self.spare.pop().unwrap_or_default();
        if let Some(kind) = work.whole(entry, &mut content) {
            // Contents that the visitor has kept are small: they need no permit.
            work.allows(entry, kind, content.len() as u64, 0)?;
            work.visit(entry, kind, &content, None)?;
            return Ok(Reconstructed::in_memory(kind, content, None));
        }
        let place = work.place(entry);
        let header = self.entries.header(&place);
        let header = header.map_err(|err| unreadable(work, err))?;
        let size = header.decompressed_size;
        let kind = header.header.as_kind();
        let kind = kind.ok_or_else(|| unreadable(work, not_as_it_was()))?;
        if !work.allows(entry, kind, size, 0)? {
            return self.oversized_whole(entry, kind, &header, work);
        }
        let permit = self.memory.permit_for(size);
        let read = self.entries.inflate(&header, &place, &mut content);
        read.map_err(|err| unreadable(work, err))?;
        work.visit(entry, kind, &content, None)?;
        Ok(Reconstructed::in_memory(kind, content, permit))
    }

    /// Hashes a whole object over a size limit as a stream, and writes it to disk if it may have deltas.
    fn oversized_whole<W: ObjectVisitor>(
        &mut self,
        entry: u32,
        kind: Kind,
        header: &data::Entry,
        work: &mut W,
    ) -> Result<Reconstructed<'a>, W::Error> {
        let (size, place) = (header.decompressed_size, work.place(entry));
        let mut whole = Oversized::begin(entry, kind, size, (self.hash, &mut self.disk), work)?;
        let stream = self.entries.stream(header, &place);
        let read = stream.and_then(|stream| each_piece(stream, |piece| whole.add(piece, work)));
        Ok(Reconstructed::on_disk(kind, whole.end(read, work)?))
    }

    fn made<W: ObjectVisitor>(
        &mut self,
        entry: u32,
        base: &Waiting,
        work: &mut W,
    ) -> Result<Reconstructed<'a>, W::Error> {
        let unreadable = |work: &W, err| work.unreadable(entry, err);
        let place = work.place(entry);
        let large_delta = self
            .delta(entry, &place, work)
            .map_err(|err| unreadable(work, err))?;
        let read_back = self
            .read_back(&base.content)
            .map_err(|err| unreadable(work, err))?;
        let memory = self.memory;
        let mut content = self.spare.pop().unwrap_or_default();
        let DeltaTraversal {
            entries,
            delta,
            base: buffer,
            disk,
            hash,
            ..
        } = self;
        let kind = base.kind;
        let base_content = match (&base.content, read_back) {
            (Content::InMemory(content), _) => Some(&content[..]),
            (Content::OnDisk { .. }, true) => Some(&buffer[..]),
            (Content::OnDisk { .. }, false) => None,
        };
        let mut from: Box<dyn Base + '_> = match base_content {
            Some(content) => Box::new(content),
            None => base.content.as_base(),
        };
        let (mut small, mut large);
        let instructions: &mut dyn BufRead = match &large_delta {
            None => {
                small = &delta[..];
                &mut small
            }
            Some(header) => {
                let stream = entries.stream(header, &place);
                large = stream.map_err(|err| unreadable(work, err))?;
                &mut large
            }
        };
        let size = size_on(from.size(), instructions).map_err(|err| unreadable(work, err))?;
        if !work.allows(entry, kind, size, base.depth + 1)? {
            let mut made = Oversized::begin(entry, kind, size, (*hash, disk), work)?;
            let applied = apply_in_pieces(instructions, &mut *from, size, |piece| {
                made.add(piece, work)
            });
            return Ok(Reconstructed::on_disk(kind, made.end(applied, work)?));
        }
        let permit = memory.permit_for(size);
        let may_go_on = || work.may_go_on();
        let applied = match base_content {
            // The usual case. With base and delta known to be slices, applying takes a third of the time.
            Some(mut base) if large_delta.is_none() => {
                let mut rest = instructions.fill_buf().unwrap_or_default();
                apply(&mut rest, &mut base, size as usize, &mut content, may_go_on)
            }
            _ => apply(
                instructions,
                &mut *from,
                size as usize,
                &mut content,
                may_go_on,
            ),
        };
        applied.map_err(|err| unreadable(work, err))?;
        drop(from);
        work.visit(entry, kind, &content, base_content)?;
        Ok(Reconstructed::in_memory(kind, content, permit))
    }

    /// Reads the delta of an entry into [`DeltaTraversal::delta`]. For a large delta it returns the header instead, and
    /// the caller streams the delta.
    fn delta<W: ObjectVisitor>(
        &mut self,
        entry: u32,
        place: &Range<u64>,
        work: &W,
    ) -> io::Result<Option<data::Entry>> {
        if work.inflated(entry, self.memory.large, &mut self.delta) {
            return Ok(None);
        }
        let header = self.entries.header(place)?;
        if self.entries.is_large(&header) {
            return Ok(Some(header));
        }
        self.entries.inflate(&header, place, &mut self.delta)?;
        Ok(None)
    }

    /// Puts an object with deltas on the path; drops the content of an object without.
    fn enter<W: ObjectVisitor>(
        &mut self,
        entry: u32,
        depth: u32,
        made: Reconstructed<'a>,
        work: &mut W,
    ) -> Result<(), W::Error> {
        let Reconstructed {
            kind,
            content,
            permit: _permit,
        } = made;
        let first = self.deltas.len();
        work.deltas(entry, &mut self.deltas)?;
        if self.deltas.len() == first {
            match content {
                Some(Content::InMemory(content)) => self.keep_buffer(content),
                Some(Content::OnDisk { size, .. }) => self.disk.let_go(size),
                None => {}
            }
            return Ok(());
        }
        let content = match content {
            Some(Content::InMemory(content)) => self.keep(content, work)?,
            Some(on_disk) => on_disk,
            None => return Err(work.unreadable(entry, io::ErrorKind::NotFound.into())),
        };
        self.path.push(Waiting {
            kind,
            depth,
            content,
            first,
        });
        Ok(())
    }

    /// Keeps a content in memory, or on disk if it is large or the memory is used up.
    fn keep<W: ObjectVisitor>(
        &mut self,
        mut content: Vec<u8>,
        work: &mut W,
    ) -> Result<Content, W::Error> {
        // The buffer may have held a larger content before: count and keep only what this one needs.
        if content.capacity() / 2 > content.len() {
            content.shrink_to_fit();
        }
        let fits = self.in_memory + content.capacity() <= self.memory.waiting;
        if !fits || content.len() > self.memory.large {
            return self.disk.put(&content, work);
        }
        self.in_memory += content.capacity();
        Ok(Content::InMemory(content))
    }

    fn leave(&mut self, content: Content) {
        match content {
            Content::InMemory(content) => {
                self.in_memory -= content.capacity();
                self.keep_buffer(content);
            }
            Content::OnDisk { size, .. } => self.disk.let_go(size),
        }
    }

    fn keep_buffer(&mut self, buffer: Vec<u8>) {
        if self.spare.len() < MAX_SPARE && buffer.capacity() <= MAX_SPARE_SIZE {
            self.spare.push(buffer);
        }
    }

    /// Reads a content on disk into [`DeltaTraversal::base`] if it is not large. Returns whether it did.
    fn read_back(&mut self, content: &Content) -> io::Result<bool> {
        let &Content::OnDisk { ref file, size } = content else {
            return Ok(false);
        };
        if size > self.memory.large as u64 {
            return Ok(false);
        }
        self.base.resize(size as usize, 0);
        let mut file = file;
        file.rewind()?;
        file.read_exact(&mut self.base)?;
        Ok(true)
    }
}

#[cfg(test)]
mod tests;
