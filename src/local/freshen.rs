//! Freshening unreferenced objects of the store before refs are moved to them.
//!
//! The store has such objects after a run was killed between its objects and its refs, or after a branch was deleted.
//! Until a ref points to them, `git repack -ad` and `git prune` may remove them.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    time::SystemTime,
};

use gix::ObjectId;
use gix_pack::index;

use super::quarantine_dir::QuarantineDir;
use crate::{
    Error, ObjectFormat,
    files::sync_directory,
    stored_packs::{loose_objects::path_in, readable_indices},
};

impl QuarantineDir {
    /// Protects objects of the store as git does (`odb.c:freshen_object()`): their packs get a `.keep`, loose objects get
    /// a new mtime. Objects in alternates are not protected, because they belong to another repository. Returns
    /// `false` if an object has been moved or removed since the check.
    pub(crate) fn hold(
        &mut self,
        ids: &[ObjectId],
        alternates: &[PathBuf],
        format: ObjectFormat,
    ) -> Result<bool, Error> {
        if ids.is_empty() {
            return Ok(true);
        }
        self.try_hold(ids, alternates, format)
            .map_err(|err| Error::io("holding on to objects of the store", err))
    }

    fn try_hold(
        &mut self,
        ids: &[ObjectId],
        alternates: &[PathBuf],
        format: ObjectFormat,
    ) -> io::Result<bool> {
        let folder = self.store_objects.join("pack");
        let packs = open_indices(&folder, format);
        let mut is_needed = vec![false; packs.len()];
        let mut elsewhere = Vec::new();
        for id in ids {
            let mut is_packed = false;
            for (pack, is_needed) in packs.iter().zip(&mut is_needed) {
                let has_it = pack.lookup(id).is_some();
                (is_packed, *is_needed) = (is_packed | has_it, *is_needed | has_it);
            }
            if !is_packed && !self.freshen(id) {
                elsewhere.push(*id);
            }
        }
        let mut are_there = are_in(alternates, &elsewhere, format);
        let needed = packs.iter().zip(is_needed).filter(|(_, needed)| *needed);
        for (index, _) in needed {
            let pack = index.path().with_extension("pack");
            self.keeps.hold(&pack, &pack, format.hash_kind())?;
            // The pack may have been removed before the `.keep` was made.
            are_there &= pack.exists() && index.path().exists();
        }
        sync_directory(&folder)?;
        Ok(are_there)
    }

    /// Gives a loose object a new mtime; replaces it by a copy if the file belongs to another user.
    fn freshen(&self, id: &ObjectId) -> bool {
        let path = path_in(&self.store_objects, id);
        let touch = || File::open(&path)?.set_modified(SystemTime::now());
        let copy = |_| {
            let made = self.objects.path().join("loose");
            fs::copy(&path, &made).and_then(|_| fs::rename(&made, &path))
        };
        touch().or_else(copy).is_ok()
    }
}

/// Whether each of these objects is in one of the folders of objects.
fn are_in(folders: &[PathBuf], ids: &[ObjectId], format: ObjectFormat) -> bool {
    if ids.is_empty() {
        return true;
    }
    let packs = folders.iter().map(|folder| folder.join("pack"));
    let packs: Vec<_> = packs
        .flat_map(|packs| open_indices(&packs, format))
        .collect();
    let is_loose = |id| folders.iter().any(|folder| path_in(folder, id).exists());
    let is_packed = |id| packs.iter().any(|pack| pack.lookup(id).is_some());
    ids.iter().all(|id| is_packed(id) || is_loose(id))
}

/// The indices of the packs in a folder. An index that can't be opened is left out: no object was read from
/// its pack.
fn open_indices(folder: &Path, format: ObjectFormat) -> Vec<index::File> {
    let paths = readable_indices(folder);
    let opened = paths.map(|path| index::File::at(path, format.hash_kind()));
    opened.filter_map(Result::ok).collect()
}
