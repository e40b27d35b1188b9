//! Applying the deltas of a pack: each object is reconstructed once, in bounded memory.
//!
//! A delta's base can be a delta as well, so the entries of a pack form trees with whole objects as their roots. A
//! [`DeltaTraversal`] walks such a tree depth-first and holds only the contents of the entries on its path. It takes the
//! largest subtree of an entry last, when the entry's own content is no longer needed: a chain of any length needs
//! two contents at a time, a tree of n entries at most log2(n). Contents beyond the [`ContentMemory`] are written
//! to disk, and so are objects over a size limit, which are not visited.

use std::{
    fs::File,
    io::{self, BufRead},
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
use disk::{BaseContent, Content, Disk, Oversized};
use entry_reader::{EntryReader, not_as_it_was};
pub(crate) use memory::ContentMemory;
use memory::Permit;
pub(crate) use visitor::ObjectVisitor;

use crate::{
    buffered::each_piece,
    pack::{
        delta_apply::{Base, apply, apply_in_pieces, size_on},
        inflate::{Inflater, Inflating},
    },
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
    /// The remaining deltas of all entries on the path, in the order of the path. Those of an entry reach from its
    /// [`first`](Waiting::first) to that of the next entry, or to the end. Each entry on the path has at least one.
    deltas: Vec<u32>,
    in_memory: usize,
    disk: Disk,
    spare: Vec<Vec<u8>>,
}

/// An entry on the path. All entries of a delta tree are of the kind of its root.
struct Waiting {
    /// The entry's delta chain, the entry included.
    chain: Chain,
    content: Content,
    /// The start of the entry's deltas in [`DeltaTraversal::deltas`].
    first: usize,
}

/// The objects that have to be reconstructed for the last of them, from a whole one on.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Chain {
    pub(crate) objects: u32,
    /// The bytes of all these objects.
    pub(crate) bytes: u64,
}

impl Chain {
    /// The chain of a delta of its last object.
    fn with(self, size: u64) -> Self {
        Chain {
            objects: self.objects.saturating_add(1),
            bytes: self.bytes.saturating_add(size),
        }
    }
}

/// The number of buffers that are kept for reuse, and their largest size in bytes.
const MAX_SPARE: usize = 4;
const MAX_SPARE_SIZE: usize = 1024 * 1024;

/// An object that was just reconstructed.
enum Reconstructed<'a> {
    /// A visited object, with the permit if it is a large one.
    InMemory(Vec<u8>, Option<Permit<'a>>),
    /// An object over a size limit.
    OnDisk { file: File, size: u64 },
    /// An object over a size limit that has no deltas.
    NotKept,
}

/// A delta: its sizes, and the instructions after them.
enum Delta<'a> {
    InMemory(&'a [u8]),
    /// A large delta, inflated while it is applied.
    Streamed(Inflating<&'a mut Inflater, Box<dyn BufRead + 'a>>),
}

