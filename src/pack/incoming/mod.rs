//! The quarantine on disk: an object directory beside the store's own, seen by nobody else.

use std::{
    collections::{HashMap, HashSet},
    fs::{self, File},
    io::{self, BufRead},
    panic::resume_unwind,
    path::{Path, PathBuf},
    sync::{LazyLock, Mutex, MutexGuard, PoisonError, atomic::AtomicUsize},
    thread,
};

use gix::{ObjectId, objs::Kind};

mod arrival;
mod at_hand;
mod completing;
mod early_sync;
mod entry_header;
mod excess;
mod held;
mod indexing;
mod inspection;
mod keeps;
mod links;
mod nesting;
mod part;
mod ref_deltas;
mod resolving;
mod special;
mod spent;
mod table;
#[cfg(test)]
mod tests;
mod window;
mod windows;

use self::{
    arrival::Arrival,
    early_sync::EarlySync,
    indexing::ById,
    inspection::{Findings, Found},
    keeps::Keeps,
    links::Links,
    resolving::Pack,
    special::special_content,
    spent::Spent,
    table::Table,
};
use super::closure::Outside;
use crate::{
    Error, ObjectFormat, Reason, SyncContext, Traffic,
    files::{ignore_missing, sharing::Sharing, sync_directory},
    local::temp_dirs::RunFolder,
    object::fsck::Fsck,
    stored_packs::odb::Odb,
};

/// Objects that have arrived and are not part of the store yet.
///
/// Dropping it removes them.
pub(crate) struct Incoming {
    store_objects: PathBuf,
    sharing: Sharing,
    objects: RunFolder,
    pack: Option<ReceivedPack>,
    /// Those that came before it.
    beside: Vec<KeptPack>,
    keeps: Keeps,
    window: u64,
}

/// Bytes of a pack that are resolved at once, while more of it arrives; fewer of one that makes very
/// much of them (see [`window`]). In smaller windows more objects have to be made twice, and what is left
/// of a larger one takes longer in the end.
const WINDOW: u64 = 4 * 1024 * 1024;

/// Which part of the memory is for what leads out of a pack.
const OUTSIDE_SHARE: u64 = 16;

/// Objects that are worth a thread.
const MANY: u32 = 4096;

struct ReceivedPack {
    data: PathBuf,
    index: PathBuf,
    hash: gix::hash::Kind,
    /// Of its objects, in the order of the index.
    kinds: Vec<Kind>,
    /// Those that complete it, and did not come with it.
    added: HashSet<ObjectId>,
    findings: Findings,
}

/// The files of a pack that is complete.
struct KeptPack {
    data: PathBuf,
    index: PathBuf,
    hash: gix::hash::Kind,
    bytes: u64,
}

impl Incoming {
    /// Opens a new quarantine.
    ///
    /// `seen` are the folders of objects that it shows beside its own.
    pub(crate) fn open(
        store_objects: &Path,
        seen: &[PathBuf],
        sharing: Sharing,
    ) -> Result<Self, Error> {
        let objects = RunFolder::create(store_objects, sharing).map_err(|err| {
            Error::io(
                format!("creating a quarantine in {}", store_objects.display()),
                err,
            )
        })?;
        let prepare = || {
            sharing.create_dir(&objects.path().join("pack"))?;
            sharing.create_dir(&objects.path().join("info"))?;
            fs::write(
                objects.path().join("info/alternates"),
                alternates_file(seen)?,
            )
        };
        prepare().map_err(|err| Error::io("preparing the quarantine", err))?;
        Ok(Incoming {
            store_objects: store_objects.to_owned(),
            sharing,
            keeps: Keeps::of_run(objects.path()),
            objects,
            pack: None,
            beside: Vec::new(),
            window: WINDOW,
        })
    }

    /// Makes packs of some bytes large ones.
    #[cfg(any(test, fuzzing))]
    pub(crate) fn set_window(&mut self, bytes: u64) {
        self.window = bytes;
    }

