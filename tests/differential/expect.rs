//! The outcome of each ref by the rules, derived from the plan without either program's help.

use crate::history::Ancestry;
use crate::plan::{HeldIn, Plan};
use crate::scenario::{End, SYMBOLIC, Scenario, in_the_way};
use crate::support::verdict::Flag;
use gix::ObjectId;
use gix::objs::Kind;
use refsync::Outcome;

/// A deliberate difference between refsync and `git fetch`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Difference {
    /// Git takes a symbolic ref of the source for a plain one. One of its own it leaves alone, too.
    SymbolicRef,
    /// Git never moves a tag that it has.
    LightweightTag,
    /// Git peels what it holds, and moves a branch away from anything that isn't a commit.
    HeldBranchIsNoCommit,
}

/// The outcome of one ref of the source by the rules.
#[derive(Debug)]
pub(crate) struct Expected {
    pub(crate) outcome: Word,
    pub(crate) reason: Option<ReasonCode>,
    pub(crate) flag: Flag,
    pub(crate) difference: Option<Difference>,
    /// Whether the two listings alone don't decide it.
    pub(crate) is_open: bool,
}

/// An outcome without its reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Word {
    Updated,
    Unchanged,
    Filtered,
    Rejected,
}

impl Word {
    pub(crate) fn of(outcome: &Outcome) -> Self {
        match outcome {
            Outcome::Updated => Word::Updated,
            Outcome::Unchanged => Word::Unchanged,
            Outcome::Filtered(_) => Word::Filtered,
            Outcome::Rejected(_) => Word::Rejected,
        }
    }
}

/// A reason without its particulars.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ReasonCode {
    DestinationAhead,
    DestinationUnknown,
    Diverged,
    NotACommit,
    TagExists,
    NameConflict,
    SymbolicRef,
}

pub(crate) fn expect(plan: &Plan, scenario: &Scenario, name: &str, tip: &ObjectId) -> Expected {
    use {Flag::*, ReasonCode::*};
    let kind = |id: &ObjectId| scenario.history.kind(id);
    let held = scenario.destination.get(name);
    let is_tag = name.starts_with("refs/tags/");
    let conflicts = held.is_none() && in_the_way(&scenario.destination, name).next().is_some();
    let related = held.and_then(|held| scenario.history.relate(held, tip));
    let held_branch_moves = |held: &ObjectId| {
        let peeled = scenario.history.peel(*held);
        match scenario.history.relate(&peeled, tip) {
            None => New,
            Some(Ancestry::Same | Ancestry::FastForward) => FastForward,
            Some(Ancestry::Behind | Ancestry::Diverged) => Rejected,
        }
    };

    let (reason, flag) = match held {
        Some(held) if held == tip => (None, UpToDate),
        None if conflicts => (Some(NameConflict), Rejected),
        _ if !is_tag && kind(tip) != Kind::Commit => (Some(NotACommit), Rejected),
        None => (None, New),
        Some(held) if !is_tag && kind(held) != Kind::Commit => {
            (Some(Diverged), held_branch_moves(held))
        }
        Some(_) if is_tag => match related {
            Some(Ancestry::FastForward) if !plan.immutable_tags => (None, Rejected),
            _ => (Some(TagExists), Rejected),
        },
        Some(_) => match related.expect("both are commits") {
            Ancestry::Same | Ancestry::FastForward => (None, FastForward),
            Ancestry::Behind => (Some(DestinationAhead), Rejected),
            Ancestry::Diverged => (Some(Diverged), Rejected),
        },
    };
    let is_symbolic = scenario.symbolic.is_some() && name == SYMBOLIC;
    let reason = if is_symbolic {
        Some(SymbolicRef)
    } else {
        reason
    };
    let flag = if is_symbolic && scenario.symbolic == Some(End::Destination) {
        Silent
    } else {
        flag
    };
    let outcome = match (reason, flag) {
        (Some(SymbolicRef), _) => Word::Filtered,
        (Some(_), _) => Word::Rejected,
        (None, UpToDate) => Word::Unchanged,
        (None, _) => Word::Updated,
    };
    // A loose ref doesn't tell whether it is to a tag.
    let is_told = matches!(scenario.held_in.get(name), Some(HeldIn::Packed));
    let held_annotated = is_told && held.is_some_and(|held| kind(held) == Kind::Tag);
    let annotated = kind(tip) == Kind::Tag || held_annotated;
    let tag_stays = is_tag && held.is_some() && (annotated || plan.immutable_tags);
    Expected {
        outcome,
        reason,
        flag,
        difference: match (outcome, held) {
            (Word::Filtered, _) => Some(Difference::SymbolicRef),
            (Word::Updated, Some(_)) if is_tag => Some(Difference::LightweightTag),
            (Word::Rejected, Some(held))
                if !is_tag && kind(held) != Kind::Commit && reason == Some(Diverged) =>
            {
                Some(Difference::HeldBranchIsNoCommit)
            }
            _ => None,
        },
        is_open: !matches!(outcome, Word::Filtered | Word::Unchanged) && !conflicts && !tag_stays,
    }
}
