//! [`RepoFolders`], the folders of the hosted repositories on this machine's disk.
//!
//! Beside the folder `<id>.git` of a repository is the file `<id>.lock`. It is locked while somebody works on the
//! repository, and it is never deleted while the service runs: another process could hold the lock of a deleted
//! file. Its content says whether the folder has been made, so that a folder that is gone is never replaced by an
//! empty one.

use std::{
    collections::HashMap,
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, Write as _},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use refsync::{
    BString, Error, ErrorKind, LocalStore, ObjectFormat, RefSource as _, Service, SyncContext,
    SyncOptions,
};

use crate::{
    files,
    records::{Repo, RepoId},
};

/// The content of the lock file of a repository whose folder has been made.
const MADE: &[u8] = b"made\n";
/// The end of the name of a folder that is being removed, or is of a dry run.
const REMOVED: &str = ".removed";

/// The folders of the hosted repositories.
#[derive(Debug, Clone)]
pub struct RepoFolders {
    root: Arc<Path>,
    /// The number of pushes that git is receiving, by repository.
    pushes: Arc<Mutex<HashMap<RepoId, usize>>>,
}

/// The lock of the operating system on a repository. It ends when this is dropped, and with the process.
#[derive(Debug)]
pub struct RepoLock {
    _file: File,
}

/// A push that git is receiving. As long as there is one, the folder is not replaced.
#[derive(Debug)]
pub struct PushInProgress {
    pushes: Arc<Mutex<HashMap<RepoId, usize>>>,
    id: RepoId,
}

impl RepoFolders {
    /// The folders below `root`, which is made if it does not exist.
    ///
    /// # Errors
    /// The folder can't be made.
    pub fn open(root: impl Into<PathBuf>) -> io::Result<Self> {
        let root = root.into();
        fs::create_dir_all(&root)?;
        Ok(RepoFolders {
            root: root.into(),
            pushes: Arc::default(),
        })
    }

    /// The folders below `root`, to look at them alone.
    pub(crate) fn at(root: PathBuf) -> Self {
        RepoFolders {
            root: root.into(),
            pushes: Arc::default(),
        }
    }

    /// Whether the folder of a repository is gone or no repository. One that was never made is not.
    pub(crate) fn is_lost(&self, id: &RepoId, has_head: bool) -> bool {
        let is_expected = has_head || self.was_made(id) || self.path(id).exists();
        is_expected && LocalStore::open(self.path(id)).is_err()
    }

    /// The repositories that have a folder here.
    ///
    /// # Errors
    /// The folder of the folders can't be listed.
    pub(crate) fn ids(&self) -> io::Result<Vec<RepoId>> {
        let entries = match fs::read_dir(&self.root) {
            Err(err) if err.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries?,
        };
        let mut ids = Vec::new();
        for entry in entries {
            let name = entry?.file_name();
            let id = name.to_str().and_then(|name| name.strip_suffix(".git"));
            ids.extend(id.and_then(|id| id.parse().ok()));
        }
        Ok(ids)
    }

    /// The folder of a repository.
    pub fn path(&self, id: &RepoId) -> PathBuf {
        self.root.join(format!("{id}.git"))
    }

    /// The file that remembers the refs from before a change that is not announced yet.
    pub(crate) fn journal_path(&self, id: &RepoId) -> PathBuf {
        self.root.join(format!("{id}.refs"))
    }

    /// Whether the folder of a repository is there.
    pub(crate) fn is_there(&self, id: &RepoId) -> bool {
        self.path(id).join("HEAD").exists()
    }

    fn lock_path(&self, id: &RepoId) -> PathBuf {
        self.root.join(format!("{id}.lock"))
    }

