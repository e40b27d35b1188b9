//! git index-pack: a pack stream in, a verified pack and its index out. It knows no repository.
//!
//! [`pack_reader`] cuts the stream into entries and writes them to disk. [`windows`] resolves deltas while the pack
//! arrives, [`resolving`] the rest once it has arrived, and [`fix_thin`] those whose bases are not in the pack.
//! [`inspection`] checks every object and records its references. [`indexing`] writes the index.
//!
//! A pack gets its final name only after its checksum was compared, all of its deltas were resolved, and its index was
//! written.

use std::{
    collections::{HashMap, HashSet},
    fs::{self, File},
    io::BufRead,
    path::{Path, PathBuf},
    sync::atomic::AtomicUsize,
};

use gix::{ObjectId, objs::Kind};

mod budget;
mod delta_batch;
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
mod table;
#[cfg(test)]
mod tests;
mod tree_pairs;
mod window;
mod windows;

use self::{
    budget::Budget,
    delta_batch::DeltaBatch,
    indexing::ById,
    inspection::{Findings, SharedFindings},
    pack_reader::{Arrived, PackReader},
    references::References,
    resolving::Pack,
    table::Table,
};
use crate::connectivity::Outside;
use crate::{
    Error, ObjectFormat, Reason, SyncContext,
    files::early_sync::EarlySync,
    object::{fsck::Fsck, lookup::ObjectLookup, special_blobs::special_content},
    scoped_workers::run_workers,
};

/// The number of objects from which on a second thread looks for references to objects outside the pack.
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
    /// The bases that were appended to complete a thin pack.
    added: HashSet<ObjectId>,
    findings: Findings,
}

/// The place and the conditions under which a pack is indexed.
pub(crate) struct IndexPack<'a> {
    /// The folder that the pack and its index are written to.
    pub(crate) folder: &'a Path,
    /// The objects in which the missing bases of a thin pack are looked up.
    pub(crate) bases: &'a dyn ObjectLookup,
    /// Whether haves were sent, so that objects of the pack may reference objects of the receiver.
    pub(crate) sent_haves: bool,
    pub(crate) format: ObjectFormat,
    /// The bytes of packs received earlier in the run, which count against the same limit.
    pub(crate) bytes_beside: u64,
}

