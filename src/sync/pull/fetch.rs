//! Fetching packs from a source, one after the other, until every tip is received or rejected.

use std::{collections::HashMap, io::BufRead, mem};

use super::{MAX_HAVES, bisection::TipBisection};
use crate::{
    Error, ErrorKind, ObjectId, PackAnswer, PackRequest, Quarantine, Reason, RefSource,
    SyncContext, SyncOptions, SyncRunStats,
    sync::planned_ref::{MAX_UNAVAILABLE, PlannedRef, reject_tips},
};

/// The most packs that are requested if each turns out to have an incomplete tip.
const MAX_PACKS: usize = 8;

/// The most bytes that may be received in vain from a source that gives up on packs: this number, or twice the bytes of
/// its first failed answer.
const MOST_LOST_BYTES: u64 = 1024 * 1024;

/// A fetch from a source into a quarantine.
pub(super) struct Fetch<'a, 'p> {
    source: &'a dyn RefSource,
    quarantine: &'a mut dyn Quarantine,
    planned: &'a mut [PlannedRef<'p>],
    options: &'a SyncOptions,
    context: &'a SyncContext,
    haves: Vec<ObjectId>,
    /// Whether thin packs are requested.
    thin: bool,
    /// Whether everything reachable from the haves was found to exist.
    is_whole_behind: bool,
    /// The complete tips of the last pack.
    arrived: Vec<ObjectId>,
    /// Whether the quarantine has a pack that has to be kept or discarded before the next one.
    is_full: bool,
    requests: usize,
    faulty_packs: usize,
    refusals: usize,
    /// The first failure of a source that gave up.
    gave_up: Option<GaveUp>,
    bytes_in_vain: u64,
}

/// A source's failure to make a pack.
struct GaveUp {
    detail: String,
    blames_objects: bool,
    /// Bytes that were received of that answer.
    bytes: u64,
}

/// The result of a request.
enum Fetched {
    /// The requested tips were received; with `is_partial`, only a part of them, and the others were rejected.
    Arrived {
        is_partial: bool,
    },
    GaveUp,
}

impl<'a, 'p> Fetch<'a, 'p> {
    pub(super) fn new(
        source: &'a dyn RefSource,
        quarantine: &'a mut dyn Quarantine,
        planned: &'a mut [PlannedRef<'p>],
        haves: Vec<ObjectId>,
        options: &'a SyncOptions,
        context: &'a SyncContext,
    ) -> Self {
        Fetch {
            source,
            quarantine,
            planned,
            options,
            context,
            haves,
            thin: true,
            is_whole_behind: false,
            arrived: Vec::new(),
            is_full: false,
            requests: 0,
            faulty_packs: 0,
            refusals: 0,
            gave_up: None,
            bytes_in_vain: 0,
        }
    }

    /// Requests these tips, and rejects those that the source does not send.
    pub(super) fn all(&mut self, wants: Vec<ObjectId>) -> Result<(), Error> {
        let before = self
            .options
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

    /// Fetches tips, in halves if the source gives up. Returns whether any of them was received, or was rejected in a
    /// request of its own.
    fn bisect(&mut self, wants: &[ObjectId]) -> Result<bool, Error> {
        let mut is_any_here = false;
        let mut bisection = TipBisection::new(wants.len());
        while self.may_ask()
            && let Some(part) = bisection.next()
        {
            match self.fetch(wants[part.clone()].to_vec())? {
                Fetched::Arrived { is_partial } => {
                    is_any_here = true;
                    bisection.arrived(&part, is_partial);
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
        self.requests < self.options.max_pack_requests
            && self.bytes_in_vain <= MOST_LOST_BYTES.max(first.bytes.saturating_mul(2))
    }

    /// Requests these tips, and again without those that turn out to be at fault.
    fn fetch(&mut self, mut wants: Vec<ObjectId>) -> Result<Fetched, Error> {
        let mut is_partial = false;
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
                // Without thin packs the source sends the bases: this costs one more request, once.
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
                return Ok(Fetched::Arrived { is_partial });
            }
            // A pack with an incomplete tip is dropped: none of its objects is part of the store yet.
            is_partial = true;
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
        Ok(Fetched::Arrived { is_partial: true })
    }

    /// Requests a pack, and returns the tips at fault with their reasons; `None` if the source gave up.
    fn ask(&mut self, request: &PackRequest) -> Result<Option<HashMap<ObjectId, Reason>>, Error> {
        let (quarantine, context) = (&mut *self.quarantine, self.context);
        let received_before = context.traffic().bytes_received;
        self.requests += 1;
        let mut receive = |pack: &mut dyn BufRead| {
            context.add_traffic(quarantine.receive(pack, context)?);
            Ok(())
        };
        let answer = self.source.upload_pack(request, &mut receive, context)?;
        context.check()?;
        match answer {
            PackAnswer::Sent => {
                let faults = self.quarantine.find_incomplete(&request.wants, context)?;
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
                let bytes = context.traffic().bytes_received - received_before;
                self.bytes_in_vain += bytes;
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

    /// Checks whether the destination has lost objects reachable from the haves. A source does not send those, so that
    /// may be the reason why a tip is incomplete.
    fn look_for_doubt(&mut self, faults: &HashMap<ObjectId, Reason>) -> Result<(), Error> {
        let is_incomplete = |reason| matches!(reason, &Reason::Incomplete { .. });
        if !self.haves.is_empty()
            && faults.values().any(is_incomplete)
            && !self.context.doubts_destination()
            && !self.is_whole_behind
        {
            // Checked once: haves that are added later were verified in this run.
            self.is_whole_behind = self.quarantine.is_whole_behind(&self.haves, self.context)?;
            if !self.is_whole_behind {
                self.context.doubt_destination();
            }
        }
        Ok(())
    }

    /// Keeps the last pack before the next one is received.
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
