//! The quarantine on disk: an object directory beside the store's own, seen by nobody else.

use std::{
    fs::{self, File},
    io::{self, BufRead, Read, Write},
    path::{Path, PathBuf},
};

use gix_pack::bundle::write::Options;

use super::leftovers::{self, KEEP_PREFIX, LOCK_NAME, QUARANTINE_PREFIX};
use crate::{Error, ErrorKind, ObjectFormat, Phase, Run, Traffic};

/// Objects that have arrived and are not part of the store yet.
///
/// Dropping it removes them.
pub(crate) struct Incoming {
    store_objects: PathBuf,
    objects: tempfile::TempDir,
    /// Locked for as long as this run lives. See [`leftovers`].
    _lock: File,
    pack: Option<ReceivedPack>,
    keeps: Vec<PathBuf>,
}

struct ReceivedPack {
    data: PathBuf,
    index: PathBuf,
}

impl Incoming {
    /// Opens a new quarantine.
    ///
    /// `alternates` are the store's own, resolved.
    pub(crate) fn open(store_objects: &Path, alternates: &[PathBuf]) -> Result<Self, Error> {
        let (objects, lock) = create_locked(store_objects).map_err(|err| {
            Error::io(
                format!("creating a quarantine in {}", store_objects.display()),
                err,
            )
        })?;
        let seen = std::iter::once(store_objects).chain(alternates.iter().map(PathBuf::as_path));
        let prepare = || {
            fs::create_dir(objects.path().join("pack"))?;
            fs::create_dir(objects.path().join("info"))?;
            fs::write(
                objects.path().join("info/alternates"),
                alternates_file(seen)?,
            )
        };
        prepare().map_err(|err| Error::io("preparing the quarantine", err))?;
        Ok(Incoming {
            store_objects: store_objects.to_owned(),
            objects,
            _lock: lock,
            pack: None,
            keeps: Vec::new(),
        })
    }

    /// The object directory to read from: it shows the store's objects, too.
    pub(crate) fn objects(&self) -> &Path {
        self.objects.path()
    }

    /// The index of the pack that was received.
    pub(crate) fn index(&self) -> Option<&Path> {
        self.pack.as_ref().map(|pack| pack.index.as_path())
    }

    /// Indexes a pack as it streams in, adding the bases that a thin one lacks from `bases`.
    pub(crate) fn receive(
        &mut self,
        pack: &mut dyn BufRead,
        bases: &gix::odb::Handle,
        format: ObjectFormat,
        run: &Run,
    ) -> Result<Traffic, Error> {
        let mut pack = Counted {
            inner: pack,
            run,
            bytes: 0,
            header: Vec::with_capacity(12),
        };
        let outcome = gix_pack::Bundle::write_to_directory(
            &mut io::BufReader::with_capacity(64 * 1024, &mut pack),
            Some(&self.objects.path().join("pack")),
            &mut gix::progress::Discard,
            run.cancel_flag(),
            Some(bases.clone()),
            format.hash_kind(),
            Options::default(),
        );
        let outcome = outcome.map_err(|err| indexing_failed(err, run))?;
        self.pack = outcome
            .data_path
            .zip(outcome.index_path)
            .map(|(data, index)| ReceivedPack { data, index });
        if let Some(keep) = outcome.keep_path {
            let _ = fs::remove_file(keep);
        }
        Ok(Traffic {
            objects: pack.announced_objects(),
            ..Traffic::default()
        })
    }

    /// Drops the pack that was received.
    pub(crate) fn discard(&mut self) -> Result<(), Error> {
        let Some(pack) = self.pack.take() else {
            return Ok(());
        };
        let remove = || fs::remove_file(&pack.index).and_then(|()| fs::remove_file(&pack.data));
        remove().map_err(|err| Error::io("dropping a pack from the quarantine", err))
    }

    /// Makes the pack part of the store, durably, and holds it there with a `.keep` file until
    /// [`finish`](Incoming::finish): a `git repack` beside us would drop what no ref points to yet.
    ///
    /// The order is that of git's own receive-pack: a pack without its index is invisible.
    pub(crate) fn migrate(&mut self) -> Result<(), Error> {
        let Some(pack) = self.pack.take() else {
            return Ok(());
        };
        let packs = self.store_objects.join("pack");
        let mut migrate = || {
            fs::create_dir_all(&packs)?;
            let (data, index) = (
                packs.join(file_name(&pack.data)),
                packs.join(file_name(&pack.index)),
            );
            self.keeps.extend(self.keep(&data)?);
            if index.exists() && data.exists() {
                return Ok(());
            }
            seal(&pack.data, &packs)?;
            seal(&pack.index, &packs)?;
            fs::rename(&pack.data, &data)?;
            fs::rename(&pack.index, &index)?;
            sync_directory(&packs)
        };
        migrate().map_err(|err| Error::io(format!("moving a pack into {}", packs.display()), err))
    }