    /// The object directory to read from: it shows the store's objects, too.
    pub(crate) fn objects(&self) -> &Path {
        self.objects.path()
    }

    /// The index of the pack that was received.
    pub(crate) fn index(&self) -> Option<&Path> {
        self.pack.as_ref().map(|pack| pack.index.as_path())
    }

    /// The kinds of the objects in that pack, in the order of its index.
    pub(crate) fn kinds(&self) -> &[Kind] {
        self.pack.as_ref().map_or(&[], |pack| &pack.kinds)
    }

    /// Whether an object is in the pack to complete it, and did not come with it.
    pub(crate) fn is_added(&self, id: &ObjectId) -> bool {
        let pack = self.pack.as_ref();
        pack.is_some_and(|pack| pack.added.contains(id))
    }

    /// What the objects need that came with the pack, and that didn't. If that is complete, all of them
    /// are. `None` where it isn't known, or something is wrong with one of them.
    pub(crate) fn outside(&self) -> Option<&Outside> {
        let findings = &self.pack.as_ref()?.findings;
        let outside = findings.outside.as_ref();
        outside.filter(|_| findings.faulty.is_empty())
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
        static NONE: LazyLock<HashMap<ObjectId, Reason>> = LazyLock::new(HashMap::new);
        self.pack
            .as_ref()
            .map_or(&NONE, |pack| &pack.findings.faulty)
    }

    /// Looks at the blobs that are harmful only under the names that trees give them. `objects` has
    /// those of the quarantine.
    pub(crate) fn look_at_special(
        &mut self,
        objects: &Odb,
        format: ObjectFormat,
        run: &SyncContext,
    ) -> Result<(), Error> {
        let Some(pack) = &mut self.pack else {
            return Ok(());
        };
        let fsck = Fsck::new(run.fsck(), format.hash_kind());
        let mut buffer = Vec::new();
        for (id, file) in pack.findings.special.drain(..) {
            run.check()?;
            if let Some(Reason::TooLarge { .. }) = pack.findings.faulty.get(&id) {
                continue;
            }
            let content = special_content(objects, &id, &mut buffer);
            if let Err(finding) = fsck.special_blob(&id, file, content) {
                inspection::add(&mut pack.findings.faulty, finding, true)?;
            }
        }
        Ok(())
    }

    /// Indexes a pack as it streams in, adding the bases that a thin one lacks from `bases`.
    /// `may_lead_out` is whether its sender was told of anything that the receiver has.
    pub(crate) fn receive(
        &mut self,
        pack: &mut dyn BufRead,
        bases: &Odb,
        may_lead_out: bool,
        format: ObjectFormat,
        run: &SyncContext,
    ) -> Result<Traffic, Error> {
        let folder = self.objects.path().join("pack");
        let path = folder.join("incoming");
        let create = || File::create(&path).and_then(|file| Ok((file.try_clone()?, file)));
        let (mut file, same_file) = create().map_err(|err| Error::io("creating a pack", err))?;
        let hash = format.hash_kind();
        let beside = self.beside.iter().map(|pack| pack.bytes).sum();
        let spent = Spent::beside(run.limits(), beside);
        let for_outside = match may_lead_out {
            true => run.limits().memory / OUTSIDE_SHARE,
            false => 0,
        };
        let found = Found::new(run.fsck(), hash, for_outside);
        let arrival = Arrival::begin(pack, &mut file, hash, &spent, run)?;
        let announced = arrival.count();
        let mut pack = Pack {
            path: &path,
            folder: &folder,
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
            return Ok(Traffic::default());
        }
        let checksum = arrived.checksum;
        let added = completing::resolve_rest(&mut pack, arrived, bases)?;
        let table = pack.table;
        let checksum = match added {
            0 => completing::seal(&path, checksum)?,
            _ => completing::seal_anew(&path, &table, run)?,
        };
        let data = folder.join(format!("pack-{checksum}.pack"));
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
        self.pack = Some(ReceivedPack {
            data,
            index,
            hash,
            kinds: by_id.kinds(),
            added: (announced..table.len())
                .map(|entry| table.id(entry))
                .collect(),
            findings,
        });
        Ok(Traffic {
            objects: announced.into(),
            ..Traffic::default()
        })
    }

