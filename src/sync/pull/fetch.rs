//! Fetching packs from a source, one after the other, until every tip is here or rejected.

use std::{collections::HashMap, io::BufRead, mem};

use super::{MAX_HAVES, bisection::TipBisection};
use crate::{
    Error, ErrorKind, ObjectId, PackAnswer, PackRequest, Quarantine, Reason, RefSource,
    SyncContext, SyncOptions, SyncRunStats,
    sync::planned_ref::{MAX_UNAVAILABLE, PlannedRef, reject_tips},
};

/// The number of packs that are asked for, should one after the other turn out to lack a tip.
const MAX_PACKS: usize = 8;

/// The bytes that may be received for nothing from a source that gives up on packs: this, or twice as many
/// as came before it did so first.
const MOST_LOST_BYTES: u64 = 1024 * 1024;

/// A fetch from a source into a quarantine.
pub(super) struct Fetch<'a, 'p> {
    source: &'a dyn RefSource,
    quarantine: &'a mut dyn Quarantine,
    planned: &'a mut [PlannedRef<'p>],
    run: &'a SyncContext,
    haves: Vec<ObjectId>,
    /// Whether the packs may build on what the destination has.
    thin: bool,
    /// Whether all that is behind the haves was found to be there.
    is_whole_behind: bool,
    /// The tips that came in the last pack, and are complete.
    arrived: Vec<ObjectId>,
    /// Whether the quarantine has a pack that the next one would replace.
    is_full: bool,
    most_requests: usize,
    requests: usize,
    faulty_packs: usize,
    refusals: usize,
    /// The first words of a source that gave up.
    gave_up: Option<GaveUp>,
    lost_bytes: u64,
}

/// The source's reason for making no pack.
struct GaveUp {
    detail: String,
    blames_objects: bool,
    /// Bytes that were received of its answer.
    bytes: u64,
}

/// The result of a request.
enum Fetched {
    /// All that was asked for, or `some` of it: the rest was rejected.
    Arrived {
        some: bool,
    },
    GaveUp,
}

