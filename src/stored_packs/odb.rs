//! The object database of a store. A damaged copy of an object hides no sound one.

#[cfg(test)]
mod tests;

use std::{
    cell::{Cell, OnceCell},
    io::Read as _,
    ops::{Deref, DerefMut},
    path::PathBuf,
};

use gix::{
    objs::{Data, Exists, Find, FindHeader, Header, Kind, compute_hash},
    oid,
};
use gix_pack::cache::lru;

use super::{
    StoredPacks,
    loose_objects::LooseObjects,
    pack_location::{PackLocation, StoredEncoding},
};
use crate::{
    Error, ErrorKind,
    pack::{
        delta_apply::{apply, sizes},
        inflate::Inflater,
    },
};

/// Limit of unreadable objects that the read of one object may meet. Each of several copies of a delta leads
/// to the same base: without a limit on all of them together, two copies of a chain of 50 deltas on a base
/// that is lost would take 2^50 reads.
const MAX_UNREADABLE: usize = 256;

/// The objects of a store and of its alternates. An object whose first copy can't be read is read from
/// another copy, as in git (`mark_bad_packed_object()`).
pub(crate) struct Odb {
    handle: gix::odb::Handle,
    /// Limit of an object's size in bytes.
    largest: Option<usize>,
    /// Opened when the handle fails to read an object.
    packs: OnceCell<Option<StoredPacks>>,
}

impl Odb {
    /// `largest` is the limit of an object's size in bytes.
    pub(crate) fn new(handle: gix::odb::Handle, largest: Option<usize>) -> Self {
        Odb {
            handle,
            largest,
            packs: OnceCell::new(),
        }
    }

    #[cfg(test)]
    pub(crate) fn at(objects: impl Into<PathBuf>, hash: gix::hash::Kind) -> std::io::Result<Self> {
        Ok(Odb::new(gix::odb::at(objects, hash)?, None))
    }

    /// A reader of the same objects that has so many bytes for delta bases, as has each clone of it.
    pub(crate) fn with_delta_bases(&self, memory: usize) -> Self {
        let mut odb = self.clone();
        // gix panics for a cache of no size.
        let memory = memory.max(1);
        odb.set_pack_cache(move || Box::new(lru::MemoryCappedHashmap::new(memory)));
        odb
    }

    pub(crate) fn open_packs(&self) -> Result<StoredPacks, Error> {
        StoredPacks::at(&self.folders()?, self.handle.store_ref().object_hash())
    }

    /// A reader of the loose objects; of none if the alternates are unusable, which the handle reports.
    pub(crate) fn loose_objects(&self) -> LooseObjects {
        LooseObjects::at(&self.folders().unwrap_or_default())
    }

    /// The `objects` folders of the store and of its alternates.
    fn folders(&self) -> Result<Vec<PathBuf>, Error> {
        let store = self.handle.store_ref();
        let alternates = store.alternate_db_paths().map_err(|err| {
            Error::new(ErrorKind::Corrupt, "objects/info/alternates is unusable").with_source(err)
        })?;
        Ok([vec![store.path().to_owned()], alternates].concat())
    }

    /// The kind of an object, whose content is left in `content`, from any copy that has this id.
    ///
    /// `left` are the unreadable objects that may still be met.
    fn read_any(&self, id: &oid, content: &mut Vec<u8>, left: &Cell<usize>) -> Option<Kind> {
        left.set(left.get().checked_sub(1)?);
        let packs = self.packs.get_or_init(|| self.open_packs().ok());
        let packs = packs.as_ref()?;
        let is_sound = |kind, content: &[u8]| {
            compute_hash(id.kind(), kind, content).is_ok_and(|made| *made == *id)
        };
        for location in packs.find(id) {
            let found = self.read_packed(packs, location, content, left);
            if let Some(kind) = found.filter(|kind| is_sound(*kind, content)) {
                return Some(kind);
            }
        }
        let mut loose = self.loose_objects();
        if let Some(kind) = loose.read_sound(id, content) {
            return Some(kind);
        }
        let (kind, size, mut stream) = loose.stream(id)?;
        content.clear();
        content.try_reserve_exact(self.allowed(size)?).ok()?;
        stream.read_to_end(content).ok()?;
        is_sound(kind, content).then_some(kind)
    }