    /// Locks the repository, without waiting; `None` if it is locked.
    ///
    /// # Errors
    /// The lock file can't be opened or locked.
    pub fn lock(&self, id: &RepoId) -> io::Result<Option<RepoLock>> {
        let mut options = OpenOptions::new();
        options.create(true).truncate(false).write(true);
        let file = options.open(self.lock_path(id))?;
        match file.try_lock() {
            Ok(()) => Ok(Some(RepoLock { _file: file })),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(err)) => Err(err),
        }
    }

    /// Registers a push that git is about to receive.
    pub fn pushing(&self, id: &RepoId) -> PushInProgress {
        *self.pushes().entry(id.clone()).or_default() += 1;
        PushInProgress {
            pushes: Arc::clone(&self.pushes),
            id: id.clone(),
        }
    }

    fn pushes(&self) -> MutexGuard<'_, HashMap<RepoId, usize>> {
        self.pushes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Opens the repository. The folder of one that never had one is made, with HEAD at the default branch.
    ///
    /// # Errors
    /// [`ErrorKind::NotARepository`] if the folder is gone or is no repository, others of the engine.
    pub fn open_or_init(&self, repo: &Repo) -> Result<LocalStore, Error> {
        let path = self.path(&repo.id);
        let is_there = self.is_there(&repo.id);
        if !is_there && (repo.head.is_some() || self.was_made(&repo.id)) {
            let text = "the folder of the repository is gone or damaged; it has to be restored";
            return Err(Error::new(ErrorKind::NotARepository, text));
        }
        if is_there {
            let store = LocalStore::open(&path)?;
            // The process may have died between the making of the folder and its mark.
            if !self.was_made(&repo.id) {
                self.mark_made(&repo.id)?;
            }
            self.follow_default(repo)?;
            return Ok(store);
        }
        self.init(repo, ObjectFormat::Sha1)
    }

    fn init(&self, repo: &Repo, format: ObjectFormat) -> Result<LocalStore, Error> {
        let store = LocalStore::open_or_init(self.path(&repo.id), format)?;
        self.follow_default(repo)?;
        self.mark_made(&repo.id)?;
        Ok(store)
    }

    fn mark_made(&self, id: &RepoId) -> Result<(), Error> {
        self.write_mark(id, MADE)
            .map_err(|err| failed("marking the folder of the repository", err))
    }

    /// Lets HEAD name the default branch, and returns that branch's tip in hexadecimal digits. Where the folder has
    /// not been made yet nothing happens. It blocks.
    ///
    /// # Errors
    /// The name can't stand in HEAD, HEAD can't be written, or the repository can't be read.
    pub fn point_head(&self, repo: &Repo) -> Result<Option<String>, Error> {
        self.follow_default(repo)?;
        self.head(&repo.id, &repo.default_bookmark)
    }

    fn follow_default(&self, repo: &Repo) -> Result<(), Error> {
        self.set_head(&repo.id, &repo.default_bookmark)
            .map_err(|err| failed("setting HEAD", err))
    }

    /// Replaces an empty repository by one of another format. The caller has the lock. `None` if it is not empty, or
    /// git is receiving a push.
    ///
    /// # Errors
    /// The folder can't be listed, removed or made.
    pub(crate) fn replace_empty(
        &self,
        repo: &Repo,
        format: ObjectFormat,
    ) -> Result<Option<LocalStore>, Error> {
        // Held to the end: a push that begins now waits for the new folder.
        let pushes = self.pushes();
        if pushes.get(&repo.id).is_some_and(|count| *count > 0) {
            return Ok(None);
        }
        let path = self.path(&repo.id);
        let failed_io = |err| failed("replacing an empty repository", err);
        if !is_empty(&path).map_err(failed_io)? {
            return Ok(None);
        }
        self.write_mark(&repo.id, b"").map_err(failed_io)?;
        self.set_aside(&repo.id).map_err(failed_io)?;
        self.init(repo, format).map(Some)
    }

    /// An empty repository of another format in the place of one that is empty, for a dry run: the repository stays as
    /// it is. The caller has the lock, and removes it with [`RepoFolders::end_trial`]. `None` if the repository is not
    /// empty.
    ///
    /// # Errors
    /// The folder can't be listed or made.
    pub(crate) fn trial(
        &self,
        id: &RepoId,
        format: ObjectFormat,
    ) -> Result<Option<LocalStore>, Error> {
        let failed_io = |err| failed("making a repository for a dry run", err);
        if !is_empty(&self.path(id)).map_err(failed_io)? {
            return Ok(None);
        }
        let path = self.aside_path(id);
        remove_all(&path).map_err(failed_io)?;
        LocalStore::init(path, format).map(Some)
    }

    /// Removes what [`RepoFolders::trial`] has made. If that fails, the next one does it, or the repository's removal.
    pub(crate) fn end_trial(&self, id: &RepoId) {
        remove_all(&self.aside_path(id)).ok();
    }

    fn aside_path(&self, id: &RepoId) -> PathBuf {
        self.root.join(format!("{id}{REMOVED}"))
    }

    /// Removes the folder of a repository at once for everybody who looks, then its files.
    fn set_aside(&self, id: &RepoId) -> io::Result<()> {
        let aside = self.aside_path(id);
        remove_all(&aside)?;
        match fs::rename(self.path(id), &aside) {
            Ok(()) => remove_all(&aside),
            Err(err) if err.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(err) => Err(err),
        }
    }

    /// Removes the folder of a repository that is no longer in the database; false if somebody works on it.
    ///
    /// # Errors
    /// The folder can't be removed.
    pub fn remove(&self, id: &RepoId) -> io::Result<bool> {
        let Some(_lock) = self.lock(id)? else {
            return Ok(false);
        };
        self.set_aside(id)?;
        for file in [self.journal_path(id), self.lock_path(id)] {
            match fs::remove_file(file) {
                Err(err) if err.kind() != io::ErrorKind::NotFound => return Err(err),
                _ => {}
            }
        }
        Ok(true)
    }

    fn was_made(&self, id: &RepoId) -> bool {
        fs::metadata(self.lock_path(id)).is_ok_and(|lock| lock.len() > 0)
    }

    /// Writes through the file that is locked: another file in its place would not be.
    fn write_mark(&self, id: &RepoId, mark: &[u8]) -> io::Result<()> {
        let mut file = OpenOptions::new()
            .create(true)
            .write(true)
            .truncate(true)
            .open(self.lock_path(id))?;
        file.write_all(mark)?;
        file.sync_all()
    }

    /// Lets HEAD name `branch`, a short name. Nothing happens where the folder has not been made yet.
    ///
    /// # Errors
    /// The name can't stand in HEAD, or HEAD can't be written.
    pub fn set_head(&self, id: &RepoId, branch: &str) -> io::Result<()> {
        if branch.is_empty() || branch.chars().any(|c| c.is_control() || c == ' ') {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let path = self.path(id);
        let head = path.join("HEAD");
        let wanted = format!("ref: refs/heads/{branch}\n");
        match fs::read(&head) {
            Ok(found) if found == wanted.as_bytes() => return Ok(()),
            Err(err) if err.kind() == io::ErrorKind::NotFound => return Ok(()),
            _ => {}
        }
        files::replace(&head, wanted.as_bytes())
    }

    /// The tip of the branch with this short name, in hexadecimal digits.
    ///
    /// # Errors
    /// The repository can't be opened or read.
    pub fn head(&self, id: &RepoId, branch: &str) -> Result<Option<String>, Error> {
        let path = self.path(id);
        if !self.is_there(id) {
            return Ok(None);
        }
        if let Some(tip) = loose_tip(&path, branch) {
            return Ok(Some(tip));
        }
        tip(&LocalStore::open(path)?, branch)
    }
}

