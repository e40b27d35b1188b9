//! The temporary folders of runs, each with a file lock that ends with its run.
//!
//! All temporary files of a run are in folders of its own, `refsync-*` in `objects/` and in the git directory. Each has a
//! lock file that the run holds locked (`flock`). The operating system releases the lock when the process ends in any
//! way, so a folder whose lock can be taken belongs to a dead run. Files that a run has to put elsewhere refer to its
//! folder: a `.keep` file contains its name, and the lock of a ref is a hard link to a file in it.
//!
//! On a file system without locks a folder has none, and only its own run removes it.
//!
//! Git names its own temporary files `tmp_*`. `git gc --prune=now` removes such files at once, even those of a live process
//! (`builtin/prune.c`), so these folders have another name, which git ignores.

use std::{
    ffi::OsStr,
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

use super::{ignore_missing, sharing::Sharing};

/// The prefix of the name of a run's folder.
const FOLDER_PREFIX: &str = "refsync-";
/// The name of the lock file in a run's folder.
pub(crate) const LOCK_NAME: &str = "lock";
/// The name of the file in its place on file systems without locks.
const UNLOCKABLE_NAME: &str = "unlockable";
/// The prefix of the names of files that are linked as ref locks.
pub(crate) const HELD_PREFIX: &str = "held-";
/// The start of the text of a run's `.keep` file; the name of the run's folder follows.
pub(crate) const KEEP_PREFIX: &str = "refsync ";

/// The folder of a live run. Dropping it removes the folder.
pub(crate) struct RunFolder {
    path: PathBuf,
    is_left: bool,
    /// Locked until the folder is removed.
    _lock: File,
}

impl RunFolder {
    /// Makes a folder and locks it.
    ///
    /// Until its lock is held, a new folder looks like a dead run's and may be swept; then another one is made. A sweep
    /// holds the lock while it works, so a folder that still exists after the lock was taken stays. A folder with a
    /// file in it and without a lock file is never taken for a dead run's.
    pub(crate) fn create(parent: &Path, sharing: Sharing) -> io::Result<Self> {
        let mut can_lock = true;
        loop {
            let folder = tempfile::Builder::new()
                .prefix(FOLDER_PREFIX)
                .tempdir_in(parent)?;
            // Another user of a shared repository may have to sweep the folder.
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

    /// Keeps the folder for the sweep of the next run, with the files that are found only through it.
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

/// Removes a run's folder. The lock file goes last: a folder without one is taken for that of a run that is starting.
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

/// Whether this is the `.keep` file of a run, live or dead. A file that has just been removed counts as one.
pub(crate) fn is_of_a_run(keep: &Path) -> bool {
    let text = fs::read_to_string(keep);
    text.map_or_else(
        |err| err.kind() == io::ErrorKind::NotFound,
        |text| run_of(&text).is_some(),
    )
}

/// The name of the run's folder in the text of a `.keep` file.
pub(crate) fn run_of(keep: &str) -> Option<&str> {
    let folder = keep.strip_prefix(KEEP_PREFIX).map(str::trim_end);
    folder.filter(|name| name.starts_with(FOLDER_PREFIX))
}
