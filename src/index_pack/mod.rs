//! Indexing a pack as it streams in: a verified pack and its index come out. Knows no repository.

use std::{
    collections::{HashMap, HashSet},
    fs::{self, File},
    io::BufRead,
    panic::resume_unwind,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError, atomic::AtomicUsize},
    thread,
};

use gix::{ObjectId, objs::Kind};

mod budget;
mod delta_batch;
mod early_sync;
mod entry_header;
mod excess;
mod fix_thin;
mod indexing;
mod inflated_cache;
mod inspection;
mod nesting;
mod pack_reader;
mod ref_deltas;
mod references;
mod resolving;
mod special;
mod table;
#[cfg(test)]
mod tests;
mod tree_pairs;
mod window;
mod windows;

use self::{
    budget::Budget,
    early_sync::EarlySync,
    indexing::ById,
    inspection::{Findings, InspectedObject},
    pack_reader::PackReader,
    references::References,
    resolving::Pack,
    special::special_content,
    table::Table,
};
use crate::connectivity::Outside;
use crate::{Error, ObjectFormat, Reason, SyncContext, object::fsck::Fsck, stored_packs::odb::Odb};

/// The bytes of a pack that are resolved at once, while more of it arrives; fewer of one that makes very
/// much of them (see [`window`]). In smaller windows more objects have to be made twice, and what is left
/// of a larger one takes longer in the end.
pub(crate) const WINDOW: u64 = 4 * 1024 * 1024;

/// Which part of the memory is for what leads out of a pack.
const OUTSIDE_SHARE: u64 = 16;

/// Objects that are worth a thread.
const MANY: u32 = 4096;

/// A verified pack, and its index beside it.
pub(crate) struct ReceivedPack {
    /// The number of objects that came with the pack.
    pub(crate) objects: u32,
    pub(crate) data: PathBuf,
    pub(crate) index: PathBuf,
    pub(crate) hash: gix::hash::Kind,
    /// The kinds of the objects, in the order of the index.
    pub(crate) kinds: Vec<Kind>,
    /// The bases that complete a thin pack, and did not come with it.
    added: HashSet<ObjectId>,
    findings: Findings,
}

/// The place and the conditions under which a pack is indexed.
pub(crate) struct IndexPack<'a> {
    /// The folder that the pack and its index are written to.
    pub(crate) folder: &'a Path,
    /// The lookup for the bases that a thin pack lacks.
    pub(crate) bases: &'a Odb,
    /// Whether the sender was told of anything that the receiver has.
    pub(crate) may_lead_out: bool,
    pub(crate) format: ObjectFormat,
    /// The bytes of packs that were received before, which count against the same limit.
    pub(crate) bytes_beside: u64,
    /// The size of a [window](WINDOW), in bytes.
    pub(crate) window: u64,
}

impl IndexPack<'_> {
    /// Indexes a pack as it streams in, adding the bases that a thin one lacks; `None` for a pack without
    /// objects.
    pub(crate) fn receive(
        &self,
        pack: &mut dyn BufRead,
        run: &SyncContext,
    ) -> Result<Option<ReceivedPack>, Error> {
        let path = self.folder.join("incoming");
        let create = || File::create(&path).and_then(|file| Ok((file.try_clone()?, file)));
        let (mut file, same_file) = create().map_err(|err| Error::io("creating a pack", err))?;
        let hash = self.format.hash_kind();
        let spent = Budget::beside(run.limits(), self.bytes_beside);
        let for_outside = if self.may_lead_out {
            run.limits().memory / OUTSIDE_SHARE
        } else {
            0
        };
        let found = InspectedObject::new(run.fsck(), hash, for_outside);
        let arrival = PackReader::begin(pack, &mut file, hash, &spent, run)?;
        let announced = arrival.count();
        let mut pack = Pack {
            path: &path,
            folder: self.folder,
            table: Table::new(hash, announced as usize),
            arrived: announced,
            found: &found,
            spent: &spent,
            run,
        };
        let mut inspection = found.inspection();
        inspection.expect(announced as usize);
        let ((arrived, early_sync), _) = pack.resolve_while(|hand_over| {
            let arrived = arrival.receive(&pack.table, &mut inspection, self.window, hand_over)?;
            inspection.finish()?;
            let early_sync = EarlySync::begin(same_file, pack.table.end());
            Ok((arrived, early_sync))
        })?;
        drop(file);
        if announced == 0 {
            return Ok(None);
        }
        let checksum = arrived.checksum;
        let added = fix_thin::resolve_rest(&mut pack, arrived, self.bases)?;
        let table = pack.table;
        let checksum = match added {
            0 => fix_thin::seal(&path, checksum)?,
            _ => fix_thin::seal_anew(&path, &table, run)?,
        };
        let data = self.folder.join(format!("pack-{checksum}.pack"));
        let index = data.with_extension("idx");
        let by_id = ById::new(&table);
        if !run.fsck().is_none() {
            by_id.check_that_each_is_there_once()?;
        }
        let outside = index_and_find_outside(&by_id, &found.links, announced, &index, &checksum)?;
        let synced = early_sync.finish();
        synced.map_err(|err| Error::io("writing the pack", err))?;
        fs::rename(&path, &data).map_err(|err| Error::io("naming a pack", err))?;
        let findings = found.into_findings(outside, |pairs, needed| {
            nesting::depths(pairs, &table, &by_id, announced, needed, run)
        })?;
        Ok(Some(ReceivedPack {
            objects: announced,
            data,
            index,
            hash,
            kinds: by_id.kinds(),
            added: (announced..table.len())
                .map(|entry| table.id(entry))
                .collect(),
            findings,
        }))
    }
}

