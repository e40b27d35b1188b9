//! A local repository that is taking objects and ref updates.

use std::{
    collections::{HashMap, HashSet},
    io::BufRead,
    path::{Path, PathBuf},
};

use gix::{ObjectId, objs::Exists};
use gix_pack::index;

use super::{
    Objects, Quarantine, RefUpdate,
    local::alternates,
    objects::{LocalObjects, ReadMemory, open_odb},
    ref_update,
};
use crate::{
    Error, ErrorKind, Limits, ObjectFormat, Reason, Run, TipKind, Traffic,
    ancestry::CommitGraph,
    pack::{closure, commits::VerifiedHistory, incoming::Incoming},
};

/// How many tips are read to find the newest ones, where no commit-graph makes that cheap.
const MAX_READ_TIPS: usize = 64;
/// How many tips have some of their ancestors offered, too, and how far back those are.
const MAX_STEPPED_TIPS: usize = 2;
const MAX_STEPS_BACK: u32 = 256;

pub(crate) struct LocalQuarantine {
    repo: gix::Repository,
    object_format: ObjectFormat,
    objects: PathBuf,
    alternates: Vec<PathBuf>,
    /// Dropped before `incoming`, whose files it has mapped.
    view: LocalObjects,
    arrived: Option<index::File>,
    incoming: Option<Incoming>,
    shallow: Vec<ObjectId>,
    /// What the refs point to, in their order: branches first. Of a tag that `packed-refs` has peeled,
    /// what it is about.
    tips: Vec<ObjectId>,
    verified: VerifiedHistory,
    memory: ReadMemory,
}

impl LocalQuarantine {
    pub(super) fn open(repo: gix::Repository, limits: &Limits) -> Result<Self, Error> {
        let object_format = ObjectFormat::from_hash_kind(repo.object_hash())?;
        let objects = repo.common_dir().join("objects");
        let alternates = alternates(&repo)?;
        let memory = ReadMemory::of_others(limits);
        let view = LocalObjects::open(&repo, memory)?;
        let tips = ref_tips(&repo, &alternates)?;
        let verified = VerifiedHistory::new(tips.iter().map(|tip| tip.id).collect());
        Ok(LocalQuarantine {
            object_format,
            objects,
            alternates,
            arrived: None,
            incoming: None,
            shallow: view.shallow().iter().copied().collect(),
            view,
            tips: tips.into_iter().map(RefTip::peeled).collect(),
            verified,
            memory,
            repo,
        })
    }

    /// What was received last, and the objects of the store with it, of whatever size.
    #[cfg(any(test, fuzzing))]
    pub(crate) fn received(&self) -> (Option<&index::File>, gix::odb::Handle) {
        let incoming = self.incoming.as_ref().map(Incoming::objects);
        let objects = incoming.unwrap_or(&self.objects);
        let odb = open_odb(objects, self.object_format, ReadMemory::OWN);
        (self.arrived.as_ref(), odb.expect("a folder of objects"))
    }

    /// Makes packs of some bytes large ones.
    #[cfg(any(test, fuzzing))]
    pub(crate) fn set_window(&mut self, bytes: u64) -> Result<(), Error> {
        let mut incoming = Incoming::open(&self.objects, &self.alternates)?;
        incoming.set_window(bytes);
        self.incoming = Some(incoming);
        Ok(())
    }

    fn walk(&mut self, tips: &[ObjectId], run: &Run) -> Result<Vec<(ObjectId, Reason)>, Error> {
        let is_self_contained = self
            .incoming
            .as_ref()
            .is_some_and(Incoming::is_self_contained);
        let is_complete = |tip: &&ObjectId| {
            let arrived = self.arrived.as_ref().filter(|_| is_self_contained);
            arrived.is_some_and(|pack| pack.lookup(tip).is_some())
        };
        let tips: Vec<_> = tips
            .iter()
            .filter(|tip| !is_complete(tip))
            .copied()
            .collect();
        let none = HashMap::new();
        let objects = closure::Objects {
            commits: self.view.commits(),
            arrived: self.arrived.as_ref().map(|index| closure::Arrived {
                index,
                kinds: self.incoming.as_ref().map_or(&[], Incoming::kinds),
            }),
            bad: self.incoming.as_ref().map_or(&none, Incoming::faulty),
            verified: &mut self.verified,
            memory: run.limits().memory,
        };
        closure::faults(objects, &tips, run)
    }

    /// Newest first. Of the tips that the commit-graph doesn't know, some are read.
    fn newest_tips(&self, run: &Run) -> Result<Vec<ObjectId>, Error> {
        let mut commits = self.view.commits();
        let (mut dated, mut unread) = (Vec::new(), Vec::new());
        for tip in &self.tips {
            run.check()?;
            match commits.date_in_graph(tip) {
                Some(date) => dated.push((date, *tip)),
                None if unread.len() < MAX_READ_TIPS => unread.push(*tip),
                None => {}
            }
        }
        for tip in unread {
            run.check()?;
            let commit = commits.peel(tip);
            let read = commits.commit(&commit, &mut Vec::new());
            dated.extend(read.ok().map(|read| (read.date, commit)));
        }
        dated.sort_unstable_by(|a, b| b.cmp(a));
        Ok(dated.into_iter().map(|(_, commit)| commit).collect())
    }

