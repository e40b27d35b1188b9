//! The outcome of each ref of a push by the rules, derived from the plan.

use crate::expect::{Difference, Expected, ReasonCode, Word};
use crate::history::Ancestry;
use crate::plan::Plan;
use crate::scenario::{End, SYMBOLIC, Scenario, in_the_way};
use crate::support::verdict::Flag;
use gix::ObjectId;
use gix::objs::Kind;
use std::collections::BTreeSet;

/// `known` is all that the source has.
pub(crate) fn expect(
    plan: &Plan,
    scenario: &Scenario,
    known: &BTreeSet<ObjectId>,
    name: &str,
    tip: &ObjectId,
) -> Expected {
    let push = Push {
        plan,
        scenario,
        known,
        is_tag: name.starts_with("refs/tags/"),
        conflicts: in_the_way(&scenario.destination, name).next().is_some(),
    };
    let held = scenario.destination.get(name);
    let flag = push.flag(held, tip);
    // One of the destination shows as a plain one, to git and to us.
    let is_symbolic = scenario.symbolic == Some(End::Source) && name == SYMBOLIC;
    let reason = match is_symbolic {
        true => Some(ReasonCode::SymbolicRef),
        false => push.reason(held, tip),
    };
    let outcome = match reason {
        Some(ReasonCode::SymbolicRef) => Word::Filtered,
        Some(_) => Word::Rejected,
        None if held == Some(tip) => Word::Unchanged,
        None => Word::Updated,
    };
    let difference = match (outcome, held) {
        (Word::Filtered, _) => Some(Difference::SymbolicRef),
        (Word::Updated, Some(_)) if push.is_tag => Some(Difference::LightweightTag),
        (Word::Rejected, Some(held))
            if !push.is_tag
                && scenario.history.kind(held) != Kind::Commit
                && reason == Some(ReasonCode::Diverged) =>
        {
            Some(Difference::HeldBranchIsNoCommit)
        }
        _ => None,
    };
    Expected {
        outcome,
        reason,
        flag,
        difference,
        is_open: outcome == Word::Updated,
    }
}

struct Push<'a> {
    plan: &'a Plan,
    scenario: &'a Scenario,
    known: &'a BTreeSet<ObjectId>,
    is_tag: bool,
    conflicts: bool,
}

impl Push<'_> {
    fn is_commit(&self, id: &ObjectId) -> bool {
        self.scenario.history.kind(id) == Kind::Commit
    }

    fn reason(&self, held: Option<&ObjectId>, tip: &ObjectId) -> Option<ReasonCode> {
        use ReasonCode::*;
        let Some(held) = held else {
            let no_branch = !self.is_tag && !self.is_commit(tip);
            return match self.conflicts {
                true => Some(NameConflict),
                false => no_branch.then_some(NotACommit),
            };
        };
        if held == tip {
            return None;
        }
        if !self.is_commit(tip) {
            return Some(if self.is_tag { TagExists } else { NotACommit });
        }
        if self.is_tag && self.plan.immutable_tags {
            return Some(TagExists);
        }
        if !self.known.contains(held) {
            return Some(DestinationUnknown);
        }
        match self.scenario.history.relate(held, tip) {
            Some(Ancestry::Same | Ancestry::FastForward) => None,
            _ if self.is_tag => Some(TagExists),
            Some(Ancestry::Behind) => Some(DestinationAhead),
            Some(Ancestry::Diverged) | None => Some(Diverged),
        }
    }

    fn flag(&self, held: Option<&ObjectId>, tip: &ObjectId) -> Flag {
        let history = &self.scenario.history;
        let Some(held) = held else {
            // Git asks all the same, and the remote says no.
            let is_refused = self.conflicts || !self.is_tag && !self.is_commit(tip);
            return if is_refused {
                Flag::Rejected
            } else {
                Flag::New
            };
        };
        if held == tip {
            return Flag::UpToDate;
        }
        if self.is_tag || !self.is_commit(tip) || !self.known.contains(held) {
            return Flag::Rejected;
        }
        match history.relate(&history.peel(*held), tip) {
            Some(Ancestry::Same | Ancestry::FastForward) => Flag::FastForward,
            _ => Flag::Rejected,
        }
    }
}