    /// Nothing to do if somebody holds the same pack already.
    fn keep(&self, data: &Path) -> io::Result<Option<PathBuf>> {
        let keep = data.with_extension("keep");
        let mut file = match File::options().write(true).create_new(true).open(&keep) {
            Err(err) if err.kind() == io::ErrorKind::AlreadyExists => return Ok(None),
            opened => opened?,
        };
        writeln!(
            file,
            "{KEEP_PREFIX}{}",
            file_name(self.objects.path()).display()
        )?;
        file.sync_all()?;
        Ok(Some(keep))
    }

    /// Lets go of the packs, once refs point to them.
    pub(crate) fn finish(&mut self) {
        for keep in self.keeps.drain(..) {
            if let Err(err) = leftovers::ignore_missing(fs::remove_file(&keep)) {
                tracing::warn!(keep = %keep.display(), %err, "a .keep file stays until the next run");
            }
        }
    }
}

/// A run that fails after its pack was migrated leaves no `.keep` file either.
impl Drop for Incoming {
    fn drop(&mut self) {
        self.finish();
    }
}

/// Until its lock is held, a new directory looks like a dead run's and may be swept; then another
/// one is made. A sweeper holds the lock while it works, so what is still there once we have it
/// stays.
fn create_locked(store_objects: &Path) -> io::Result<(tempfile::TempDir, File)> {
    loop {
        let directory = tempfile::Builder::new()
            .prefix(QUARANTINE_PREFIX)
            .tempdir_in(store_objects)?;
        let path = directory.path().join(LOCK_NAME);
        match File::options().write(true).create_new(true).open(&path) {
            Ok(lock) => {
                lock.lock()?;
                if path.exists() {
                    return Ok((directory, lock));
                }
            }
            Err(err) if err.kind() == io::ErrorKind::NotFound => {}
            Err(err) => return Err(err),
        }
    }
}

/// Absolute paths only: gix resolves relative ones of a nested alternate against the wrong folder.
fn alternates_file<'a>(paths: impl Iterator<Item = &'a Path>) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    for path in paths {
        text.extend_from_slice(std::path::absolute(path)?.as_os_str().as_encoded_bytes());
        text.push(b'\n');
    }
    Ok(text)
}

fn file_name(path: &Path) -> &Path {
    Path::new(path.file_name().unwrap_or_default())
}

/// Read-only, for those who may look into the directory that it goes to, and on disk.
fn seal(path: &Path, directory: &Path) -> io::Result<()> {
    let file = File::open(path)?;
    let mut permissions = file.metadata()?.permissions();
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let readers = directory.metadata()?.permissions().mode();
        permissions.set_mode(0o444 & readers);
    }
    #[cfg(not(unix))]
    {
        let _ = directory;
        permissions.set_readonly(true);
    }
    file.set_permissions(permissions)?;
    file.sync_all()
}

pub(crate) fn sync_directory(path: &Path) -> io::Result<()> {
    #[cfg(unix)]
    File::open(path)?.sync_all()?;
    #[cfg(not(unix))]
    let _ = path;
    Ok(())
}

/// The error of the pack's own reader is the reader's to tell; here it is a damaged pack.
fn indexing_failed(err: gix::Error, run: &Run) -> Error {
    if let Err(ended) = run.check() {
        return ended;
    }
    let local = err.downcast_any_ref::<io::Error>().is_some_and(|io| {
        use io::ErrorKind::*;
        matches!(
            io.kind(),
            StorageFull | QuotaExceeded | PermissionDenied | ReadOnlyFilesystem | NotFound
        )
    });
    match local {
        true => Error::new(ErrorKind::LocalIo, "the pack could not be written").with_source(err),
        false => Error::new(ErrorKind::Protocol, "the pack is damaged").with_source(err),
    }
}

/// Tells the observer how many bytes have come in, and remembers the pack's header.
struct Counted<'a> {
    inner: &'a mut dyn BufRead,
    run: &'a Run,
    bytes: u64,
    header: Vec<u8>,
}

impl Counted<'_> {
    /// The object count in the pack's header (gitformat-pack).
    fn announced_objects(&self) -> u64 {
        let count = self
            .header
            .get(8..12)
            .and_then(|bytes| bytes.try_into().ok());
        count.map_or(0, |bytes| u32::from_be_bytes(bytes).into())
    }
}

impl Read for Counted<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buf)?;
        let header_bytes = read.min(12 - self.header.len());
        self.header.extend_from_slice(&buf[..header_bytes]);
        self.bytes += read as u64;
        self.run.advance(Phase::Receive, self.bytes, None);
        Ok(read)
    }
}
