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
        // The index comes last: git does not see a pack without it.
        for extension in ["pack", "idx"] {
            let to = apart.with_extension(extension);
            if let Err(err) = fs::hard_link(pack.with_extension(extension), &to) {
                tracing::debug!(to = %to.display(), %err, "the other run holds the pack");
                break;
            }
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
