//! [`LocalStore`]: a git repository on disk as an end of a sync.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
};

use bstr::{BStr, BString, ByteSlice};
use gix::path::RelativePath;

use super::{init, objects::LocalObjects, quarantine::LocalQuarantine, repository, stale};
use crate::{
    Error, ErrorKind, ObjectFormat, Objects, PackAnswer, PackReceiver, PackRequest, ReceivePack,
    RefList, RefSource, Service, SyncContext,
    files::sharing::Sharing,
    pack_objects::{self, NoPack, OutgoingPack},
    ref_store::{
        checked_out::CheckedOut,
        config::{is_bare, object_format},
        head, listing,
        ref_lock::LOCK_SUFFIX,
    },
    refs::Namespace,
};

/// The longest file name that common file systems take, in bytes.
const NAME_MAX: usize = 255;
/// The longest path that Linux takes, in bytes; others take less.
const PATH_MAX: usize = 4095;

/// A local repository: bare or not, SHA-1 or SHA-256, with loose and packed refs and objects,
/// alternates and linked worktrees.
///
/// Only the repository's own configuration is read; the system's and the user's configuration and environment
/// variables are not. Replace refs and grafts are not followed.
#[derive(Clone)]
pub struct LocalStore {
    pub(super) repo: gix::ThreadSafeRepository,
    path: PathBuf,
    object_format: ObjectFormat,
}

impl LocalStore {
    /// Opens the repository at `path`: a bare repository, a worktree, or a `.git` folder.
    ///
    /// # Errors
    /// [`ErrorKind::NotARepository`] if there is none, and [`ErrorKind::Unsupported`] if its refs are in a reftable
    /// or it is a partial clone.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, Error> {
        let path = path.as_ref().to_owned();
        let repo = repository::open(&path)?;
        let object_format = object_format(&repo.to_thread_local());
        Ok(LocalStore {
            repo,
            path,
            object_format,
        })
    }

    /// Makes an empty bare repository at `path` as `git init --bare` does, with missing parent folders, and opens
    /// it. Existing files are not changed; an existing repository is only opened.
    ///
    /// HEAD names `master` until a run sets it to the source's default branch
    /// ([`SyncOptions::set_head`](crate::SyncOptions::set_head)).
    ///
    /// # Errors
    /// [`ErrorKind::LocalIo`] if it cannot be written, and [`ErrorKind::ObjectFormatMismatch`] if a repository of
    /// another format exists there.
    pub fn init(path: impl AsRef<Path>, format: ObjectFormat) -> Result<Self, Error> {
        let path = path.as_ref();
        init::init_bare(path, format).map_err(|err| {
            let text = format!("making a repository at {}", path.display());
            Error::io(text, err)
        })?;
        LocalStore::open(path)?.of_format(format)
    }

    /// Opens the repository at `path`, or makes a bare one if `path` does not exist or is an empty folder.
    ///
    /// # Errors
    /// Those of [`open`](LocalStore::open) for a folder with other content, those of [`init`](LocalStore::init),
    /// and [`ErrorKind::ObjectFormatMismatch`] for a repository of another format.
    pub fn open_or_init(path: impl AsRef<Path>, format: ObjectFormat) -> Result<Self, Error> {
        let path = path.as_ref();
        // A folder that cannot be listed is left to `open`, whose error names the fault.
        if init::is_vacant(path).unwrap_or(false) {
            return LocalStore::init(path, format);
        }
        LocalStore::open(path)?.of_format(format)
    }

    fn of_format(self, format: ObjectFormat) -> Result<Self, Error> {
        if self.object_format == format {
            return Ok(self);
        }
        let (path, found) = (self.path.display(), self.object_format);
        let text = format!("the repository at {path} uses {found}, not {format}");
        Err(Error::new(ErrorKind::ObjectFormatMismatch, text))
    }

    /// The path that the repository was opened at.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The hash of the repository's object ids.
    pub fn object_format(&self) -> ObjectFormat {
        self.object_format
    }

    pub(crate) fn open_objects(
        &self,
        context: &SyncContext,
    ) -> Result<Box<dyn Objects + '_>, Error> {
        let memory = context.memory_plan().own_store;
        let objects = LocalObjects::open(&self.repo.to_thread_local(), memory)?;
        Ok(Box::new(objects))
    }

    pub(crate) fn quarantine(&self, context: &SyncContext) -> Result<LocalQuarantine, Error> {
        LocalQuarantine::open(self.repo.to_thread_local(), context)
    }
}

impl std::fmt::Debug for LocalStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LocalStore")
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

