//! Ancestry in small histories, with and without holes, beside the closure of all paths.

use std::collections::HashSet;

use super::bytes::Bytes;
use crate::{
    ObjectId, Relation,
    ancestry::{Commit, CommitGraph, Hole, compare},
};

/// More of them fit, and are the same again.
const MAX_COMMITS: usize = 60;

/// Commits with their parents, then pairs of them.
pub fn ancestry(data: &[u8]) {
    let mut bytes = Bytes(data);
    let mut graph = History::read(&mut bytes);
    let ancestors = graph.ancestors();
    let count = graph.commits.len();
    let mut pick = |missing: bool| match bytes.below(count + usize::from(missing)) {
        last if last == count => MAX_COMMITS,
        number => number,
    };
    let pairs: Vec<_> = (0..1 + pick(false) % 8)
        .map(|_| (pick(true), pick(true)))
        .collect();

    let asked: Vec<_> = pairs
        .iter()
        .map(|(old, new)| (id(*old), id(*new)))
        .collect();
    graph.looked_up.clear();
    let relations = compare(&mut graph, &asked, &|| false).expect("not cancelled");
    for ((old, new), relation) in pairs.iter().zip(relations) {
        let expected = graph.relation(&ancestors, *old, *new);
        assert_eq!(relation, expected, "{old} to {new}");
    }
}

struct History {
    commits: Vec<Node>,
    looked_up: HashSet<usize>,
}

struct Node {
    parents: Vec<usize>,
    date: i64,
    generation: Option<u32>,
    hole: Option<Hole>,
}

/// Whether a tip leads to a target.
enum Reach {
    Yes,
    No,
    Unknown,
}

impl History {
    fn read(bytes: &mut Bytes<'_>) -> Self {
        let mut commits: Vec<Node> = Vec::new();
        let in_file = bytes.byte();
        for number in 0..1 + bytes.below(MAX_COMMITS) {
            let shape = bytes.byte();
            let mut parents = Vec::new();
            for nth in 0..[0, 1, 1, 1, 1, 2, 2, 3][usize::from(shape & 7)].min(number) {
                let back = if nth == 0 {
                    bytes.below(4)
                } else {
                    bytes.below(number)
                };
                parents.push(number - 1 - back.min(number - 1));
            }
            let date = match shape >> 3 & 3 {
                0 => 0,
                1 => -(number as i64),
                2 => i64::from(bytes.byte()) - 128,
                _ => number as i64,
            };
            let hole = match shape >> 5 {
                6 => Some(Hole::Shallow),
                7 => Some(Hole::Unreadable),
                _ => None,
            };
            // Closed under ancestry, as a commit-graph file is.
            let generations: Option<Vec<_>> = parents
                .iter()
                .map(|parent| commits[*parent].generation)
                .collect();
            let generation = generations
                .filter(|_| hole.is_none() && number < usize::from(in_file))
                .map(|generations| generations.into_iter().max().unwrap_or(0) + 1);
            commits.push(Node {
                parents,
                date,
                generation,
                hole,
            });
        }
        History {
            commits,
            looked_up: HashSet::new(),
        }
    }

    /// The ancestors of each commit and itself, a bit for each.
    fn ancestors(&self) -> Vec<u64> {
        let mut ancestors: Vec<u64> = Vec::new();
        for (number, commit) in self.commits.iter().enumerate() {
            let parents = commit.parents.iter().filter(|_| commit.hole.is_none());
            let behind = parents.fold(0, |behind, parent| behind | ancestors[*parent]);
            ancestors.push(behind | 1 << number);
        }
        ancestors.resize(MAX_COMMITS, 0);
        // The one that isn't there.
        ancestors.push(1 << MAX_COMMITS);
        ancestors
    }

    fn is_unreadable(&self, number: usize) -> bool {
        let commit = self.commits.get(number);
        commit.is_none_or(|commit| commit.hole == Some(Hole::Unreadable))
    }

    fn is_hole(&self, number: usize) -> bool {
        self.commits
            .get(number)
            .is_none_or(|commit| commit.hole.is_some())
    }

    fn relation(&self, ancestors: &[u64], old: usize, new: usize) -> Relation {
        if old == new {
            return Relation::Same;
        }
        if self.is_unreadable(old) || self.is_unreadable(new) {
            return Relation::Unknown;
        }
        match (
            self.reach(ancestors, new, old),
            self.reach(ancestors, old, new),
        ) {
            (Reach::Yes, _) => Relation::FastForward,
            (_, Reach::Yes) => Relation::Behind,
            (Reach::No, Reach::No) => Relation::Diverged,
            _ => Relation::Unknown,
        }
    }

    /// A hole hides a target unless the target leads there itself: that would be a cycle.
    fn reach(&self, ancestors: &[u64], tip: usize, target: usize) -> Reach {
        let reached = ancestors[tip];
        if reached & 1 << target != 0 {
            return Reach::Yes;
        }
        let open = reached & !ancestors[target];
        if (0..=MAX_COMMITS).any(|number| open & 1 << number != 0 && self.is_hole(number)) {
            Reach::Unknown
        } else {
            Reach::No
        }
    }
}

impl CommitGraph for History {
    fn commit(&mut self, id: &ObjectId, parents: &mut Vec<ObjectId>) -> Result<Commit, Hole> {
        let number = usize::from(id.as_bytes()[19]);
        assert!(parents.is_empty());
        assert!(self.looked_up.insert(number), "looked up twice");
        let commit = self.commits.get(number).ok_or(Hole::Unreadable)?;
        // What is in there doesn't count for a hole.
        parents.extend(commit.parents.iter().map(|parent| self::id(*parent)));
        match commit.hole {
            Some(hole) => Err(hole),
            None => Ok(Commit {
                generation: commit.generation,
                date: commit.date,
            }),
        }
    }
}

/// In no order that means anything.
fn id(number: usize) -> ObjectId {
    let mut bytes = [0; 20];
    bytes[0] = (number as u8).wrapping_mul(151);
    bytes[19] = number as u8;
    ObjectId::from(bytes)
}
