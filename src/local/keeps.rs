//! `.keep` files, which protect packs from `git repack` until refs point to their objects (git-repack(1)), and links to
//! packs that it may have listed already.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use gix::{hash::Kind as Hash, objs::Kind};

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
    linked: LinkedPacks,
}

/// Packs of the store that were linked under names of the run's own.
#[derive(Default)]
pub(super) struct LinkedPacks(Vec<PathBuf>);

impl Keeps {
    pub(super) fn of_run(folder: &Path) -> Self {
        Keeps {
            text: format!("{KEEP_PREFIX}{}\n", file_name(folder).display()),
            made: folder.join("keep"),
            held: Vec::new(),
            linked: LinkedPacks::default(),
        }
    }

    /// Protects the pack that is or will be at `at`, and whose files are at `pack` now. False if they have been removed.
    ///
    /// `git repack` lists the packs and their `.keep` files when it begins, and in the end removes those that had none,
    /// also if they have one by then (`packfile.c:unlink_pack_path()`). So a `.keep` is enough for a new name only: a
    /// pack that is in the store already, or that another run holds, is linked under a name of the run's own. A
    /// `.keep` of anybody else is relied on, as git does.
    pub(super) fn hold(&mut self, pack: &Path, at: &Path, hash: Hash) -> io::Result<bool> {
        let keep = at.with_extension("keep");
        if self.held.contains(&keep) {
            return Ok(true);
        }
        if !at.exists() && self.keep(at)? || !temp_dirs::is_of_a_run(&keep) {
            return Ok(pack.exists() && pack.with_extension("idx").exists());
        }
        let unique = format!("{}{}", self.text, file_name(at).display());
        let name = gix::objs::compute_hash(hash, Kind::Blob, unique.as_bytes());
        let name = name.map_err(io::Error::other)?;
        let apart = at.with_file_name(format!("pack-{name}.pack"));
        self.keep(&apart)?;
        match link_pack(pack, &apart) {
            Ok(()) => self.linked.0.push(apart),
            Err(err) if err.kind() == io::ErrorKind::AlreadyExists => {}
            Err(err) if err.kind() == io::ErrorKind::NotFound => return Ok(false),
            // Without links, only a `git repack` that begins later leaves the pack.
            Err(err) => {
                tracing::debug!(to = %apart.display(), %err, "the pack can't be linked");
                self.keep(at)?;
            }
        }
        Ok(true)
    }

    /// The packs that were linked. They stay, unless the caller removes them.
    pub(super) fn take_linked(&mut self) -> LinkedPacks {
        std::mem::take(&mut self.linked)
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

impl LinkedPacks {
    /// Removes the packs, which no ref needs. The index goes first: git does not see a pack without it.
    pub(super) fn remove(self) {
        let files = |pack: &PathBuf| [pack.with_extension("idx"), pack.clone()];
        for file in self.0.iter().flat_map(files) {
            if let Err(err) = ignore_missing(fs::remove_file(&file)) {
                tracing::warn!(file = %file.display(), %err, "a linked pack stays until git repacks");
            }
        }
    }
}

/// Links a pack under another name. The index comes last: git does not see a pack without it.
fn link_pack(pack: &Path, to: &Path) -> io::Result<()> {
    let link = |extension| {
        let file = pack.with_extension(extension);
        fs::hard_link(file, to.with_extension(extension))
    };
    link("pack")?;
    // No sweep finds a pack without an index once its `.keep` is gone.
    link("idx").inspect_err(|_| drop(fs::remove_file(to)))
}

/// Removes the `.keep` files, also of a run that fails after its packs were moved, and the linked packs that nobody has
/// taken.
impl Drop for Keeps {
    fn drop(&mut self) {
        self.take_linked().remove();
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

    #[test]
    fn a_pack_whose_index_cannot_be_linked_is_not_linked() {
        let folder = tempfile::tempdir().expect("a folder");
        let run = folder.path().join("refsync-this");
        fs::create_dir(&run).expect("a folder");
        let pack = folder.path().join("pack-1.pack");
        fs::write(&pack, "").expect("a pack");
        let keep = format!("{KEEP_PREFIX}refsync-other\n");
        fs::write(pack.with_extension("keep"), keep).expect("the file of another run");
        let mut keeps = Keeps::of_run(&run);
        keeps.hold(&pack, &pack, Hash::Sha1).expect("no failure");
        drop(keeps);
        let left = folder.path().read_dir().expect("a folder");
        let mut left: Vec<_> = left.map(|entry| entry.expect("one").file_name()).collect();
        left.sort();
        assert_eq!(left, ["pack-1.keep", "pack-1.pack", "refsync-this"]);
    }
}
