//! The plan: a step for each selected ref, decided from the two listings alone.

use std::{
    borrow::Cow,
    cmp::Ordering,
    collections::{HashMap, HashSet},
};

mod conflicts;

use bstr::{BStr, ByteSlice};

use crate::{
    Error, FilterReason, Reason, SyncOptions, SyncRunRef, TagPolicy,
    refs::{self, AdvertisedRef, Namespace, RefList},
    sync::planned_ref::{PlannedRef, Step, filtered, rejected, tip},
};

/// The number of names that are planned between two checks whether the run goes on.
const NAMES_PER_CHECK: usize = 256;

/// Removes the refs from the source's list that take no part in the run.
pub(crate) fn select(source: &mut RefList, options: &SyncOptions) {
    source.refs.retain(|listed| {
        if options.list_excluded {
            Namespace::split(listed.name).is_some()
        } else {
            options.globs.matches(listed.name)
        }
    });
}

/// Plans every ref of the source that isn't the same at the destination, in order. The source's are
/// the [selected](select) ones.
///
/// # Errors
/// The error of `check`, which is called regularly.
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
    for (at, source_ref) in (0..).zip(source.iter()) {
        if (at as usize).is_multiple_of(NAMES_PER_CHECK) {
            check()?;
        }
        // Both are sorted, so one pass over them is enough.
        let found = loop {
            match rest
                .peek()
                .map(|(_, destination_ref)| destination_ref.name.cmp(source_ref.name))
            {
                Some(Ordering::Less) => rest.next(),
                Some(Ordering::Equal) => break rest.next(),
                Some(Ordering::Greater) | None => break None,
            };
        };
        let (destination_at, destination_ref) = found.unzip();
        let Some(step) = planner.step(&source_ref, destination_ref.as_ref()) else {
            continue;
        };
        if Namespace::split(source_ref.name).is_none() {
            continue;
        }
        planned.push(PlannedRef::new(
            (source, at),
            (destination, destination_at),
            step,
        ));
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
    /// The step of a ref; `None` if it is the same at both ends.
    fn step(
        &self,
        source_ref: &AdvertisedRef<'_>,
        destination_ref: Option<&AdvertisedRef<'_>>,
    ) -> Option<Step> {
        let before = destination_ref.and_then(tip);
        if let Some(reason) = self.exclusion(source_ref, destination_ref) {
            return Some(filtered(reason));
        }
        // The destination has a ref of this name, so the name needs no check.
        if before == Some(source_ref.target) {
            return None;
        }
        if let Some(reason) = unfit_name(source_ref, self.destination) {
            return Some(filtered(reason));
        }
        if let Some(reason) = self.rejection(source_ref, destination_ref) {
            return Some(rejected(reason));
        }
        Some(match destination_ref {
            Some(_) => Step::Compare,
            None => Step::Create,
        })
    }

    /// The reason why a ref takes no part in the run, independent of its tips and its name.
    fn exclusion(
        &self,
        source_ref: &AdvertisedRef<'_>,
        destination_ref: Option<&AdvertisedRef<'_>>,
    ) -> Option<FilterReason> {
        if self.options.list_excluded && !self.options.globs.matches(source_ref.name) {
            return Some(FilterReason::Excluded);
        }
        let is_symbolic = source_ref.symbolic
            || destination_ref.is_some_and(|destination_ref| destination_ref.symbolic);
        is_symbolic.then_some(FilterReason::SymbolicRef)
    }

    /// The reason why a ref that differs between the ends cannot move, if the listings alone show one.
    fn rejection(
        &self,
        source_ref: &AdvertisedRef<'_>,
        destination_ref: Option<&AdvertisedRef<'_>>,
    ) -> Option<Reason> {
        let name = source_ref.name;
        let before = destination_ref.and_then(tip);
        if source_ref.target.is_null() {
            let detail = "the source lists no tip for it".to_owned();
            return Some(Reason::Unavailable { detail });
        }
        if destination_ref.is_some() && before.is_none() {
            return Some(Reason::HistoryUnknown);
        }
        // An unborn branch counts as well: a worktree with files may be on a branch that does not exist yet.
        if self.checked_out.contains(&self.destination.fold(name)) {
            return Some(Reason::CheckedOut);
        }
        if destination_ref.is_some_and(|destination_ref| {
            tag_stays(self.options.tags, destination_ref, source_ref)
        }) {
            return Some(Reason::TagExists);
        }
        let known = self.known.get(name)?;
        let is_same = (known.before, known.source) == (before, source_ref.target);
        known.outcome.rejection().filter(|_| is_same).cloned()
    }
}

/// The reason why the destination cannot have a ref of this name.
fn unfit_name(source_ref: &AdvertisedRef<'_>, destination: &RefList) -> Option<FilterReason> {
    if !refs::is_valid_name(source_ref.name) {
        return Some(FilterReason::InvalidName);
    }
    let mut components = source_ref.name.split_str("/");
    let too_long = components.any(|component| component.len() > destination.longest_component)
        || source_ref.name.len() > destination.longest_name;
    too_long.then_some(FilterReason::NameTooLong)
}

/// Whether the two listings alone show that the tag does not move.
fn tag_stays(
    policy: TagPolicy,
    destination_ref: &AdvertisedRef<'_>,
    source_ref: &AdvertisedRef<'_>,
) -> bool {
    let annotated = destination_ref.annotated || source_ref.annotated;
    let is_tag = source_ref
        .name
        .starts_with(Namespace::Tag.prefix().as_bytes());
    is_tag && (policy == TagPolicy::Immutable || annotated)
}

#[cfg(test)]
mod tests;
