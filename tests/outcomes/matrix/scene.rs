//! A row made at each pair of ends.

use super::objects::Objects;
use super::row::Expected::{self, *};
use super::row::{Pair, Row};
use super::template::{Template, full_name};
use crate::support::ends::Ends;
use crate::support::pull::{
    Fate, Pulled, assert_matches_git, created, fate_in, filtered, is_fetch, is_sound, moved, raced,
    reason_in, rejected, unchanged,
};
use crate::support::push::{Sent, is_push};
use crate::support::verdict::{self, Flag, Flags};
use crate::support::{ObjectFormat, Repo, Sandbox};
use refsync::{FilterReason, Reason, SyncOptions, TagPolicy};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

const BYSTANDER: &str = "bystander";

/// A row made ready.
pub(super) struct Scene<'a> {
    row: &'a Row,
    objects: Objects,
    source: Template,
    destination: Template,
    /// By full name, with the bystander.
    expected: Vec<(String, Expected)>,
    was_sound: bool,
    fetched_by_git: Flags,
    pushed_by_git: Flags,
    _sandbox: Sandbox,
}

impl<'a> Scene<'a> {
    #[track_caller]
    pub(super) fn new(row: &'a Row) -> Self {
        let sandbox = Sandbox::new();
        let path = |name: &str| sandbox.path().join(name);
        let empty = sandbox.init_bare("objects.git", ObjectFormat::Sha1);
        let repos = ["source.git", "destination.git"].map(|name| {
            empty.copy_to(&path(name));
            Repo::at(path(name))
        });
        let objects = Objects::new(empty);
        let template = |repo, listed: &str| Template::new(repo, &objects, listed, row.packed);
        let [source, destination] = repos;
        let source = template(source, &format!("{} {BYSTANDER}=root", row.source));
        let destination = template(destination, row.destination);
        let copied = |name: &str| destination.copy(&path(name));
        let fetched = verdict::fetch(&copied("fetched.git"), &source.repo.path);
        let pushed = verdict::push(&source.repo, &copied("pushed.git").path);
        let expected = row.expected.iter().chain(&[(BYSTANDER, Created)]);
        Scene {
            row,
            expected: expected
                .map(|(name, expected)| (full_name(name), *expected))
                .collect(),
            fetched_by_git: fetched.expect("what git says"),
            pushed_by_git: pushed.expect("what git says"),
            was_sound: is_sound(&destination.repo),
            objects,
            source,
            destination,
            _sandbox: sandbox,
        }
    }

    /// A run between copies, and what holds of each: its stats say what is so, what git says, what was asked
    /// for and how many objects have moved; nothing is left behind; a sound repository stays sound.
    #[track_caller]
    pub(super) fn check(&self, pair: Pair) {
        let ends = self.ends(pair);
        let sent = self.watch(pair, &ends);
        let options = self.row.options();
        let run = ends.run(&options);
        for (name, expected) in self.expected(pair) {
            let fate = self.fate(pair, &ends, &run, name, expected);
            assert_eq!(run.fate_of(name), fate, "{pair:?}, {name}");
            self.assert_git_agrees(pair, name, expected, &fate);
        }
        let listed = run.stats.refs.len();
        assert_eq!(listed, self.expected.len(), "{pair:?}: {:?}", run.stats);
        self.assert_destination(pair, &ends, &run);
        self.assert_traffic(pair, &ends, &run, &sent.lock().expect("what was sent"));
        assert!(!self.was_sound || is_sound(&ends.destination), "{pair:?}");
        if self
            .expected(pair)
            .all(|(_, expected)| expected.is_in_step())
        {
            self.assert_nothing_to_do(pair, &ends, &options);
        }
    }

    fn ends(&self, pair: Pair) -> Ends {
        let sandbox = Sandbox::new();
        let upstream = self.source.copy(&sandbox.path().join("up.git"));
        let destination = self.destination.copy(&sandbox.path().join("down.git"));
        let opened_at = destination.path.clone();
        pair.setup()
            .between(sandbox, upstream, destination, opened_at)
    }

