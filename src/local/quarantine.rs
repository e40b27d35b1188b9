//! [`LocalQuarantine`]: a local repository as the destination of a pull, from the haves to the update of refs.

use std::{
    borrow::Cow,
    collections::{HashMap, HashSet},
    io::BufRead,
    path::PathBuf,
};

use gix_pack::index;

use super::{
    alternates::{alternates, lead_back},
    freshen::Unreferenced,
    haves::{self, RefTip, ref_tips},
    object_dirs::ObjectDirs,
    objects::{LocalObjects, open_odb},
    quarantine_dir::QuarantineDir,
    quarantine_stage::{LastPack, Stage},
};
use crate::{
    Error, ErrorKind, ObjectFormat, ObjectId, Objects, Quarantine, Reason, RefUpdate, Relation,
    SyncContext, TipKind, Traffic, connectivity,
    files::sharing::Sharing,
    history::reachable_from_refs::{ReachableFromRefs, StoreHistory},
    memory_plan::ConnectivityMemory,
    object_id::to_gix,
    ref_store::{config::object_format, ref_transaction},
    stored_packs::self_contained::SelfContainedPack,
};

/// The most attempts to find objects that a concurrent `git repack` moves.
const MOST_LOOKS: usize = 3;

pub(crate) struct LocalQuarantine {
    repo: gix::Repository,
    object_format: ObjectFormat,
    objects: PathBuf,
    /// The objects of store and quarantine. Dropped before `dirs` and `stage`, whose files it has mapped.
    view: LocalObjects,
    /// The directories that are read until the received objects become part of the store.
    dirs: ObjectDirs,
    stage: Stage,
    /// Whether haves were sent to the source.
    has_sent_haves: bool,
    shallow: Vec<ObjectId>,
    /// The tips of the refs.
    tips: Vec<RefTip>,
    reachable_from_refs: ReachableFromRefs,
    sharing: Sharing,
    unreferenced: Unreferenced,
}

/// Incomplete tips, and the first fault beside them.
type Walked = (connectivity::FaultsOfTips, Option<Reason>);

impl LocalQuarantine {
    pub(super) fn open(repo: gix::Repository, context: &SyncContext) -> Result<Self, Error> {
        let object_format = object_format(&repo);
        let objects = repo.common_dir().join("objects");
        let alternates = alternates(&repo)?;
        let memory = context.memory_plan().received_store;
        let sharing = Sharing::of(&repo.config_snapshot())?;
        let dirs = ObjectDirs::of(&objects, &alternates, object_format, sharing)?;
        let mut view = LocalObjects::open(&repo, memory)?;
        if dirs.main() != objects {
            view.read_from(dirs.main())?;
        }
        let tips = ref_tips(&repo, &alternates, context)?;
        let reachable_from_refs = ReachableFromRefs::new(tips.iter().map(|tip| tip.id).collect());
        Ok(LocalQuarantine {
            object_format,
            objects,
            dirs,
            stage: Stage::Empty,
            has_sent_haves: false,
            shallow: view.shallow.iter().copied().map(ObjectId).collect(),
            view,
            tips,
            reachable_from_refs,
            sharing,
            unreferenced: Unreferenced::default(),
            repo,
        })
    }

    /// The index of the pack received last, and the objects of the store with that pack, of any size.
    #[cfg(any(test, fuzzing))]
    pub(crate) fn received(&self) -> (Option<&index::File>, crate::stored_packs::odb::Odb) {
        let dir = self.stage.dir().map(QuarantineDir::objects);
        let objects = dir.unwrap_or(self.dirs.main());
        let memory = crate::memory_plan::MemoryPlan::of(&crate::Limits::default()).own_store;
        let odb = open_odb(objects, self.object_format, memory);
        let index = self.stage.last().map(|last| &last.index);
        (index, odb.expect("a folder of objects"))
    }

    /// The folder of the quarantine, made if there is none. The next stage is the caller's to set.
    fn take_dir(&mut self) -> Result<QuarantineDir, Error> {
        let open = || QuarantineDir::open(&self.objects, self.dirs.folders(), self.sharing);
        self.stage.take_dir(open)
    }

    /// Whether all objects of the last pack are known to be complete. If not, a walk checks each tip.
    fn last_is_complete(&mut self, context: &SyncContext) -> Result<bool, Error> {
        let Stage::Receiving(Some(last), _) = &mut self.stage else {
            return Ok(false);
        };
        if let Some(known) = last.is_complete {
            return Ok(known);
        }
        let is_complete = match last.pack.outside() {
            Some(outside) => {
                let complete = &mut StoreHistory {
                    commits: self.view.commits(),
                    reachable: &mut self.reachable_from_refs,
                };
                connectivity::are_complete(outside, &self.view.odb, complete, context)?
            }
            None => false,
        };
        Ok(*last.is_complete.insert(is_complete))
    }

