//! Crash-safe file operations: after a crash of the process or the machine, a repository has the old file or the new one.

use std::{
    fs::{self, File},
    io::{self, Write as _},
    path::{Path, PathBuf},
};

pub(crate) mod early_sync;
pub(crate) mod sharing;
pub(crate) mod temp_dirs;

/// Syncs a directory, so that the names in it are on disk. An unsupported operation (on CIFS, FUSE and others) is not an
/// error: git does not sync directories at all.
pub(crate) fn sync_directory(path: &Path) -> io::Result<()> {
    use io::ErrorKind::*;
    let sync = || File::open(path)?.sync_all();
    let synced = if cfg!(unix) { sync() } else { Ok(()) };
    match synced {
        Err(err) if matches!(err.kind(), InvalidInput | Unsupported | PermissionDenied) => {
            tracing::debug!(path = %path.display(), %err, "a directory can't be synced");
            Ok(())
        }
        synced => synced,
    }
}

/// Writes a complete file at `made` and links it to `at`. False if `at` exists. `made` goes if it cannot be linked.
pub(crate) fn create(made: &Path, at: &Path, content: &str) -> io::Result<bool> {
    let mut file = File::create(made)?;
    file.write_all(content.as_bytes())?;
    file.sync_all()?;
    match link(made, at) {
        Err(err) if err.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        Err(err) => {
            fs::remove_file(made).ok();
            Err(err)
        }
        Ok(()) => Ok(true),
    }
}

/// Links the complete file at `made` to `at`, so that `at` never has a part of it. Fails with
/// [`AlreadyExists`](io::ErrorKind::AlreadyExists) if `at` exists.
pub(crate) fn link(made: &Path, at: &Path) -> io::Result<()> {
    use io::ErrorKind::*;
    match fs::hard_link(made, at) {
        Err(err) if !matches!(err.kind(), AlreadyExists | NotFound | NotADirectory) => {
            copy(made, at)
        }
        linked => linked,
    }
}

/// Copies a file, for file systems without hard links. A sweep may miss leftovers of runs that are killed there.
fn copy(made: &Path, at: &Path) -> io::Result<()> {
    let content = fs::read(made)?;
    let mut file = File::options().write(true).create_new(true).open(at)?;
    let written = file.write_all(&content).and_then(|()| file.sync_all());
    written.inspect_err(|_| drop(fs::remove_file(at)))
}

/// Replaces the file at `path` by a copy of it, which is made at `made`.
pub(crate) fn replace_by_copy(path: &Path, made: &Path) -> io::Result<()> {
    rename_copy(path, made, path)?;
    path.parent().map_or(Ok(()), sync_directory)
}

/// Gives a file a second name, which nobody else uses; gives it to a copy, which is made at `made`, if the file can't be
/// linked: the file system has no links, or the file belongs to another user.
pub(crate) fn link_or_copy(path: &Path, at: &Path, made: &Path) -> io::Result<()> {
    use io::ErrorKind::*;
    match fs::hard_link(path, at) {
        Err(err) if !matches!(err.kind(), AlreadyExists | NotFound) => {
            tracing::debug!(path = %path.display(), %err, "the file can't be linked");
            rename_copy(path, made, at)
        }
        linked => linked,
    }
}

/// Makes a copy at `made` and renames it to `at`. It is complete and on disk before it gets that name. A file that an
/// earlier failure left at `made` may be read-only.
fn rename_copy(path: &Path, made: &Path, at: &Path) -> io::Result<()> {
    ignore_missing(fs::remove_file(made))?;
    let copied = fs::copy(path, made)
        .and_then(|_| File::open(made)?.sync_all())
        .and_then(|()| fs::rename(made, at));
    copied.inspect_err(|_| drop(fs::remove_file(made)))
}

/// The number of links that git follows from a file that it locks (`lockfile.c`, `MAXDEPTH`).
const MAX_LINKS: usize = 5;

/// The target of the symbolic link at `path`, or `path` itself.
pub(crate) fn behind_links(mut path: PathBuf) -> PathBuf {
    for _ in 0..MAX_LINKS {
        let Ok(to) = fs::read_link(&path) else {
            break;
        };
        path = path.parent().unwrap_or(&path).join(to);
    }
    path
}

/// The same result, with a missing file or folder as success.
pub(crate) fn ignore_missing(result: io::Result<()>) -> io::Result<()> {
    if_exists(result).map(|_| ())
}

/// The result for a file or folder that may not exist.
pub(crate) fn if_exists<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Err(err) if err.kind() == io::ErrorKind::NotFound => Ok(None),
        other => other.map(Some),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(target_os = "linux")]
    #[test]
    fn a_directory_that_cannot_be_synced_is_no_failure() {
        // EINVAL is what fsync says of it.
        assert!(File::open("/proc/self").is_ok_and(|folder| folder.sync_all().is_err()));
        sync_directory(Path::new("/proc/self")).expect("nothing to sync");
        sync_directory(Path::new("/proc/self/none")).expect_err("no directory");
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_file_that_cannot_be_linked_is_copied() {
        let folder = tempfile::tempdir().expect("a folder");
        let [at, made] = ["at", "made"].map(|name| folder.path().join(name));
        let elsewhere = Path::new("/proc/version");
        fs::hard_link(elsewhere, &at).expect_err("another file system");
        link_or_copy(elsewhere, &at, &made).expect("a copy");
        let [copied, content] = [&at, elsewhere].map(|path| fs::read(path).expect("a file"));
        assert_eq!(copied, content);
        assert!(!made.exists());
    }

    #[test]
    fn a_file_that_cannot_be_linked_is_removed() {
        let folder = tempfile::tempdir().expect("a folder");
        let made = folder.path().join("made");
        create(&made, &folder.path().join("none/at"), "content").expect_err("no directory");
        assert!(!made.exists());
    }

    #[test]
    fn a_copy_is_not_written_to_a_file_that_is_left() {
        let folder = tempfile::tempdir().expect("a folder");
        let [path, made, other] = ["path", "made", "other"].map(|name| folder.path().join(name));
        fs::write(&path, "content").expect("a file");
        fs::write(&other, "other").expect("a file");
        // A user who may write to any file overwrites it, others fail.
        let mut permissions = other.metadata().expect("a file").permissions();
        permissions.set_readonly(true);
        fs::set_permissions(&other, permissions).expect("a file of the user");
        fs::hard_link(&other, &made).expect("a link");
        replace_by_copy(&path, &made).expect("a copy");
        let read = |path: &Path| fs::read_to_string(path).expect("a file");
        assert_eq!((&*read(&path), &*read(&other)), ("content", "other"));
        assert!(!made.exists());
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_copy_that_fails_is_removed() {
        let folder = tempfile::tempdir().expect("a folder");
        let made = folder.path().join("made");
        // Nothing is mapped at its first address.
        replace_by_copy(Path::new("/proc/self/mem"), &made).expect_err("unreadable");
        assert!(!made.exists());
    }
}