    /// Notes what is pushed, and lets happen what happens meanwhile.
    fn watch(&self, pair: Pair, ends: &Ends) -> Arc<Mutex<Vec<Sent>>> {
        let sent = Arc::<Mutex<Vec<Sent>>>::default();
        let (noted, meanwhile) = (Arc::clone(&sent), self.row.meanwhile);
        let (destination, done) = (ends.destination.clone(), AtomicBool::new(false));
        ends.server.intercept(move |head| {
            let pushes = is_push(head);
            let is_due = if pair.pushes() {
                pushes
            } else {
                is_fetch(head)
            };
            if let Some(act) = meanwhile
                && is_due
                && !done.swap(true, Ordering::SeqCst)
            {
                act(&destination);
            }
            if pushes {
                let sent = Sent::parse(&head.body);
                noted.lock().expect("what was sent").push(sent);
            }
            None
        });
        sent
    }

    fn expected(&self, pair: Pair) -> impl Iterator<Item = (&str, Expected)> {
        self.expected.iter().map(move |(name, expected)| {
            let expected = match *expected {
                Differs(pulled, _) if !pair.pushes() => *pulled,
                Differs(_, pushed) => *pushed,
                alike => alike,
            };
            (&**name, expected)
        })
    }

    #[track_caller]
    fn fate(&self, pair: Pair, ends: &Ends, run: &Pulled, name: &str, expected: Expected) -> Fate {
        let source = self.source.refs.get(name).unwrap_or_else(|| {
            // A symbolic ref shows the tip of what it leads to, which is called `main`.
            &self.source.refs["refs/heads/main"]
        });
        let before = self.destination.refs.get(name).map(String::as_str);
        let rejected = |reason| rejected(before, source, reason);
        if self.is_unknown(pair, name, expected) {
            return rejected(Reason::DestinationUnknown);
        }
        match expected {
            Created => created(source),
            Moved => moved(before.expect("a ref that moves"), source),
            Unchanged => unchanged(source),
            Ahead => rejected(Reason::DestinationAhead),
            Diverged => rejected(Reason::Diverged),
            TagExists | TagIsNoDescendant => rejected(Reason::TagExists),
            NotACommit => rejected(Reason::NotACommit),
            Conflict(with) => {
                let with = full_name(with).as_str().into();
                rejected(Reason::NameConflict { with })
            }
            SymbolicRef => filtered(before, source, FilterReason::SymbolicRef),
            Excluded => filtered(before, source, FilterReason::Excluded),
            Raced => {
                let now = ends.destination.for_each_ref().into_iter();
                let now: BTreeMap<_, _> = now.collect();
                raced(before, now.get(name).map(String::as_str), source)
            }
            Refused => {
                let reason = reason_in(&run.stats, name);
                assert!(matches!(reason, Reason::Remote { .. }), "{reason}");
                rejected(reason)
            }
            Differs(..) => unreachable!("one or the other"),
        }
    }

    /// Whether the end that decides lacks the destination's tip.
    fn is_unknown(&self, pair: Pair, name: &str, expected: Expected) -> bool {
        let by_ancestry = matches!(expected, Ahead | Diverged | TagExists | TagIsNoDescendant);
        let (Some(before), Some(tip)) =
            (self.destination.refs.get(name), self.source.refs.get(name))
        else {
            return false;
        };
        by_ancestry
            && pair.pushes()
            && self.row.tags != TagPolicy::Immutable
            && self.objects.is_commit(tip)
            && !self.at_hand(pair).contains(before)
    }

    /// The objects of the end that pushes: all of the source, or those that were fetched into a scratch store.
    fn at_hand(&self, pair: Pair) -> BTreeSet<String> {
        match pair {
            Pair::Relay => self.objects.behind(self.open(pair)),
            _ => self.source.objects.clone(),
        }
    }

    /// The tips that the listings alone don't settle.
    fn open(&self, pair: Pair) -> impl Iterator<Item = &str> {
        let is_open = move |expected| match expected {
            Unchanged | SymbolicRef | Excluded => false,
            Conflict(_) => self.row.meanwhile.is_some(),
            // A source on this machine does not say which of its tags are annotated.
            TagExists => pair == Pair::LocalToLocal && self.row.tags != TagPolicy::Immutable,
            _ => true,
        };
        let open = self
            .expected(pair)
            .filter(move |(_, found)| is_open(*found));
        open.map(|(name, _)| &*self.source.refs[name])
    }

