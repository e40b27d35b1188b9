//! Moving objects and refs into a destination that keeps what it receives in a quarantine.

use std::{
    collections::{HashMap, HashSet},
    io::BufRead,
    mem,
};

mod halves;

use self::halves::Halves;
use crate::{
    Error, ErrorKind, LocalStore, ObjectId, Outcome, PackAnswer, PackRequest, Phase, Quarantine,
    Reason, RefSource, Run, Service, SyncOptions, SyncRunStats,
    plan::{PlannedRef, Step},
};

/// How many commits are offered to the source. One round with where the refs stand and some of the
/// newest commits costs less than finding the exact common ancestors in several.
const MAX_HAVES: usize = 256;
/// How many of those are not what a ref is about to leave. Git's upload-pack walks from each, unless a
/// bitmap spares it that: for one commit of git/git it takes 16 ms with 9 others, and 47 with 32.
const OTHER_HAVES: usize = 9;
/// The same where a ref is new: there is no telling what it is built on.
const OTHER_HAVES_FOR_NEW: usize = 32;

/// How many packs are asked for, should one after the other turn out to lack a tip.
const MAX_PACKS: usize = 8;

/// How often the source may say that it doesn't hand out a tip, each time another one.
pub(crate) const MAX_REFUSALS: usize = 64;

/// How many bytes may be received for nothing where the source gives up on packs: this, or twice as many
/// as came before it did so first.
const MOST_LOST_BYTES: u64 = 1024 * 1024;

/// Fetches what the open refs need and the destination lacks. A tip that can't be had, or that
/// arrives without all of its history, is rejected, and the others are fetched without it.
pub(crate) fn move_objects(
    source: &dyn RefSource,
    quarantine: &mut dyn Quarantine,
    planned: &mut [PlannedRef<'_>],
    options: &SyncOptions,
    run: &Run,
) -> Result<(), Error> {
    let _span = tracing::debug_span!("move objects").entered();
    let wants = missing(quarantine, planned, run)?;
    if wants.is_empty() {
        return Ok(());
    }
    let near = tips_to_move(planned);
    let is_wanted: HashSet<_> = wants.iter().collect();
    let is_new = |planned: &PlannedRef| {
        planned.step == Step::Create && is_wanted.contains(&planned.source())
    };
    let others = match planned.iter().any(is_new) {
        true => OTHER_HAVES_FOR_NEW,
        false => OTHER_HAVES,
    };
    let haves = quarantine.haves(&near, MAX_HAVES.min(near.len() + others), run)?;
    let mut fetch = Fetch {
        source,
        quarantine,
        planned,
        most_requests: options.max_pack_requests,
        run,
        haves,
        arrived: Vec::new(),
        requests: 0,
        faulty_packs: 0,
        refusals: 0,
        gave_up: None,
        lost_bytes: 0,
    };
    fetch.all(wants, options)
}

/// What is under way between a source and a quarantine.
struct Fetch<'a, 'p> {
    source: &'a dyn RefSource,
    quarantine: &'a mut dyn Quarantine,
    planned: &'a mut [PlannedRef<'p>],
    run: &'a Run,
    haves: Vec<ObjectId>,
    /// The tips that came in the last pack, and are complete.
    arrived: Vec<ObjectId>,
    most_requests: usize,
    requests: usize,
    faulty_packs: usize,
    refusals: usize,
    /// The first words of a source that gave up.
    gave_up: Option<GaveUp>,
    lost_bytes: u64,
}

/// Why a source made no pack of what it was asked for.
struct GaveUp {
    detail: String,
    blames_objects: bool,
    /// Bytes that were received of its answer.
    bytes: u64,
}

/// What came of a request.
enum Fetched {
    /// All that was asked for, or `some` of it: the rest was rejected.
    Arrived {
        some: bool,
    },
    GaveUp,
}

