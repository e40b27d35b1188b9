//! Which commit descends from which: fast-forward, behind, diverged, or not to be known.
//!
//! Pure decisions over a [`CommitGraph`]; nothing here does I/O of its own.
//!
//! # The walk
//! [`compare`] answers for all its pairs in one walk. Every pair has two colours: what is reached
//! from `new` and what is reached from `old`. A commit hands its colours to its parents, and is
//! queued again whenever it gains one, so the colours come out right in any order; dates and
//! generations only choose an order in which most commits are visited once. A colour that arrives
//! at the pair's other end settles the pair. Three arguments let the walk stop before the root:
//!
//! - **Both colours.** As long as `old` can still be found from `new`, some queued commit on the
//!   way to it carries `new`'s colour. If it carried `old`'s colour too, `old` would be its own
//!   ancestor. So once every queued commit with `new`'s colour also has `old`'s, the answer is no.
//! - **Generations.** A parent's generation is below its child's, and commits without one are
//!   only reached from their like. The queue hands out the highest first (unknown is highest),
//!   so once its head is below `old`, nothing in it can lead to `old` any more.
//! - **Holes.** A commit without known parents might hide `old` behind it, unless `old` reaches
//!   that commit itself: the same cycle again. So a hole matters only while it has one colour.
//!
//! Where both ends have a generation there is less to do: only the higher one can lead to the other,
//! so one colour is enough, and going down by levels needs no queue.

mod descent;
mod history;
mod walk;

#[cfg(test)]
mod tests;

use crate::Error;
use gix::{ObjectId, oid};
use history::History;
use std::collections::HashSet;

/// Where commits come from: an object database, a service's own storage, a graph in a test.
pub trait CommitGraph {
    /// Looks up the commit `id` and puts its parents into `parents`, which is empty at the call.
    ///
    /// [`compare`] and [`reachable`] call it at most once per commit and call of theirs.
    ///
    /// # Errors
    /// A [`Hole`] if the parents can't be told; what is in `parents` is ignored then.
    fn commit(&mut self, id: &oid, parents: &mut Vec<ObjectId>) -> Result<Commit, Hole>;

    /// Where `id` is among commits that the graph has numbered, as a commit-graph file has: a walk
    /// by position takes a fraction of one by id.
    ///
    /// Positions begin at 0 and leave few out. A commit has one at most, by which its children name
    /// it, and the parents of a commit that has one have some, too. `None`, for all commits, by
    /// default.
    fn position(&mut self, id: &oid) -> Option<u32> {
        let _ = id;
        None
    }

    /// Gives the commits other positions, if that makes the rest of a walk faster: all the new ones, by
    /// the old ones, which nobody uses any more from then on. [`compare`] and [`reachable`] ask for it
    /// before each [`commit_at`](CommitGraph::commit_at). `None`, always, by default.
    fn renumber(&mut self) -> Option<&[u32]> {
        None
    }

    /// [`commit`](CommitGraph::commit) by position, and in its place for a commit that has one.
    ///
    /// # Errors
    /// As those of [`commit`](CommitGraph::commit).
    fn commit_at(&mut self, position: u32, parents: &mut Vec<u32>) -> Result<Commit, Hole> {
        let _ = (position, parents);
        Err(Hole::Unreadable)
    }
}

/// What orders a commit in the walk. Its parents are handed over separately.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Commit {
    /// The topological level from a commit-graph file: above that of every parent.
    ///
    /// `None` for a commit that isn't in one. Like the file itself, generations must be closed
    /// under ancestry: a commit that has one has them in all its history, and no hole there.
    /// See `gitformat-commit-graph(5)`.
    pub generation: Option<u32>,
    /// The committer date in seconds since the epoch. A hint that no answer depends on.
    pub date: i64,
}

/// Why the parents of a commit can't be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Hole {
    /// The commit is there, its parents were left out on purpose: the boundary of a shallow clone.
    Shallow,
    /// The object is missing, damaged or not a commit.
    Unreadable,
}

/// How the two ends of a pair relate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Relation {
    /// `old` and `new` are one object.
    Same,
    /// `old` is an ancestor of `new`.
    FastForward,
    /// `new` is an ancestor of `old`: the destination is ahead.
    Behind,
    /// Neither is an ancestor of the other.
    Diverged,
    /// A hole in the history may hide the answer. Never to be taken for a yes.
    Unknown,
}

/// Whether a commit is in some history.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reach {
    /// There is a path of commits that leads to it.
    Yes,
    /// There is none.
    No,
    /// A hole in the history may hide one. Never to be taken for a yes.
    Unknown,
}