    #[track_caller]
    fn assert_git_agrees(&self, pair: Pair, name: &str, expected: Expected, fate: &Fate) {
        let is_first = self
            .row
            .expected
            .first()
            .is_some_and(|(first, _)| full_name(first) == name);
        let flag = match (expected, self.row.git) {
            _ if self.row.meanwhile.is_some() => return,
            (SymbolicRef | Excluded, _) => return,
            (_, Some(flag)) if is_first => flag,
            (Created, _) => Flag::New,
            (Unchanged, _) => Flag::UpToDate,
            (Moved, _) if !name.starts_with("refs/tags/") => Flag::FastForward,
            _ => Flag::Rejected,
        };
        let flags = match pair.pushes() {
            true => &self.pushed_by_git,
            false => &self.fetched_by_git,
        };
        assert_eq!(
            flags.get(name),
            Some(&flag),
            "git, {pair:?}, {name}: {fate:?}"
        );
    }

    /// Every ref is as it was, but for those that were created or moved.
    #[track_caller]
    fn assert_destination(&self, pair: Pair, ends: &Ends, run: &Pulled) {
        assert_matches_git(&run.stats, &ends.destination);
        if self.row.meanwhile.is_some() {
            return;
        }
        let mut refs = self.destination.refs.clone();
        for (name, expected) in self.expected(pair) {
            if expected.is_updated() {
                refs.insert(name.to_owned(), self.source.refs[name].clone());
            }
        }
        let refs: Vec<_> = refs
            .into_iter()
            .filter(|(name, _)| name.starts_with("refs/heads/") || name.starts_with("refs/tags/"))
            .collect();
        assert_eq!(ends.destination.for_each_ref(), refs, "{pair:?}");
    }

    #[track_caller]
    fn assert_traffic(&self, pair: Pair, ends: &Ends, run: &Pulled, sent: &[Sent]) {
        let mut moved = 0;
        let mut asked = Vec::new();
        if !pair.pushes() || pair == Pair::Relay {
            let mut needed = self.objects.behind(self.open(pair));
            if pair != Pair::Relay {
                needed.retain(|id| !self.destination.objects.contains(id));
            }
            moved += needed.len() as u64;
            asked.extend((!needed.is_empty()).then_some("fetch"));
        }
        if pair.pushes() {
            moved += self.assert_pushed(pair, sent);
            asked.push("push");
        }
        assert_eq!(run.stats.traffic.objects, moved, "{pair:?}");
        let mut asked = ends.listing_and(&asked);
        let is_refused = |(_, expected)| matches!(expected, Raced | Refused);
        if pair.pushes() && self.expected(pair).any(is_refused) {
            // To find out what became of it. Sorted as the others are.
            asked.insert(0, "info/refs");
        }
        self.assert_asked(pair, run, &asked);
    }

    /// Compares the requests of a run. With narrow globs a push may list the destination for a fetch first.
    #[track_caller]
    fn assert_asked(&self, pair: Pair, run: &Pulled, asked: &[&str]) {
        if !pair.pushes() || self.row.globs.is_none() {
            assert_eq!(run.asked, asked, "{pair:?}");
        }
    }

    /// One push with a command for each ref that may move. How many objects it has to have.
    #[track_caller]
    fn assert_pushed(&self, pair: Pair, sent: &[Sent]) -> u64 {
        let is_sent = |(_, expected): &(_, Expected)| {
            expected.is_updated() || matches!(expected, Raced | Refused)
        };
        let mut names: Vec<_> = self.expected(pair).filter(is_sent).collect();
        names.sort_by_key(|(name, _)| *name);
        let names: Vec<_> = names.into_iter().map(|(name, _)| name).collect();
        let [sent] = sent else {
            panic!("{pair:?}: pushed {} times", sent.len())
        };
        assert_eq!(sent.names, names, "{pair:?}: the commands");
        let at_hand = self.at_hand(pair);
        let held = self.destination.refs.values().map(String::as_str);
        let known = self.objects.behind(held.filter(|id| at_hand.contains(*id)));
        let tips = names.iter().map(|name| &*self.source.refs[*name]);
        self.objects.behind(tips).difference(&known).count() as u64
    }

    /// Another run leaves every file as it is.
    #[track_caller]
    fn assert_nothing_to_do(&self, pair: Pair, ends: &Ends, options: &SyncOptions) {
        let files = ends.destination.files();
        let again = ends.run(options);
        for (name, _) in self.expected(pair) {
            let tip = &self.source.refs[name];
            assert_eq!(fate_in(&again.stats, name), unchanged(tip), "{pair:?}");
        }
        self.assert_asked(pair, &again, &ends.listing_and(&[]));
        assert!(
            again.asked.iter().all(|word| word.contains("refs")),
            "{pair:?}"
        );
        assert_eq!(again.stats.traffic.objects, 0, "{pair:?}");
        assert_eq!(ends.destination.files(), files, "{pair:?}");
    }
}
