//! What a run leaves behind when it is killed, and how the next one tells that it is dead.
//!
//! A quarantine is an object directory named as git names its own (`tmp_objdir-`, so that `git gc`
//! would clear it in the end, too), with a lock file in it that its run holds locked with the
//! operating system. A `.keep` file of ours names the quarantine that it belongs to. When a
//! process dies, however it dies, its locks go with it.

use std::{
    fs::{File, TryLockError},
    io,
    path::Path,
};

use crate::Error;

/// What the name of every quarantine starts with.
pub(super) const QUARANTINE_PREFIX: &str = "tmp_objdir-refsync-";
/// The locked file in a quarantine.
pub(super) const LOCK_NAME: &str = "lock";
/// What a `.keep` file of ours starts with; the name of the quarantine follows.
pub(super) const KEEP_PREFIX: &str = "refsync ";

/// Removes the quarantines and `.keep` files of runs that are no more.
pub(crate) fn sweep(objects: &Path) -> Result<(), Error> {
    sweep_quarantines(objects).map_err(|err| Error::io("sweeping dead quarantines", err))?;
    sweep_keeps(objects).map_err(|err| Error::io("sweeping .keep files of dead runs", err))
}

fn sweep_quarantines(objects: &Path) -> io::Result<()> {
    for entry in objects.read_dir()? {
        let entry = entry?;
        if entry
            .file_name()
            .as_encoded_bytes()
            .starts_with(QUARANTINE_PREFIX.as_bytes())
        {
            remove_if_dead(&entry.path())?;
        }
    }
    Ok(())
}

/// Holds the dead run's lock while removing, so that two sweepers don't meet.
fn remove_if_dead(quarantine: &Path) -> io::Result<()> {
    let lock = match File::open(quarantine.join(LOCK_NAME)) {
        Ok(lock) => lock,
        // Its run is just being born, or died there. Only an empty directory goes, and a newborn
        // that loses its directory makes another one.
        Err(err) if err.kind() == io::ErrorKind::NotFound => {
            let _ = std::fs::remove_dir(quarantine);
            return Ok(());
        }
        Err(err) => return Err(err),
    };
    match lock.try_lock() {
        Ok(()) => {
            tracing::info!(quarantine = %quarantine.display(), "sweeping what a dead run left");
            ignore_missing(std::fs::remove_dir_all(quarantine))
        }
        Err(TryLockError::WouldBlock) => Ok(()),
        Err(TryLockError::Error(err)) => Err(err),
    }
}

fn sweep_keeps(objects: &Path) -> io::Result<()> {
    let packs = match objects.join("pack").read_dir() {
        Ok(packs) => packs,
        Err(err) if err.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(err) => return Err(err),
    };
    for entry in packs {
        let path = entry?.path();
        if path
            .extension()
            .is_some_and(|extension| extension == "keep")
            && is_orphaned(&path, objects)
        {
            // Its run died between moving the pack and moving its index.
            if !path.with_extension("idx").exists() {
                ignore_missing(std::fs::remove_file(path.with_extension("pack")))?;
            }
            ignore_missing(std::fs::remove_file(path))?;
        }
    }
    Ok(())
}

fn is_orphaned(keep: &Path, objects: &Path) -> bool {
    // A `.keep` that can't be read is not ours to judge.
    let text = std::fs::read_to_string(keep).unwrap_or_default();
    let quarantine = text.strip_prefix(KEEP_PREFIX).map(str::trim_end);
    quarantine
        .is_some_and(|name| name.starts_with(QUARANTINE_PREFIX) && !objects.join(name).exists())
}

pub(super) fn ignore_missing(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(err) if err.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}
