//! What is left to do for each selected ref, decided from the two listings alone.

use std::{
    borrow::Cow,
    cmp::Ordering,
    collections::{HashMap, HashSet},
};

use bstr::{BStr, BString, ByteSlice};

use crate::{
    ObjectId, Outcome, Reason, RefUpdate, SyncOptions, SyncRunRef, TagPolicy,
    refs::{self, AdvertisedRef, Namespace, RefList},
};

/// One ref of the source and what is known about it so far.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PlannedRef {
    pub name: BString,
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

impl PlannedRef {
    pub(crate) fn is_open(&self) -> bool {
        !matches!(self.step, Step::Settled(..))
    }

    /// What the destination is asked for.
    pub(crate) fn update(&self) -> RefUpdate {
        RefUpdate {
            name: self.name.clone(),
            expected: self.before,
            new: self.source,
        }
    }

    pub(crate) fn reject(&mut self, reason: Reason) {
        self.step = Step::Settled(Outcome::Rejected, Some(reason));
    }
}

/// Plans every branch and tag of the source that the run is about, sorted by name.
pub(crate) fn plan(
    source: RefList,
    destination: &RefList,
    options: &SyncOptions,
) -> Vec<PlannedRef> {
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
    let mut planned = Vec::with_capacity(source.refs.len());
    let mut rest = destination.refs.iter().peekable();
    for offered in source.refs {
        let Some((namespace, _)) = Namespace::split(offered.name.as_bstr()) else {
            continue;
        };
        // Both are sorted, so one pass over them is enough.
        let held = loop {
            match rest.peek().map(|held| held.name.cmp(&offered.name)) {
                Some(Ordering::Less) => rest.next(),
                Some(Ordering::Equal) => break rest.next(),
                Some(Ordering::Greater) | None => break None,
            };
        };
        let step = planner.step(namespace, &offered, held);
        if step == Step::Settled(Outcome::Filtered, Some(Reason::Excluded))
            && !options.list_excluded
        {
            continue;
        }
        planned.push(PlannedRef {
            name: offered.name,
            namespace,
            source: offered.target,
            before: held.and_then(tip),
            held: held.and_then(tip),
            step,
        });
    }
    reject_name_conflicts(&mut planned, destination);
    planned
}

/// Of two new refs that can't exist side by side the first one is created.
fn reject_name_conflicts(planned: &mut [PlannedRef], destination: &RefList) {
    // Most runs create no ref, and need no table of names.
    let mut names = None;
    let new = planned.iter().enumerate();
    let new = new.filter(|(_, planned)| planned.step == Step::Create);
    let conflicts = new.filter_map(|(at, planned)| {
        let names = names.get_or_insert_with(|| TakenNames::new(destination));
        Some((at, names.take(planned.name.as_bstr())?))
    });
    for (at, conflict) in conflicts.collect::<Vec<_>>() {
        planned[at].reject(conflict);
    }
}

struct Planner<'a> {
    options: &'a SyncOptions,
    destination: &'a RefList,
    checked_out: HashSet<Cow<'a, [u8]>>,
    known: HashMap<&'a BStr, &'a SyncRunRef>,
}

impl Planner<'_> {
    fn step(
        &self,
        namespace: Namespace,
        offered: &AdvertisedRef,
        held: Option<&AdvertisedRef>,
    ) -> Step {
        let name = offered.name.as_bstr();
        let before = held.and_then(tip);
        if !self.options.globs.matches(name) {
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
            if tag_stays(namespace, self.options.tags, held, offered) {
                return rejected(Reason::TagExists);
            }
        }
        if let Some(known) = self.known.get(name)
            && (known.before, known.source) == (before, offered.target)
        {
            return Step::Settled(Outcome::Rejected, known.reason.clone());
        }
        match held {
            Some(_) => Step::Compare,
            None => Step::Create,
        }
    }
}

fn tip(held: &AdvertisedRef) -> Option<ObjectId> {
    (!held.target.is_null()).then_some(held.target)
}

/// Names that the destination can't hold.
fn unfit_name(offered: &AdvertisedRef, destination: &RefList) -> Option<Reason> {
    if !refs::is_valid_name(offered.name.as_bstr()) {
        return Some(Reason::InvalidName);
    }
    let mut components = offered.name.split_str("/");
    let too_long = components.any(|component| component.len() > destination.longest_component)
        || offered.name.len() > destination.longest_name;
    too_long.then_some(Reason::NameTooLong)
}

