//! [`LocalQuarantine`]: a local repository as the destination of a pull, from the haves to the update of refs.

use std::{
    borrow::Cow,
    collections::{HashMap, HashSet},
    io::BufRead,
    path::{Path, PathBuf},
};

use gix_pack::index;

use super::{
    alternates::{alternates, lead_back},
    haves::{self, RefTip, ref_tips},
    object_dirs::ObjectDirs,
    objects::{LocalObjects, ReadMemory, open_odb},
    quarantine_dir::QuarantineDir,
};
use crate::{
    Error, ErrorKind, Limits, ObjectFormat, ObjectId, Objects, Quarantine, Reason, RefUpdate,
    SyncContext, TipKind, Traffic, ancestry::CommitGraph, connectivity, files::sharing::Sharing,
    history::reachable_from_refs::ReachableFromRefs, object_id::to_gix, ref_store::ref_transaction,
};

/// The most attempts to find objects that a concurrent `git repack` moves.
const MOST_LOOKS: usize = 3;

pub(crate) struct LocalQuarantine {
    repo: gix::Repository,
    object_format: ObjectFormat,
    objects: PathBuf,
    /// The objects of store and quarantine. Dropped before `dirs` and `incoming`, whose files it has mapped.
    view: LocalObjects,
    /// The directories that are read until the received objects become part of the store.
    dirs: ObjectDirs,
    arrived: Option<index::File>,
    /// Whether all objects of the received pack are complete, once that was checked.
    is_complete: Option<bool>,
    /// Whether haves were sent to the source.
    has_offered: bool,
    incoming: Option<QuarantineDir>,
    shallow: Vec<ObjectId>,
    /// The tips of the refs.
    tips: Vec<RefTip>,
    verified: ReachableFromRefs,
    sharing: Sharing,
    /// Objects of the store that the tips need and that no ref reaches.
    met: Vec<gix::ObjectId>,
}

impl LocalQuarantine {
    pub(super) fn open(repo: gix::Repository, limits: &Limits) -> Result<Self, Error> {
        let object_format =
            ObjectFormat::from_hash_kind(repo.object_hash()).map_err(Error::unsupported)?;
        let objects = repo.common_dir().join("objects");
        let alternates = alternates(&repo)?;
        let memory = ReadMemory::of_others(limits);
        let sharing = Sharing::of(&repo.config_snapshot())?;
        let dirs = ObjectDirs::of(&objects, &alternates, object_format, sharing)?;
        let mut view = LocalObjects::open(&repo, memory)?;
        if dirs.main() != objects {
            view.read_from(dirs.main())?;
        }
        let tips = ref_tips(&repo, &alternates)?;
        let verified = ReachableFromRefs::new(tips.iter().map(|tip| tip.id).collect());
        Ok(LocalQuarantine {
            object_format,
            objects,
            dirs,
            arrived: None,
            is_complete: None,
            has_offered: false,
            incoming: None,
            shallow: view.shallow().iter().copied().map(ObjectId).collect(),
            view,
            tips,
            verified,
            sharing,
            met: Vec::new(),
            repo,
        })
    }

    /// The index of the pack received last, and the objects of the store with that pack, of any size.
    #[cfg(any(test, fuzzing))]
    pub(crate) fn received(&self) -> (Option<&index::File>, crate::stored_packs::odb::Odb) {
        let incoming = self.incoming.as_ref().map(QuarantineDir::objects);
        let objects = incoming.unwrap_or(self.dirs.main());
        let memory = ReadMemory::own(&Limits::default());
        let odb = open_odb(objects, self.object_format, memory);
        (self.arrived.as_ref(), odb.expect("a folder of objects"))
    }

    /// Makes packs of some bytes large ones.
    #[cfg(any(test, fuzzing))]
    pub(crate) fn set_window(&mut self, bytes: u64) -> Result<(), Error> {
        let seen = self.dirs.folders();
        let mut incoming = QuarantineDir::open(&self.objects, seen, self.sharing)?;
        incoming.set_window(bytes);
        self.incoming = Some(incoming);
        Ok(())
    }

    /// Whether all that has arrived is known to be complete. Where it isn't, a walk tells of each tip.
    fn arrived_is_complete(&mut self, run: &SyncContext) -> Result<bool, Error> {
        if let Some(known) = self.is_complete {
            return Ok(known);
        }
        let Some(incoming) = &self.incoming else {
            return Ok(false);
        };
        let is_complete = match incoming.outside() {
            Some(outside) => {
                let commits = &mut self.view.commits();
                connectivity::are_complete(outside, commits, &mut self.verified, run)?
            }
            None => false,
        };
        Ok(*self.is_complete.insert(is_complete))
    }

