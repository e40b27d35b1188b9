//! [`Journal`], the refs of a repository from before a change that nobody was told of yet.
//!
//! A pull moves refs first, and its end is written with the `push` event later. If the process is killed in between,
//! the next attempt finds nothing to move. So the refs are written beside the repository right before they move, and
//! the file goes after the event is stored.

use std::{
    collections::BTreeMap,
    fs,
    io::{self, Write as _},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use refsync::{
    BString, Error, LocalStore, ObjectId, Phase, Progress, RefSource as _, Service, SyncContext,
    SyncOptions,
};

use super::decisions::update;
use crate::{files, records::PushUpdate};

type Refs = BTreeMap<BString, ObjectId>;

/// A journal that an attempt has left.
#[derive(Debug)]
pub(crate) struct Journal {
    /// The run that wrote it.
    pub(crate) run: String,
    refs: Refs,
}

impl Journal {
    /// Reads the journal at `path`; `None` if there is none. One that is not whole was written by an attempt that has
    /// not moved a ref, and is none.
    ///
    /// # Errors
    /// The file can't be read.
    pub(crate) fn read(path: &Path) -> io::Result<Option<Self>> {
        match fs::read(path) {
            Ok(text) => Ok(Journal::parse(&text)),
            Err(err) if err.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(err) => Err(err),
        }
    }

    fn parse(text: &[u8]) -> Option<Self> {
        let text = text.strip_suffix(b"end\n")?;
        let mut lines = text.split(|b| *b == b'\n');
        let run = String::from_utf8(lines.next()?.to_vec()).ok()?;
        let mut refs = Refs::new();
        for line in lines.filter(|line| !line.is_empty()) {
            let space = line.iter().position(|b| *b == b' ')?;
            let id = ObjectId::from_hex(&line[..space]).ok()?;
            refs.insert(line[space + 1..].into(), id);
        }
        Some(Journal { run, refs })
    }

    fn write(&self, path: &Path) -> io::Result<()> {
        let mut text = self.run.clone().into_bytes();
        for (name, id) in &self.refs {
            write!(text, "\n{id} ")?;
            text.extend_from_slice(name);
        }
        text.extend_from_slice(b"\nend\n");
        files::replace(path, &text)
    }

    /// Makes it the journal of `run`, which will tell its changes.
    ///
    /// # Errors
    /// The file can't be written.
    pub(crate) fn hand_over(self, run: String, path: &Path) -> io::Result<()> {
        if self.run == run {
            return Ok(());
        }
        Journal { run, ..self }.write(path)
    }

    /// Removes the journal: its changes have been told.
    ///
    /// # Errors
    /// The file can't be removed.
    pub(crate) fn remove(path: &Path) -> io::Result<()> {
        match fs::remove_file(path) {
            Err(err) if err.kind() != io::ErrorKind::NotFound => Err(err),
            _ => Ok(()),
        }
    }

    /// The changes of the repository since the journal was written.
    ///
    /// # Errors
    /// The repository can't be listed.
    pub(crate) fn changes(&self, store: &LocalStore) -> Result<Vec<PushUpdate>, Error> {
        Ok(changes(&self.refs, &list(store)?))
    }
}

/// The differences between two states of a repository's refs.
fn changes(before: &Refs, after: &Refs) -> Vec<PushUpdate> {
    let moved = after.iter().filter_map(|(name, tip)| {
        let old = before.get(name);
        (old != Some(tip)).then(|| update(name.as_ref(), old.copied(), Some(*tip)))
    });
    let gone = before.iter().filter(|(name, _)| !after.contains_key(*name));
    let gone = gone.map(|(name, tip)| update(name.as_ref(), Some(*tip), None));
    moved.chain(gone).collect()
}

fn list(store: &LocalStore) -> Result<Refs, Error> {
    let context = SyncContext::new(&SyncOptions::default());
    let both = ["refs/heads/".into(), "refs/tags/".into()];
    let list = store.list(Service::UploadPack, &both, &context)?;
    let refs = list.iter().filter(|r| !r.symbolic && !r.target.is_null());
    Ok(refs.map(|r| (r.name.to_owned(), r.target)).collect())
}

/// The observer that writes the journal when a pull is about to move refs, at the last moment at which it can still
/// be cancelled: without a journal no ref moves.
pub(crate) struct Keeper {
    path: PathBuf,
    run: String,
    store: LocalStore,
    cancel: Arc<AtomicBool>,
    failure: Mutex<Option<io::Error>>,
}

impl Keeper {
    /// The keeper of the journal at `path`. `cancel` is the flag of the attempt.
    pub(crate) fn new(
        path: PathBuf,
        run: String,
        store: LocalStore,
        cancel: Arc<AtomicBool>,
    ) -> Self {
        Keeper {
            path,
            run,
            store,
            cancel,
            failure: Mutex::default(),
        }
    }

    /// The reason for which there is no journal, where the attempt was cancelled for that.
    pub(crate) fn failure(&self) -> Option<io::Error> {
        let mut failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
        failure.take()
    }

    fn write(&self) -> io::Result<()> {
        // An older one has more to tell.
        if Journal::read(&self.path)?.is_some() {
            return Ok(());
        }
        let refs = list(&self.store).map_err(io::Error::other)?;
        let run = self.run.clone();
        Journal { run, refs }.write(&self.path)
    }
}

impl Progress for Keeper {
    fn advance(&self, phase: Phase, done: u64, _total: Option<u64>) {
        if phase != Phase::Apply || done != 0 {
            return;
        }
        if let Err(err) = self.write() {
            let mut failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
            *failure = Some(err);
            self.cancel.store(true, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests;
