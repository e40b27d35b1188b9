//! What a run leaves behind when it is killed, and how the next one tells that it is dead.
//!
//! Whatever a run makes on its way is in a folder of its own, `refsync-*` in `objects/` and in the git
//! directory, with a lock file in it that the run holds locked with the operating system. When a
//! process dies, however it dies, such locks go with it. What a run has to put elsewhere leads back
//! to its folder: a `.keep` file names it, and the lock of a ref, which git knows by its name alone,
//! is another link to a file in it.
//!
//! Where the file system knows no such locks a folder has none, and nobody but its run removes it.
//!
//! Git calls its own such things `tmp_*`, and `git gc --prune=now` removes those at once, under a run
//! that is alive, too (`builtin/prune.c`). Ours it leaves alone: they go with the next run only.

use std::{
    ffi::OsStr,
    fs::{self, DirEntry, File, TryLockError},
    io::{self, Write},
    path::{Path, PathBuf},
};

use crate::local::sharing::Sharing;

/// What the name of every folder of a run starts with.
const FOLDER_PREFIX: &str = "refsync-";
/// The locked file in it.
const LOCK_NAME: &str = "lock";
/// The file that is there instead of it where files can't be locked.
const UNLOCKABLE_NAME: &str = "unlockable";
/// What the files in it are called that are, by another link, ref locks that the run holds.
pub(crate) const HELD_PREFIX: &str = "held-";
/// What a `.keep` file of ours starts with; the name of the run's folder follows.
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
    /// Of one that has a file in it and no lock nobody takes the run for dead.
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
fn remove(folder: &Path) -> io::Result<()> {
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

/// Gives the file at `made` the name `at`, too, unless something has it: then it fails with
/// [`AlreadyExists`](io::ErrorKind::AlreadyExists). Nobody ever sees half of it.
pub(crate) fn link(made: &Path, at: &Path) -> io::Result<()> {
    use io::ErrorKind::*;
    match fs::hard_link(made, at) {
        Err(err) if !matches!(err.kind(), AlreadyExists | NotFound | NotADirectory) => {
            copy(made, at)
        }
        linked => linked,
    }
}

/// For file systems without links. A run that is killed there may leave more behind than is swept.
fn copy(made: &Path, at: &Path) -> io::Result<()> {
    let content = fs::read(made)?;
    let mut file = File::options().write(true).create_new(true).open(at)?;
    let written = file.write_all(&content).and_then(|()| file.sync_all());
    written.inspect_err(|_| drop(fs::remove_file(at)))
}

/// The number of links that git follows from a file that it locks (`lockfile.c`, `MAXDEPTH`).
const MAX_LINKS: usize = 5;

/// The file that a link of this path leads to, or the path itself.
pub(crate) fn behind_links(mut path: PathBuf) -> PathBuf {
    for _ in 0..MAX_LINKS {
        let Ok(to) = fs::read_link(&path) else {
            break;
        };
        path = path.parent().unwrap_or(&path).join(to);
    }
    path
}

/// Removes what runs that are no more have left in a repository.
pub(crate) fn sweep(git_dir: &Path) {
    let objects = git_dir.join("objects");
    for parent in [git_dir, &objects] {
        sweep_each(parent, |entry| match is_run_folder(&entry.file_name()) {
            true if entry.file_type()?.is_dir() => remove_if_dead(&entry.path(), git_dir),
            _ => Ok(()),
        });
    }
    sweep_each(&objects.join("pack"), |entry| {
        let path = entry.path();
        match path.extension().is_some_and(|found| found == "keep") {
            true if is_orphaned(&path, &objects) => sweep_keep(&path),
            _ => Ok(()),
        }
    });
}

/// Goes on after an entry that can't be swept: somebody else's, or one that is not what its name says.
fn sweep_each(folder: &Path, sweep: impl Fn(&DirEntry) -> io::Result<()>) {
    for entry in folder.read_dir().into_iter().flatten().flatten() {
        if let Err(err) = ignore_missing(sweep(&entry)) {
            tracing::warn!(path = %entry.path().display(), %err, "it stays until the next run");
        }
    }
}

/// Whether a file of this name may be the folder of a run.
pub(crate) fn is_run_folder(name: &OsStr) -> bool {
    let name = name.as_encoded_bytes();
    name.starts_with(FOLDER_PREFIX.as_bytes())
}

/// Holds the dead run's lock while removing, so that two sweepers don't meet.
fn remove_if_dead(folder: &Path, git_dir: &Path) -> io::Result<()> {
    // NFS locks for one process alone only what that may write to.
    let path = folder.join(LOCK_NAME);
    let lock = match File::options().read(true).write(true).open(path) {
        Ok(lock) => lock,
        // Its run is just being born, or died there. Only an empty directory goes, and a newborn
        // that loses its directory makes another one.
        Err(err) if err.kind() == io::ErrorKind::NotFound => {
            let _ = fs::remove_dir(folder);
            return Ok(());
        }
        Err(err) => return Err(err),
    };
    match lock.try_lock() {
        Ok(()) => {
            tracing::info!(folder = %folder.display(), "sweeping what a dead run left");
            ignore_missing(release_ref_locks(folder, git_dir))?;
            ignore_missing(remove(folder))
        }
        Err(TryLockError::WouldBlock) => Ok(()),
        // Without locks there is no telling who is dead.
        Err(TryLockError::Error(err)) => Err(err),
    }
}

fn release_ref_locks(folder: &Path, git_dir: &Path) -> io::Result<()> {
    for entry in folder.read_dir()? {
        let entry = entry?;
        let name = entry.file_name();
        if name.as_encoded_bytes().starts_with(HELD_PREFIX.as_bytes()) {
            release_ref_lock(&entry.path(), git_dir)?;
        }
    }
    Ok(())
}

/// Removes the lock of a ref that is another link to `held`. Where there is none, the run died before
/// it had the lock or after the ref had moved.
#[cfg(unix)]
fn release_ref_lock(held: &Path, git_dir: &Path) -> io::Result<()> {
    use std::os::unix::fs::MetadataExt;
    let held = match held.metadata() {
        Err(err) if err.kind() == io::ErrorKind::NotFound => return Ok(()),
        found => found?,
    };
    let is_held = |path: &Path| {
        let found = path.symlink_metadata();
        found.is_ok_and(|found| (found.dev(), found.ino()) == (held.dev(), held.ino()))
    };
    if held.nlink() < 2 {
        return Ok(());
    }
    let at_the_top = ["packed-refs", "HEAD"].map(|locked| {
        let mut lock = behind_links(git_dir.join(locked)).into_os_string();
        lock.push(".lock");
        PathBuf::from(lock)
    });
    let lock = match at_the_top.into_iter().find(|lock| is_held(lock)) {
        Some(lock) => Some(lock),
        None => find_lock(&git_dir.join("refs"), &is_held)?,
    };
    lock.map_or(Ok(()), |lock| ignore_missing(fs::remove_file(lock)))
}

#[cfg(unix)]
fn find_lock(folder: &Path, is_held: &dyn Fn(&Path) -> bool) -> io::Result<Option<PathBuf>> {
    let entries = match folder.read_dir() {
        Err(err) if err.kind() == io::ErrorKind::NotFound => return Ok(None),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        let path = entry.path();
        if entry.file_type()?.is_dir() {
            if let Some(found) = find_lock(&path, is_held)? {
                return Ok(Some(found));
            }
        } else if path.extension().is_some_and(|found| found == "lock") && is_held(&path) {
            return Ok(Some(path));
        }
    }
    Ok(None)
}

/// Which file is which can't be told here without more than the standard library.
#[cfg(not(unix))]
fn release_ref_lock(_: &Path, _: &Path) -> io::Result<()> {
    Ok(())
}

fn sweep_keep(keep: &Path) -> io::Result<()> {
    // Its run died between moving the pack and moving its index.
    if !keep.with_extension("idx").exists() {
        ignore_missing(fs::remove_file(keep.with_extension("pack")))?;
    }
    fs::remove_file(keep)
}

fn is_orphaned(keep: &Path, objects: &Path) -> bool {
    // A `.keep` that can't be read is not ours to judge.
    let text = fs::read_to_string(keep).unwrap_or_default();
    run_of(&text).is_some_and(|run| !objects.join(run).exists())
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
fn run_of(keep: &str) -> Option<&str> {
    let folder = keep.strip_prefix(KEEP_PREFIX).map(str::trim_end);
    folder.filter(|name| name.starts_with(FOLDER_PREFIX))
}

pub(crate) fn ignore_missing(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(err) if err.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}
