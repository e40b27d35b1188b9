//! The relation of two commits: fast-forward, behind, diverged, or unknown.
//!
//! [`compare`] is a pure function over a [`CommitGraph`], without I/O of its own.
//!
//! # The walk
//! [`compare`] answers all its pairs in one walk. Every pair has two colours: reached from `new`, and
//! reached from `old`. A commit hands its colours to its parents, and is queued again whenever it
//! gains one, so the colours are right in any order; dates and generations only choose an order in
//! which most commits are visited once. A colour that arrives at the pair's other end settles the
//! pair. Three arguments let the walk stop before the root:
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
//! If both ends have a generation, only the higher one can lead to the other: one colour is enough, and a
//! walk down by levels needs no queue.

mod descent;
mod graph;
mod walk;
mod walked_history;

#[cfg(test)]
mod tests;

pub(crate) use graph::PositionedGraph;
pub use graph::{Commit, CommitGraph, Hole};

use std::cmp::Ordering;

use crate::{Error, ObjectId, Relation, tuning::Tuning};
use graph::ById;
use walked_history::WalkedHistory;

/// Whether a path of commits leads from one commit to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reach {
    Yes,
    No,
    /// A hole in the history may hide a path. It must not be treated as [`Yes`](Reach::Yes).
    Unknown,
}

/// Returns the relation of each pair `(old, new)`, in the order given.
///
/// Equal ids are [`Relation::Same`] without a lookup. A pair with an [unreadable](Hole::Unreadable) commit is
/// [`Relation::Unknown`], even if the history of the other one names it as a parent: nothing shows that this object
/// is a commit. A [shallow](Hole::Shallow) commit is compared like any other.
///
/// The walk takes about 150 bytes of memory per visited commit for up to 64 pairs, and 260 for more. If the
/// commits have generations it takes less than 100 mostly, and at most 200.
///
/// # Errors
/// [`Cancelled`](crate::ErrorKind::Cancelled) soon after `cancelled` returns true.
pub fn compare(
    graph: &mut dyn CommitGraph,
    pairs: &[(ObjectId, ObjectId)],
    cancelled: &dyn Fn() -> bool,
) -> Result<Vec<Relation>, Error> {
    compare_by_position(&mut ById(graph), pairs, &Tuning::default(), cancelled)
}

/// [`compare`] in a graph that may have positions.
pub(crate) fn compare_by_position(
    graph: &mut dyn PositionedGraph,
    pairs: &[(ObjectId, ObjectId)],
    tuning: &Tuning,
    cancelled: &dyn Fn() -> bool,
) -> Result<Vec<Relation>, Error> {
    let mut history = WalkedHistory::new(graph, tuning, cancelled);
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

/// The answer for each pair, in the order given. A pair with two levels is one [search](descent::search) from the
/// higher end, or none if they are equal: neither can lead to the other. All other pairs share the
/// [walk](walk::relate).
fn relate(
    history: &mut WalkedHistory<'_>,
    pairs: Vec<walk::Pair>,
) -> Result<Vec<walk::Answer>, Error> {
    let mut answers = vec![walk::Answer::NO; pairs.len()];
    let (mut searches, mut reaches) = (Vec::new(), Vec::new());
    let (mut others, mut other_answers) = (Vec::new(), Vec::new());
    for (pair, answer) in pairs.into_iter().zip(&mut answers) {
        let (Some(old), Some(new)) = (history.level(pair.old), history.level(pair.new)) else {
            others.push(pair);
            other_answers.push(answer);
            continue;
        };
        let (from, to, reach) = match new.cmp(&old) {
            Ordering::Greater => (pair.new, pair.old, &mut answer.new_reaches_old),
            Ordering::Less => (pair.old, pair.new, &mut answer.old_reaches_new),
            Ordering::Equal => continue,
        };
        searches.push(descent::Search { from, to });
        reaches.push(reach);
    }
    for (reach, found) in reaches
        .into_iter()
        .zip(descent::search(history, &searches)?)
    {
        *reach = found;
    }
    let found = walk::relate(history, &others)?;
    for (answer, found) in other_answers.into_iter().zip(found) {
        *answer = found;
    }
    Ok(answers)
}
