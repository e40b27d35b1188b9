//! The temporary repository of a sync between two remotes.

use std::path::Path;

use super::LocalStore;
use crate::{Error, ObjectFormat};

pub(crate) struct Scratch {
    pub(crate) store: LocalStore,
    /// Removed with everything in it when it is dropped.
    _folder: tempfile::TempDir,
}

impl Scratch {
    /// Makes an empty bare repository in a new folder in `parent`, or in the system's folder for temporary files.
    pub(crate) fn create(parent: Option<&Path>, format: ObjectFormat) -> Result<Self, Error> {
        let mut builder = tempfile::Builder::new();
        let builder = builder.prefix("refsync-scratch-");
        // The objects may be private: other users of the machine get no access.
        #[cfg(unix)]
        let builder = builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o700));
        let folder = match parent {
            Some(parent) => builder.tempdir_in(parent),
            None => builder.tempdir(),
        };
        let folder = folder.map_err(|err| Error::io("making a folder for a scratch store", err))?;
        Ok(Scratch {
            store: LocalStore::init(folder.path(), format)?,
            _folder: folder,
        })
    }
}
