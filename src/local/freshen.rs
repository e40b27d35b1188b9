//! Freshening unreferenced objects of the store before refs are moved to them.
//!
//! The store has such objects after a run was killed between its objects and its refs, or after a branch was deleted.
//! Until a ref points to them, `git repack -ad` and `git prune` may remove them.

use std::{
    fs::File,
    path::{Path, PathBuf},
    time::SystemTime,
};

use gix::ObjectId;
use gix_pack::index;

use super::{keeps::is_link, object_dirs::sound_packs, quarantine_dir::QuarantineDir};
use crate::{
    Error, ObjectFormat, SyncContext,
    files::{replace_by_copy, sync_directory},
    stored_packs::loose_objects::path_in,
};

/// Objects of the store that the tips need and that no ref reaches.
#[derive(Default)]
pub(super) struct Unreferenced {
    pub(super) ids: Vec<ObjectId>,
    /// The number of ids that were found before the last pack was received. The others are dropped with that pack:
    /// tips without it are walked again.
    before_last: usize,
}

impl Unreferenced {
    /// Removes the duplicates among the ids that were found since the last pack was received.
    pub(super) fn deduplicate(&mut self) {
        self.ids[self.before_last..].sort_unstable();
        self.ids.dedup();
    }

    /// Keeps all ids, each once, before a pack is received.
    pub(super) fn keep(&mut self) {
        self.before_last = 0;
        self.deduplicate();
        self.before_last = self.ids.len();
    }

    pub(super) fn discard(&mut self) {
        self.ids.truncate(self.before_last);
    }
}

impl QuarantineDir {
    /// Protects objects of the store: for each, a pack that has it is held ([`Keeps::hold_old`]), and a loose object gets a new
    /// mtime, as git does it (`odb.c:freshen_object()`). Objects in alternates are not protected, because they belong to
    /// another repository. Returns `false` if an object has been moved or removed since the check.
    ///
    /// There may be a million ids and thousands of packs, and no ref has moved yet: the run can still be cancelled.
    pub(crate) fn hold(
        &mut self,
        ids: &[ObjectId],
        alternates: &[PathBuf],
        format: ObjectFormat,
        context: &SyncContext,
    ) -> Result<bool, Error> {
        let failed = |err| Error::io("holding on to objects of the store", err);
        let mut packs = open_indices(&self.store_objects, format);
        // The link that an earlier run left is replaced, so that runs that can't move their refs do not add one each.
        packs.sort_by_key(|pack| !is_link(pack));
        let mut needed: Vec<&index::File> = Vec::new();
        let mut elsewhere = Vec::new();
        for id in ids {
            context.check()?;
            let has_it = |pack: &index::File| pack.lookup(id).is_some();
            if needed.iter().any(|pack| has_it(pack)) {
                continue;
            }
            match packs.iter().find(|pack| has_it(pack)) {
                Some(pack) => needed.push(pack),
                None if self.freshen(id) => {}
                None => elsewhere.push(*id),
            }
        }
        let mut are_there = are_in(alternates, &elsewhere, format, context)?;
        for index in needed {
            context.check()?;
            are_there &= self.keeps.hold_old(index).map_err(failed)?;
        }
        sync_directory(&self.store_objects.join("pack")).map_err(failed)?;
        Ok(are_there)
    }

    /// Gives a loose object a new mtime; replaces it by a copy if the file belongs to another user.
    fn freshen(&self, id: &ObjectId) -> bool {
        let path = path_in(&self.store_objects, id);
        let touch = || File::open(&path)?.set_modified(SystemTime::now());
        let copy = |_| replace_by_copy(&path, &self.objects.path().join("loose"));
        touch().or_else(copy).is_ok()
    }
}

