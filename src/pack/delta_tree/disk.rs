//! Contents on disk: those beyond the memory, and objects over a size limit.

use std::{
    fs::File,
    io::{self, Read, Seek, SeekFrom, Write},
    path::PathBuf,
};

use gix::{hash, objs::Kind};

use super::ObjectVisitor;
use crate::pack::delta_apply::{Base, interrupted};

/// The content of an object with remaining deltas.
pub(super) enum Content {
    InMemory(Vec<u8>),
    OnDisk { file: File, size: u64 },
}

impl Content {
    pub(super) fn as_base(&self) -> Box<dyn Base + '_> {
        match self {
            Content::InMemory(content) => Box::new(&content[..]),
            Content::OnDisk { file, size } => Box::new(OnDisk { file, size: *size }),
        }
    }
}

/// A base that is too large for memory, in a file.
struct OnDisk<'a> {
    file: &'a File,
    size: u64,
}

impl Base for OnDisk<'_> {
    fn size(&self) -> u64 {
        self.size
    }

    fn copy(&mut self, offset: u64, size: usize, to: &mut Vec<u8>) -> io::Result<()> {
        let filled = to.len();
        to.resize(filled + size, 0);
        let mut file = self.file;
        file.seek(SeekFrom::Start(offset))?;
        file.read_exact(&mut to[filled..])
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
    pub(super) fn file<W: ObjectVisitor>(
        &mut self,
        size: u64,
        work: &mut W,
    ) -> Result<File, W::Error> {
        let held = self.held.saturating_add(size);
        work.allows_on_disk(held.saturating_sub(self.most_held))?;
        self.held = held;
        self.most_held = self.most_held.max(held);
        tempfile::tempfile_in(&self.folder).map_err(|err| work.failed(err))
    }

    pub(super) fn put<W: ObjectVisitor>(
        &mut self,
        content: &[u8],
        work: &mut W,
    ) -> Result<Content, W::Error> {
        let size = content.len() as u64;
        let mut file = self.file(size, work)?;
        let written = file.write_all(content);
        written.map_err(|err| work.failed(err))?;
        Ok(Content::OnDisk { file, size })
    }

    pub(super) fn let_go(&mut self, size: u64) {
        self.held -= size;
    }
}

/// An object that isn't to be in memory, whatever room there is: it is hashed as it is made, and written
/// to a file only if something may be built on it.
pub(super) struct Oversized {
    entry: u32,
    kind: Kind,
    size: u64,
    hasher: hash::Hasher,
    file: Option<File>,
    /// The failure of our own disk, and no fault of the pack.
    failure: Option<io::Error>,
}

impl Oversized {
    pub(super) fn begin<W: ObjectVisitor>(
        entry: u32,
        kind: Kind,
        size: u64,
        (hash, disk): (hash::Kind, &mut Disk),
        work: &mut W,
    ) -> Result<Self, W::Error> {
        let mut hasher = hash::hasher(hash);
        hasher.update(&gix::objs::encode::loose_header(kind, size));
        let file = if work.may_lead_on(entry) {
            Some(disk.file(size, work)?)
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

    pub(super) fn add(&mut self, piece: &[u8], work: &impl ObjectVisitor) -> io::Result<()> {
        if !work.may_go_on() {
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

    /// Ends the object once it is `made`. Returns no content if the object has no deltas.
    pub(super) fn end<W: ObjectVisitor>(
        self,
        made: io::Result<()>,
        work: &mut W,
    ) -> Result<Option<Content>, W::Error> {
        if let Err(err) = made {
            return Err(match self.failure {
                Some(own) => work.failed(own),
                None => work.unreadable(self.entry, err),
            });
        }
        let (size, file) = (self.size, self.file);
        work.oversized(self.entry, self.kind, size, self.hasher)?;
        Ok(file.map(|file| Content::OnDisk { file, size }))
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
        let mut base = OnDisk {
            file: &file,
            size: 10,
        };
        let mut out = Vec::new();
        let mut delta = &[0x91, 2, 4, 1, b'-', 0x91, 9, 1][..];
        apply(&mut delta, &mut base, 6, &mut out, || true).expect("applied");
        assert_eq!(out, b"2345-9");
    }
}
