//! The quarantine on disk: an object directory beside the store's, which no other process reads (like git's
//! `tmp_objdir`).

use std::{
    collections::HashMap,
    fs::{self, File},
    io::{self, BufRead},
    path::{Path, PathBuf},
    sync::LazyLock,
};

use gix::{ObjectId, objs::Kind};

use super::{
    alternates::alternates_file,
    keeps::{Keeps, file_name},
};
use crate::{
    Error, ObjectFormat, Reason, SyncContext, Traffic,
    connectivity::Outside,
    files::{ignore_missing, sharing::Sharing, sync_directory, temp_dirs::RunFolder},
    index_pack::{IndexPack, ReceivedPack, WINDOW},
    stored_packs::odb::Odb,
};

/// A directory of received objects that are not part of the store yet. Dropping it removes the objects.
pub(crate) struct QuarantineDir {
    pub(super) store_objects: PathBuf,
    sharing: Sharing,
    pub(super) objects: RunFolder,
    pack: Option<ReceivedPack>,
    /// The packs that were kept before `pack` was received.
    beside: Vec<KeptPack>,
    pub(super) keeps: Keeps,
    window: u64,
}

/// The files of a kept pack.
struct KeptPack {
    data: PathBuf,
    index: PathBuf,
    hash: gix::hash::Kind,
    bytes: u64,
}

impl QuarantineDir {
    /// Creates a quarantine with the folders `seen` as its alternates.
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
        Ok(QuarantineDir {
            store_objects: store_objects.to_owned(),
            sharing,
            keeps: Keeps::of_run(objects.path()),
            objects,
            pack: None,
            beside: Vec::new(),
            window: WINDOW,
        })
    }

    /// Sets the size of a [window](WINDOW): packs of more bytes than that are large ones.
    #[cfg(any(test, fuzzing))]
    pub(crate) fn set_window(&mut self, bytes: u64) {
        self.window = bytes;
    }

    /// The object directory to read from; the store is an alternate of it.
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

    /// Whether an object is a base that was appended to the pack.
    pub(crate) fn is_added(&self, id: &ObjectId) -> bool {
        self.pack.as_ref().is_some_and(|pack| pack.is_added(id))
    }

    /// See [`ReceivedPack::outside`].
    pub(crate) fn outside(&self) -> Option<&Outside> {
        self.pack.as_ref()?.outside()
    }

    /// The number of objects that the fsck rules refuse.
    pub(crate) fn refused_by_rules(&self) -> usize {
        let pack = self.pack.as_ref();
        pack.map_or(0, ReceivedPack::refused_by_rules)
    }

    /// The objects of the pack that are refused, each with the reason.
    pub(crate) fn faulty(&self) -> &HashMap<ObjectId, Reason> {
        static NONE: LazyLock<HashMap<ObjectId, Reason>> = LazyLock::new(HashMap::new);
        let pack = self.pack.as_ref();
        pack.map_or(&NONE, ReceivedPack::faulty)
    }

    /// Checks the blobs that trees name `.gitmodules` or `.gitattributes`.
    pub(crate) fn look_at_special(
        &mut self,
        objects: &Odb,
        format: ObjectFormat,
        run: &SyncContext,
    ) -> Result<(), Error> {
        let pack = self.pack.as_mut();
        pack.map_or(Ok(()), |pack| pack.look_at_special(objects, format, run))
    }

    /// Indexes a pack as it streams in. Missing bases of a thin pack are read from `bases`. `may_lead_out` is whether
    /// haves were sent.
    pub(crate) fn receive(
        &mut self,
        pack: &mut dyn BufRead,
        bases: &Odb,
        may_lead_out: bool,
        format: ObjectFormat,
        run: &SyncContext,
    ) -> Result<Traffic, Error> {
        let index_pack = IndexPack {
            folder: &self.objects.path().join("pack"),
            bases,
            may_lead_out,
            format,
            bytes_beside: self.beside.iter().map(|pack| pack.bytes).sum(),
            window: self.window,
        };
        let Some(received) = index_pack.receive(pack, run)? else {
            return Ok(Traffic::default());
        };
        let objects = received.objects.into();
        self.pack = Some(received);
        Ok(Traffic {
            objects,
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

    /// Moves the packs into the store, durably, and protects them by `.keep` files until
    /// [`finish`](QuarantineDir::finish): a concurrent `git repack` would drop objects that no ref points to yet.
    ///
    /// The order is `.keep`, pack, index, as in git's receive-pack: a pack without its index is invisible. Git makes the
    /// reverse index when it needs one.
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
            // An existing file is replaced without a look at it: the name is a checksum, so a sound file is replaced by
            // an equal one, and only reading it all would show a damaged one.
            fs::rename(&pack.data, &data)?;
            fs::rename(&pack.index, &index)?;
            ignore_missing(fs::remove_file(data.with_extension("rev")))?;
            sync_directory(&packs)
        };
        migrate().map_err(|err| Error::io(format!("moving a pack into {}", packs.display()), err))
    }

    /// Removes the `.keep` files, once refs point to the objects.
    pub(crate) fn finish(&mut self) {
        self.keeps.release();
    }
}

/// Removes the `.keep` files of a run that fails after its packs were moved.
impl Drop for QuarantineDir {
    fn drop(&mut self) {
        self.finish();
    }
}

/// Makes a file read-only with the read permissions of its directory, and syncs it.
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