    /// Finds the tips that are incomplete or, if all are complete, the first fault of another object of the last pack:
    /// it must not become part of the store even though no tip needs it.
    fn walk(&mut self, tips: &[gix::ObjectId], context: &SyncContext) -> Result<Walked, Error> {
        let all_is_complete = self.last_is_complete(context)?;
        let last = self.stage.last();
        let complete = last.filter(|_| all_is_complete);
        let is_complete = |tip: &&gix::ObjectId| complete.is_some_and(|last| last.was_sent(tip));
        let tips = tips.iter().filter(|tip| !is_complete(tip));
        let tips: Vec<_> = tips.copied().collect();
        let others = last.filter(|_| !all_is_complete).into_iter();
        let others = others.flat_map(|last| {
            let ids = last.index.iter().map(|entry| entry.oid);
            ids.filter(|id| !last.pack.is_added(id))
        });
        let none = HashMap::new();
        let check = connectivity::Check {
            lookup: &self.view.odb,
            shallow: &self.view.shallow,
            largest_pack: Some(SelfContainedPack::new(&self.view.odb)),
            complete: &mut StoreHistory {
                commits: self.view.commits(),
                reachable: &mut self.reachable_from_refs,
            },
            arrived: last.map(|last| connectivity::Arrived {
                index: &last.index,
                kinds: &last.pack.kinds,
            }),
            refused: last.map_or(&none, |last| last.pack.faulty()),
            to_freshen: &mut self.unreferenced.ids,
            memory: context.memory_plan().connectivity,
        };
        let walked = connectivity::find_incomplete_and_first_beside(check, &tips, others, context);
        self.unreferenced.deduplicate();
        walked
    }

    /// The fault of an object that the source sent. Objects of the store are not checked.
    fn faulty_sent(&self) -> Option<&Reason> {
        let last = self.stage.last()?;
        let mut faulty = last.pack.faulty().iter();
        faulty.find_map(|(id, reason)| last.was_sent(id).then_some(reason))
    }

    /// The tips that aren't complete. An error if all are, and something beside them is not.
    fn faults_of_tips(
        &mut self,
        tips: &[gix::ObjectId],
        context: &SyncContext,
    ) -> Result<connectivity::FaultsOfTips, Error> {
        let (mut faults, mut beside) = self.walk(tips, context)?;
        let Some(dir) = self.stage.dir() else {
            return Ok(faults);
        };
        if !faults.is_empty() || beside.is_some() {
            // Objects that seem to be missing may have been repacked in the meantime.
            self.view.read_anew_from(dir.objects())?;
            let faulty: Vec<_> = faults.iter().map(|(tip, _)| *tip).collect();
            let again = if faulty.is_empty() { tips } else { &faulty };
            (faults, beside) = self.walk(again, context)?;
        }
        match self.faulty_sent().or(beside.as_ref()) {
            Some(reason) if faults.is_empty() => {
                let text = format!("the source sent an object that no wanted tip needs: {reason}");
                Err(Error::new(ErrorKind::Protocol, text))
            }
            _ => Ok(faults),
        }
    }

    /// Peels new annotated tags while the run can still be cancelled: `packed-refs` has the peeled targets.
    fn peel_new(&self, updates: &[RefUpdate], context: &SyncContext) -> Result<(), Error> {
        let mut commits = self.view.commits();
        let mut last = None;
        for update in updates.iter().filter(|update| update.expected.is_none()) {
            context.check()?;
            if last.replace(update.new) != Some(update.new) {
                commits.peel(update.new.0, context)?;
            }
        }
        Ok(())
    }

    /// Receives a pack into the folder of the quarantine; `None` for a pack without objects.
    fn receive_into(
        &mut self,
        dir: &QuarantineDir,
        pack: &mut dyn BufRead,
        context: &SyncContext,
    ) -> Result<Option<Box<LastPack>>, Error> {
        let format = self.object_format;
        // Opened again, because a `git gc` may have moved the bases since the store was opened.
        let bases = open_odb(dir.objects(), format, context.memory_plan().thin_bases)?;
        let received = dir.receive(pack, &bases, self.has_sent_haves, format, context)?;
        drop(bases);
        self.view.read_from(dir.objects())?;
        let Some(mut pack) = received else {
            return Ok(None);
        };
        pack.look_at_special(&self.view.odb, format, context)?;
        context.add_faulty_objects(pack.refused_by_rules() as u64);
        let index = index::File::at(&pack.index, format.hash_kind()).map_err(unreadable_pack)?;
        Ok(Some(Box::new(LastPack {
            pack,
            index,
            is_complete: None,
        })))
    }

    /// Makes the packs part of the store.
    fn migrate(&mut self) -> Result<(), Error> {
        // Unmaps the last pack before it is moved.
        self.stage.keep_last();
        let mut dir = self.take_dir()?;
        let migrated = dir.migrate();
        self.stage = Stage::Applying(dir);
        migrated?;
        self.read_store()
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
        context: &SyncContext,
    ) -> Result<HashMap<gix::ObjectId, Reason>, Error> {
        let mut faults = HashMap::new();
        for look in 0.. {
            let mut unreferenced = std::mem::take(&mut self.unreferenced);
            if unreferenced.ids.is_empty() {
                break;
            }
            if look == MOST_LOOKS {
                let text = "other processes keep moving objects that no ref of the store reaches";
                return Err(Error::new(ErrorKind::LocalIo, text));
            }
            unreferenced.keep();
            let mut dir = self.take_dir()?;
            let alternates = &self.dirs.folders()[1..];
            let held = dir.hold(&unreferenced.ids, alternates, self.object_format, context);
            self.stage = Stage::Applying(dir);
            if held? {
                break;
            }
            self.read_store()?;
            let tips: Vec<_> = updates.iter().map(|update| update.new.0).collect();
            faults = self.walk(&tips, context)?.0.into_iter().collect();
        }
        Ok(faults)
    }
}

