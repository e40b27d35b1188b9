//! A local repository that is taking objects and ref updates.

use std::{
    collections::{BTreeSet, HashSet},
    io::BufRead,
    path::{Path, PathBuf},
};

use gix::{
    ObjectId,
    objs::{Exists, FindHeader, Kind},
};
use gix_pack::{cache, index};

use super::{Quarantine, RefUpdate, ref_update};
use crate::{
    Error, ErrorKind, ObjectFormat, Reason, Run, TipKind, Traffic,
    ancestry::CommitGraph,
    pack::{
        closure,
        commits::{StoreCommits, VerifiedHistory},
        incoming::Incoming,
        leftovers,
    },
};

/// Decoded objects that are kept at hand: the trees and delta bases that a walk comes back to.
const OBJECT_CACHE: usize = 32 * 1024 * 1024;
const DELTA_BASE_CACHE: usize = 64 * 1024 * 1024;

/// How many tips are read to find the newest ones, where no commit-graph makes that cheap.
const MAX_DATED_TIPS: usize = 4096;
/// How many tips have some of their ancestors offered, too, and how far back those are.
const MAX_STEPPED_TIPS: usize = 8;
const MAX_STEPS_BACK: usize = 1024;

pub(super) struct LocalQuarantine {
    repo: gix::Repository,
    object_format: ObjectFormat,
    objects: PathBuf,
    alternates: Vec<PathBuf>,
    /// Dropped before `incoming`, whose files it has mapped.
    odb: gix::odb::Handle,
    arrived: Option<index::File>,
    incoming: Option<Incoming>,
    graph: Option<gix::commitgraph::Graph>,
    shallow: Vec<ObjectId>,
    shallow_set: HashSet<ObjectId>,
    verified: VerifiedHistory,
}

impl LocalQuarantine {
    /// Begins by sweeping what dead runs left in the store.
    pub(super) fn open(repo: gix::Repository) -> Result<Self, Error> {
        let object_format = ObjectFormat::from_hash_kind(repo.object_hash())?;
        let objects = repo.common_dir().join("objects");
        leftovers::sweep(&objects)?;
        let alternates = gix::odb::alternate::resolve(objects.clone(), repo.current_dir())
            .map_err(|err| {
                Error::new(ErrorKind::Corrupt, "objects/info/alternates is unusable")
                    .with_source(err)
            })?;
        let shallow = shallow_boundary(&repo)?;
        // Parents are cut off at the boundary, but commit-graph files know them all.
        let graph = shallow
            .is_empty()
            .then(|| gix::commitgraph::at(objects.join("info"), repo.object_hash(), None).ok());
        let verified = VerifiedHistory::new(ref_tips(&repo, &alternates)?);
        Ok(LocalQuarantine {
            odb: open_odb(&objects, object_format)?,
            object_format,
            objects,
            alternates,
            arrived: None,
            incoming: None,
            graph: graph.flatten(),
            shallow_set: shallow.iter().copied().collect(),
            shallow,
            verified,
            repo,
        })
    }

    fn store_commits(&self) -> StoreCommits<'_> {
        StoreCommits::new(&self.odb, self.graph.as_ref(), &self.shallow_set)
    }

    fn faults(&mut self, tips: &[ObjectId], run: &Run) -> Result<Vec<(ObjectId, String)>, Error> {
        let objects = closure::Objects {
            commits: StoreCommits::new(&self.odb, self.graph.as_ref(), &self.shallow_set),
            arrived: self.arrived.as_ref(),
            verified: &mut self.verified,
        };
        closure::faults(objects, tips, run)
    }

    /// Newest first; of very many tips, the newest among some of them.
    fn newest_tips(&self, run: &Run) -> Result<Vec<ObjectId>, Error> {
        let mut commits = self.store_commits();
        let mut dated = Vec::new();
        let most = self.graph.as_ref().map_or(MAX_DATED_TIPS, |_| usize::MAX);
        let tips: BTreeSet<_> = self.verified.tips().iter().collect();
        for tip in tips.into_iter().take(most) {
            run.check()?;
            let commit = commits.peel(*tip);
            let read = commits.commit(&commit, &mut Vec::new());
            dated.extend(read.ok().map(|read| (read.date, commit)));
        }
        dated.sort_unstable_by(|a, b| b.cmp(a));
        Ok(dated.into_iter().map(|(_, commit)| commit).collect())
    }

    /// The ancestors of `tip` that are 1, 2, 4, 8, ... first-parent steps back.
    fn steps_back(&self, tip: ObjectId) -> Vec<ObjectId> {
        let mut commits = self.store_commits();
        let mut parents = Vec::new();
        let mut at = tip;
        let mut out = Vec::new();
        for step in 1..=MAX_STEPS_BACK {
            parents.clear();
            let read = commits.commit(&at, &mut parents);
            let Some(parent) = read.ok().and_then(|_| parents.first()) else {
                break;
            };
            at = *parent;
            if step.is_power_of_two() {
                out.push(at);
            }
        }
        out
    }
}

impl Quarantine for LocalQuarantine {
    fn haves(
        &mut self,
        near: &[ObjectId],
        limit: usize,
        run: &Run,
    ) -> Result<Vec<ObjectId>, Error> {
        // A ref can point to what is lost. Asked for without it, the source may send it again.
        // Room is kept for the others, should very many refs be about to move.
        let near: Vec<_> = near
            .iter()
            .map(|tip| self.store_commits().peel(*tip))
            .filter(|tip| self.odb.exists(tip))
            .take(limit / 2)
            .collect();
        let newest = self.newest_tips(run)?;
        // A tip that the source never saw says nothing to it, but some ancestor will.
        let ends = near.iter().chain(&newest).take(MAX_STEPPED_TIPS);
        let back: Vec<_> = ends.flat_map(|tip| self.steps_back(*tip)).collect();
        let mut seen = HashSet::new();
        let all = near
            .into_iter()
            .chain(back)
            .chain(newest)
            .filter(|id| seen.insert(*id));
        Ok(all.take(limit).collect())
    }