/// Whether each of these objects is in one of the folders of objects.
fn are_in(
    folders: &[PathBuf],
    ids: &[ObjectId],
    format: ObjectFormat,
    context: &SyncContext,
) -> Result<bool, Error> {
    if ids.is_empty() {
        return Ok(true);
    }
    let packs = folders.iter();
    let packs: Vec<_> = packs
        .flat_map(|folder| open_indices(folder, format))
        .collect();
    let is_loose = |id| folders.iter().any(|folder| path_in(folder, id).exists());
    let is_packed = |id| packs.iter().any(|pack| pack.lookup(id).is_some());
    for id in ids {
        context.check()?;
        if !is_packed(id) && !is_loose(id) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// The indices of the packs in a folder of objects. For git the objects of other packs do not exist: neither a `.keep`
/// nor a copy there protects them.
fn open_indices(objects: &Path, format: ObjectFormat) -> Vec<index::File> {
    let opened = sound_packs(objects, format).map(|path| index::File::at(path, format.hash_kind()));
    opened.filter_map(Result::ok).collect()
}

#[cfg(test)]
mod tests {
    use std::{
        fs,
        sync::{Arc, atomic::AtomicBool},
        time::Duration,
    };

    use gix::objs::Kind;

    use super::*;
    use crate::{
        ErrorKind, SyncOptions,
        files::sharing::Sharing,
        test_support::{git_cli, test_store::TestStore},
    };

    fn quarantine(store: &Path) -> QuarantineDir {
        QuarantineDir::open(&store.join("objects"), &[], Sharing::Umask).expect("a folder")
    }

    /// The names in `objects/pack` with this extension.
    fn packs(store: &Path, extension: &str) -> Vec<PathBuf> {
        let found = store.join("objects/pack").read_dir().expect("a folder");
        let found = found.map(|entry| entry.expect("an entry").path());
        found
            .filter(|path| path.extension().is_some_and(|found| found == extension))
            .collect()
    }

    /// An index without its pack, and a pack that git refuses.
    #[test]
    fn a_loose_object_is_freshened_beside_an_unusable_pack() {
        for is_cut_off in [false, true] {
            let mut store = TestStore::default();
            let id = store.add(Kind::Blob, b"content");
            let (folder, ..) = store.write();
            let pack = &packs(folder.path(), "pack")[0];
            fs::remove_file(pack).expect("a pack");
            git_cli::git(folder.path(), &["hash-object", "-w", "--stdin"], b"content");
            if is_cut_off {
                fs::write(pack, "PACK").expect("a pack");
            }
            let loose = path_in(&folder.path().join("objects"), &id);
            let old = SystemTime::now() - Duration::from_secs(30 * 24 * 3600);
            let file = File::open(&loose).expect("a loose object");
            file.set_modified(old).expect("a file of the user");
            let context = SyncContext::new(&SyncOptions::default());
            let held = quarantine(folder.path()).hold(&[id], &[], ObjectFormat::Sha1, &context);
            assert!(held.expect("no failure"));
            let modified = file.metadata().and_then(|file| file.modified());
            assert!(modified.expect("a time") > old + Duration::from_secs(1));
        }
    }

    #[test]
    fn a_cancelled_run_holds_nothing() {
        let mut store = TestStore::default();
        let blobs = (0..1000).map(|number| format!("blob {number}"));
        let ids: Vec<_> = blobs
            .map(|blob| store.add(Kind::Blob, blob.as_bytes()))
            .collect();
        let (folder, ..) = store.write();
        for is_cancelled in [true, false] {
            let options = SyncOptions {
                cancel: Some(Arc::new(AtomicBool::new(is_cancelled))),
                ..SyncOptions::default()
            };
            let context = SyncContext::new(&options);
            let mut dir = quarantine(folder.path());
            let held = dir.hold(&ids, &[], ObjectFormat::Sha1, &context);
            let expected = if is_cancelled {
                Err(ErrorKind::Cancelled)
            } else {
                Ok(true)
            };
            assert_eq!(held.map_err(|err| err.kind()), expected);
            assert_eq!(packs(folder.path(), "keep").is_empty(), is_cancelled);
            drop(dir);
            assert_eq!(packs(folder.path(), "keep"), [""; 0].map(PathBuf::from));
        }
    }
}