impl ReceivedPack {
    /// Whether an object is in the pack to complete it, and did not come with it.
    pub(crate) fn is_added(&self, id: &ObjectId) -> bool {
        self.added.contains(id)
    }

    /// The objects that those of the pack need, and that did not come with it. If they are complete, all
    /// objects of the pack are. `None` if they aren't known, or an object of the pack is faulty.
    pub(crate) fn outside(&self) -> Option<&Outside> {
        let outside = self.findings.outside.as_ref();
        outside.filter(|_| self.findings.faulty.is_empty())
    }

    /// The number of objects that the fsck rules refuse.
    pub(crate) fn refused_by_rules(&self) -> usize {
        let reasons = self.faulty().values();
        reasons
            .filter(|reason| matches!(reason, Reason::Faulty { .. }))
            .count()
    }

    /// The objects of the pack that can't be let in.
    pub(crate) fn faulty(&self) -> &HashMap<ObjectId, Reason> {
        &self.findings.faulty
    }

    /// Checks the blobs that are harmful only under the names that trees give them. `objects` has those of
    /// the pack.
    pub(crate) fn look_at_special(
        &mut self,
        objects: &Odb,
        format: ObjectFormat,
        run: &SyncContext,
    ) -> Result<(), Error> {
        let fsck = Fsck::new(run.fsck(), format.hash_kind());
        let mut buffer = Vec::new();
        for (id, file) in self.findings.special.drain(..) {
            run.check()?;
            if let Some(Reason::TooLarge { .. }) = self.findings.faulty.get(&id) {
                continue;
            }
            let content = special_content(objects, &id, &mut buffer);
            if let Err(finding) = fsck.special_blob(&id, file, content) {
                inspection::add(&mut self.findings.faulty, finding, true)?;
            }
        }
        Ok(())
    }
}

/// Writes the index of a pack, and finds what its objects need that it did not come with; `None` if that
/// isn't known.
fn index_and_find_outside(
    by_id: &ById<'_>,
    links: &References,
    announced: u32,
    index: &Path,
    checksum: &ObjectId,
) -> Result<Option<Vec<(Kind, ObjectId)>>, Error> {
    let next = AtomicUsize::new(0);
    // Nobody looked at what completes a thin pack: it is there, and what it needs may not be.
    let find = || links.outside(&next, |id| by_id.kind_of(id, announced));
    thread::scope(|scope| {
        // It is worth a thread if there are many.
        let beside = (announced >= MANY).then(|| scope.spawn(find));
        by_id.write_index(index, checksum)?;
        let found = find();
        Ok(match beside.map(thread::ScopedJoinHandle::join) {
            Some(Ok(more)) => found.zip(more).map(|(found, more)| [found, more].concat()),
            Some(Err(panic)) => resume_unwind(panic),
            None => found,
        })
    })
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
