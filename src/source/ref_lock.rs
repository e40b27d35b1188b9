//! Locks of refs that die with their run.
//!
//! Git locks a ref by making `<ref>.lock`, and whoever is killed in between leaves that file and a ref
//! that nobody can move. Ours is a second link to a file in a folder of the run (see
//! [`leftovers`](crate::leftovers)): the same file, so it is our lock, and nobody else's of that name.

use std::{
    ffi::OsString,
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use super::local::LOCK_SUFFIX;
use crate::leftovers::{self, HELD_PREFIX, RunFolder, ignore_missing};

const FIRST_PAUSE: Duration = Duration::from_millis(1);
const LONGEST_PAUSE: Duration = Duration::from_millis(50);
/// How often the directory of a lock is made anew: git removes empty ones at any time.
const MOST_DIRECTORIES: usize = 4;

/// The ref locks of one run, of which it has one at a time.
pub(super) struct RefLocks {
    folder: RunFolder,
    taken: usize,
}

impl RefLocks {
    pub(super) fn open(git_dir: &Path) -> io::Result<Self> {
        let folder = RunFolder::create(git_dir)?;
        Ok(RefLocks { folder, taken: 0 })
    }

    /// Locks what is, or is to be, at `path`. Waits for somebody else's lock for this long.
    pub(super) fn lock(&mut self, path: PathBuf, patience: Duration) -> io::Result<RefLock<'_>> {
        // Another one for each: once it is the ref, it must not be written to again.
        self.taken += 1;
        let held = format!("{HELD_PREFIX}{}", self.taken);
        let held = self.folder.path().join(held);
        File::create_new(&held)?;
        let lock = [path.as_os_str(), LOCK_SUFFIX.as_ref()];
        let lock = PathBuf::from(lock.into_iter().collect::<OsString>());
        let start = Instant::now();
        let mut pause = FIRST_PAUSE;
        let mut directories = 0;
        loop {
            let Err(err) = leftovers::link(&held, &lock) else {
                return Ok(RefLock {
                    locks: self,
                    has_new_directory: directories > 0,
                    is_committed: false,
                    held,
                    lock,
                    path,
                });
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
                    fs::create_dir_all(lock.parent().unwrap_or(&lock))?;
                }
                _ => return Err(err),
            }
        }
    }
}

/// Dropping it gives the lock up.
pub(super) struct RefLock<'a> {
    locks: &'a mut RefLocks,
    held: PathBuf,
    lock: PathBuf,
    path: PathBuf,
    has_new_directory: bool,
    is_committed: bool,
}

impl RefLock<'_> {
    /// Writes what [`commit`](RefLock::commit) is to put in place, and has it on disk.
    pub(super) fn write(
        &mut self,
        write: impl FnOnce(&mut File) -> io::Result<()>,
    ) -> io::Result<()> {
        let mut file = File::options().write(true).open(&self.lock)?;
        write(&mut file)?;
        file.sync_all()
    }

    /// Puts what was written in place of what was locked, and gives the lock up.
    pub(super) fn commit(mut self) -> io::Result<()> {
        if let Err(err) = fs::rename(&self.lock, &self.path) {
            // What git leaves of refs that are gone.
            if !self.path.is_dir() {
                return Err(err);
            }
            remove_empty(&self.path)?;
            fs::rename(&self.lock, &self.path)?;
        }
        self.is_committed = true;
        Ok(())
    }
}

impl Drop for RefLock<'_> {
    fn drop(&mut self) {
        if !self.is_committed {
            if let Err(err) = ignore_missing(fs::remove_file(&self.lock)) {
                tracing::warn!(lock = %self.lock.display(), %err, "the lock stays until the next run");
                return self.locks.folder.leave();
            }
            let above = self.lock.ancestors().skip(1);
            let mut above = above.take_while(|_| self.has_new_directory);
            while above
                .next()
                .is_some_and(|above| fs::remove_dir(above).is_ok())
            {}
        }
        // A folder that can't be emptied goes with the next run.
        fs::remove_file(&self.held).ok();
    }
}

/// Removes a directory in which there is nothing but such directories.
pub(super) fn remove_empty(directory: &Path) -> io::Result<()> {
    for entry in directory.read_dir()? {
        remove_empty(&entry?.path())?;
    }
    fs::remove_dir(directory)
}
