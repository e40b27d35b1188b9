//! The quarantine on disk: an object directory beside the store's, which no other process reads (like git's
//! `tmp_objdir`).

use std::{
    fs::{self, File},
    io::{self, BufRead},
    path::{Path, PathBuf},
};

use super::{
    alternates::alternates_file,
    keeps::{Keeps, file_name},
};
use crate::{
    Error, ObjectFormat, SyncContext,
    files::{ignore_missing, sharing::Sharing, sync_directory, temp_dirs::RunFolder},
    index_pack::{IndexPack, ReceivedPack},
    stored_packs::odb::Odb,
};

/// A directory of received objects that are not part of the store yet. Dropping it removes the objects.
pub(crate) struct QuarantineDir {
    pub(super) store_objects: PathBuf,
    sharing: Sharing,
    /// Dropped before `objects`, whose name is in the `.keep` files.
    pub(super) keeps: Keeps,
    pub(super) objects: RunFolder,
    /// The packs that were kept.
    kept: Vec<KeptPack>,
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
            kept: Vec::new(),
        })
    }

    /// The object directory to read from; the store is an alternate of it.
    pub(crate) fn objects(&self) -> &Path {
        self.objects.path()
    }

    /// Indexes a pack as it streams in; `None` for a pack without objects. Missing bases of a thin pack are read from
    /// `bases`. `sent_haves` is whether haves were sent.
    pub(crate) fn receive(
        &self,
        pack: &mut dyn BufRead,
        bases: &Odb,
        sent_haves: bool,
        format: ObjectFormat,
        context: &SyncContext,
    ) -> Result<Option<ReceivedPack>, Error> {
        let index_pack = IndexPack {
            folder: &self.objects.path().join("pack"),
            bases,
            sent_haves,
            format,
            bytes_beside: self.kept.iter().map(|pack| pack.bytes).sum(),
        };
        index_pack.receive(pack, context)
    }

    /// Keeps a pack that was received here.
    pub(super) fn keep(&mut self, pack: ReceivedPack) {
        self.kept.push(KeptPack {
            bytes: fs::metadata(&pack.data).map_or(0, |file| file.len()),
            data: pack.data,
            index: pack.index,
            hash: pack.hash,
        });
    }

    /// Removes a pack that was received here.
    pub(super) fn discard(&mut self, pack: &ReceivedPack) -> Result<(), Error> {
        let remove = || fs::remove_file(&pack.index).and_then(|()| fs::remove_file(&pack.data));
        remove().map_err(|err| Error::io("dropping a pack from the quarantine", err))
    }

    /// Moves the kept packs into the store, durably, and protects them by `.keep` files until this directory is
    /// dropped: a concurrent `git repack` would drop objects that no ref points to yet.
    ///
    /// The order is `.keep`, pack, index, as in git's receive-pack: a pack without its index is invisible. Git makes the
    /// reverse index when it needs one.
    pub(super) fn migrate(&mut self) -> Result<(), Error> {
        for pack in std::mem::take(&mut self.kept) {
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
            self.keeps.hold_new(&pack.data, &data, pack.hash)?;
            // An existing file is replaced without a look at it: the name is a checksum, so a sound file is replaced by
            // an equal one, and only reading it all would show a damaged one.
            let is_new = !data.exists();
            fs::rename(&pack.data, &data)?;
            fs::rename(&pack.index, &index).inspect_err(|_| {
                // No sweep finds a pack without an index once its `.keep` is gone. Another run may have moved the
                // same pack there.
                if is_new && !index.is_file() {
                    fs::remove_file(&data).ok();
                }
            })?;
            ignore_missing(fs::remove_file(data.with_extension("rev")))?;
            sync_directory(&packs)
        };
        migrate().map_err(|err| Error::io(format!("moving a pack into {}", packs.display()), err))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pack_whose_index_cannot_be_moved_does_not_stay() {
        for was_there in [false, true] {
            let store = tempfile::tempdir().expect("a folder");
            let mut dir = QuarantineDir::open(store.path(), &[], Sharing::Umask).expect("a folder");
            let [data, index] = ["pack", "idx"].map(|extension| {
                let path = dir.objects().join("pack/pack-1").with_extension(extension);
                fs::write(&path, "").expect("a file");
                path
            });
            let hash = gix::hash::Kind::Sha1;
            dir.kept.push(KeptPack {
                data,
                index,
                hash,
                bytes: 0,
            });
            let packs = store.path().join("pack");
            fs::create_dir_all(packs.join("pack-1.idx/full")).expect("a directory in the way");
            if was_there {
                fs::write(packs.join("pack-1.pack"), "").expect("a pack");
            }
            dir.migrate().expect_err("a directory in the way");
            drop(dir);
            assert_eq!(packs.join("pack-1.pack").exists(), was_there);
            assert!(!packs.join("pack-1.keep").exists());
        }
    }
}
