//! Contents on disk: those beyond the memory, and objects over a size limit.

use std::{
    fs::File,
    io::{self, Read, Seek, SeekFrom, Write},
    path::PathBuf,
};

use gix::{hash, objs::Kind};

use super::{ObjectVisitor, Reconstructed};
use crate::pack::delta_apply::{Base, interrupted};

/// The content of an object with remaining deltas.
pub(super) enum Content {
    InMemory(Vec<u8>),
    OnDisk { file: File, size: u64 },
}

impl Content {
    pub(super) fn size(&self) -> u64 {
        match self {
            Content::InMemory(content) => content.len() as u64,
            Content::OnDisk { size, .. } => *size,
        }
    }

    /// The content for applying a delta to it. One on disk is read back into `buffer` unless it is over `large` bytes.
    pub(super) fn as_base<'c>(
        &'c self,
        large: usize,
        buffer: &'c mut Vec<u8>,
    ) -> io::Result<BaseContent<'c>> {
        match self {
            Content::InMemory(content) => Ok(BaseContent::InMemory(content)),
            Content::OnDisk { file, size } if *size > large as u64 => {
                Ok(BaseContent::OnDisk { file, size: *size })
            }
            Content::OnDisk { file, size } => {
                let mut file = file;
                buffer.resize(*size as usize, 0);
                file.rewind()?;
                file.read_exact(buffer)?;
                Ok(BaseContent::InMemory(buffer))
            }
        }
    }
}

/// The content that a delta is applied to.
pub(super) enum BaseContent<'a> {
    InMemory(&'a [u8]),
    OnDisk { file: &'a File, size: u64 },
}

impl BaseContent<'_> {
    pub(super) fn in_memory(&self) -> Option<&[u8]> {
        match self {
            BaseContent::InMemory(content) => Some(content),
            BaseContent::OnDisk { .. } => None,
        }
    }
}

impl Base for BaseContent<'_> {
    fn size(&self) -> u64 {
        match self {
            BaseContent::InMemory(content) => content.size(),
            BaseContent::OnDisk { size, .. } => *size,
        }
    }

    fn copy(&mut self, offset: u64, size: usize, to: &mut Vec<u8>) -> io::Result<()> {
        match self {
            BaseContent::InMemory(content) => content.copy(offset, size, to),
            BaseContent::OnDisk { file, .. } => {
                let filled = to.len();
                to.resize(filled + size, 0);
                file.seek(SeekFrom::Start(offset))?;
                file.read_exact(&mut to[filled..])
            }
        }
    }
}

/// The files of a traversal: an unnamed one for each content.
pub(super) struct Disk {
    folder: PathBuf,
    pub(super) held: u64,
    most_held: u64,
}

impl Disk {
    pub(super) fn new(folder: PathBuf) -> Self {
        Disk {
            folder,
            held: 0,
            most_held: 0,
        }
    }

    /// Makes a file for `size` bytes, which count against the limit until [`let_go`](Disk::let_go).
    pub(super) fn file<V: ObjectVisitor>(
        &mut self,
        size: u64,
        visitor: &mut V,
    ) -> Result<File, V::Error> {
        let held = self.held.saturating_add(size);
        visitor.allows_on_disk(held.saturating_sub(self.most_held))?;
        self.held = held;
        self.most_held = self.most_held.max(held);
        tempfile::tempfile_in(&self.folder).map_err(|err| visitor.failed(err))
    }

    pub(super) fn put<V: ObjectVisitor>(
        &mut self,
        content: &[u8],
        visitor: &mut V,
    ) -> Result<Content, V::Error> {
        let size = content.len() as u64;
        let mut file = self.file(size, visitor)?;
        let written = file.write_all(content);
        written.map_err(|err| visitor.failed(err))?;
        Ok(Content::OnDisk { file, size })
    }

    pub(super) fn let_go(&mut self, size: u64) {
        self.held -= size;
    }
}

/// An object over a size limit, which must not be in memory: it is hashed while it is reconstructed, and written to a
/// file only if it may have deltas.
pub(super) struct Oversized {
    entry: u32,
    kind: Kind,
    size: u64,
    hasher: hash::Hasher,
    file: Option<File>,
    /// The failure of the local disk, which is no fault of the pack.
    failure: Option<io::Error>,
}

impl Oversized {
    pub(super) fn begin<V: ObjectVisitor>(
        entry: u32,
        kind: Kind,
        size: u64,
        (hash, disk): (hash::Kind, &mut Disk),
        visitor: &mut V,
    ) -> Result<Self, V::Error> {
        let mut hasher = hash::hasher(hash);
        hasher.update(&gix::objs::encode::loose_header(kind, size));
        let file = if visitor.may_lead_on(entry) {
            Some(disk.file(size, visitor)?)
        } else {
            None
        };
        Ok(Oversized {
            entry,
            kind,
            size,
            hasher,
            file,
            failure: None,
        })
    }

    pub(super) fn add(&mut self, piece: &[u8], visitor: &impl ObjectVisitor) -> io::Result<()> {
        if !visitor.may_go_on() {
            return Err(interrupted());
        }
        self.hasher.update(piece);
        let written = self.file.as_mut().map(|file| file.write_all(piece));
        let Some(Err(err)) = written else {
            return Ok(());
        };
        let told = err.kind().into();
        self.failure = Some(err);
        Err(told)
    }

    /// Ends the object once it is `made`.
    pub(super) fn end<V: ObjectVisitor>(
        self,
        made: io::Result<()>,
        visitor: &mut V,
    ) -> Result<Reconstructed<'static>, V::Error> {
        if let Err(err) = made {
            return Err(match self.failure {
                Some(own) => visitor.failed(own),
                None => visitor.unreadable(self.entry, err),
            });
        }
        let (size, file) = (self.size, self.file);
        visitor.oversized(self.entry, self.kind, size, self.hasher)?;
        Ok(match file {
            Some(file) => Reconstructed::OnDisk { file, size },
            None => Reconstructed::NotKept,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pack::delta_apply::apply;

    #[test]
    fn a_base_on_disk_is_like_one_in_memory() {
        let mut file = tempfile::tempfile().expect("a file");
        file.write_all(b"0123456789").expect("written");
        let mut base = BaseContent::OnDisk {
            file: &file,
            size: 10,
        };
        let mut out = Vec::new();
        let mut delta = &[0x91, 2, 4, 1, b'-', 0x91, 9, 1][..];
        apply(&mut delta, &mut base, 6, &mut out, || true).expect("applied");
        assert_eq!(out, b"2345-9");
    }
}