impl IndexPack<'_> {
    /// Indexes a pack as it streams in, and appends the missing bases of a thin pack. Returns `None` for a pack
    /// without objects.
    pub(crate) fn receive(
        &self,
        stream: &mut dyn BufRead,
        context: &SyncContext,
    ) -> Result<Option<ReceivedPack>, Error> {
        let path = self.folder.join("incoming");
        let create = || File::create(&path).and_then(|file| Ok((file.try_clone()?, file)));
        let (mut file, same_file) = create().map_err(|err| Error::io("creating a pack", err))?;
        let hash = self.format.hash_kind();
        let budget = Budget::beside(context.limits(), self.bytes_beside);
        let outside_memory = if self.sent_haves {
            context.memory_plan().outside
        } else {
            0
        };
        let pack_reader = PackReader::begin(stream, &mut file, hash, &budget, context)?;
        let announced = pack_reader.count;
        let shared = SharedFindings::new(context.fsck(), hash, announced as usize, outside_memory);
        let mut pack = Pack {
            path: &path,
            folder: self.folder,
            table: Table::new(hash, announced as usize),
            findings: &shared,
            budget: &budget,
            context,
        };
        let mut inspection = shared.inspection();
        let ((arrived, early_sync), _) = pack.resolve_while(|hand_over| {
            let arrived = pack_reader.receive(
                &pack.table,
                &mut inspection,
                context.tuning.window,
                hand_over,
            )?;
            // Merged before any other thread's, so that a failure here does not depend on their speed.
            inspection.finish()?;
            // All entries are written: the system syncs them while the last windows are resolved.
            let early_sync = EarlySync::begin(same_file, pack.table.end());
            Ok((arrived, early_sync))
        })?;
        drop(file);
        if announced == 0 {
            return Ok(None);
        }
        let checksum = complete(&mut pack, arrived, self.bases)?;
        let table = pack.table;
        let data = self.folder.join(format!("pack-{checksum}.pack"));
        let index = data.with_extension("idx");
        let by_id = ById::new(&table);
        if !context.fsck().is_none() {
            by_id.check_that_each_is_there_once()?;
        }
        let outside =
            index_and_find_outside(&by_id, &shared.references, announced, &index, &checksum)?;
        // The system reports a write error to the first sync alone, so the pack gets its name after that sync's result.
        let synced = early_sync.finish();
        synced.map_err(|err| Error::io("writing the pack", err))?;
        fs::rename(&path, &data).map_err(|err| Error::io("naming a pack", err))?;
        let findings = shared.into_findings(outside, |pairs, needed| {
            nesting::depths(pairs, &table, &by_id, announced, needed, context)
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
    /// Whether an object is a base that was appended to the pack.
    pub(crate) fn is_added(&self, id: &ObjectId) -> bool {
        self.added.contains(id)
    }

    /// The objects outside the pack that its objects reference. If these are complete, all objects of the pack
    /// are. `None` if they are unknown, or if an object of the pack is faulty.
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

    /// The objects of the pack that are refused, each with the reason.
    pub(crate) fn faulty(&self) -> &HashMap<ObjectId, Reason> {
        &self.findings.faulty
    }

    /// Checks the blobs that trees name `.gitmodules` or `.gitattributes`. A blob may precede the tree that names
    /// it, so this is done after the whole pack was inspected. `objects` includes the objects of the pack.
    pub(crate) fn look_at_special(
        &mut self,
        objects: &dyn ObjectLookup,
        format: ObjectFormat,
        context: &SyncContext,
    ) -> Result<(), Error> {
        let fsck = Fsck::new(context.fsck(), format.hash_kind());
        let mut buffer = Vec::new();
        for (id, file) in self.findings.special.drain(..) {
            context.check()?;
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

/// Completes a pack that has arrived: resolves the remaining deltas, appends the bases that a thin pack lacks, and
/// writes the trailer. Returns the pack's checksum.
fn complete(
    pack: &mut Pack<'_>,
    arrived: Arrived<'_>,
    bases: &dyn ObjectLookup,
) -> Result<ObjectId, Error> {
    let Arrived {
        checksum,
        mut ref_deltas,
        inflated,
    } = arrived;
    ref_deltas.sort();
    let rest = DeltaBatch::rest(&pack.table, &ref_deltas);
    pack.resolve(&rest, &inflated, &ref_deltas)?;
    pack.budget.nothing_waits();
    // A delta may arrive before the base that it names by id, so the bases that the pack lacks are known only now.
    let added = fix_thin::add_bases(pack, &rest, &inflated, &ref_deltas, bases)?;
    pack.check_that_all_is_resolved()?;
    match added {
        0 => fix_thin::write_trailer(pack.path, checksum),
        _ => fix_thin::rewrite_trailer(pack.path, &pack.table, pack.context),
    }
}

/// Writes the index of a pack, and returns the objects outside the pack that its objects reference; `None` if these
/// are unknown.
fn index_and_find_outside(
    by_id: &ById<'_>,
    references: &References,
    announced: u32,
    index: &Path,
    checksum: &ObjectId,
) -> Result<Option<Vec<(Kind, ObjectId)>>, Error> {
    let next = AtomicUsize::new(0);
    let threads = if announced >= MANY { 2 } else { 1 };
    let found = run_workers(0..threads, |thread| -> Result<_, Error> {
        if thread == 0 {
            by_id.write_index(index, checksum)?;
        }
        // Appended bases were not inspected: they exist, the objects that they reference may not. So they count as
        // outside the pack.
        Ok(references.outside(&next, |id| by_id.kind_of(id, announced)))
    })?;
    let found: Option<Vec<_>> = found.into_iter().collect();
    Ok(found.map(|found| found.concat()))
}
