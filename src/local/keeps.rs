//! `.keep` files, which protect packs from `git repack` until refs point to their objects (git-repack(1)).
//!
//! `git repack` lists the packs without a `.keep` file when it begins, packs no objects of packs that have one by then,
//! and in the end removes what it has listed, whatever has a `.keep` now (`packfile.c:unlink_pack_path()`). So a `.keep`
//! protects a pack under a new name. Beside a pack that was listed without one it does harm: even objects that refs
//! reach would be lost.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use gix::{hash::Kind as Hash, objs::Kind};
use gix_pack::index;

use crate::files::{
    self, ignore_missing,
    temp_dirs::{self, KEEP_PREFIX},
};

/// The `.keep` files of one run. A run never relies on the file of another run, which is removed when that run ends, or
/// by the next sweep if that run is dead.
pub(super) struct Keeps {
    /// The text of the files, which names the folder of the run.
    text: String,
    /// The path at which a file is written before it is linked.
    made: PathBuf,
    held: Vec<PathBuf>,
}

impl Keeps {
    pub(super) fn of_run(folder: &Path) -> Self {
        Keeps {
            text: format!("{KEEP_PREFIX}{}\n", file_name(folder).display()),
            made: folder.join("keep"),
            held: Vec::new(),
        }
    }

    /// Protects a new pack, whose files are at `pack` now and will be at `at`.
    pub(super) fn hold_new(&mut self, pack: &Path, at: &Path, hash: Hash) -> io::Result<()> {
        // What is there may be in the list of a `git repack`.
        if at.exists() || !self.keep(at)? {
            self.link(pack, at, hash)?;
        }
        Ok(())
    }

    /// Protects a pack of the store. False if it has been removed. A `.keep` of anybody but a run is relied on, as git
    /// does.
    pub(super) fn hold_old(&mut self, index: &index::File) -> io::Result<bool> {
        let pack = index.path().with_extension("pack");
        let keep = pack.with_extension("keep");
        if self.held.contains(&keep) || !temp_dirs::is_of_a_run(&keep) {
            return Ok(pack.exists());
        }
        match self.link(&pack, &pack, index.object_hash()) {
            Err(err) if err.kind() == io::ErrorKind::NotFound => return Ok(false),
            linked => linked?,
        }
        // The link of an earlier run has done its work. A multi-pack-index may name it.
        let is_there = |name: &&str| pack.with_file_name(name).exists();
        let has_multi_pack_index = ["multi-pack-index", "multi-pack-index.d"]
            .iter()
            .any(is_there);
        if is_link(index) && !keep.exists() && !has_multi_pack_index {
            remove_pack(&pack);
        }
        Ok(true)
    }

    /// Links a pack, or copies it where that is impossible, under a name beside `at` that no `git repack` has listed.
    ///
    /// The link has to stay when the run ends: a `git repack` that has met its `.keep` has packed none of its objects,
    /// and may remove the other packs that have them.
    fn link(&mut self, pack: &Path, at: &Path, hash: Hash) -> io::Result<()> {
        let unique = format!("{}{}", self.text, file_name(at).display());
        let name = gix::objs::compute_hash(hash, Kind::Blob, unique.as_bytes());
        let name = name.map_err(io::Error::other)?;
        let apart = at.with_file_name(format!("pack-{name}.pack"));
        if apart.with_extension("idx").exists() {
            return Ok(());
        }
        self.keep(&apart)?;
        let link = |extension| {
            let [file, to] = [pack, &apart].map(|pack| pack.with_extension(extension));
            files::link_or_copy(&file, &to, &self.made)
        };
        link("pack")?;
        // The index comes last: git does not see a pack without it. No sweep finds one once its `.keep` is gone.
        link("idx").inspect_err(|_| drop(fs::remove_file(&apart)))
    }

    /// Makes a `.keep` file for this pack. False if there is one of somebody else.
    fn keep(&mut self, pack: &Path) -> io::Result<bool> {
        let keep = pack.with_extension("keep");
        if self.held.contains(&keep) {
            return Ok(true);
        }
        let is_new = files::create(&self.made, &keep, &self.text)?;
        // The next `.keep` has to be another file: this one must not change any more.
        fs::remove_file(&self.made)?;
        self.held.extend(is_new.then_some(keep));
        Ok(is_new)
    }
}

/// Whether the pack is the link of a run: packs are named by their checksum otherwise.
pub(super) fn is_link(index: &index::File) -> bool {
    let name = format!("pack-{}", index.pack_checksum());
    index.path().file_stem() != Some(name.as_ref())
}

/// Removes a pack. The index goes first: git does not see a pack without it.
fn remove_pack(pack: &Path) {
    for extension in ["idx", "pack"] {
        let file = pack.with_extension(extension);
        if let Err(err) = ignore_missing(fs::remove_file(&file)) {
            tracing::warn!(file = %file.display(), %err, "a linked pack stays until git repacks");
            return;
        }
    }
}

/// Removes the `.keep` files, also of a run that fails after its packs were moved.
impl Drop for Keeps {
    fn drop(&mut self) {
        for keep in &self.held {
            if let Err(err) = ignore_missing(fs::remove_file(keep)) {
                tracing::warn!(keep = %keep.display(), %err, "a .keep file stays until the next run");
            }
        }
    }
}

pub(super) fn file_name(path: &Path) -> &Path {
    Path::new(path.file_name().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A folder with the folder of a run, and the path of a pack that has the `.keep` of another one.
    fn folder_of_packs() -> (tempfile::TempDir, Keeps, PathBuf) {
        let folder = tempfile::tempdir().expect("a folder");
        let run = folder.path().join("refsync-this");
        fs::create_dir(&run).expect("a folder");
        let pack = folder.path().join("pack-1.pack");
        let keep = format!("{KEEP_PREFIX}refsync-other\n");
        fs::write(pack.with_extension("keep"), keep).expect("the file of another run");
        (folder, Keeps::of_run(&run), pack)
    }

    #[test]
    fn a_pack_whose_index_cannot_be_linked_is_not_linked() {
        let (folder, mut keeps, pack) = folder_of_packs();
        fs::write(&pack, "").expect("a pack");
        let err = keeps
            .hold_new(&pack, &pack, Hash::Sha1)
            .expect_err("no index");
        assert_eq!(err.kind(), io::ErrorKind::NotFound);
        drop(keeps);
        let left = folder.path().read_dir().expect("a folder");
        let mut left: Vec<_> = left.map(|entry| entry.expect("one").file_name()).collect();
        left.sort();
        assert_eq!(left, ["pack-1.keep", "pack-1.pack", "refsync-this"]);
    }
}
