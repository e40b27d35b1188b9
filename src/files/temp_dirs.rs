//! Temporary folders, each with a lock that dies with its run.
//!
//! Whatever a run makes on its way is in a folder of its own, `refsync-*` in `objects/` and in the git
//! directory, with a lock file in it that the run holds locked with the operating system. When a
//! process dies, however it dies, such locks go with it. What a run has to put elsewhere leads back
//! to its folder: a `.keep` file names it, and the lock of a ref, which git knows by its name alone,
//! is another link to a file in it.
//!
//! A folder has no lock on a file system that knows none, and nobody but its run removes it.
//!
//! Git calls its own such things `tmp_*`, and `git gc --prune=now` removes those at once, under a run
//! that is alive, too (`builtin/prune.c`). Ours it leaves alone: they go with the next run only.

use std::{
    ffi::OsStr,
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

use super::{ignore_missing, sharing::Sharing};

/// The start of the name of every folder of a run.
const FOLDER_PREFIX: &str = "refsync-";
/// The locked file in it.
pub(crate) const LOCK_NAME: &str = "lock";
/// The file that is there instead of it where files can't be locked.
const UNLOCKABLE_NAME: &str = "unlockable";
/// The start of the names of files that are, by another link, ref locks that the run holds.
pub(crate) const HELD_PREFIX: &str = "held-";
/// The start of a `.keep` file of ours; the name of the run's folder follows.
pub(crate) const KEEP_PREFIX: &str = "refsync ";

/// A folder of a run that is alive. Dropping it removes it.
pub(crate) struct RunFolder {
    path: PathBuf,
    is_left: bool,
    /// Locked until after the folder is gone.
    _lock: File,
}

impl RunFolder {
    /// Until its lock is held, a new folder looks like a dead run's and may be swept; then another one
    /// is made. A sweeper holds the lock while it works, so what is still there once we have it stays.
    /// A folder that has a file in it and no lock is never taken for a dead run's.
    pub(crate) fn create(parent: &Path, sharing: Sharing) -> io::Result<Self> {
        let mut can_lock = true;
        loop {
            let folder = tempfile::Builder::new()
                .prefix(FOLDER_PREFIX)
                .tempdir_in(parent)?;
            // Whoever shares the repository may have to sweep it.
            ignore_missing(sharing.apply(folder.path()))?;
            let name = if can_lock { LOCK_NAME } else { UNLOCKABLE_NAME };
            let path = folder.path().join(name);
            let lock = match File::options().write(true).create_new(true).open(&path) {
                Err(err) if err.kind() == io::ErrorKind::NotFound => continue,
                created => created?,
            };
            if can_lock && let Err(err) = lock.lock() {
                tracing::warn!(%err, "without locks, a run that dies leaves its files for good");
                can_lock = false;
                continue;
            }
            ignore_missing(sharing.apply(&path))?;
            if path.exists() {
                return Ok(RunFolder {
                    path: folder.keep(),
                    is_left: false,
                    _lock: lock,
                });
            }
        }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Leaves it to the next run to remove the folder, with what only the folder leads to.
    pub(crate) fn leave(&mut self) {
        self.is_left = true;
    }
}

impl Drop for RunFolder {
    fn drop(&mut self) {
        if !self.is_left
            && let Err(err) = remove(&self.path)
        {
            tracing::warn!(folder = %self.path.display(), %err, "it stays until the next run");
        }
    }
}

/// The lock goes last: a folder without one is taken for that of a run that is being born.
pub(crate) fn remove(folder: &Path) -> io::Result<()> {
    for entry in folder.read_dir()? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            ignore_missing(fs::remove_dir_all(entry.path()))?;
        } else if entry.file_name() != LOCK_NAME {
            ignore_missing(fs::remove_file(entry.path()))?;
        }
    }
    ignore_missing(fs::remove_file(folder.join(LOCK_NAME)))?;
    fs::remove_dir(folder)
}

/// Whether a file of this name may be the folder of a run.
pub(crate) fn is_run_folder(name: &OsStr) -> bool {
    let name = name.as_encoded_bytes();
    name.starts_with(FOLDER_PREFIX.as_bytes())
}

/// Whether this is the `.keep` file of a run, dead or alive, or was one a moment ago.
pub(crate) fn is_of_a_run(keep: &Path) -> bool {
    let text = fs::read_to_string(keep);
    text.map_or_else(
        |err| err.kind() == io::ErrorKind::NotFound,
        |text| run_of(&text).is_some(),
    )
}

/// The folder of the run that a `.keep` file is of.
pub(crate) fn run_of(keep: &str) -> Option<&str> {
    let folder = keep.strip_prefix(KEEP_PREFIX).map(str::trim_end);
    folder.filter(|name| name.starts_with(FOLDER_PREFIX))
}