    fn shallow(&self) -> &[ObjectId] {
        &self.shallow
    }

    fn receive(&mut self, pack: &mut dyn BufRead, run: &Run) -> Result<Traffic, Error> {
        let incoming = match &mut self.incoming {
            Some(incoming) => incoming,
            none => none.insert(Incoming::open(&self.objects, &self.alternates)?),
        };
        // Since the store was opened a `git gc` may have put the bases elsewhere.
        let bases = open_odb(&self.objects, self.object_format)?;
        let traffic = incoming.receive(pack, &bases, self.object_format, run)?;
        self.odb = open_odb(incoming.objects(), self.object_format)?;
        let open = |path: &Path| index::File::at(path, self.object_format.hash_kind());
        self.arrived = incoming
            .index()
            .map(open)
            .transpose()
            .map_err(unreadable_pack)?;
        Ok(traffic)
    }

    fn discard(&mut self) -> Result<(), Error> {
        self.arrived = None;
        self.odb = open_odb(&self.objects, self.object_format)?;
        self.incoming.as_mut().map_or(Ok(()), Incoming::discard)
    }

    fn incomplete(
        &mut self,
        tips: &[ObjectId],
        run: &Run,
    ) -> Result<Vec<(ObjectId, String)>, Error> {
        let faults = self.faults(tips, run)?;
        let Some(incoming) = self.incoming.as_ref().filter(|_| !faults.is_empty()) else {
            return Ok(faults);
        };
        // What looks missing may have been repacked while it was being looked for.
        self.odb = open_odb(incoming.objects(), self.object_format)?;
        let tips: Vec<_> = faults.into_iter().map(|(tip, _)| tip).collect();
        self.faults(&tips, run)
    }

    fn kind(&mut self, tip: &ObjectId) -> Result<TipKind, Error> {
        Ok(match self.odb.try_header(tip) {
            Ok(Some(header)) => match header.kind {
                Kind::Commit => TipKind::Commit,
                Kind::Tag => TipKind::Tag,
                Kind::Tree => TipKind::Tree,
                Kind::Blob => TipKind::Blob,
            },
            Ok(None) | Err(_) => TipKind::Unknown,
        })
    }

    fn commits(&mut self) -> Result<Box<dyn CommitGraph + '_>, Error> {
        Ok(Box::new(self.store_commits()))
    }

    fn apply(
        &mut self,
        updates: &[RefUpdate],
        run: &Run,
    ) -> Result<Vec<Result<(), Reason>>, Error> {
        // The files in the quarantine are about to move away.
        self.arrived = None;
        if let Some(incoming) = &mut self.incoming {
            incoming.migrate()?;
            self.odb = open_odb(&self.objects, self.object_format)?;
        }
        let answers = ref_update::apply(&self.repo, &self.odb, updates, run);
        if let Some(incoming) = &mut self.incoming {
            incoming.finish();
        }
        Ok(answers)
    }
}

/// Replacements are not for us: what is synced is what the ids say.
fn open_odb(objects: &Path, format: ObjectFormat) -> Result<gix::odb::Handle, Error> {
    let mut odb = gix::odb::at(objects, format.hash_kind()).map_err(|err| {
        Error::io(
            format!("opening the object database {}", objects.display()),
            err,
        )
    })?;
    // A missing object is an answer here, and not worth another look at the disk each time.
    odb.refresh_never();
    odb.prevent_pack_unload();
    odb.set_pack_cache(|| Box::new(cache::lru::MemoryCappedHashmap::new(DELTA_BASE_CACHE)));
    odb.set_object_cache(|| Box::new(cache::object::MemoryCappedHashmap::new(OBJECT_CACHE)));
    Ok(odb)
}

fn shallow_boundary(repo: &gix::Repository) -> Result<Vec<ObjectId>, Error> {
    let boundary = repo.shallow_commits();
    let boundary = boundary.map_err(|err| {
        Error::new(ErrorKind::Corrupt, "the shallow file is unusable").with_source(err)
    })?;
    Ok(boundary
        .iter()
        .flat_map(|boundary| boundary.iter().copied())
        .collect())
}

/// What the refs of the store and of its alternates point to.
fn ref_tips(repo: &gix::Repository, alternates: &[PathBuf]) -> Result<HashSet<ObjectId>, Error> {
    let mut tips = tips_of(&repo.refs)
        .map_err(|err| Error::new(ErrorKind::Corrupt, "the refs can't be read").with_source(err))?;
    for objects in alternates {
        let Some(git_dir) = objects.parent() else {
            continue;
        };
        if git_dir.join("shallow").exists() {
            continue;
        }
        // An alternate without refs of its own, or one that is gone, vouches for nothing.
        let found = tips_of(&gix::refs::file::Store::at(
            git_dir.to_owned(),
            repo.object_hash(),
        ));
        tips.extend(found.unwrap_or_default());
    }
    Ok(tips)
}

fn tips_of(refs: &gix::refs::file::Store) -> gix::Result<HashSet<ObjectId>> {
    let platform = refs.iter()?;
    let all = platform.all().map_err(gix::Error::from_error)?;
    Ok(all
        .filter_map(|found| found.ok()?.target.try_into_id().ok())
        .collect())
}

fn unreadable_pack(err: gix::Error) -> Error {
    Error::new(ErrorKind::Corrupt, "the received pack can't be opened").with_source(err)
}
