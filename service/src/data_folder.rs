//! [`DataFolder`], the folder of the database, the keys and the repositories.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use crate::{
    Error, ErrorKind, files,
    secrets::{MasterKey, Sealer, key_file},
};

/// The longest wait for the lock of a folder. A process that was killed while it started another one, such as git, leaves
/// its lock to that one until the other program is there, which drops it.
const LOCK_WAIT: Duration = Duration::from_secs(1);

/// The folder of the data, which one process serves at a time.
#[derive(Debug)]
pub(crate) struct DataFolder {
    path: PathBuf,
    /// Locked for as long as this lives. The file is never deleted.
    _lock: Option<File>,
}

impl DataFolder {
    /// The folder for a process that serves it. It is made, for its owner alone, where its parent is there.
    ///
    /// # Errors
    /// [`ErrorKind::InUse`] if another process serves it, [`ErrorKind::Io`] if it can't be made or written.
    pub(crate) fn serve(path: &Path) -> Result<Self, Error> {
        create(path).map_err(|err| failed("making", path, err))?;
        DataFolder::alone(path)
    }

    /// The existing folder for a process that needs it for itself.
    ///
    /// # Errors
    /// Those of [`serve`](DataFolder::serve), and [`ErrorKind::Io`] if it is not there.
    pub(crate) fn alone(path: &Path) -> Result<Self, Error> {
        let mut folder = DataFolder::shared(path)?;
        let lock = wait_for_lock(&folder.path.join("refsyncd.lock"))
            .map_err(|err| failed("locking", path, err))?;
        let text = format!(
            "the data folder {} is in use by another process",
            path.display()
        );
        folder._lock = Some(lock.ok_or_else(|| Error::new(ErrorKind::InUse, text))?);
        Ok(folder)
    }

    /// The existing folder beside a process that may serve it.
    ///
    /// # Errors
    /// [`ErrorKind::Io`] if it is not there.
    pub(crate) fn shared(path: &Path) -> Result<Self, Error> {
        let path = path
            .canonicalize()
            .map_err(|err| failed("opening", path, err))?;
        Ok(DataFolder { path, _lock: None })
    }

    /// The absolute path.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The file of the master keys.
    pub(crate) fn key_file(&self) -> PathBuf {
        self.path.join("master.key")
    }

    /// The identifier of the folder, which is made once and stays in it.
    ///
    /// # Errors
    /// [`ErrorKind::Io`] if it can't be read or written.
    pub(crate) fn id(&self) -> Result<String, Error> {
        if let Some(id) = self.known_id()? {
            return Ok(id);
        }
        let path = self.id_file();
        let id = uuid::Uuid::now_v7().simple().to_string();
        let written = files::replace(&path, format!("{id}\n").as_bytes());
        written.map_err(|err| failed("writing", &path, err))?;
        Ok(id)
    }

    /// The identifier of the folder, if one was made.
    ///
    /// # Errors
    /// [`ErrorKind::Io`] if it can't be read.
    pub(crate) fn known_id(&self) -> Result<Option<String>, Error> {
        let path = self.id_file();
        let id = match fs::read_to_string(&path) {
            Err(err) if err.kind() == io::ErrorKind::NotFound => return Ok(None),
            read => read.map_err(|err| failed("reading", &path, err))?,
        };
        let id = id.trim();
        Ok((!id.is_empty()).then(|| id.to_owned()))
    }

    fn id_file(&self) -> PathBuf {
        self.path.join("node.id")
    }

    /// The master keys. They are made together with the database: a database without keys has lost them.
    ///
    /// # Errors
    /// [`ErrorKind::Key`] if the file can't be used.
    pub(crate) fn master_keys(&self, database_is_new: bool) -> Result<Vec<MasterKey>, Error> {
        let file = self.key_file();
        let keys = if database_is_new {
            key_file::open_or_create(&file)
        } else {
            key_file::open(&file)
        };
        keys.map_err(|err| Error::new(ErrorKind::Key, "the master key can't be used").because(err))
    }
}

/// The sealer that seals with the first of the keys.
///
/// # Errors
/// There is no key.
pub(crate) fn sealer(keys: &[MasterKey]) -> Result<Sealer, Error> {
    let (first, others) = keys
        .split_first()
        .ok_or_else(|| Error::new(ErrorKind::Key, "there is no master key"))?;
    Ok(Sealer::new(first, others))
}

fn create(path: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    match builder.create(path) {
        Err(err) if err.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        done => done,
    }
}

/// The locked file; none if another process keeps it locked.
fn wait_for_lock(path: &Path) -> io::Result<Option<File>> {
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(path)?;
    let began = Instant::now();
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(Some(file)),
            Err(TryLockError::Error(err)) => return Err(err),
            Err(TryLockError::WouldBlock) if began.elapsed() > LOCK_WAIT => return Ok(None),
            Err(TryLockError::WouldBlock) => thread::sleep(LOCK_WAIT / 50),
        }
    }
}

fn failed(what: &str, path: &Path, err: io::Error) -> Error {
    Error::new(
        ErrorKind::Io,
        format!("{what} the data folder {} failed", path.display()),
    )
    .because(err)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_served_once_and_its_parent_is_not_made() {
        let place = tempfile::tempdir().expect("a folder");
        let path = place.path().join("data");
        assert!(DataFolder::shared(&path).is_err());
        let first = DataFolder::serve(&path).expect("a folder");
        let kind = |folder: Result<DataFolder, Error>| folder.err().map(|err| err.kind());
        assert_eq!(kind(DataFolder::serve(&path)), Some(ErrorKind::InUse));
        assert_eq!(kind(DataFolder::shared(&path)), None);
        drop(first);
        assert_eq!(kind(DataFolder::serve(&path)), None);
        assert_eq!(
            kind(DataFolder::serve(&place.path().join("no/data"))),
            Some(ErrorKind::Io)
        );
    }

    #[test]
    fn a_lock_that_outlives_its_process_for_a_moment_is_waited_for() {
        let place = tempfile::tempdir().expect("a folder");
        let first = DataFolder::serve(place.path()).expect("a folder");
        thread::scope(|scope| {
            let second = scope.spawn(|| DataFolder::serve(place.path()).map(|_| ()));
            thread::sleep(LOCK_WAIT / 5);
            drop(first);
            second.join().expect("a thread").expect("the folder");
        });
    }

    #[test]
    fn a_folder_keeps_its_identifier() {
        let place = tempfile::tempdir().expect("a folder");
        let folder = DataFolder::serve(place.path()).expect("a folder");
        assert_eq!(folder.known_id().expect("read"), None);
        let id = folder.id().expect("an identifier");
        assert_eq!(folder.known_id().expect("read"), Some(id.clone()));
        assert_eq!(folder.id().expect("read"), id);
        // As a loss of power leaves a file that was not written as a whole.
        fs::write(folder.id_file(), "").expect("written");
        assert_ne!(folder.id().expect("an identifier"), id);
        let files = fs::read_dir(place.path()).expect("a folder").count();
        assert_eq!(files, 2, "the lock and the identifier");
    }

    #[test]
    fn no_key_is_made_beside_a_database() {
        let place = tempfile::tempdir().expect("a folder");
        let folder = DataFolder::serve(place.path()).expect("a folder");
        assert_eq!(folder.master_keys(true).expect("a new key").len(), 1);
        assert_eq!(folder.master_keys(false).expect("the key").len(), 1);
        fs::remove_file(folder.key_file()).expect("removed");
        let err = folder.master_keys(false).expect_err("the key is gone");
        assert_eq!(err.kind(), ErrorKind::Key);
        assert!(!folder.key_file().exists());
    }
}
