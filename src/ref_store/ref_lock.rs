//! The lock of a ref, git's `<ref>.lock`, in a form that the next run can remove if this run is killed.
//!
//! A process that is killed while it holds git's lock leaves a file that blocks the ref for ever. refsync's lock is a second
//! hard link to a file in the folder of the run (see [`temp_dirs`](crate::files::temp_dirs)). A sweep that finds the folder
//! of a dead run compares the two files: if they are the same, the lock belongs to that run, and to no other process
//! that has locked the ref since.

use std::{
    ffi::OsString,
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use crate::files::{
    self, ignore_missing,
    sharing::Sharing,
    temp_dirs::{HELD_PREFIX, RunFolder},
};

/// The suffix that git appends to the name of a ref's file to lock it.
pub(crate) const LOCK_SUFFIX: &str = ".lock";
const FIRST_PAUSE: Duration = Duration::from_millis(1);
const LONGEST_PAUSE: Duration = Duration::from_millis(50);
/// The most attempts to make the directory of a lock: git may remove empty directories at any time.
const MOST_DIRECTORIES: usize = 4;

/// The depth of a namespace such as `refs/heads` in the git directory. These directories are never removed: without
/// `refs` git does not recognise the repository.
const NAMESPACE_DEPTH: usize = 2;

/// The ref locks of one run, which holds one at a time.
pub(crate) struct RefLocks {
    git_dir: PathBuf,
    sharing: Sharing,
    folder: RunFolder,
    taken: usize,
}

impl RefLocks {
    pub(crate) fn open(git_dir: &Path, sharing: Sharing) -> io::Result<Self> {
        Ok(RefLocks {
            git_dir: git_dir.to_owned(),
            sharing,
            folder: RunFolder::create(git_dir, sharing)?,
            taken: 0,
        })
    }

    /// Locks the file at `path`, which may not exist yet. Waits up to `patience` for another process's lock; the error is
    /// [`AlreadyExists`](io::ErrorKind::AlreadyExists) if it still exists then.
    pub(crate) fn lock(&mut self, path: PathBuf, patience: Duration) -> io::Result<RefLock<'_>> {
        // A new file for each lock: committing makes the file the ref, and a ref must not be written in place.
        self.taken += 1;
        let held = format!("{HELD_PREFIX}{}", self.taken);
        let held = self.folder.path().join(held);
        File::create_new(&held)?;
        let lock = [path.as_os_str(), LOCK_SUFFIX.as_ref()];
        let mut lock = RefLock {
            locks: self,
            held,
            lock: PathBuf::from(lock.into_iter().collect::<OsString>()),
            path,
            is_held: false,
            has_new_directory: false,
        };
        lock.take(patience)?;
        Ok(lock)
    }
}

/// A held lock. Dropping it releases the lock, and removes the directories that were made for it.
pub(crate) struct RefLock<'a> {
    locks: &'a mut RefLocks,
    held: PathBuf,
    lock: PathBuf,
    path: PathBuf,
    /// Whether the lock file exists and belongs to this run.
    is_held: bool,
    has_new_directory: bool,
}

impl RefLock<'_> {
    fn take(&mut self, patience: Duration) -> io::Result<()> {
        let start = Instant::now();
        let mut pause = FIRST_PAUSE;
        let mut directories = 0;
        loop {
            let Err(err) = files::link(&self.held, &self.lock) else {
                self.is_held = true;
                return self.locks.sharing.apply(&self.lock);
            };
            match err.kind() {
                io::ErrorKind::AlreadyExists if start.elapsed() < patience => {
                    thread::sleep(pause.min(patience.saturating_sub(start.elapsed())));
                    pause = (2 * pause).min(LONGEST_PAUSE);
                }
                io::ErrorKind::AlreadyExists => {
                    let text = "another process holds the lock";
                    return Err(io::Error::new(err.kind(), text));
                }
                io::ErrorKind::NotFound if directories < MOST_DIRECTORIES => {
                    directories += 1;
                    self.has_new_directory = true;
                    let directory = self.lock.parent().unwrap_or(&self.lock);
                    // Another process may remove one of them at the same time.
                    ignore_missing(self.locks.sharing.create_dir_all(directory))?;
                }
                _ => return Err(err),
            }
        }
    }

    /// Writes and syncs the content that [`commit`](RefLock::commit) puts into place.
    pub(crate) fn write(
        &mut self,
        write: impl FnOnce(&mut File) -> io::Result<()>,
    ) -> io::Result<()> {
        let mut file = File::options().write(true).open(&self.lock)?;
        write(&mut file)?;
        file.sync_all()
    }

    /// Replaces the locked file by the written content, and releases the lock.
    pub(crate) fn commit(mut self) -> io::Result<()> {
        if let Err(err) = fs::rename(&self.lock, &self.path) {
            // Git leaves empty directories of deleted refs.
            if !self.path.is_dir() {
                return Err(err);
            }
            remove_empty(&self.path)?;
            fs::rename(&self.lock, &self.path)?;
        }
        self.is_held = false;
        self.has_new_directory = false;
        Ok(())
    }

    /// Removes the empty directories above the lock, as git does, but not the namespace's directory.
    fn remove_empty_directories(&self) {
        let is_below_namespace = |directory: &&Path| {
            let below = directory.strip_prefix(&self.locks.git_dir);
            below.is_ok_and(|below| below.components().count() > NAMESPACE_DEPTH)
        };
        let above = self.lock.ancestors().skip(1);
        for directory in above.take_while(is_below_namespace) {
            if ignore_missing(fs::remove_dir(directory)).is_err() {
                break;
            }
        }
    }
}

impl Drop for RefLock<'_> {
    fn drop(&mut self) {
        if self.is_held
            && let Err(err) = ignore_missing(fs::remove_file(&self.lock))
        {
            tracing::warn!(lock = %self.lock.display(), %err, "the lock stays until the next run");
            return self.locks.folder.leave();
        }
        if self.has_new_directory {
            self.remove_empty_directories();
        }
        // If this fails, the next run's sweep removes the folder.
        fs::remove_file(&self.held).ok();
    }
}

/// Removes a directory that contains nothing but empty directories.
pub(crate) fn remove_empty(directory: &Path) -> io::Result<()> {
    for entry in directory.read_dir()? {
        remove_empty(&entry?.path())?;
    }
    fs::remove_dir(directory)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_that_is_not_taken_leaves_no_directory() {
        let git_dir = tempfile::tempdir().expect("a folder");
        let heads = git_dir.path().join("refs/heads");
        fs::create_dir_all(&heads).expect("a namespace");
        let mut locks = RefLocks::open(git_dir.path(), Sharing::Umask).expect("a run folder");
        let too_long = heads.join("a/b").join("c".repeat(255));
        assert!(locks.lock(too_long, Duration::ZERO).is_err());
        assert!(!heads.join("a").exists());
        drop(
            locks
                .lock(heads.join("a/b/c"), Duration::ZERO)
                .expect("a lock"),
        );
        assert!(!heads.join("a").exists());
        assert!(heads.exists());
        fs::create_dir(heads.join("a")).expect("a directory of somebody else");
        drop(
            locks
                .lock(heads.join("a/c"), Duration::ZERO)
                .expect("a lock"),
        );
        assert!(heads.join("a").exists());
    }
}