impl Objects for LocalQuarantine {
    fn kind(&mut self, tip: &ObjectId) -> Result<TipKind, Error> {
        self.view.kind(tip)
    }

    fn relate(
        &mut self,
        pairs: &[(ObjectId, ObjectId)],
        cancelled: &dyn Fn() -> bool,
    ) -> Result<Vec<Relation>, Error> {
        self.view.relate(pairs, cancelled)
    }

    fn refresh(&mut self) -> Result<(), Error> {
        let dir = self.stage.dir();
        let objects = dir.map_or(self.dirs.main(), QuarantineDir::objects);
        self.view.read_anew_from(objects)
    }
}

impl Quarantine for LocalQuarantine {
    fn haves(
        &mut self,
        near: &[ObjectId],
        limit: usize,
        context: &SyncContext,
    ) -> Result<Vec<ObjectId>, Error> {
        let haves = haves::choose(&self.view, &self.tips, &to_gix(near), limit, context)?;
        self.has_sent_haves |= !haves.is_empty();
        Ok(haves.into_iter().map(ObjectId).collect())
    }

    fn shallow(&self) -> &[ObjectId] {
        &self.shallow
    }

    fn receive(&mut self, pack: &mut dyn BufRead, context: &SyncContext) -> Result<Traffic, Error> {
        let dir = self.take_dir()?;
        self.unreferenced.keep();
        let received = self.receive_into(&dir, pack, context);
        let (last, objects) = match received {
            Ok(last) => {
                let objects = last.as_ref().map_or(0, |last| last.pack.objects);
                (last, Ok(objects))
            }
            Err(err) => (None, Err(err)),
        };
        // The packs that were kept stay, whatever has become of this one.
        self.stage = Stage::Receiving(last, dir);
        Ok(Traffic {
            objects: objects?.into(),
            ..Traffic::default()
        })
    }

    fn keep(&mut self, tips: &[ObjectId]) -> Result<bool, Error> {
        self.stage.keep_last();
        let vouching = self.reachable_from_refs.tips.iter().copied();
        let vouching = vouching.chain(tips.iter().map(|tip| tip.0));
        self.reachable_from_refs = ReachableFromRefs::new(vouching.collect());
        self.has_sent_haves |= !tips.is_empty();
        Ok(true)
    }

    fn discard(&mut self) -> Result<(), Error> {
        if self.stage.last().is_some() {
            self.unreferenced.discard();
        }
        self.stage.discard_last()?;
        self.refresh()
    }

    fn find_incomplete(
        &mut self,
        tips: &[ObjectId],
        context: &SyncContext,
    ) -> Result<Vec<(ObjectId, Reason)>, Error> {
        let faults = self.faults_of_tips(&to_gix(tips), context)?;
        let faults = faults.into_iter();
        Ok(faults
            .map(|(tip, reason)| (ObjectId(tip), reason))
            .collect())
    }

    fn is_whole_behind(
        &mut self,
        haves: &[ObjectId],
        context: &SyncContext,
    ) -> Result<bool, Error> {
        let check = connectivity::Check {
            lookup: &self.view.odb,
            shallow: &self.view.shallow,
            largest_pack: Some(SelfContainedPack::new(&self.view.odb)),
            complete: &mut StoreHistory {
                commits: self.view.commits(),
                reachable: &mut ReachableFromRefs::new(HashSet::new()),
            },
            arrived: None,
            refused: &HashMap::new(),
            to_freshen: &mut Vec::new(),
            memory: ConnectivityMemory::within(context.limits().memory / 4),
        };
        Ok(connectivity::find_incomplete(check, &to_gix(haves), context)?.is_empty())
    }

    fn apply(
        &mut self,
        updates: &[RefUpdate],
        context: &SyncContext,
    ) -> Result<Vec<Result<(), Reason>>, Error> {
        self.peel_new(updates, context)?;
        if self.stage.dir().is_some() {
            self.migrate()?;
        }
        let faults = self.hold(updates, context)?;
        let is_sound = |update: &&RefUpdate| !faults.contains_key(&update.new.0);
        let sound = if faults.is_empty() {
            Cow::Borrowed(updates)
        } else {
            updates.iter().filter(is_sound).cloned().collect()
        };
        let moved = ref_transaction::apply(&self.repo, &mut self.view.commits(), &sound, context);
        // Removes the `.keep` files: refs point to the objects now.
        self.stage = Stage::Empty;
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

#[cfg(test)]
mod tests;
