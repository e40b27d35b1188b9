//! Sweeping: the files that a killed run leaves, and their removal by the next run.
//!
//! A run holds the lock file in its folder locked with `flock` while it lives. So a folder whose lock can be taken belongs
//! to a dead run.

use std::{
    fs::{self, DirEntry, File, TryLockError},
    io,
    path::{Path, PathBuf},
};

use crate::files::{
    behind_links, if_exists, ignore_missing,
    temp_dirs::{HELD_PREFIX, LOCK_NAME, is_run_folder, remove, run_of},
};

/// Removes the files of dead runs from a repository.
pub(crate) fn sweep(git_dir: &Path) {
    let objects = git_dir.join("objects");
    for parent in [git_dir, &objects] {
        sweep_each(parent, |entry| {
            if is_run_folder(&entry.file_name()) && entry.file_type()?.is_dir() {
                remove_if_dead(&entry.path(), git_dir)?;
            }
            Ok(())
        });
    }
    sweep_each(&objects.join("pack"), |entry| {
        let path = entry.path();
        let is_keep = path.extension().is_some_and(|found| found == "keep");
        if is_keep && is_orphaned(&path, &objects) {
            sweep_keep(&path)?;
        }
        Ok(())
    });
}

/// Calls `sweep` for each entry, and goes on after one that cannot be swept: it may belong to another user, or may not be
/// a run's folder.
fn sweep_each(folder: &Path, sweep: impl Fn(&DirEntry) -> io::Result<()>) {
    for entry in folder.read_dir().into_iter().flatten().flatten() {
        if let Err(err) = ignore_missing(sweep(&entry)) {
            tracing::warn!(path = %entry.path().display(), %err, "it stays until the next run");
        }
    }
}

/// Removes the folder of a dead run. Its lock is held meanwhile, so that two sweeps do not interfere.
fn remove_if_dead(folder: &Path, git_dir: &Path) -> io::Result<()> {
    // NFS grants an exclusive lock only on a file that is open for writing.
    let path = folder.join(LOCK_NAME);
    let Some(lock) = if_exists(File::options().read(true).write(true).open(path))? else {
        // The run is just starting, or died at that point. Only an empty folder is removed, and a run that loses its
        // folder at the start makes another one.
        let _ = fs::remove_dir(folder);
        return Ok(());
    };
    match lock.try_lock() {
        Ok(()) => {
            tracing::info!(folder = %folder.display(), "sweeping what a dead run left");
            ignore_missing(release_ref_locks(folder, git_dir))?;
            ignore_missing(remove(folder))
        }
        Err(TryLockError::WouldBlock) => Ok(()),
        // Without file locks a dead run cannot be told from a live one.
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

/// Removes the ref lock that is another link to `held`. If there is none, the run died before it had the lock or after
/// the ref had moved.
#[cfg(unix)]
fn release_ref_lock(held: &Path, git_dir: &Path) -> io::Result<()> {
    use std::os::unix::fs::MetadataExt;
    let Some(held) = if_exists(held.metadata())? else {
        return Ok(());
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
    for entry in if_exists(folder.read_dir())?.into_iter().flatten() {
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

/// Does nothing: the standard library cannot compare files on this platform.
#[cfg(not(unix))]
fn release_ref_lock(_: &Path, _: &Path) -> io::Result<()> {
    Ok(())
}

fn sweep_keep(keep: &Path) -> io::Result<()> {
    // Without an index, the run died between moving the pack and moving its index.
    if !keep.with_extension("idx").exists() {
        ignore_missing(fs::remove_file(keep.with_extension("pack")))?;
    }
    fs::remove_file(keep)
}

fn is_orphaned(keep: &Path, objects: &Path) -> bool {
    // A `.keep` that cannot be read is left alone.
    let text = fs::read_to_string(keep).unwrap_or_default();
    run_of(&text).is_some_and(|run| !objects.join(run).exists())
}