    /// The tips that aren't complete or, if all are, what is wrong with the rest of what has arrived: to let
    /// that in would be no better for nobody needing it.
    fn walk(&mut self, tips: &[gix::ObjectId], run: &SyncContext) -> Result<Walked, Error> {
        let all_is_complete = self.arrived_is_complete(run)?;
        let incoming = self.incoming.as_ref();
        let is_added = |id: &gix::ObjectId| incoming.is_some_and(|pack| pack.is_added(id));
        let is_complete = |tip: &&gix::ObjectId| {
            let arrived = self.arrived.as_ref().filter(|_| all_is_complete);
            arrived.is_some_and(|pack| pack.lookup(tip).is_some()) && !is_added(tip)
        };
        let tips: Vec<_> = tips
            .iter()
            .filter(|tip| !is_complete(tip))
            .copied()
            .collect();
        let others = self.arrived.iter().filter(|_| !all_is_complete);
        let others = others.flat_map(|pack| pack.iter().map(|entry| entry.oid));
        let none = HashMap::new();
        let objects = connectivity::Objects {
            commits: self.view.commits(),
            arrived: self.arrived.as_ref().map(|index| connectivity::Arrived {
                index,
                kinds: incoming.map_or(&[], QuarantineDir::kinds),
            }),
            bad: incoming.map_or(&none, QuarantineDir::faulty),
            verified: &mut self.verified,
            met: &mut self.met,
            memory: run.limits().memory,
        };
        let others = others.filter(|id| !is_added(id));
        connectivity::find_incomplete_and_first_beside(objects, &tips, others, run)
    }
}

type Walked = (connectivity::FaultsOfTips, Option<Reason>);

impl LocalQuarantine {
    /// The fault of an object that the source sent. Objects of the store are not checked.
    fn faulty_sent(&self) -> Option<&Reason> {
        let (incoming, arrived) = (self.incoming.as_ref()?, self.arrived.as_ref()?);
        let was_sent = |id: &gix::ObjectId| arrived.lookup(id).is_some() && !incoming.is_added(id);
        let mut faulty = incoming.faulty().iter();
        faulty.find_map(|(id, reason)| was_sent(id).then_some(reason))
    }

    /// The tips that aren't complete. An error if all are, and something beside them is not.
    fn faults_of_tips(
        &mut self,
        tips: &[gix::ObjectId],
        run: &SyncContext,
    ) -> Result<connectivity::FaultsOfTips, Error> {
        let (mut faults, mut beside) = self.walk(tips, run)?;
        let Some(incoming) = &self.incoming else {
            return Ok(faults);
        };
        if !faults.is_empty() || beside.is_some() {
            // Objects that seem to be missing may have been repacked in the meantime.
            self.view.read_anew_from(incoming.objects())?;
            let faulty: Vec<_> = faults.iter().map(|(tip, _)| *tip).collect();
            let again = if faulty.is_empty() { tips } else { &faulty };
            (faults, beside) = self.walk(again, run)?;
        }
        match self.faulty_sent().or(beside.as_ref()) {
            Some(reason) if faults.is_empty() => {
                let text = format!("the source sent what nobody asked for: {reason}");
                Err(Error::new(ErrorKind::Protocol, text))
            }
            _ => Ok(faults),
        }
    }

    /// Peels new annotated tags while the run can still be cancelled: `packed-refs` has the peeled targets.
    fn peel_new(&self, updates: &[RefUpdate], run: &SyncContext) -> Result<(), Error> {
        let mut commits = self.view.commits();
        let mut last = None;
        for update in updates.iter().filter(|update| update.expected.is_none()) {
            run.check()?;
            if last.replace(update.new) != Some(update.new) {
                commits.peel(update.new.0, run)?;
            }
        }
        Ok(())
    }

    /// Opens the store again, with the objects that have become part of it.
    fn read_store(&mut self) -> Result<(), Error> {
        if !lead_back(&self.objects) {
            return self.view.read_from(&self.objects);
        }
        let (objects, alternates) = (&self.objects, alternates(&self.repo)?);
        self.dirs = ObjectDirs::of(objects, &alternates, self.object_format, self.sharing)?;
        self.view.read_from(self.dirs.main())
    }

    /// Protects the objects of the store that the updates need until refs point to them. If some of them were removed
    /// in the meantime, returns the tips that are incomplete now.
    fn hold(
        &mut self,
        updates: &[RefUpdate],
        run: &SyncContext,
    ) -> Result<HashMap<gix::ObjectId, Reason>, Error> {
        let mut faults = HashMap::new();
        for _ in 0..MOST_LOOKS {
            let met = std::mem::take(&mut self.met);
            if met.is_empty() {
                break;
            }
            let seen = self.dirs.folders();
            let incoming = match &mut self.incoming {
                Some(incoming) => incoming,
                none => none.insert(QuarantineDir::open(&self.objects, seen, self.sharing)?),
            };
            if incoming.hold(&met, &seen[1..], self.object_format)? {
                break;
            }
            self.read_store()?;
            let tips: Vec<_> = updates.iter().map(|update| update.new.0).collect();
            faults = self.walk(&tips, run)?.0.into_iter().collect();
        }
        Ok(faults)
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
        let objects = incoming.map_or(self.dirs.main(), QuarantineDir::objects);
        self.view.read_anew_from(objects)
    }
}

