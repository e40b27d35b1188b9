//! [`PlannedRef`]: one ref of a run, its tips at both ends, and its next step.

use std::collections::HashMap;

use bstr::BStr;

use crate::{
    FilterReason, ObjectId, Reason, RefUpdate, Refusal,
    refs::{AdvertisedRef, Namespace, RefList, table::RefTable},
};

/// The most requests in which a source refuses a tip, each time another one.
pub(super) const MAX_UNAVAILABLE: usize = 64;

/// A ref of the source that differs between the ends. There may be a million, so names and tips stay in the listings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PlannedRef<'a> {
    source: &'a RefTable,
    destination: &'a RefTable,
    /// The position in the source's list.
    at: u32,
    /// The position in the destination's list, if the ref exists there.
    destination_at: Option<u32>,
    /// The destination's tip in a later listing, if it has changed.
    seen: Option<Box<Option<ObjectId>>>,
    pub(crate) step: Step,
    /// The last refusal of the ref by the destination.
    pub(super) refused: Option<Box<Refused>>,
}

/// The next step for a ref, or its end. Reasons are boxed, because most refs have none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step {
    /// The ref takes no part in syncs.
    Filtered(Box<FilterReason>),
    /// The ref stays as it is.
    Rejected(Box<Reason>),
    /// The destination has confirmed that the ref has the source's tip.
    Moved,
    /// Creating the ref, which the destination doesn't have.
    Create,
    /// Comparing the histories of the tips, which decide whether the ref moves.
    Compare,
}

impl<'a> PlannedRef<'a> {
    /// The ref at these positions of the two lists.
    pub(super) fn new(
        (source, at): (&'a RefList, u32),
        (destination, destination_at): (&'a RefList, Option<u32>),
        step: Step,
    ) -> Self {
        PlannedRef {
            source: &source.refs,
            destination: &destination.refs,
            at,
            destination_at,
            seen: None,
            step,
            refused: None,
        }
    }

    /// The position in the source's list.
    pub(crate) fn at(&self) -> usize {
        self.at as usize
    }

    pub(crate) fn name(&self) -> &'a BStr {
        self.source.at(self.at()).name
    }

    pub(crate) fn namespace(&self) -> Namespace {
        let namespace = Namespace::split(self.name());
        namespace.map_or(Namespace::Branch, |(namespace, _)| namespace)
    }

    pub(crate) fn source(&self) -> ObjectId {
        self.source.at(self.at()).target
    }

    /// The destination's tip before the run.
    pub(crate) fn before(&self) -> Option<ObjectId> {
        tip(&self.destination.at(self.destination_at? as usize))
    }

    /// The destination's tip after the run if the run does not move the ref. It differs from the one before if another
    /// process has moved the ref.
    pub(crate) fn unmoved(&self) -> Option<ObjectId> {
        self.seen.as_deref().copied().unwrap_or(self.before())
    }

    /// Records the destination's tip in a later listing.
    pub(crate) fn see(&mut self, tip: Option<ObjectId>) {
        self.seen = (tip != self.before()).then(|| Box::new(tip));
    }

    /// Whether a step is left.
    pub(crate) fn is_open(&self) -> bool {
        matches!(self.step, Step::Create | Step::Compare)
    }

    /// The update for the destination.
    pub(crate) fn update(&self) -> RefUpdate<'a> {
        RefUpdate {
            name: self.name(),
            expected: self.before(),
            new: self.source(),
        }
    }

    pub(crate) fn reject(&mut self, reason: Reason) {
        self.step = rejected(reason);
    }

    /// The reason, if the ref is rejected already.
    pub(crate) fn rejection(&self) -> Option<&Reason> {
        match &self.step {
            Step::Rejected(reason) => Some(reason),
            Step::Filtered(_) | Step::Moved | Step::Create | Step::Compare => None,
        }
    }
}

/// The refusal of a ref by the destination, in the previous run or in this one, with its reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refused {
    pub(super) refusal: Refusal,
    pub(super) reason: Reason,
}

impl Refused {
    /// Boxed, as most refs have none.
    pub(super) fn new(refusal: Refusal, reason: Reason) -> Box<Self> {
        Box::new(Refused { refusal, reason })
    }
}

pub(super) fn filtered(reason: FilterReason) -> Step {
    Step::Filtered(Box::new(reason))
}

pub(super) fn rejected(reason: Reason) -> Step {
    Step::Rejected(Box::new(reason))
}

/// The tip of a ref; `None` for a damaged or unborn one.
pub(super) fn tip(listed: &AdvertisedRef<'_>) -> Option<ObjectId> {
    (!listed.target.is_null()).then_some(listed.target)
}

/// Rejects the open refs with these tips.
pub(super) fn reject_tips(planned: &mut [PlannedRef<'_>], reasons: &HashMap<ObjectId, Reason>) {
    for planned in planned.iter_mut().filter(|planned| planned.is_open()) {
        if let Some(reason) = reasons.get(&planned.source()) {
            planned.reject(reason.clone());
        }
    }
}