/// Whether the two listings alone show that the tag does not move.
fn tag_stays(
    namespace: Namespace,
    policy: TagPolicy,
    held: &AdvertisedRef,
    offered: &AdvertisedRef,
) -> bool {
    let annotated = held.annotated || offered.annotated;
    namespace == Namespace::Tag && (policy == TagPolicy::Immutable || annotated)
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
        for held in &destination.refs {
            taken.insert(held.name.as_bstr());
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
mod tests {
    use super::*;
    use crate::{ObjectFormat, RefGlobs, SyncRunStats};

    fn id(digit: char) -> ObjectId {
        ObjectId::from_hex(digit.to_string().repeat(40).as_bytes()).expect("hex")
    }

    /// `name=1` is a ref with tip 111..., `name=1^2` an annotated tag, `name@1` a symbolic ref.
    fn list(refs: &[&str]) -> RefList {
        let parse = |text: &&str| {
            let symbolic = text.contains('@');
            let (name, tip) = text.split_once(['=', '@']).expect("name and tip");
            let mut digits = tip.chars().filter(|c| *c != '^').map(id);
            AdvertisedRef {
                name: name.into(),
                target: digits.next().expect("a tip"),
                annotated: digits.next().is_some(),
                symbolic,
            }
        };
        RefList::new(ObjectFormat::Sha1, refs.iter().map(parse).collect())
    }

    fn steps(
        source: &RefList,
        destination: &RefList,
        options: &SyncOptions,
    ) -> Vec<(String, Step)> {
        let planned = plan(source.clone(), destination, options);
        planned
            .into_iter()
            .map(|p| (p.name.to_string(), p.step))
            .collect()
    }

    fn step(source: &str, destination: &[&str]) -> Step {
        let mut steps = steps(
            &list(&[source]),
            &list(destination),
            &SyncOptions::default(),
        );
        assert_eq!(steps.len(), 1, "{source}");
        steps.remove(0).1
    }

    fn settled(outcome: Outcome, reason: Reason) -> Step {
        Step::Settled(outcome, Some(reason))
    }

    fn conflict(with: &str) -> Step {
        settled(
            Outcome::Rejected,
            Reason::NameConflict { with: with.into() },
        )
    }

    #[test]
    fn the_listings_alone_decide_what_they_can() {
        use Outcome::{Filtered, Rejected, Unchanged};
        let detail = "the source lists no tip for it".to_owned();
        let nowhere = settled(Rejected, Reason::Unavailable { detail });
        let table: &[(&str, &[&str], Step)] = &[
            ("refs/heads/a=1", &[], Step::Create),
            (
                "refs/heads/a=1",
                &["refs/heads/a=1"],
                Step::Settled(Unchanged, None),
            ),
            ("refs/heads/a=1", &["refs/heads/a=2"], Step::Compare),
            ("refs/heads/a=0", &[], nowhere.clone()),
            ("refs/heads/a=0", &["refs/heads/a=2"], nowhere),
            ("refs/tags/a=1", &["refs/tags/a=2"], Step::Compare),
            (
                "refs/tags/a=1^3",
                &["refs/tags/a=1^3"],
                Step::Settled(Unchanged, None),
            ),
            (
                "refs/tags/a=1^3",
                &["refs/tags/a=2"],
                settled(Rejected, Reason::TagExists),
            ),
            (
                "refs/tags/a=1",
                &["refs/tags/a=2^3"],
                settled(Rejected, Reason::TagExists),
            ),
            (
                "refs/heads/a@1",
                &[],
                settled(Filtered, Reason::SymbolicRef),
            ),
            (
                "refs/heads/a=1",
                &["refs/heads/a@2"],
                settled(Filtered, Reason::SymbolicRef),
            ),
            (
                "refs/heads/a=1",
                &["refs/heads/a@1"],
                settled(Filtered, Reason::SymbolicRef),
            ),
            (
                "refs/heads/a=1",
                &["refs/heads/a@0"],
                settled(Filtered, Reason::SymbolicRef),
            ),
            (
                "refs/heads/a=1",
                &["refs/heads/a=0"],
                settled(Rejected, Reason::HistoryUnknown),
            ),
            (
                "refs/heads/a..b=1",
                &[],
                settled(Filtered, Reason::InvalidName),
            ),
            (
                "refs/heads/../../config=1",
                &[],
                settled(Filtered, Reason::InvalidName),
            ),
        ];
        for (source, destination, expected) in table {
            assert_eq!(
                step(source, destination),
                *expected,
                "{source} to {destination:?}"
            );
        }
    }

    #[test]
    fn names_that_cannot_coexist_conflict() {
        let table: &[(&str, &[&str], Step)] = &[
            (
                "refs/heads/a/b=1",
                &["refs/heads/a=2"],
                conflict("refs/heads/a"),
            ),
            (
                "refs/heads/a/b/c=1",
                &["refs/heads/a=2"],
                conflict("refs/heads/a"),
            ),
            (
                "refs/heads/a=1",
                &["refs/heads/a/b=2"],
                conflict("refs/heads/a/b"),
            ),
            ("refs/heads/a/b=1", &["refs/heads/a/c=2"], Step::Create),
            ("refs/heads/ab=1", &["refs/heads/a=2"], Step::Create),
            ("refs/heads/a/b=1", &["refs/tags/a=2"], Step::Create),
            ("refs/heads/A=1", &["refs/heads/a=2"], Step::Create),
        ];
        for (source, destination, expected) in table {
            assert_eq!(
                step(source, destination),
                *expected,
                "{source} to {destination:?}"
            );
        }
    }

    #[test]
    fn of_two_new_names_that_conflict_the_first_one_wins() {
        let source = list(&["refs/heads/a=1", "refs/heads/a/b=1", "refs/heads/c=1"]);
        let steps = steps(&source, &list(&[]), &SyncOptions::default());
        let expected = [Step::Create, conflict("refs/heads/a"), Step::Create];
        assert_eq!(
            steps.into_iter().map(|(_, step)| step).collect::<Vec<_>>(),
            expected
        );
    }

    #[test]
    fn case_matters_unless_the_destination_folds_it() {
        let source = list(&[
            "refs/heads/DIR/x=1",
            "refs/heads/Main=1",
            "refs/heads/dir/y=1",
            "refs/heads/main=1",
        ]);
        let mut destination = list(&["refs/heads/main=1"]);
        let create = [
            Step::Create,
            Step::Create,
            Step::Create,
            Step::Settled(Outcome::Unchanged, None),
        ];
        let found = steps(&source, &destination, &SyncOptions::default());
        assert_eq!(
            found.into_iter().map(|(_, step)| step).collect::<Vec<_>>(),
            create
        );

        destination.folds_case = true;
        let found = steps(&source, &destination, &SyncOptions::default());
        let expected = [
            Step::Create,
            conflict("refs/heads/main"),
            conflict("refs/heads/DIR/x"),
            Step::Settled(Outcome::Unchanged, None),
        ];
        assert_eq!(
            found.into_iter().map(|(_, step)| step).collect::<Vec<_>>(),
            expected
        );
    }

    #[test]
    fn a_destination_s_own_rules_hold() {
        let source = list(&[
            "refs/heads/long-name=1",
            "refs/heads/main=1",
            "refs/heads/new=1",
        ]);
        let mut destination = list(&["refs/heads/main=2"]);
        destination.checked_out = vec!["refs/heads/main".into(), "refs/heads/new".into()];
        destination.longest_component = 8;
        let expected = [
            settled(Outcome::Filtered, Reason::NameTooLong),
            settled(Outcome::Rejected, Reason::CheckedOut),
            Step::Create,
        ];
        let found = steps(&source, &destination, &SyncOptions::default());
        assert_eq!(
            found.into_iter().map(|(_, step)| step).collect::<Vec<_>>(),
            expected
        );
    }

    #[test]
    fn excluded_refs_are_left_out_or_listed() {
        let source = list(&[
            "HEAD=1",
            "refs/heads/dev=1",
            "refs/heads/main=1",
            "refs/notes/x=1",
            "refs/tags/v1=1",
        ]);
        let globs = RefGlobs::new(Some("main"), None).expect("a glob");
        let mut options = SyncOptions {
            globs,
            ..SyncOptions::default()
        };
        assert_eq!(
            steps(&source, &list(&[]), &options),
            [("refs/heads/main".into(), Step::Create)]
        );
        options.list_excluded = true;
        let excluded = settled(Outcome::Filtered, Reason::Excluded);
        let expected = [
            ("refs/heads/dev".into(), excluded.clone()),
            ("refs/heads/main".into(), Step::Create),
            ("refs/tags/v1".into(), excluded),
        ];
        assert_eq!(steps(&source, &list(&[]), &options), expected);
    }

    #[test]
    fn a_known_rejection_stays_while_both_tips_do() {
        let rejected = |name: &str, before, reason| SyncRunRef {
            name: format!("refs/heads/{name}").into(),
            before: Some(id(before)),
            after: id(before),
            source: id('1'),
            outcome: Outcome::Rejected,
            reason: Some(reason),
        };
        let previous = SyncRunStats {
            refs: vec![
                rejected("a", '2', Reason::Diverged),
                rejected("b", '2', Reason::Raced),
                rejected("c", '3', Reason::Diverged),
            ],
            ..SyncRunStats::default()
        };
        let options = SyncOptions {
            previous: Some(previous),
            ..SyncOptions::default()
        };
        let source = list(&["refs/heads/a=1", "refs/heads/b=1", "refs/heads/c=1"]);
        let destination = list(&["refs/heads/a=2", "refs/heads/b=2", "refs/heads/c=2"]);
        let found = steps(&source, &destination, &options);
        let expected = [
            settled(Outcome::Rejected, Reason::Diverged),
            Step::Compare,
            Step::Compare,
        ];
        assert_eq!(
            found.into_iter().map(|(_, step)| step).collect::<Vec<_>>(),
            expected
        );
    }

    #[test]
    fn immutable_tags_never_get_compared() {
        let options = SyncOptions {
            tags: TagPolicy::Immutable,
            ..SyncOptions::default()
        };
        let found = steps(
            &list(&["refs/tags/a=1"]),
            &list(&["refs/tags/a=2"]),
            &options,
        );
        assert_eq!(
            found,
            [(
                "refs/tags/a".into(),
                settled(Outcome::Rejected, Reason::TagExists)
            )]
        );
    }
}