impl<'a, 'p> Fetch<'a, 'p> {
    pub(super) fn new(
        source: &'a dyn RefSource,
        quarantine: &'a mut dyn Quarantine,
        planned: &'a mut [PlannedRef<'p>],
        haves: Vec<ObjectId>,
        options: &SyncOptions,
        run: &'a SyncContext,
    ) -> Self {
        Fetch {
            source,
            quarantine,
            planned,
            most_requests: options.max_pack_requests,
            run,
            haves,
            thin: true,
            is_whole_behind: false,
            arrived: Vec::new(),
            is_full: false,
            requests: 0,
            faulty_packs: 0,
            refusals: 0,
            gave_up: None,
            lost_bytes: 0,
        }
    }

    /// Asks for all of these tips, and rejects those that can't be had.
    pub(super) fn all(&mut self, wants: Vec<ObjectId>, options: &SyncOptions) -> Result<(), Error> {
        let before = options
            .previous
            .as_ref()
            .map(SyncRunStats::unavailable_tips);
        let before = before.unwrap_or_default();
        let (old, new): (Vec<_>, Vec<_>) = wants.into_iter().partition(|tip| before.contains(tip));
        let mut is_any_here = false;
        for wants in [new, old] {
            is_any_here |= !wants.is_empty() && self.bisect(&wants)?;
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

    /// Fetches tips, in halves if the source gives up. Whether any of them is here now, or was rejected by
    /// itself.
    fn bisect(&mut self, wants: &[ObjectId]) -> Result<bool, Error> {
        let mut is_any_here = false;
        let mut bisection = TipBisection::new(wants.len());
        while self.may_ask()
            && let Some(part) = bisection.next()
        {
            match self.fetch(wants[part.clone()].to_vec())? {
                Fetched::Arrived { some } => {
                    is_any_here = true;
                    bisection.arrived(&part, some);
                }
                Fetched::GaveUp => bisection.gave_up(&part),
            }
        }
        let Some(GaveUp { detail, .. }) = &self.gave_up else {
            return Ok(is_any_here);
        };
        let faults = (0..).zip(wants).filter(|(at, _)| !bisection.is_sound(*at));
        let faults = faults.map(|(at, tip)| {
            let detail = if bisection.is_faulty(at) {
                detail.clone()
            } else {
                format!("{detail}, asked for together with others")
            };
            (*tip, Reason::Unavailable { detail })
        });
        reject_tips(self.planned, &faults.collect());
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
        while !wants.is_empty() && self.faulty_packs < MAX_PACKS && self.refusals < MAX_UNAVAILABLE
        {
            self.keep_what_arrived()?;
            if self.is_full {
                break;
            }
            let request = PackRequest {
                wants,
                haves: self.haves.clone(),
                shallow: self.quarantine.shallow().to_vec(),
                thin: self.thin,
                ofs_delta: true,
            };
            let asked = self.ask(&request);
            if self.thin
                && asked
                    .as_ref()
                    .is_err_and(|err| err.is_over_budget("thin_bases"))
            {
                // The source can do without, and this once more is all that it costs.
                self.thin = false;
                self.quarantine.discard()?;
                wants = request.wants;
                continue;
            }
            let Some(faults) = asked? else {
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
            self.look_for_doubt(&faults)?;
            reject_tips(self.planned, &faults);
            wants.retain(|want| !faults.contains_key(want));
        }
        let given_up = |want| {
            let detail = if self.is_full {
                "not asked for: the destination takes one pack in a run"
            } else {
                "given up: each time it was asked for, another tip was at fault"
            };
            let detail = detail.to_owned();
            (want, Reason::Unavailable { detail })
        };
        reject_tips(self.planned, &wants.into_iter().map(given_up).collect());
        Ok(Fetched::Arrived { some: true })
    }

    /// Asks for a pack, and returns the tips at fault with their reasons; `None` if the source gave up.
    fn ask(&mut self, request: &PackRequest) -> Result<Option<HashMap<ObjectId, Reason>>, Error> {
        let (quarantine, run) = (&mut *self.quarantine, self.run);
        let received_before = run.traffic().bytes_received;
        self.requests += 1;
        let mut receive = |pack: &mut dyn BufRead| take_in(quarantine, pack, run);
        let answer = self.source.upload_pack(request, &mut receive, run)?;
        run.check()?;
        match answer {
            PackAnswer::Sent => {
                let faults = self.quarantine.find_incomplete(&request.wants, run)?;
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

    /// Looks whether the destination has lost something behind the haves. A source leaves out the objects
    /// behind them, so that may be why a tip is incomplete.
    fn look_for_doubt(&mut self, faults: &HashMap<ObjectId, Reason>) -> Result<(), Error> {
        let is_incomplete = |reason| matches!(reason, &Reason::Incomplete { .. });
        if !self.haves.is_empty()
            && faults.values().any(is_incomplete)
            && !self.run.doubts_destination()
            && !self.is_whole_behind
        {
            // It stays so: what is added to the haves has been verified in this run.
            self.is_whole_behind = self.quarantine.is_whole_behind(&self.haves, self.run)?;
            if !self.is_whole_behind {
                self.run.doubt_destination();
            }
        }
        Ok(())
    }

    /// Keeps the last pack, before the next one comes.
    fn keep_what_arrived(&mut self) -> Result<(), Error> {
        if self.arrived.is_empty() {
            return Ok(());
        }
        let arrived = mem::take(&mut self.arrived);
        self.is_full = !self.quarantine.keep(&arrived)?;
        self.haves.splice(0..0, arrived);
        self.haves.truncate(MAX_HAVES);
        Ok(())
    }
}

fn take_in(
    quarantine: &mut dyn Quarantine,
    pack: &mut dyn BufRead,
    run: &SyncContext,
) -> Result<(), Error> {
    let received = quarantine.receive(pack, run)?;
    run.add_traffic(received);
    Ok(())
}
