//! What is left to do for each selected ref, decided from the two listings alone.

use std::{
    borrow::Cow,
    cmp::Ordering,
    collections::{HashMap, HashSet},
};

mod conflicts;

use bstr::{BStr, ByteSlice};

use crate::{
    Error, FilterReason, ObjectId, Outcome, Reason, RefUpdate, SyncOptions, SyncRunRef, TagPolicy,
    refs::{self, AdvertisedRef, Namespace, RefList, table::RefTable},
    sync::push::Refused,
};

/// How many names are planned between two questions whether the run has to end.
const NAMES_PER_CHECK: usize = 256;

/// One ref of the source that isn't the same at both ends, and what is known about it so far.
///
/// There may be a million, so what the listings say of it stays in these.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PlannedRef<'a> {
    source: &'a RefTable,
    destination: &'a RefTable,
    at: u32,
    held_at: Option<u32>,
    /// The destination's tip as another listing had it later, if one was asked for.
    seen: Option<Box<Option<ObjectId>>>,
    pub step: Step,
    /// What the destination refused in the run before, and whatever it refuses in this one.
    pub refused: Option<Box<Refused>>,
}

/// What is left to do for a ref.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step {
    /// Nothing: its outcome is known.
    Settled(Box<Outcome>),
    /// The destination has no such ref: create it.
    Create,
    /// Both ends have it with different tips: their history decides.
    Compare,
}

impl<'a> PlannedRef<'a> {
    /// Its place among those of the source.
    pub(crate) fn at(&self) -> usize {
        self.at as usize
    }

    pub(crate) fn name(&self) -> &'a BStr {
        self.source.at(self.at()).name
    }

    pub(crate) fn is_tag(&self) -> bool {
        self.name().starts_with(Namespace::Tag.prefix().as_bytes())
    }

    pub(crate) fn namespace(&self) -> Namespace {
        match self.is_tag() {
            true => Namespace::Tag,
            false => Namespace::Branch,
        }
    }

    pub(crate) fn source(&self) -> ObjectId {
        self.source.at(self.at()).target
    }

    /// The destination's tip before the run.
    pub(crate) fn before(&self) -> Option<ObjectId> {
        tip(&self.destination.at(self.held_at? as usize))
    }

    /// The destination's tip after the run if the ref does not move: another one than before if
    /// somebody else moved it meanwhile.
    pub(crate) fn held(&self) -> Option<ObjectId> {
        self.seen.as_deref().copied().unwrap_or(self.before())
    }

    /// Notes the destination's tip as it was listed later.
    pub(crate) fn see(&mut self, tip: Option<ObjectId>) {
        self.seen = (tip != self.before()).then(|| Box::new(tip));
    }

    pub(crate) fn is_open(&self) -> bool {
        !matches!(self.step, Step::Settled(..))
    }

    /// What the destination is asked for.
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
            Step::Settled(outcome) => outcome.rejection(),
            Step::Create | Step::Compare => None,
        }
    }
}

/// Leaves of what the source lists the branches and tags that the run is about.
pub(crate) fn select(source: &mut RefList, options: &SyncOptions) {
    source.refs.retain(|offered| match options.list_excluded {
        true => Namespace::split(offered.name).is_some(),
        false => options.globs.matches(offered.name),
    });
}

/// Plans every ref of the source that isn't the same at the destination, in order. The source's are
/// the [selected](select) ones.
///
/// # Errors
/// That of `check`, which is called now and then.
pub(crate) fn plan<'a>(
    source: &'a RefList,
    destination: &'a RefList,
    options: &SyncOptions,
    mut check: impl FnMut() -> Result<(), Error>,
) -> Result<Vec<PlannedRef<'a>>, Error> {
    let rules = options.rules()?;
    let known = options
        .previous
        .as_ref()
        .map(|stats| stats.settled_rejections(&rules));
    let planner = Planner {
        options,
        destination,
        checked_out: destination
            .checked_out
            .iter()
            .map(|name| destination.fold(name))
            .collect(),
        known: known.unwrap_or_default(),
    };
    let mut planned = Vec::new();
    let mut rest = (0..).zip(destination.iter()).peekable();
    for (at, offered) in (0..).zip(source.iter()) {
        if (at as usize).is_multiple_of(NAMES_PER_CHECK) {
            check()?;
        }
        // Both are sorted, so one pass over them is enough.
        let held = loop {
            match rest.peek().map(|(_, held)| held.name.cmp(offered.name)) {
                Some(Ordering::Less) => rest.next(),
                Some(Ordering::Equal) => break rest.next(),
                Some(Ordering::Greater) | None => break None,
            };
        };
        let Some(step) = planner.step(&offered, held.as_ref().map(|(_, held)| held)) else {
            continue;
        };
        if Namespace::split(offered.name).is_none() {
            continue;
        }
        planned.push(PlannedRef {
            source: &source.refs,
            destination: &destination.refs,
            at,
            held_at: held.map(|(at, _)| at),
            seen: None,
            step,
            refused: None,
        });
    }
    conflicts::reject(&mut planned, destination, &mut check)?;
    Ok(planned)
}