impl RefSource for LocalStore {
    fn list(
        &self,
        service: Service,
        prefixes: &[BString],
        context: &SyncContext,
    ) -> Result<RefList, Error> {
        let repo = self.repo.to_thread_local();
        let config = repo.config_snapshot();
        if service == Service::ReceivePack {
            // An invalid `core.sharedRepository` fails the run before a fetch.
            Sharing::of(&config)?;
        }
        let folds_case = config.boolean("core.ignoreCase").unwrap_or(false);
        // A conflicting name may differ in the case of its prefix as well.
        let both = Namespace::ALL.map(|namespace| namespace.prefix().into());
        let prefixes = if folds_case { &both } else { prefixes };
        let prefixes: Vec<_> = listable(prefixes).collect();
        let mut list = listing::list(&repo, service, &prefixes, context)?;
        list.default_branch = head::branch(&repo);
        list.checked_out = CheckedOut::of(&repo).branches;
        list.folds_case = folds_case;
        list.longest_component = NAME_MAX - LOCK_SUFFIX.len();
        let beside_the_name = repo.common_dir().as_os_str().len() + "/".len() + LOCK_SUFFIX.len();
        list.longest_name = PATH_MAX.saturating_sub(beside_the_name);
        Ok(list)
    }

    fn objects(&self, context: &SyncContext) -> Result<Option<Box<dyn Objects + '_>>, Error> {
        self.open_objects(context).map(Some)
    }

    fn upload_pack(
        &self,
        request: &PackRequest,
        receive: &mut PackReceiver<'_>,
        context: &SyncContext,
    ) -> Result<PackAnswer, Error> {
        let _span = tracing::debug_span!(
            "make pack",
            wants = request.wants.len(),
            haves = request.haves.len()
        )
        .entered();
        let repo = self.repo.to_thread_local();
        let mut objects = LocalObjects::open(&repo, context.memory_plan().own_store)?;
        let mut pack = prepare(&repo, &mut objects, request, context);
        // Objects that seem damaged may have been repacked in the meantime.
        if let Err(NoPack::Fault(_)) = pack {
            objects.refresh()?;
            pack = prepare(&repo, &mut objects, request, context);
        }
        match pack {
            Ok(mut pack) => {
                receive(&mut pack)?;
                Ok(PackAnswer::Sent)
            }
            Err(NoPack::Fault(fault)) => Ok(PackAnswer::Unavailable {
                tips: objects.broken_tips(&fault, request, context)?,
            }),
            Err(NoPack::Failed(err)) => Err(err),
        }
    }

    fn receive_pack(&self, context: &SyncContext) -> Result<ReceivePack<'_>, Error> {
        Ok(ReceivePack::Quarantine(Box::new(self.quarantine(context)?)))
    }

    fn sweep(&self) {
        stale::sweep(self.repo.to_thread_local().common_dir());
    }

    fn set_unborn_head(&self, branch: &BStr, _context: &SyncContext) -> Result<(), Error> {
        let repo = self.repo.to_thread_local();
        if !is_bare(&repo) {
            return Ok(());
        }
        head::set_unborn(&repo, branch)
            .map_err(|err| Error::new(ErrorKind::LocalIo, "HEAD can't be set").with_source(err))
    }
}

fn prepare<'a>(
    repo: &gix::Repository,
    objects: &mut LocalObjects,
    request: &PackRequest,
    context: &'a SyncContext,
) -> Result<OutgoingPack<'a>, NoPack> {
    let (commits, peeled) = (objects.commits(), peeled_tags(repo));
    let history = pack_objects::walk_history(commits, peeled, request, context)?;
    // The walk leaves packs mapped as far as they were read, which is all of them for a long history.
    objects.reopen()?;
    pack_objects::prepare(history, &objects.odb, request, context)
}

/// The peeled targets of annotated tags, by `packed-refs`.
fn peeled_tags(repo: &gix::Repository) -> HashMap<gix::ObjectId, gix::ObjectId> {
    let Ok(Some(packed)) = repo.refs.open_packed_buffer() else {
        return HashMap::new();
    };
    let Ok(refs) = packed.iter() else {
        return HashMap::new();
    };
    let peeled = refs.filter_map(|found| {
        let found = found.ok()?;
        found.object.map(|_| (found.target(), found.object()))
    });
    peeled.collect()
}

/// The prefixes as paths. One that is no path (a glob may well start with `../`) matches no ref,
/// and neither does one outside of the two namespaces.
fn listable(prefixes: &[BString]) -> impl Iterator<Item = &RelativePath> {
    let ours = |prefix: &&BString| {
        let prefix: &BStr = prefix.as_ref();
        Namespace::ALL.iter().any(|namespace| {
            prefix.starts_with(namespace.prefix().trim_end_matches('/').as_bytes())
        })
    };
    prefixes
        .iter()
        .filter(ours)
        .filter_map(|prefix| prefix.as_bstr().try_into().ok())
}
