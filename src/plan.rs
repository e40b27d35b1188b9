//! What is left to do for each selected ref, decided from the two listings alone.

use std::{
    borrow::Cow,
    cmp::Ordering,
    collections::{HashMap, HashSet},
};

use bstr::{BStr, ByteSlice};

use crate::{
    ObjectId, Outcome, Reason, RefUpdate, SyncOptions, SyncRunRef, TagPolicy,
    refs::{self, AdvertisedRef, Namespace, RefList},
};

/// One ref of the source that isn't the same at both ends, and what is known about it so far.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PlannedRef<'a> {
    /// Its place among those of the source.
    pub at: usize,
    pub name: &'a BStr,
    pub namespace: Namespace,
    pub source: ObjectId,
    /// The destination's tip before the run.
    pub before: Option<ObjectId>,
    /// The destination's tip after the run if the ref does not move: another one than before if
    /// somebody else moved it meanwhile.
    pub held: Option<ObjectId>,
    pub step: Step,
}

/// What is left to do for a ref.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step {
    /// Nothing: its outcome is known.
    Settled(Outcome, Option<Reason>),
    /// The destination has no such ref: create it.
    Create,
    /// Both ends have it with different tips: their history decides.
    Compare,
}

impl PlannedRef<'_> {
    pub(crate) fn is_open(&self) -> bool {
        !matches!(self.step, Step::Settled(..))
    }

    /// What the destination is asked for.
    pub(crate) fn update(&self) -> RefUpdate {
        RefUpdate {
            name: self.name.to_owned(),
            expected: self.before,
            new: self.source,
        }
    }

    pub(crate) fn reject(&mut self, reason: Reason) {
        self.step = Step::Settled(Outcome::Rejected, Some(reason));
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
pub(crate) fn plan<'a>(
    source: &'a RefList,
    destination: &RefList,
    options: &SyncOptions,
) -> Vec<PlannedRef<'a>> {
    let known = options
        .previous
        .as_ref()
        .map(|stats| stats.settled_rejections());
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
    let mut rest = destination.iter().peekable();
    for (at, offered) in source.iter().enumerate() {
        // Both are sorted, so one pass over them is enough.
        let held = loop {
            match rest.peek().map(|held| held.name.cmp(offered.name)) {
                Some(Ordering::Less) => rest.next(),
                Some(Ordering::Equal) => break rest.next(),
                Some(Ordering::Greater) | None => break None,
            };
        };
        let step = planner.step(&offered, held.as_ref());
        if step == Step::Settled(Outcome::Unchanged, None) {
            continue;
        }
        let Some((namespace, _)) = Namespace::split(offered.name) else {
            continue;
        };
        let before = held.as_ref().and_then(tip);
        planned.push(PlannedRef {
            at,
            name: offered.name,
            namespace,
            source: offered.target,
            before,
            held: before,
            step,
        });
    }
    reject_name_conflicts(&mut planned, destination);
    planned
}

/// Of two new refs that can't exist side by side the first one is created.
fn reject_name_conflicts(planned: &mut [PlannedRef<'_>], destination: &RefList) {
    // Most runs create no ref, and need no table of names.
    let mut names = None;
    let new = planned.iter().enumerate();
    let new = new.filter(|(_, planned)| planned.step == Step::Create);
    let conflicts = new.filter_map(|(at, planned)| {
        let names = names.get_or_insert_with(|| TakenNames::new(destination));
        Some((at, names.take(planned.name)?))
    });
    for (at, conflict) in conflicts.collect::<Vec<_>>() {
        planned[at].reject(conflict);
    }
}

struct Planner<'a> {
    options: &'a SyncOptions,
    destination: &'a RefList,
    checked_out: HashSet<Cow<'a, [u8]>>,
    known: HashMap<&'a BStr, SyncRunRef<'a>>,
}