struct Planner<'a> {
    options: &'a SyncOptions,
    destination: &'a RefList,
    checked_out: HashSet<Cow<'a, [u8]>>,
    known: HashMap<&'a BStr, SyncRunRef<'a>>,
}

impl Planner<'_> {
    /// `None` for a ref that is the same at both ends.
    fn step(&self, offered: &AdvertisedRef<'_>, held: Option<&AdvertisedRef<'_>>) -> Option<Step> {
        let before = held.and_then(tip);
        if let Some(reason) = self.is_apart(offered, held) {
            return Some(filtered(reason));
        }
        // The destination has it, so there is nothing to be said against its name.
        if before == Some(offered.target) {
            return None;
        }
        if let Some(reason) = unfit_name(offered, self.destination) {
            return Some(filtered(reason));
        }
        if let Some(reason) = self.rejection(offered, held) {
            return Some(rejected(reason));
        }
        Some(match held {
            Some(_) => Step::Compare,
            None => Step::Create,
        })
    }

    /// Why a ref takes no part, whatever its tips and its name are.
    fn is_apart(
        &self,
        offered: &AdvertisedRef<'_>,
        held: Option<&AdvertisedRef<'_>>,
    ) -> Option<FilterReason> {
        if self.options.list_excluded && !self.options.globs.matches(offered.name) {
            return Some(FilterReason::Excluded);
        }
        let is_symbolic = offered.symbolic || held.is_some_and(|held| held.symbolic);
        is_symbolic.then_some(FilterReason::SymbolicRef)
    }

    /// Why a ref that is not the same at both ends can't move, as far as the listings show it.
    fn rejection(
        &self,
        offered: &AdvertisedRef<'_>,
        held: Option<&AdvertisedRef<'_>>,
    ) -> Option<Reason> {
        let name = offered.name;
        let before = held.and_then(tip);
        if offered.target.is_null() {
            let detail = "the source lists no tip for it".to_owned();
            return Some(Reason::Unavailable { detail });
        }
        if held.is_some() && before.is_none() {
            return Some(Reason::HistoryUnknown);
        }
        // Born or not: a worktree with files of its own may be on a branch that isn't there yet.
        if self.checked_out.contains(&self.destination.fold(name)) {
            return Some(Reason::CheckedOut);
        }
        if held.is_some_and(|held| tag_stays(self.options.tags, held, offered)) {
            return Some(Reason::TagExists);
        }
        let known = self.known.get(name)?;
        let is_same = (known.before, known.source) == (before, offered.target);
        known.outcome.rejection().filter(|_| is_same).cloned()
    }
}

fn filtered(reason: FilterReason) -> Step {
    Step::Settled(Box::new(Outcome::Filtered(reason)))
}

fn rejected(reason: Reason) -> Step {
    Step::Settled(Box::new(Outcome::Rejected(reason)))
}

fn tip(held: &AdvertisedRef<'_>) -> Option<ObjectId> {
    (!held.target.is_null()).then_some(held.target)
}

/// Names that the destination can't hold.
fn unfit_name(offered: &AdvertisedRef<'_>, destination: &RefList) -> Option<FilterReason> {
    if !refs::is_valid_name(offered.name) {
        return Some(FilterReason::InvalidName);
    }
    let mut components = offered.name.split_str("/");
    let too_long = components.any(|component| component.len() > destination.longest_component)
        || offered.name.len() > destination.longest_name;
    too_long.then_some(FilterReason::NameTooLong)
}

/// Whether the two listings alone show that the tag does not move.
fn tag_stays(policy: TagPolicy, held: &AdvertisedRef<'_>, offered: &AdvertisedRef<'_>) -> bool {
    let annotated = held.annotated || offered.annotated;
    let is_tag = offered.name.starts_with(Namespace::Tag.prefix().as_bytes());
    is_tag && (policy == TagPolicy::Immutable || annotated)
}

#[cfg(test)]
mod tests;
