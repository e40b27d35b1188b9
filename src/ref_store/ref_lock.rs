//! Locks of refs that die with their run.
//!
//! Git locks a ref by making `<ref>.lock`, and whoever is killed in between leaves that file and a ref
//! that nobody can move. Ours is a second link to a file in a folder of the run (see
//! [`temp_dirs`](crate::files::temp_dirs)): the same file, so it is our lock, and nobody else's of that name.

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
/// The number of attempts to make the directory of a lock: git removes empty ones at any time.
const MOST_DIRECTORIES: usize = 4;

/// The depth of a namespace, such as `refs/heads`, in the git directory: git keeps these directories, and
/// takes a directory without `refs` for no repository.
const NAMESPACE_DEPTH: usize = 2;

/// The ref locks of one run, of which it has one at a time.
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

    /// Locks what is, or is to be, at `path`. Waits for somebody else's lock for this long; the error
    /// is [`AlreadyExists`](io::ErrorKind::AlreadyExists) if it is still there.
    pub(crate) fn lock(&mut self, path: PathBuf, patience: Duration) -> io::Result<RefLock<'_>> {
        // Another one for each: once it is the ref, it must not be written to again.
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

/// Dropping it gives the lock up, and removes the directories that were made for it.
pub(crate) struct RefLock<'a> {
    locks: &'a mut RefLocks,
    held: PathBuf,
    lock: PathBuf,
    path: PathBuf,
    /// Whether the lock is there and ours.
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
                    let text = "somebody else holds the lock";
                    return Err(io::Error::new(err.kind(), text));
                }
                io::ErrorKind::NotFound if directories < MOST_DIRECTORIES => {
                    directories += 1;
                    self.has_new_directory = true;
                    let directory = self.lock.parent().unwrap_or(&self.lock);
                    // One of them may be removed meanwhile.
                    ignore_missing(self.locks.sharing.create_dir_all(directory))?;
                }
                _ => return Err(err),
            }
        }
    }

    /// Writes what [`commit`](RefLock::commit) is to put in place, and has it on disk.
    pub(crate) fn write(
        &mut self,
        write: impl FnOnce(&mut File) -> io::Result<()>,
    ) -> io::Result<()> {
        let mut file = File::options().write(true).open(&self.lock)?;
        write(&mut file)?;
        file.sync_all()
    }

    /// Puts what was written in place of what was locked, and gives the lock up.
    pub(crate) fn commit(mut self) -> io::Result<()> {
        if let Err(err) = fs::rename(&self.lock, &self.path) {
            // What git leaves of refs that are gone.
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

    /// Removes what is empty above the lock, as git does: not the namespace, nor anything above it.
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
        // A folder that can't be emptied goes with the next run.
        fs::remove_file(&self.held).ok();
    }
}

/// Removes a directory in which there is nothing but such directories.
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