    /// Keeps the pack that was received, and makes room for another one.
    pub(crate) fn keep_beside(&mut self) {
        let kept = self.pack.take().map(|pack| KeptPack {
            bytes: fs::metadata(&pack.data).map_or(0, |file| file.len()),
            data: pack.data,
            index: pack.index,
            hash: pack.hash,
        });
        self.beside.extend(kept);
    }

    /// Drops the pack that was received.
    pub(crate) fn discard(&mut self) -> Result<(), Error> {
        let Some(pack) = self.pack.take() else {
            return Ok(());
        };
        let remove = || fs::remove_file(&pack.index).and_then(|()| fs::remove_file(&pack.data));
        remove().map_err(|err| Error::io("dropping a pack from the quarantine", err))
    }

    /// Makes the packs part of the store, durably, and holds it there with a `.keep` file until
    /// [`finish`](Incoming::finish): a `git repack` beside us would drop what no ref points to yet.
    ///
    /// The order is that of git's own receive-pack: a pack without its index is invisible. Its reverse index
    /// git makes when it needs it.
    pub(crate) fn migrate(&mut self) -> Result<(), Error> {
        self.keep_beside();
        for pack in std::mem::take(&mut self.beside) {
            self.migrate_one(&pack)?;
        }
        Ok(())
    }

    fn migrate_one(&mut self, pack: &KeptPack) -> Result<(), Error> {
        let packs = self.store_objects.join("pack");
        let mut migrate = || {
            self.sharing.create_dir_all(&packs)?;
            let (data, index) = (
                packs.join(file_name(&pack.data)),
                packs.join(file_name(&pack.index)),
            );
            for file in [&pack.data, &pack.index] {
                seal(file, &packs, self.sharing)?;
            }
            self.keeps.hold(&pack.data, &data, pack.hash)?;
            // Whatever is there: the name is a checksum, so a sound file is replaced by its equal, and
            // of a damaged one nothing tells that short of reading it.
            fs::rename(&pack.data, &data)?;
            fs::rename(&pack.index, &index)?;
            ignore_missing(fs::remove_file(data.with_extension("rev")))?;
            sync_directory(&packs)
        };
        migrate().map_err(|err| Error::io(format!("moving a pack into {}", packs.display()), err))
    }

    /// Lets go of the packs, once refs point to them.
    pub(crate) fn finish(&mut self) {
        self.keeps.release();
    }
}

/// A run that fails after its pack was migrated leaves no `.keep` file either.
impl Drop for Incoming {
    fn drop(&mut self) {
        self.finish();
    }
}

/// Writes the index of a pack, and finds what its objects need that it did not come with; `None` if that
/// isn't known.
fn index_and_find_outside(
    by_id: &ById<'_>,
    links: &Links,
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

/// Absolute paths only: gix resolves relative ones of a nested alternate against the wrong folder.
pub(crate) fn alternates_file(paths: &[PathBuf]) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    for path in paths {
        text.extend_from_slice(std::path::absolute(path)?.as_os_str().as_encoded_bytes());
        text.push(b'\n');
    }
    Ok(text)
}

fn file_name(path: &Path) -> &Path {
    Path::new(path.file_name().unwrap_or_default())
}

/// Read-only, for those who may look into the directory that it goes to, and on disk.
fn seal(path: &Path, directory: &Path, sharing: Sharing) -> io::Result<()> {
    let file = File::open(path)?;
    let mut permissions = file.metadata()?.permissions();
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let readers = directory.metadata()?.permissions().mode();
        permissions.set_mode(0o444 & readers);
    }
    #[cfg(not(unix))]
    {
        let _ = directory;
        permissions.set_readonly(true);
    }
    file.set_permissions(permissions)?;
    sharing.apply(path)?;
    file.sync_all()
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