impl Fetch<'_, '_> {
    fn all(&mut self, wants: Vec<ObjectId>, options: &SyncOptions) -> Result<(), Error> {
        let before = options
            .previous
            .as_ref()
            .map(SyncRunStats::unavailable_tips);
        let before = before.unwrap_or_default();
        let (old, new): (Vec<_>, Vec<_>) = wants.into_iter().partition(|tip| before.contains(tip));
        let mut is_any_here = false;
        for wants in [new, old] {
            is_any_here |= !wants.is_empty() && self.in_halves(&wants)?;
        }
        match self.gave_up.take() {
            Some(GaveUp {
                detail,
                blames_objects: false,
                ..
            }) if !is_any_here => Err(Error::new(ErrorKind::Remote, detail)),
            _ => Ok(()),
        }
    }

    /// Whether any of them is here now, or was rejected by itself.
    fn in_halves(&mut self, wants: &[ObjectId]) -> Result<bool, Error> {
        let mut is_any_here = false;
        let mut halves = Halves::new(wants.len());
        while self.may_ask()
            && let Some(part) = halves.next()
        {
            match self.fetch(wants[part.clone()].to_vec())? {
                Fetched::Arrived { some } => {
                    is_any_here = true;
                    halves.arrived(&part, some);
                }
                Fetched::GaveUp => halves.gave_up(&part),
            }
        }
        let Some(GaveUp { detail, .. }) = &self.gave_up else {
            return Ok(is_any_here);
        };
        let faults = (0..).zip(wants).filter(|(at, _)| !halves.is_sound(*at));
        let faults = faults.map(|(at, tip)| {
            let detail = match halves.is_faulty(at) {
                true => detail.clone(),
                false => format!("{detail}, asked for together with others"),
            };
            (*tip, Reason::Unavailable { detail })
        });
        reject(self.planned, &faults.collect());
        Ok(is_any_here)
    }

    fn may_ask(&self) -> bool {
        let Some(first) = &self.gave_up else {
            return true;
        };
        self.requests < self.most_requests
            && self.lost_bytes <= MOST_LOST_BYTES.max(first.bytes.saturating_mul(2))
    }

    /// Asks for all of these, and once more without those that turn out to be at fault.
    fn fetch(&mut self, mut wants: Vec<ObjectId>) -> Result<Fetched, Error> {
        let mut some = false;
        while !wants.is_empty() && self.faulty_packs < MAX_PACKS && self.refusals < MAX_REFUSALS {
            if !self.keep_what_arrived()? {
                return Ok(Fetched::GaveUp);
            }
            let request = PackRequest {
                wants,
                haves: self.haves.clone(),
                shallow: self.quarantine.shallow().to_vec(),
                thin: true,
                ofs_delta: true,
            };
            let Some(faults) = self.ask(&request)? else {
                return Ok(Fetched::GaveUp);
            };
            wants = request.wants;
            if faults.is_empty() {
                self.arrived = wants;
                return Ok(Fetched::Arrived { some });
            }
            // A pack with a broken tip in it is not worth keeping: none of it has been let in yet.
            some = true;
            self.quarantine.discard()?;
            reject(self.planned, &faults);
            wants.retain(|want| !faults.contains_key(want));
        }
        let given_up = |want| {
            let detail =
                "given up: each time it was asked for, another tip was at fault".to_owned();
            (want, Reason::Unavailable { detail })
        };
        reject(self.planned, &wants.into_iter().map(given_up).collect());
        Ok(Fetched::Arrived { some: true })
    }

    /// What is wrong with which tips; `None` if the source gave up.
    fn ask(&mut self, request: &PackRequest) -> Result<Option<HashMap<ObjectId, Reason>>, Error> {
        let (quarantine, run) = (&mut *self.quarantine, self.run);
        let received_before = run.traffic().bytes_received;
        self.requests += 1;
        let mut receive = |pack: &mut dyn BufRead| take_in(quarantine, pack, run);
        let answer = self.source.upload_pack(request, &mut receive, run)?;
        run.check()?;
        match answer {
            PackAnswer::Sent => {
                let faults = self.quarantine.faults(&request.wants, run)?;
                self.faulty_packs += usize::from(!faults.is_empty());
                Ok(Some(faults.into_iter().collect()))
            }
            PackAnswer::Unavailable { tips } => {
                self.refusals += 1;
                let tips = tips.into_iter();
                let faults = tips.map(|(tip, detail)| (tip, Reason::Unavailable { detail }));
                Ok(Some(faults.collect()))
            }
            PackAnswer::GaveUp {
                detail,
                blames_objects,
            } => {
                tracing::debug!(wants = request.wants.len(), detail, "the source gave up");
                let bytes = run.traffic().bytes_received - received_before;
                self.lost_bytes += bytes;
                self.gave_up.get_or_insert(GaveUp {
                    detail,
                    blames_objects,
                    bytes,
                });
                self.quarantine.discard()?;
                Ok(None)
            }
        }
    }