    /// The ancestors of `tip` that are 1, 4, 16, 64, ... first-parent steps back, or the first of all.
    fn steps_back(&self, tip: ObjectId) -> Vec<ObjectId> {
        let mut commits = self.view.commits();
        let mut parents = Vec::new();
        let mut at = tip;
        let mut out = Vec::new();
        for step in 1..=MAX_STEPS_BACK {
            parents.clear();
            if commits.commit(&at, &mut parents).is_err() {
                break;
            }
            let Some(parent) = parents.first() else {
                out.push(at);
                break;
            };
            at = *parent;
            if step.is_power_of_two() && step.trailing_zeros().is_multiple_of(2) {
                out.push(at);
            }
        }
        out
    }
}

impl Objects for LocalQuarantine {
    fn kind(&mut self, tip: &ObjectId) -> Result<TipKind, Error> {
        self.view.kind(tip)
    }

    fn commits(&mut self) -> Result<Box<dyn CommitGraph + '_>, Error> {
        Objects::commits(&mut self.view)
    }

    fn refresh(&mut self) -> Result<(), Error> {
        let incoming = self.incoming.as_ref();
        let objects = incoming.map_or(&*self.objects, Incoming::objects);
        self.view.odb = open_odb(objects, self.object_format, self.memory)?;
        Ok(())
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
            .map(|tip| self.view.commits().peel(*tip))
            .filter(|tip| self.view.odb.exists(tip))
            .take(limit - limit / 8)
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
        let bases_memory = ReadMemory::of_bases(run.limits());
        let bases = open_odb(&self.objects, self.object_format, bases_memory)?;
        let traffic = incoming.receive(pack, &bases, self.object_format, run)?;
        drop(bases);
        self.view.odb = open_odb(incoming.objects(), self.object_format, self.memory)?;
        incoming.look_at_special(&self.view.odb, self.object_format, run)?;
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
        self.view.odb = open_odb(&self.objects, self.object_format, self.memory)?;
        self.incoming.as_mut().map_or(Ok(()), Incoming::discard)
    }

    fn faults(&mut self, tips: &[ObjectId], run: &Run) -> Result<Vec<(ObjectId, Reason)>, Error> {
        let mut faults = self.walk(tips, run)?;
        let Some(incoming) = &self.incoming else {
            return Ok(faults);
        };
        if !faults.is_empty() {
            // What looks missing may have been repacked while it was being looked for.
            self.view.odb = open_odb(incoming.objects(), self.object_format, self.memory)?;
            let tips: Vec<_> = faults.into_iter().map(|(tip, _)| tip).collect();
            faults = self.walk(&tips, run)?;
        }
        // Where no tip needs what is faulty, letting it in would be no better for that.
        let faulty = self.incoming.as_ref().map(Incoming::faulty);
        match faulty.and_then(|faulty| faulty.values().next()) {
            Some(reason) if faults.is_empty() => {
                let text = format!("the source sent what nobody asked for: {reason}");
                Err(Error::new(ErrorKind::Protocol, text))
            }
            _ => Ok(faults),
        }
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
            self.view.odb = open_odb(&self.objects, self.object_format, self.memory)?;
        }
        let answers = ref_update::apply(&self.repo, &mut self.view.commits(), updates, run);
        if let Some(incoming) = &mut self.incoming {
            incoming.finish();
        }
        Ok(answers)
    }
}

/// What a ref points to.
struct RefTip {
    id: ObjectId,
    /// What the tag that it points to is about, where `packed-refs` says so.
    about: Option<ObjectId>,
}

impl RefTip {
    fn peeled(self) -> ObjectId {
        self.about.unwrap_or(self.id)
    }
}

/// Of the refs of the store and of its alternates.
fn ref_tips(repo: &gix::Repository, alternates: &[PathBuf]) -> Result<Vec<RefTip>, Error> {
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

fn tips_of(refs: &gix::refs::file::Store) -> gix::Result<Vec<RefTip>> {
    let platform = refs.iter()?;
    let all = platform.all().map_err(gix::Error::from_error)?;
    let tip = |found: gix::refs::Reference| {
        let id = found.target.try_into_id().ok()?;
        let about = found.peeled;
        Some(RefTip { id, about })
    };
    Ok(all.filter_map(|found| tip(found.ok()?)).collect())
}

fn unreadable_pack(err: gix::Error) -> Error {
    Error::new(ErrorKind::Corrupt, "the received pack can't be opened").with_source(err)
}