impl Quarantine for LocalQuarantine {
    fn haves(
        &mut self,
        near: &[ObjectId],
        limit: usize,
        run: &SyncContext,
    ) -> Result<Vec<ObjectId>, Error> {
        let haves = haves::choose(&self.view, &self.tips, &to_gix(near), limit, run)?;
        self.has_offered |= !haves.is_empty();
        Ok(haves.into_iter().map(ObjectId).collect())
    }

    fn shallow(&self) -> &[ObjectId] {
        &self.shallow
    }

    fn receive(&mut self, pack: &mut dyn BufRead, run: &SyncContext) -> Result<Traffic, Error> {
        let incoming = match &mut self.incoming {
            Some(incoming) => incoming,
            none => {
                let seen = self.dirs.folders();
                none.insert(QuarantineDir::open(&self.objects, seen, self.sharing)?)
            }
        };
        // Opened again, because a `git gc` may have moved the bases since the store was opened.
        let bases_memory = ReadMemory::of_bases(run.limits());
        let bases = open_odb(incoming.objects(), self.object_format, bases_memory)?;
        let (may_lead_out, format) = (self.has_offered, self.object_format);
        let traffic = incoming.receive(pack, &bases, may_lead_out, format, run)?;
        self.is_complete = None;
        drop(bases);
        self.view.read_from(incoming.objects())?;
        incoming.look_at_special(&self.view.odb, self.object_format, run)?;
        run.add_faulty_objects(incoming.refused_by_rules() as u64);
        let open = |path: &Path| index::File::at(path, self.object_format.hash_kind());
        self.arrived = incoming
            .index()
            .map(open)
            .transpose()
            .map_err(unreadable_pack)?;
        Ok(traffic)
    }

    fn keep(&mut self, tips: &[ObjectId]) -> Result<bool, Error> {
        if let Some(incoming) = &mut self.incoming {
            incoming.keep_beside();
        }
        self.arrived = None;
        self.is_complete = None;
        let vouching = self.verified.tips().iter().copied();
        let vouching = vouching.chain(tips.iter().map(|tip| tip.0));
        self.verified = ReachableFromRefs::new(vouching.collect());
        self.has_offered |= !tips.is_empty();
        Ok(true)
    }

    fn discard(&mut self) -> Result<(), Error> {
        self.arrived = None;
        self.is_complete = None;
        if let Some(incoming) = &mut self.incoming {
            incoming.discard()?;
        }
        self.refresh()
    }

    fn find_incomplete(
        &mut self,
        tips: &[ObjectId],
        run: &SyncContext,
    ) -> Result<Vec<(ObjectId, Reason)>, Error> {
        let faults = self.faults_of_tips(&to_gix(tips), run)?;
        let faults = faults.into_iter();
        Ok(faults
            .map(|(tip, reason)| (ObjectId(tip), reason))
            .collect())
    }

    fn is_whole_behind(&mut self, haves: &[ObjectId], run: &SyncContext) -> Result<bool, Error> {
        let objects = connectivity::Objects {
            commits: self.view.commits(),
            arrived: None,
            bad: &HashMap::new(),
            verified: &mut ReachableFromRefs::new(HashSet::new()),
            met: &mut Vec::new(),
            memory: run.limits().memory / 4,
        };
        Ok(connectivity::find_incomplete(objects, &to_gix(haves), run)?.is_empty())
    }

    fn apply(
        &mut self,
        updates: &[RefUpdate],
        run: &SyncContext,
    ) -> Result<Vec<Result<(), Reason>>, Error> {
        self.peel_new(updates, run)?;
        // Unmaps the files of the quarantine before they are moved.
        self.arrived = None;
        if let Some(incoming) = &mut self.incoming {
            incoming.migrate()?;
            self.read_store()?;
        }
        let faults = self.hold(updates, run)?;
        let is_sound = |update: &&RefUpdate| !faults.contains_key(&update.new.0);
        let sound = if faults.is_empty() {
            Cow::Borrowed(updates)
        } else {
            updates.iter().filter(is_sound).cloned().collect()
        };
        let moved = ref_transaction::apply(&self.repo, &mut self.view.commits(), &sound, run);
        if let Some(incoming) = &mut self.incoming {
            incoming.finish();
        }
        // There may be a million answers: avoid a second list of them.
        if faults.is_empty() {
            return Ok(moved);
        }
        let mut moved = moved.into_iter();
        let answer = |update: &RefUpdate| match faults.get(&update.new.0) {
            Some(reason) => Err(reason.clone()),
            None => moved.next().unwrap_or(Err(Reason::Raced)),
        };
        Ok(updates.iter().map(answer).collect())
    }
}

fn unreadable_pack(err: gix::Error) -> Error {
    Error::new(ErrorKind::Corrupt, "the received pack can't be opened").with_source(err)
}
