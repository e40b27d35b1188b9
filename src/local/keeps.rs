//! `.keep` files, which protect packs from `git repack` until refs point to their objects (git-repack(1)).

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
}

impl Keeps {
    pub(super) fn of_run(folder: &Path) -> Self {
        Keeps {
            text: format!("{KEEP_PREFIX}{}\n", file_name(folder).display()),
            made: folder.join("keep"),
            held: Vec::new(),
        }
    }

    /// Protects the pack that is or will be at `at`, and whose files are at `pack` now. If another run has a `.keep`
    /// there, the pack is linked under a further name and protected there. A `.keep` of anybody else is
    /// relied on, as git does.
    pub(super) fn hold(&mut self, pack: &Path, at: &Path, hash: Hash) -> io::Result<()> {
        if self.link(at)? || !temp_dirs::is_of_a_run(&at.with_extension("keep")) {
            return Ok(());
        }
        let unique = format!("{}{}", self.text, file_name(at).display());
        let name = gix::objs::compute_hash(hash, Kind::Blob, unique.as_bytes());
        let name = name.map_err(io::Error::other)?;
        let apart = at.with_file_name(format!("pack-{name}.pack"));
        if !self.link(&apart)? {
            return Ok(());
        }
        let link = |extension| {
            let file = pack.with_extension(extension);
            fs::hard_link(file, apart.with_extension(extension))
        };
        // The index comes last: git does not see a pack without it.
        let linked = link("pack").and_then(|()| {
            // No sweep finds a pack without an index once its `.keep` is gone.
            link("idx").inspect_err(|_| drop(fs::remove_file(&apart)))
        });
        if let Err(err) = linked {
            tracing::debug!(to = %apart.display(), %err, "the other run holds the pack");
        }
        Ok(())
    }

    /// Makes a `.keep` file for this pack. False if one exists.
    fn link(&mut self, pack: &Path) -> io::Result<bool> {
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