/// Relates each pair of `(old, new)`, in the order given.
///
/// Equal ids are [`Relation::Same`] without a lookup. Where an end is
/// [unreadable](Hole::Unreadable) the answer is [`Relation::Unknown`], even if the other end's
/// history names it: nothing says that this object is a commit at all. A
/// [shallow](Hole::Shallow) end is a commit and can be found like any other.
///
/// Takes about 150 bytes of memory per visited commit for up to 64 pairs, and 260 for more. Where the
/// ends have generations it is less than 100, and at most 200.
///
/// # Errors
/// [`Cancelled`](crate::ErrorKind::Cancelled) soon after `cancelled` returns true.
pub fn compare(
    graph: &mut dyn CommitGraph,
    pairs: &[(ObjectId, ObjectId)],
    cancelled: &dyn Fn() -> bool,
) -> Result<Vec<Relation>, Error> {
    let mut history = History::new(graph, cancelled);
    let mut relations = vec![Relation::Same; pairs.len()];
    let mut asked = Vec::new();
    for ((old, new), relation) in pairs.iter().zip(&mut relations) {
        if old == new {
            continue;
        }
        let (new, old) = (history.look_up(new)?, history.look_up(old)?);
        if history.is_unreadable(new) || history.is_unreadable(old) {
            *relation = Relation::Unknown;
            continue;
        }
        asked.push((walk::Pair { old, new }, relation));
    }
    // Pairs that are close in history share a pass, which then needs to see only that part of it.
    asked.sort_unstable_by_key(|(pair, _)| history.priority(pair.new));
    let (asked, asked_by): (Vec<_>, Vec<_>) = asked.into_iter().unzip();
    let answers = relate(&mut history, asked)?;
    for (relation, answer) in asked_by.into_iter().zip(answers) {
        *relation = match (answer.new_reaches_old, answer.old_reaches_new) {
            (Reach::Yes, _) => Relation::FastForward,
            (_, Reach::Yes) => Relation::Behind,
            (Reach::No, Reach::No) => Relation::Diverged,
            (Reach::Unknown, _) | (_, Reach::Unknown) => Relation::Unknown,
        };
    }
    Ok(relations)
}

fn relate(history: &mut History<'_>, pairs: Vec<walk::Pair>) -> Result<Vec<walk::Answer>, Error> {
    let no = walk::Answer {
        new_reaches_old: Reach::No,
        old_reaches_new: Reach::No,
    };
    let mut answers = vec![no; pairs.len()];
    let (mut others, mut others_at) = (Vec::new(), Vec::new());
    let (mut searches, mut searches_at) = (Vec::new(), Vec::new());
    for (at, pair) in pairs.into_iter().enumerate() {
        match (history.level(pair.old), history.level(pair.new)) {
            (Some(old), Some(new)) if old < new => {
                searches.push(descent::Search {
                    from: pair.new,
                    to: pair.old,
                });
                searches_at.push((at, true));
            }
            (Some(old), Some(new)) if old > new => {
                searches.push(descent::Search {
                    from: pair.old,
                    to: pair.new,
                });
                searches_at.push((at, false));
            }
            (Some(_), Some(_)) => {}
            _ => {
                others.push(pair);
                others_at.push(at);
            }
        }
    }
    let reaches = descent::search(history, &searches)?;
    for ((at, from_new), reach) in searches_at.into_iter().zip(reaches) {
        let answer = &mut answers[at];
        match from_new {
            true => answer.new_reaches_old = reach,
            false => answer.old_reaches_new = reach,
        }
    }
    for (at, answer) in others_at.into_iter().zip(walk::relate(history, &others)?) {
        answers[at] = answer;
    }
    Ok(answers)
}

/// Tells for each of `targets`, in the order given, whether it is one of `tips` or an ancestor of one.
///
/// A target that is itself a tip is [`Reach::Yes`] without a lookup. Any other target that is
/// [unreadable](Hole::Unreadable) is [`Reach::Unknown`], as in [`compare`].
///
/// # Errors
/// [`Cancelled`](crate::ErrorKind::Cancelled) soon after `cancelled` returns true.
pub fn reachable(
    graph: &mut dyn CommitGraph,
    tips: &[ObjectId],
    targets: &[ObjectId],
    cancelled: &dyn Fn() -> bool,
) -> Result<Vec<Reach>, Error> {
    let mut history = History::new(graph, cancelled);
    // To be reachable from any tip is to be an ancestor of one commit that merges them all.
    let new = history.merge(tips);
    let is_tip: HashSet<_> = tips.iter().copied().collect();
    let mut reaches = vec![Reach::Yes; targets.len()];
    let mut asked = Vec::new();
    let mut asked_by = Vec::new();
    for (target, reach) in targets.iter().zip(&mut reaches) {
        if is_tip.contains(target) {
            continue;
        }
        let old = history.look_up(target)?;
        if history.is_unreadable(old) {
            *reach = Reach::Unknown;
            continue;
        }
        asked.push(walk::Pair { old, new });
        asked_by.push(reach);
    }
    let answers = walk::relate(&mut history, &asked)?;
    for (reach, answer) in asked_by.into_iter().zip(answers) {
        *reach = answer.new_reaches_old;
    }
    Ok(reaches)
}