    /// Before the next pack comes. Whether the quarantine can have more than one.
    fn keep_what_arrived(&mut self) -> Result<bool, Error> {
        if self.arrived.is_empty() {
            return Ok(true);
        }
        let arrived = mem::take(&mut self.arrived);
        let is_kept = self.quarantine.keep(&arrived)?;
        self.haves.splice(0..0, arrived);
        self.haves.truncate(MAX_HAVES);
        Ok(is_kept)
    }
}

/// The tips to ask for, each once, in the order of the refs.
fn missing(
    quarantine: &mut dyn Quarantine,
    planned: &[PlannedRef<'_>],
    run: &Run,
) -> Result<Vec<ObjectId>, Error> {
    let mut seen = HashSet::new();
    let open = planned.iter().filter(|planned| planned.is_open());
    let tips: Vec<_> = open
        .map(|planned| planned.source())
        .filter(|tip| seen.insert(*tip))
        .collect();
    let faults = quarantine.faults(&tips, run)?;
    Ok(faults.into_iter().map(|(tip, _)| tip).collect())
}

fn tips_to_move(planned: &[PlannedRef<'_>]) -> Vec<ObjectId> {
    let mut seen = HashSet::new();
    let open = planned.iter().filter(|planned| planned.is_open());
    let tips = open.filter_map(|planned| planned.before());
    tips.filter(|tip| seen.insert(*tip)).collect()
}

fn take_in(
    quarantine: &mut dyn Quarantine,
    pack: &mut dyn BufRead,
    run: &Run,
) -> Result<(), Error> {
    let received = quarantine.receive(pack, run)?;
    run.add_traffic(received);
    Ok(())
}

pub(crate) fn reject(planned: &mut [PlannedRef<'_>], faults: &HashMap<ObjectId, Reason>) {
    for planned in planned.iter_mut().filter(|planned| planned.is_open()) {
        if let Some(reason) = faults.get(&planned.source()) {
            planned.reject(reason.clone());
        }
    }
}

/// Brings what the open refs need into a repository that has no refs, for a push from there.
pub(crate) fn into_scratch(
    source: &dyn RefSource,
    scratch: &LocalStore,
    planned: &mut [PlannedRef<'_>],
    options: &SyncOptions,
    run: &Run,
) -> Result<(), Error> {
    let mut quarantine = scratch.quarantine(run)?;
    move_objects(source, &mut quarantine, planned, options, run)?;
    quarantine.apply(&[], run)?;
    Ok(())
}

pub(crate) fn apply(
    quarantine: &mut dyn Quarantine,
    planned: &mut [PlannedRef<'_>],
    run: &Run,
) -> Result<(), Error> {
    let _span = tracing::debug_span!("apply").entered();
    let open = planned.iter().filter(|planned| planned.is_open());
    let updates: Vec<_> = open.map(PlannedRef::update).collect();
    if updates.is_empty() {
        return Ok(());
    }
    // The last chance to cancel: a run that has begun to move refs moves them all.
    run.advance(Phase::Apply, 0, Some(updates.len() as u64));
    run.check()?;
    let answers = quarantine.apply(&updates, run)?;
    let open = planned.iter_mut().filter(|planned| planned.is_open());
    for (planned, answer) in open.zip(answers) {
        if let Err(reason) = answer {
            planned.reject(reason);
        }
    }
    Ok(())
}

/// Learns where somebody else has moved the refs that they raced us for.
pub(crate) fn look_again(
    destination: &dyn RefSource,
    planned: &mut [PlannedRef<'_>],
    options: &SyncOptions,
    run: &Run,
) {
    let is_raced = |planned: &PlannedRef<'_>| matches!(&planned.step, Step::Settled(Outcome::Rejected, Some(reason)) if **reason == Reason::Raced);
    if !planned.iter().any(is_raced) {
        return;
    }
    // Refs have moved by now: a run that did its work doesn't fail for want of a better report.
    let Ok(now) = destination.list(Service::ReceivePack, &options.globs.prefixes(), run) else {
        return;
    };
    for planned in planned.iter_mut().filter(|planned| is_raced(planned)) {
        let found = now.find(planned.name());
        planned.see(found.map(|found| found.target));
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io::BufRead,
        sync::{
            Arc,
            atomic::{AtomicBool, Ordering},
        },
    };

    use super::*;
    use crate::{
        AdvertisedRef, ErrorKind, ObjectFormat, Objects, Progress, RefList, RefUpdate, TipKind,
        Traffic, ancestry::CommitGraph, plan::plan,
    };

    /// Notes whether refs were moved.
    #[derive(Default)]
    struct Noting {
        is_applied: bool,
    }

    impl Objects for Noting {
        fn kind(&mut self, _: &ObjectId) -> Result<TipKind, Error> {
            Ok(TipKind::Commit)
        }

        fn commits(&mut self) -> Result<Box<dyn CommitGraph + '_>, Error> {
            Err(Error::new(ErrorKind::Unsupported, "nothing is compared"))
        }
    }

    impl Quarantine for Noting {
        fn haves(&mut self, _: &[ObjectId], _: usize, _: &Run) -> Result<Vec<ObjectId>, Error> {
            Ok(Vec::new())
        }

        fn shallow(&self) -> &[ObjectId] {
            &[]
        }

        fn receive(&mut self, _: &mut dyn BufRead, _: &Run) -> Result<Traffic, Error> {
            Ok(Traffic::default())
        }

        fn discard(&mut self) -> Result<(), Error> {
            Ok(())
        }

        fn faults(&mut self, _: &[ObjectId], _: &Run) -> Result<Vec<(ObjectId, Reason)>, Error> {
            Ok(Vec::new())
        }

        fn apply(
            &mut self,
            updates: &[RefUpdate],
            _: &Run,
        ) -> Result<Vec<Result<(), Reason>>, Error> {
            self.is_applied = true;
            Ok(vec![Ok(()); updates.len()])
        }
    }

    /// Cancels as soon as it is told that refs are about to move.
    struct CancelAtApply(Arc<AtomicBool>);

    impl Progress for CancelAtApply {
        fn advance(&self, phase: Phase, _: u64, _: Option<u64>) {
            self.0.store(phase == Phase::Apply, Ordering::Relaxed);
        }
    }

    #[test]
    fn a_run_can_be_cancelled_until_refs_move() {
        let listed = AdvertisedRef {
            name: "refs/heads/main".into(),
            target: ObjectId::Sha1([1; 20]),
            annotated: false,
            symbolic: false,
        };
        let source = RefList::new(ObjectFormat::Sha1, [listed]);
        let destination = RefList::new(ObjectFormat::Sha1, []);
        for is_cancelled in [false, true] {
            let mut options = SyncOptions::default();
            if is_cancelled {
                let cancel = Arc::new(AtomicBool::new(false));
                options.cancel = Some(Arc::clone(&cancel));
                options.progress = Some(Arc::new(CancelAtApply(cancel)));
            }
            let planned = plan(&source, &destination, &options, || Ok(()));
            let mut quarantine = Noting::default();
            let mut planned = planned.expect("nothing stops it");
            let applied = apply(&mut quarantine, &mut planned, &Run::new(&options));
            let kind = applied.err().map(|err| err.kind());
            assert_eq!(kind, is_cancelled.then_some(ErrorKind::Cancelled));
            assert_eq!(quarantine.is_applied, !is_cancelled);
        }
    }
}
