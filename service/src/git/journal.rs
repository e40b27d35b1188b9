//! The pushes under way, on disk, so that a push whose process died before its event was written gets it later.
//!
//! A file has the commands of one push, and its name the repository and the id of the event. It is locked by this
//! process and by git's programs, which have it as their standard error: what is not locked has ended. The event
//! can't be written twice, since its id was chosen before.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, Read as _, Seek as _, Write as _},
    path::{Path, PathBuf},
};

use crate::{
    ids,
    records::{EventId, RepoId},
};

/// The folder of the pushes under way.
#[derive(Debug, Clone)]
pub(super) struct Journal(PathBuf);

/// One push under way.
#[derive(Debug)]
pub(super) struct Entry {
    path: PathBuf,
    file: File,
    pub(super) repo: RepoId,
    pub(super) event: EventId,
}

impl Journal {
    pub(super) fn open(folder: PathBuf) -> io::Result<Self> {
        fs::create_dir_all(&folder)?;
        Ok(Journal(folder))
    }

    /// Records that these commands may be followed from now on.
    pub(super) fn begin(&self, repo: &RepoId, commands: &[u8]) -> io::Result<Entry> {
        let event: EventId = ids::new();
        let path = self.0.join(format!("{repo}.{event}"));
        let mut options = OpenOptions::new();
        let mut file = options
            .read(true)
            .append(true)
            .create_new(true)
            .open(&path)?;
        file.lock()?;
        file.write_all(commands)?;
        file.sync_all()?;
        File::open(&self.0)?.sync_all()?;
        Ok(Entry {
            path,
            file,
            repo: repo.clone(),
            event,
        })
    }

    /// The pushes that have ended without their event, of `repo` or of all.
    pub(super) fn left(&self, repo: Option<&RepoId>) -> io::Result<Vec<Entry>> {
        let mut entries = Vec::new();
        for entry in fs::read_dir(&self.0)? {
            let path = entry?.path();
            let Some((of, event)) = ids_of(&path) else {
                continue;
            };
            if repo.is_some_and(|repo| *repo != of) {
                continue;
            }
            let file = match OpenOptions::new().read(true).append(true).open(&path) {
                Ok(file) => file,
                // Another request has settled it.
                Err(err) if err.kind() == io::ErrorKind::NotFound => continue,
                Err(err) => return Err(err),
            };
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => continue,
                Err(TryLockError::Error(err)) => return Err(err),
            }
            entries.push(Entry {
                path,
                file,
                repo: of,
                event,
            });
        }
        Ok(entries)
    }

    /// Whether there is any push without its event.
    pub(super) fn is_empty(&self) -> io::Result<bool> {
        Ok(fs::read_dir(&self.0)?.next().is_none())
    }
}

impl Entry {
    /// The file for what git's programs print.
    pub(super) fn errors(&self) -> io::Result<File> {
        self.file.try_clone()
    }

    /// The commands, and what git's programs have printed.
    pub(super) fn content(&self) -> io::Result<Vec<u8>> {
        let mut content = Vec::new();
        let mut file = &self.file;
        file.rewind()?;
        file.read_to_end(&mut content)?;
        Ok(content)
    }

    /// Forgets the push.
    pub(super) fn end(&self) -> io::Result<()> {
        match fs::remove_file(&self.path) {
            Err(err) if err.kind() != io::ErrorKind::NotFound => Err(err),
            _ => Ok(()),
        }
    }
}

fn ids_of(path: &Path) -> Option<(RepoId, EventId)> {
    let (repo, event) = path.file_name()?.to_str()?.split_once('.')?;
    Some((repo.parse().ok()?, event.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_push_is_left_once_nobody_holds_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let journal = Journal::open(folder.path().join("pushes")).expect("a journal");
        let (one, two): (RepoId, RepoId) = (ids::new(), ids::new());
        let entry = journal.begin(&one, b"0000").expect("an entry");
        let left = |repo| journal.left(repo).expect("a list").len();
        assert_eq!(left(None), 0);

        let errors = entry.errors().expect("a file");
        let event = entry.event.clone();
        drop(entry);
        assert_eq!(left(None), 0, "git's programs run still");
        drop(errors);
        assert_eq!((left(None), left(Some(&one)), left(Some(&two))), (1, 1, 0));

        let found = journal.left(None).expect("a list").remove(0);
        assert_eq!((&found.repo, &found.event), (&one, &event));
        assert_eq!(found.content().expect("a file"), b"0000");
        found.end().expect("removed");
        found.end().expect("removed already");
        assert!(journal.is_empty().expect("a list"));
    }
}