impl Delta<'_> {
    fn reader(&mut self) -> &mut dyn BufRead {
        match self {
            Delta::InMemory(delta) => delta,
            Delta::Streamed(delta) => delta,
        }
    }

    /// Replaces `to` by the result of `size` bytes. The sizes of the delta were read.
    fn apply(
        &mut self,
        base: &mut BaseContent<'_>,
        size: usize,
        to: &mut Vec<u8>,
        may_go_on: impl Fn() -> bool,
    ) -> io::Result<()> {
        match (self, base) {
            // The usual case. With base and delta known to be slices, applying takes a third of the time.
            (Delta::InMemory(delta), BaseContent::InMemory(base)) => {
                apply(delta, base, size, to, may_go_on)
            }
            (delta, base) => apply(delta.reader(), base, size, to, may_go_on),
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
    pub(crate) fn traverse<V: ObjectVisitor>(
        &mut self,
        root: u32,
        visitor: &mut V,
    ) -> Result<(), V::Error> {
        self.begin();
        let (kind, whole) = self.whole(root, visitor)?;
        self.walk_down(root, kind, whole, visitor)
    }

    /// Walks the deltas of a root as [`traverse`](Self::traverse) does; the content of the root is given.
    pub(crate) fn traverse_from<V: ObjectVisitor>(
        &mut self,
        root: u32,
        kind: Kind,
        content: Vec<u8>,
        visitor: &mut V,
    ) -> Result<(), V::Error> {
        self.begin();
        let permit = self.memory.permit_for(content.len() as u64);
        visitor.visit(root, kind, &content, None)?;
        let whole = Reconstructed::InMemory(content, permit);
        self.walk_down(root, kind, whole, visitor)
    }

    /// Empties the path, which a failed traversal has left as it was.
    fn begin(&mut self) {
        self.path.clear();
        self.deltas.clear();
        (self.in_memory, self.disk.held) = (0, 0);
    }

    fn walk_down<V: ObjectVisitor>(
        &mut self,
        root: u32,
        kind: Kind,
        whole: Reconstructed<'a>,
        visitor: &mut V,
    ) -> Result<(), V::Error> {
        self.enter(root, Chain::default(), whole, visitor)?;
        // Both end together: the last delta is one of the last entry on the path.
        while let (Some(base), Some(entry)) = (self.path.pop(), self.deltas.pop()) {
            let above = base.chain;
            let made = self.reconstruct(entry, kind, &base, visitor)?;
            if self.deltas.len() == base.first {
                self.leave(base.content)
            } else {
                self.path.push(base)
            }
            self.enter(entry, above, made, visitor)?;
        }
        Ok(())
    }

    fn whole<V: ObjectVisitor>(
        &mut self,
        entry: u32,
        visitor: &mut V,
    ) -> Result<(Kind, Reconstructed<'a>), V::Error> {
        let unreadable = |visitor: &V, err| visitor.unreadable(entry, err);
        let mut content = self.spare.pop().unwrap_or_default();
        if let Some(kind) = visitor.whole(entry, &mut content) {
            // Contents that the visitor has kept are small: they need no permit.
            let size = content.len() as u64;
            visitor.allows(entry, kind, size, Chain::default().with(size))?;
            visitor.visit(entry, kind, &content, None)?;
            return Ok((kind, Reconstructed::InMemory(content, None)));
        }
        let range = visitor.byte_range(entry);
        let header = self.entries.header(&range);
        let header = header.map_err(|err| unreadable(visitor, err))?;
        let size = header.decompressed_size;
        let kind = header.header.as_kind();
        let kind = kind.ok_or_else(|| unreadable(visitor, not_as_it_was()))?;
        if !visitor.allows(entry, kind, size, Chain::default().with(size))? {
            let whole = self.oversized_whole(entry, kind, &header, visitor)?;
            return Ok((kind, whole));
        }
        let permit = self.memory.permit_for(size);
        let read = self.entries.inflate(&header, &range, &mut content);
        read.map_err(|err| unreadable(visitor, err))?;
        visitor.visit(entry, kind, &content, None)?;
        Ok((kind, Reconstructed::InMemory(content, permit)))
    }

    /// Hashes a whole object over a size limit as a stream, and writes it to disk if it may have deltas.
    fn oversized_whole<V: ObjectVisitor>(
        &mut self,
        entry: u32,
        kind: Kind,
        header: &data::Entry,
        visitor: &mut V,
    ) -> Result<Reconstructed<'a>, V::Error> {
        let (size, range) = (header.decompressed_size, visitor.byte_range(entry));
        let disk = (self.hash, &mut self.disk);
        let mut whole = Oversized::begin(entry, kind, size, disk, visitor)?;
        let stream = self.entries.stream(header, &range);
        let read = stream.and_then(|stream| each_piece(stream, |piece| whole.add(piece, visitor)));
        whole.end(read, visitor)
    }

    /// Applies the delta of an entry to `base`, and visits the object; hashes an object over a size limit as a stream.
    fn reconstruct<V: ObjectVisitor>(
        &mut self,
        entry: u32,
        kind: Kind,
        base: &Waiting,
        visitor: &mut V,
    ) -> Result<Reconstructed<'a>, V::Error> {
        let unreadable = |visitor: &V, err| visitor.unreadable(entry, err);
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
        let delta = read_delta(entry, entries, memory.large, delta, visitor);
        let mut delta = delta.map_err(|err| unreadable(visitor, err))?;
        let from = base.content.as_base(memory.large, buffer);
        let mut from = from.map_err(|err| unreadable(visitor, err))?;
        let size = size_on(from.size(), delta.reader());
        let size = size.map_err(|err| unreadable(visitor, err))?;
        if !visitor.allows(entry, kind, size, base.chain.with(size))? {
            let mut made = Oversized::begin(entry, kind, size, (*hash, disk), visitor)?;
            let applied = apply_in_pieces(delta.reader(), &mut from, size, |piece| {
                made.add(piece, visitor)
            });
            return made.end(applied, visitor);
        }
        let permit = memory.permit_for(size);
        let applied = delta.apply(&mut from, size as usize, &mut content, || {
            visitor.may_go_on()
        });
        applied.map_err(|err| unreadable(visitor, err))?;
        visitor.visit(entry, kind, &content, from.in_memory())?;
        Ok(Reconstructed::InMemory(content, permit))
    }

    /// Puts an object with deltas on the path; drops the content of an object without.
    ///
    /// The permit of a large object ends here, when its content is on disk or dropped: a thread that held it while it
    /// reconstructs the next object would wait for itself.
    fn enter<V: ObjectVisitor>(
        &mut self,
        entry: u32,
        above: Chain,
        made: Reconstructed<'a>,
        visitor: &mut V,
    ) -> Result<(), V::Error> {
        let (content, _permit) = match made {
            Reconstructed::InMemory(content, permit) => (Content::InMemory(content), permit),
            Reconstructed::OnDisk { file, size } => (Content::OnDisk { file, size }, None),
            Reconstructed::NotKept => return Ok(()),
        };
        let chain = above.with(content.size());
        let first = self.deltas.len();
        visitor.deltas(entry, &mut self.deltas)?;
        let has_deltas = self.deltas.len() > first;
        let content = match content {
            Content::InMemory(content) if has_deltas => self.keep(content, visitor)?,
            on_disk if has_deltas => on_disk,
            Content::InMemory(content) => {
                self.keep_buffer(content);
                return Ok(());
            }
            Content::OnDisk { size, .. } => {
                self.disk.let_go(size);
                return Ok(());
            }
        };
        self.path.push(Waiting {
            chain,
            content,
            first,
        });
        Ok(())
    }

    /// Keeps a content in memory, or on disk if it is large or the memory is used up.
    fn keep<V: ObjectVisitor>(
        &mut self,
        mut content: Vec<u8>,
        visitor: &mut V,
    ) -> Result<Content, V::Error> {
        // The buffer may have held a larger content before: count and keep only what this one needs.
        if content.capacity() / 2 > content.len() {
            content.shrink_to_fit();
        }
        let fits = self.in_memory + content.capacity() <= self.memory.waiting;
        if !fits || content.len() > self.memory.large {
            return self.disk.put(&content, visitor);
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
}

/// The delta of an entry: inflated into `buffer`, or as a stream if it is large, which is over `large` bytes.
fn read_delta<'e>(
    entry: u32,
    entries: &'e mut EntryReader,
    large: usize,
    buffer: &'e mut Vec<u8>,
    visitor: &impl ObjectVisitor,
) -> io::Result<Delta<'e>> {
    if visitor.inflated(entry, large, buffer) {
        return Ok(Delta::InMemory(buffer));
    }
    let range = visitor.byte_range(entry);
    let header = entries.header(&range)?;
    if entries.is_large(&header) {
        return entries.stream(&header, &range).map(Delta::Streamed);
    }
    entries.inflate(&header, &range, buffer)?;
    Ok(Delta::InMemory(buffer))
}

#[cfg(test)]
mod tests;
