//! [`LocalObjects`]: the objects of a local repository, for ancestry and for making packs.

use std::{
    collections::{HashMap, HashSet},
    path::{Path, PathBuf},
};

use gix::objs::{Exists, Kind};

use super::{
    alternates::{alternates, lead_back},
    object_dirs::ObjectDirs,
};
use crate::{
    Error, ErrorKind, ObjectFormat, ObjectId, Objects, PackRequest, Reason, Relation, SyncContext,
    TipKind, ancestry, connectivity,
    history::{
        reachable_from_refs::{ReachableFromRefs, StoreHistory},
        store_commits::{PeeledTags, StoreCommits},
    },
    memory_plan::{ConnectivityMemory, ReadMemory},
    object_id::to_gix,
    pack_objects::Fault,
    ref_store::config::object_format,
    stored_packs::odb::Odb,
    tuning::Tuning,
};

pub(super) struct LocalObjects {
    folder: PathBuf,
    /// The temporary folders that replace the store's, if any. Dropped with the objects.
    _stand_in: Option<ObjectDirs>,
    format: ObjectFormat,
    memory: ReadMemory,
    pub(super) odb: Odb,
    graph: Option<gix::commitgraph::Graph>,
    /// The shallow boundary: commits without their parents.
    pub(super) shallow: HashSet<gix::ObjectId>,
    peeled: PeeledTags,
}

impl LocalObjects {
    pub(super) fn open(repo: &gix::Repository, memory: ReadMemory) -> Result<Self, Error> {
        let objects = repo.common_dir().join("objects");
        let format = object_format(repo);
        let shallow = shallow_boundary(repo)?;
        // A commit-graph file has the parents that a shallow boundary hides.
        let graph = shallow
            .is_empty()
            .then(|| gix::commitgraph::at(objects.join("info"), repo.object_hash(), None).ok());
        let stand_in = if lead_back(&objects) {
            Some(ObjectDirs::of_loop(&objects, &alternates(repo)?, format)?)
        } else {
            None
        };
        let folder = stand_in.as_ref().map_or(objects, |it| it.main().to_owned());
        Ok(LocalObjects {
            odb: open_odb(&folder, format, memory)?,
            folder,
            _stand_in: stand_in,
            format,
            memory,
            graph: graph.flatten(),
            shallow,
            peeled: PeeledTags::default(),
        })
    }

    pub(super) fn commits(&self) -> StoreCommits<'_> {
        let commits = StoreCommits::new(&self.odb, self.graph.as_ref(), &self.shallow);
        commits.with_peeled(&self.peeled)
    }

    /// The wants that are not complete, each with the object at fault.
    pub(super) fn broken_tips(
        &self,
        fault: &Fault,
        request: &PackRequest,
        context: &SyncContext,
    ) -> Result<Vec<(ObjectId, String)>, Error> {
        let haves = request.haves.iter().map(|have| have.0);
        let mut known =
            ReachableFromRefs::new(haves.filter(|have| self.odb.exists(have)).collect());
        let detail = fault.detail.clone();
        let refused = HashMap::from_iter([(fault.object, Reason::Incomplete { detail })]);
        let check = connectivity::Check {
            lookup: &self.odb,
            shallow: &self.shallow,
            largest_pack: None,
            complete: &mut StoreHistory {
                commits: self.commits(),
                reachable: &mut known,
            },
            arrived: None,
            refused: &refused,
            to_freshen: &mut Vec::new(),
            memory: ConnectivityMemory::within(u64::MAX),
        };
        let faults = connectivity::find_incomplete(check, &to_gix(&request.wants), context)?;
        if faults.is_empty() {
            let text = format!("object {}", fault.detail);
            return Err(Error::new(ErrorKind::Corrupt, text));
        }
        let words = |reason| match reason {
            Reason::Incomplete { detail } => detail,
            other => other.to_string(),
        };
        Ok(faults
            .into_iter()
            .map(|(tip, reason)| (ObjectId(tip), words(reason)))
            .collect())
    }

    /// Opens the objects of `folder` anew, which may be the same one.
    pub(super) fn read_from(&mut self, folder: &Path) -> Result<(), Error> {
        self.odb = open_odb(folder, self.format, self.memory)?;
        Ok(())
    }

    /// Opens the same objects anew, which ends the mapping of the packs that were read.
    pub(super) fn reopen(&mut self) -> Result<(), Error> {
        let folder = self.folder.clone();
        self.read_from(&folder)
    }

    /// Opens the objects of `folder` anew after an object seems to be missing. The commit-graph may be wrong, so commits
    /// are read from then on.
    pub(super) fn read_anew_from(&mut self, folder: &Path) -> Result<(), Error> {
        self.graph = None;
        self.read_from(folder)
    }
}

impl Objects for LocalObjects {
    fn kind(&mut self, tip: &ObjectId) -> Result<TipKind, Error> {
        let kind = if self.odb.exists(&tip.0) {
            self.commits().kind(&tip.0)
        } else {
            None
        };
        Ok(match kind {
            Some(Kind::Commit) => TipKind::Commit,
            Some(Kind::Tag) => TipKind::Tag,
            Some(Kind::Tree) => TipKind::Tree,
            Some(Kind::Blob) => TipKind::Blob,
            None => TipKind::Unknown,
        })
    }

    fn relate(
        &mut self,
        pairs: &[(ObjectId, ObjectId)],
        cancelled: &dyn Fn() -> bool,
    ) -> Result<Vec<Relation>, Error> {
        ancestry::compare_by_position(&mut self.commits(), pairs, &Tuning::default(), cancelled)
    }

    fn refresh(&mut self) -> Result<(), Error> {
        let folder = self.folder.clone();
        self.read_anew_from(&folder)
    }
}

/// Opens an object database, without replace refs: an id stands for the object itself.
pub(super) fn open_odb(
    objects: &Path,
    format: ObjectFormat,
    memory: ReadMemory,
) -> Result<Odb, Error> {
    let options = gix::odb::store::init::Options {
        alloc_limit_bytes: memory.one_object,
        // A multi-pack-index may be stale after a tool that does not know it has repacked. Each pack has an index of
        // its own in any case.
        use_multi_pack_index: false,
        ..Default::default()
    };
    let opened = gix::odb::at_opts(objects, format.hash_kind(), None, options);
    let mut odb = opened.map_err(|err| {
        Error::io(
            format!("opening the object database {}", objects.display()),
            err,
        )
    })?;
    // A missing object is a result here, and must not cost a new look at the disk each time.
    odb.refresh_never();
    odb.prevent_pack_unload();
    // Packed copies are preferred to loose ones, as by git. Only loaded indices are consulted for that, and the lookup
    // of a missing object loads all of them.
    odb.exists(&format.hash_kind().null());
    // Code that needs an object twice caches it itself; this cache is for delta bases only.
    Ok(Odb::new(odb, memory.one_object).with_delta_bases(memory.delta_bases))
}

fn shallow_boundary(repo: &gix::Repository) -> Result<HashSet<gix::ObjectId>, Error> {
    let boundary = repo.shallow_commits();
    let boundary = boundary.map_err(|err| {
        Error::new(ErrorKind::Corrupt, "the shallow file is unusable").with_source(err)
    })?;
    Ok(boundary
        .iter()
        .flat_map(|boundary| boundary.iter().copied())
        .collect())
}
