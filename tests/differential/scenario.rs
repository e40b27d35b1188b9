//! A plan worked out: which ref points to what at which end, and who has which object.

use crate::history::History;
use crate::plan::{Ends, HeldIn, Kept, Plan, Symbolic, Tip};
use gix::ObjectId;
use gix::objs::Kind;
use std::collections::{BTreeMap, BTreeSet};

pub(crate) const SYMBOLIC: &str = "refs/heads/symbolic";
/// The target of a symbolic ref: a branch that only this end has.
pub(crate) const BEHIND_SYMBOLIC: &str = "refs/heads/behind-symbolic";
/// Enough new refs for them to be created together.
const CROWD: usize = 70;

pub(crate) struct Scenario {
    pub(crate) history: History,
    pub(crate) source: BTreeMap<String, ObjectId>,
    pub(crate) destination: BTreeMap<String, ObjectId>,
    pub(crate) source_packed: BTreeSet<String>,
    pub(crate) held_in: BTreeMap<String, HeldIn>,
    /// At which end `SYMBOLIC` is a symbolic ref. It is in that end's refs only if it leads to one.
    pub(crate) symbolic: Option<End>,
    /// The objects that the destination has without any ref of its own.
    pub(crate) debris: BTreeSet<ObjectId>,
    pub(crate) alternate: BTreeSet<ObjectId>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Source,
    Destination,
}

impl Scenario {
    pub(crate) fn new(plan: &Plan) -> Self {
        let mut scenario = Scenario {
            history: History::new(plan),
            source: BTreeMap::new(),
            destination: BTreeMap::new(),
            source_packed: BTreeSet::new(),
            held_in: BTreeMap::new(),
            symbolic: None,
            debris: BTreeSet::new(),
            alternate: BTreeSet::new(),
        };
        for planned in &plan.refs {
            let (source, destination) = scenario.tips(planned.ends);
            insert(&mut scenario.source, planned.name, source);
            insert(&mut scenario.destination, planned.name, destination);
            if planned.source_packed {
                scenario.source_packed.insert(planned.name.to_owned());
            }
            let held_in = &mut scenario.held_in;
            held_in
                .entry(planned.name.to_owned())
                .or_insert(planned.held);
        }
        scenario.add_symbolic(plan.symbolic);
        for number in 0..if plan.crowd { CROWD } else { 0 } {
            let tip = scenario.history.commit_at(number as u8);
            let name = format!("refs/heads/crowd/{number}");
            scenario.source.insert(name, tip);
        }
        scenario.plant(plan);
        scenario
    }

    /// The objects that the destination has by way of its refs.
    pub(crate) fn held(&self) -> BTreeSet<ObjectId> {
        self.history.closure(self.destination.values())
    }

    /// Whatever is in one of the destination's stores.
    pub(crate) fn at_hand(&self) -> BTreeSet<ObjectId> {
        let mut all = self.held();
        all.extend(&self.debris);
        all.extend(&self.alternate);
        all
    }

    /// Whether `git fsck` has nothing to say about the destination.
    pub(crate) fn is_sound(&self) -> bool {
        let is_odd = |(name, tip): (&String, &ObjectId)| {
            name.starts_with("refs/heads/") && self.history.kind(tip) != Kind::Commit
        };
        self.debris.is_empty() && !self.destination.iter().any(is_odd)
    }

    /// Whether the destination has a symbolic ref to a branch that isn't born yet.
    pub(crate) fn leads_nowhere(&self) -> bool {
        self.symbolic == Some(End::Destination) && !self.destination.contains_key(SYMBOLIC)
    }

    fn tips(&mut self, ends: Ends) -> (Option<ObjectId>, Option<ObjectId>) {
        let history = &mut self.history;
        match ends {
            Ends::Equal(tip) => {
                let tip = history.tip(tip);
                (Some(tip), Some(tip))
            }
            Ends::SourceOnly(tip) => (Some(history.tip(tip)), None),
            Ends::DestinationOnly(tip) => (None, Some(history.tip(tip))),
            Ends::SourceAhead(at, steps) => {
                let tip = history.commit_at(at);
                (Some(tip), Some(history.back(tip, steps)))
            }
            Ends::DestinationAhead(at, steps) => {
                let tip = history.commit_at(at);
                (Some(history.back(tip, steps)), Some(tip))
            }
            Ends::Both(Tip(at, what), destination) => {
                let source = history.tip(Tip(at, what));
                (Some(source), Some(history.tip(destination)))
            }
        }
    }

    fn add_symbolic(&mut self, symbolic: Symbolic) {
        let (end, behind, other) = match symbolic {
            Symbolic::No => return,
            Symbolic::AtSource(tip, held) => (End::Source, Some(tip), held),
            Symbolic::AtDestination(tip, held) => (End::Destination, held, Some(tip)),
        };
        let behind = behind.map(|number| self.history.commit_at(number));
        let other = other.map(|number| self.history.commit_at(number));
        let (symbolic, plain) = match end {
            End::Source => (&mut self.source, &mut self.destination),
            End::Destination => (&mut self.destination, &mut self.source),
        };
        for name in [SYMBOLIC, BEHIND_SYMBOLIC] {
            insert(symbolic, name, behind);
        }
        insert(plain, SYMBOLIC, other);
        self.symbolic = Some(end);
    }

    fn plant(&mut self, plan: &Plan) {
        let held = self.held();
        let tips: Vec<_> = self.source.values().copied().collect();
        for debris in &plan.destination.debris {
            if tips.is_empty() {
                break;
            }
            let tip = tips[usize::from(debris.of_ref) % tips.len()];
            let missing = self.history.closure([&tip]);
            let missing: Vec<_> = missing.difference(&held).copied().collect();
            let count = missing.len();
            let kept = missing
                .into_iter()
                .enumerate()
                .filter(|(at, id)| match debris.kept {
                    Kept::All => true,
                    Kept::AllBut(gap) => *at != usize::from(gap) % count,
                    Kept::TipOnly => *id == tip,
                    Kept::Some(bits) => bits >> (at % 64) & 1 == 1,
                });
            self.debris.extend(kept.map(|(_, id)| id));
        }
        if let Some(alternate) = plan.destination.alternate {
            let tip = self.history.commit_at(alternate.commit);
            self.alternate = self.history.closure([&tip]);
        }
    }
}

/// Inserts a ref, unless its name can't exist beside one that is there.
fn insert(refs: &mut BTreeMap<String, ObjectId>, name: &str, tip: Option<ObjectId>) {
    let Some(tip) = tip else { return };
    if in_the_way(refs, name).next().is_none() {
        refs.entry(name.to_owned()).or_insert(tip);
    }
}

/// The refs that can't be there together with one of that name.
pub(crate) fn in_the_way<'a>(
    refs: &'a BTreeMap<String, ObjectId>,
    name: &'a str,
) -> impl Iterator<Item = &'a str> {
    let is_below = |low: &str, high: &str| {
        low.strip_prefix(high)
            .is_some_and(|rest| rest.starts_with('/'))
    };
    refs.keys()
        .map(String::as_str)
        .filter(move |other| is_below(other, name) || is_below(name, other))
}