    /// The bytes of an entry are compared with their checksum before they are inflated.
    fn read_packed(
        &self,
        packs: &StoredPacks,
        location: PackLocation,
        content: &mut Vec<u8>,
        left: &Cell<usize>,
    ) -> Option<Kind> {
        match packs.inspect(location)? {
            StoredEncoding::Whole(kind, _) => {
                self.inflate(packs, location, 0, content)?;
                Some(kind)
            }
            StoredEncoding::Delta(base_id) => {
                let mut base = Vec::new();
                let kind = self.read_base(&base_id, &mut base, left)?;
                let mut delta = Vec::new();
                self.inflate(packs, location, base.len(), &mut delta)?;
                let mut delta = &delta[..];
                let (base_size, size) = sizes(&mut delta).ok()?;
                // All of them are in memory at once.
                self.allowed(size.saturating_add((base.len() + delta.len()) as u64))?;
                let size = usize::try_from(size).ok()?;
                (base_size == base.len() as u64).then_some(())?;
                apply(&mut delta, &mut &base[..], size, content, || true).ok()?;
                Some(kind)
            }
        }
    }

    fn read_base(&self, id: &oid, content: &mut Vec<u8>, left: &Cell<usize>) -> Option<Kind> {
        match self.handle.try_find(id, content) {
            Ok(found) => found.map(|found| found.kind),
            Err(err) => self.read_instead(&err, id, content, left),
        }
    }

    /// Reads another copy after the handle has failed. What is too large in one is so in all: their forms
    /// differ, but somebody may have chosen these to get around the limit.
    fn read_instead(
        &self,
        err: &gix::Error,
        id: &oid,
        content: &mut Vec<u8>,
        left: &Cell<usize>,
    ) -> Option<Kind> {
        let is_too_large = self.largest.is_some() && err.is_resource_exhausted();
        (!is_too_large).then(|| self.read_any(id, content, left))?
    }

    /// The content of an entry, which is a delta if the entry is one, with `beside` bytes in memory at the
    /// same time.
    fn inflate(
        &self,
        packs: &StoredPacks,
        location: PackLocation,
        beside: usize,
        content: &mut Vec<u8>,
    ) -> Option<()> {
        let (size, mut rest) = packs.open(location)?;
        self.allowed(size.saturating_add(beside as u64))?;
        let mut stream = Vec::new();
        while packs.copy(&mut rest, &mut stream).ok()? {
            self.allowed(stream.len() as u64)?;
        }
        content.clear();
        content
            .try_reserve_exact(usize::try_from(size).ok()?)
            .ok()?;
        let mut inflated = Inflater::new().into_read(&stream[..], size);
        inflated.read_to_end(content).ok()?;
        Some(())
    }

    fn allowed(&self, size: u64) -> Option<usize> {
        let size = usize::try_from(size).ok()?;
        self.largest
            .is_none_or(|largest| size <= largest)
            .then_some(size)
    }
}

impl Clone for Odb {
    fn clone(&self) -> Self {
        Odb::new(self.handle.clone(), self.largest)
    }
}

impl Deref for Odb {
    type Target = gix::odb::Handle;

    fn deref(&self) -> &Self::Target {
        &self.handle
    }
}

impl DerefMut for Odb {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.handle
    }
}

impl Exists for Odb {
    fn exists(&self, id: &oid) -> bool {
        self.handle.exists(id)
    }
}

impl Find for Odb {
    fn try_find<'a>(&self, id: &oid, buffer: &'a mut Vec<u8>) -> gix::Result<Option<Data<'a>>> {
        let found = self.handle.try_find(id, buffer);
        let kind = match found.map(|found| found.map(|found| found.kind)) {
            Ok(None) => return Ok(None),
            Ok(Some(kind)) => kind,
            Err(err) => {
                let read = self.read_instead(&err, id, buffer, &Cell::new(MAX_UNREADABLE));
                read.ok_or(err)?
            }
        };
        Ok(Some(Data {
            kind,
            object_hash: id.kind(),
            data: buffer,
        }))
    }
}

impl FindHeader for Odb {
    fn try_header(&self, id: &oid) -> gix::Result<Option<Header>> {
        self.handle.try_header(id).or_else(|err| {
            let mut content = Vec::new();
            let read = self.read_instead(&err, id, &mut content, &Cell::new(MAX_UNREADABLE));
            let kind = read.ok_or(err)?;
            let size = content.len() as u64;
            Ok(Some(Header { kind, size }))
        })
    }
}