impl Planner<'_> {
    fn step(&self, offered: &AdvertisedRef<'_>, held: Option<&AdvertisedRef<'_>>) -> Step {
        let name = offered.name;
        let before = held.and_then(tip);
        if self.options.list_excluded && !self.options.globs.matches(name) {
            return Step::Settled(Outcome::Filtered, Some(Reason::Excluded));
        }
        if offered.symbolic || held.is_some_and(|held| held.symbolic) {
            return Step::Settled(Outcome::Filtered, Some(Reason::SymbolicRef));
        }
        // The destination has it, so there is nothing to be said against its name.
        if before == Some(offered.target) {
            return Step::Settled(Outcome::Unchanged, None);
        }
        if let Some(reason) = unfit_name(offered, self.destination) {
            return Step::Settled(Outcome::Filtered, Some(reason));
        }
        let rejected = |reason| Step::Settled(Outcome::Rejected, Some(reason));
        if offered.target.is_null() {
            let detail = "the source lists no tip for it".to_owned();
            return rejected(Reason::Unavailable { detail });
        }
        if held.is_some() && before.is_none() {
            return rejected(Reason::HistoryUnknown);
        }
        if let Some(held) = held {
            if self.checked_out.contains(&self.destination.fold(name)) {
                return rejected(Reason::CheckedOut);
            }
            if tag_stays(self.options.tags, held, offered) {
                return rejected(Reason::TagExists);
            }
        }
        if let Some(known) = self.known.get(name)
            && (known.before, known.source) == (before, offered.target)
        {
            return Step::Settled(Outcome::Rejected, known.reason.cloned());
        }
        match held {
            Some(_) => Step::Compare,
            None => Step::Create,
        }
    }
}

fn tip(held: &AdvertisedRef<'_>) -> Option<ObjectId> {
    (!held.target.is_null()).then_some(held.target)
}

/// Names that the destination can't hold.
fn unfit_name(offered: &AdvertisedRef<'_>, destination: &RefList) -> Option<Reason> {
    if !refs::is_valid_name(offered.name) {
        return Some(Reason::InvalidName);
    }
    let mut components = offered.name.split_str("/");
    let too_long = components.any(|component| component.len() > destination.longest_component)
        || offered.name.len() > destination.longest_name;
    too_long.then_some(Reason::NameTooLong)
}

/// Whether the two listings alone show that the tag does not move.
fn tag_stays(policy: TagPolicy, held: &AdvertisedRef<'_>, offered: &AdvertisedRef<'_>) -> bool {
    let annotated = held.annotated || offered.annotated;
    let is_tag = offered.name.starts_with(Namespace::Tag.prefix().as_bytes());
    is_tag && (policy == TagPolicy::Immutable || annotated)
}

/// The names that exist at the destination or are about to, and what they rule out.
struct TakenNames<'a> {
    /// Every name and every directory that a name needs, case-folded where the destination is.
    paths: HashMap<Cow<'a, [u8]>, Taken<'a>>,
    destination: &'a RefList,
}

struct Taken<'a> {
    spelling: &'a [u8],
    /// The ref that is there, or the first one that needs it as a directory.
    owner: &'a BStr,
}

impl<'a> TakenNames<'a> {
    fn new(destination: &'a RefList) -> Self {
        let mut taken = TakenNames {
            paths: HashMap::new(),
            destination,
        };
        for held in destination.iter() {
            taken.insert(held.name);
        }
        taken
    }

    /// Takes `name`, or says which ref is in the way.
    fn take(&mut self, name: &'a BStr) -> Option<Reason> {
        match self.in_the_way(name) {
            Some(with) => Some(Reason::NameConflict {
                with: with.to_owned(),
            }),
            None => {
                self.insert(name);
                None
            }
        }
    }

    /// A ref at a directory of `name`, a ref below `name`, or one that differs in case only.
    fn in_the_way(&self, name: &'a BStr) -> Option<&'a BStr> {
        paths_of(name).find_map(|path| {
            let taken = self.paths.get(&self.destination.fold(path))?;
            let is_a_ref = taken.owner.len() == path.len();
            let is_the_name_itself = path.len() == name.len();
            (is_a_ref || is_the_name_itself || taken.spelling != path).then_some(taken.owner)
        })
    }

    fn insert(&mut self, name: &'a BStr) {
        for path in paths_of(name) {
            let key = self.destination.fold(path);
            self.paths.entry(key).or_insert(Taken {
                spelling: path,
                owner: name,
            });
        }
    }
}

/// The directories that a name needs below its namespace, outermost first, and the name itself.
pub(crate) fn paths_of(name: &BStr) -> impl Iterator<Item = &[u8]> {
    let bytes: &[u8] = name;
    let below = Namespace::split(name).map_or(0, |(namespace, _)| namespace.prefix().len());
    let directories = name
        .iter()
        .enumerate()
        .skip(below)
        .filter(|(_, byte)| **byte == b'/');
    directories
        .map(move |(at, _)| &bytes[..at])
        .chain(std::iter::once(bytes))
}

#[cfg(test)]
mod tests;