impl Drop for PushInProgress {
    fn drop(&mut self) {
        let mut pushes = self.pushes.lock().unwrap_or_else(PoisonError::into_inner);
        let count = pushes.get(&self.id).copied().unwrap_or_default();
        if count > 1 {
            pushes.insert(self.id.clone(), count - 1);
        } else {
            pushes.remove(&self.id);
        }
    }
}

/// The tip by the loose ref alone, which wins over a packed one; `None` if there is none or it is symbolic.
fn loose_tip(folder: &Path, branch: &str) -> Option<String> {
    let is_plain = |part: &str| !part.is_empty() && part != "." && part != "..";
    if !branch.split('/').all(is_plain) {
        return None;
    }
    let text = fs::read_to_string(folder.join("refs/heads").join(branch)).ok()?;
    let id = refsync::ObjectId::from_hex(text.trim_end().as_bytes()).ok()?;
    Some(id.to_string())
}

/// The tip of the branch with this short name, in hexadecimal digits.
pub(crate) fn tip(store: &LocalStore, branch: &str) -> Result<Option<String>, Error> {
    if let Some(tip) = loose_tip(store.path(), branch) {
        return Ok(Some(tip));
    }
    let name = BString::from(format!("refs/heads/{branch}"));
    let context = SyncContext::new(&SyncOptions::default());
    let list = store.list(Service::UploadPack, std::slice::from_ref(&name), &context)?;
    let found = list.find(name.as_ref());
    let tip = found.map(|found| found.target).filter(|id| !id.is_null());
    Ok(tip.map(|tip| tip.to_string()))
}

/// Whether a repository has neither refs nor objects.
fn is_empty(path: &Path) -> io::Result<bool> {
    let is_vacant = |folder: PathBuf| match fs::read_dir(folder) {
        Ok(mut entries) => Ok(entries.next().is_none()),
        Err(err) if err.kind() == io::ErrorKind::NotFound => Ok(true),
        Err(err) => Err(err),
    };
    if path.join("packed-refs").exists() {
        return Ok(false);
    }
    for folder in ["refs/heads", "refs/tags", "objects/pack"] {
        if !is_vacant(path.join(folder))? {
            return Ok(false);
        }
    }
    // Loose objects are in folders of two digits.
    for entry in fs::read_dir(path.join("objects"))? {
        if entry?.file_name().len() == 2 {
            return Ok(false);
        }
    }
    Ok(true)
}

fn remove_all(path: &Path) -> io::Result<()> {
    match fs::remove_dir_all(path) {
        Err(err) if err.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

fn failed(what: &str, err: io::Error) -> Error {
    Error::new(ErrorKind::LocalIo, format!("{what} failed")).with_source(err)
}

#[cfg(test)]
mod tests;
