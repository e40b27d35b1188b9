//! The commits of a commit-graph by their position.
//!
//! In the files of the graph they are sorted by id, so that each step of a walk is a cache miss or two.
//! Once many were asked for, all are read in the order of the files, and sorted by generation: what a
//! walk comes to next is close by then.

use gix::{
    commitgraph::{Graph, Position, file},
    oid,
};

use super::commits::as_in_graph;
use crate::ancestry::{Commit, Hole};

/// One in so many of all commits: more than that are many.
const MANY: u32 = 32;

pub(super) struct ByPosition<'a> {
    graph: &'a Graph,
    /// Whether each commit has one position; not looked at yet if `None`.
    are_unique: Option<bool>,
    asked: u32,
    /// By position in the files; empty until the commits are sorted.
    positions: Vec<u32>,
    sorted: Vec<Compact>,
}

/// A commit in less than half the space.
#[derive(Clone, Copy)]
struct Compact {
    generation: u32,
    /// Only orders a walk.
    date: u32,
    /// [`NO_PARENT`] for none. After [`ELSEWHERE`] comes the position at which the files know them.
    parents: [u32; 2],
}

const NO_PARENT: u32 = u32::MAX;
const ELSEWHERE: u32 = u32::MAX - 1;

impl<'a> ByPosition<'a> {
    pub(super) fn new(graph: &'a Graph) -> Self {
        ByPosition {
            graph,
            are_unique: None,
            asked: 0,
            positions: Vec::new(),
            sorted: Vec::new(),
        }
    }

    pub(super) fn position(&mut self, id: &oid) -> Option<u32> {
        let graph = self.graph;
        if !*self.are_unique.get_or_insert_with(|| has_each_once(graph)) {
            return None;
        }
        graph.lookup(id).map(|position| self.now(position.0))
    }

    /// See [`CommitGraph::commit_at()`](crate::ancestry::CommitGraph::commit_at).
    pub(super) fn commit(&mut self, at: u32, parents: &mut Vec<u32>) -> Result<Commit, Hole> {
        let commit = match self.sorted.get(at as usize) {
            Some(commit) => match commit.parents {
                [ELSEWHERE, in_files] => self.commit_in_files(in_files, parents)?,
                known => {
                    parents.extend(known.iter().filter(|parent| **parent != NO_PARENT));
                    as_in_graph(commit.generation, commit.date.into())
                }
            },
            None => self.commit_in_files(at, parents)?,
        };
        self.asked = self.asked.saturating_add(1);
        // A damaged file can name any.
        let are_there = |parent: &u32| *parent < self.graph.num_commits();
        let is_sound = parents.iter().all(are_there);
        is_sound.then_some(commit).ok_or(Hole::Unreadable)
    }

    fn commit_in_files(&self, at: u32, parents: &mut Vec<u32>) -> Result<Commit, Hole> {
        if at >= self.graph.num_commits() {
            return Err(Hole::Unreadable);
        }
        let commit = self.graph.commit_at(Position(at));
        for parent in commit.iter_parents() {
            parents.push(self.now(parent.map_err(|_| Hole::Unreadable)?.0));
        }
        Ok(as_in_graph(
            commit.generation(),
            commit.committer_timestamp(),
        ))
    }

    /// See [`CommitGraph::renumber()`](crate::ancestry::CommitGraph::renumber).
    pub(super) fn sort_if_many(&mut self) -> Option<&[u32]> {
        if !self.sorted.is_empty() || self.asked <= self.graph.num_commits() / MANY {
            return None;
        }
        let in_files = (0..self.graph.num_commits()).map(Position);
        let in_files = in_files.map(|at| Compact::new(self.graph.commit_at(at), at));
        let in_files: Vec<_> = in_files.collect();
        self.positions = places_when_sorted(&in_files);
        // Apart from reading: that would have to wait for each miss here.
        self.sorted = in_files.clone();
        for (commit, at) in in_files.iter().zip(&self.positions) {
            self.sorted[*at as usize] = commit.renumbered(&self.positions);
        }
        Some(&self.positions)
    }

    fn now(&self, in_files: u32) -> u32 {
        self.positions
            .get(in_files as usize)
            .copied()
            .unwrap_or(in_files)
    }
}

/// Where each is once they are sorted, the highest generation first.
fn places_when_sorted(commits: &[Compact]) -> Vec<u32> {
    // As there is a commit for each generation, none is above their number.
    let highest = commits.iter().map(|commit| commit.generation).max();
    let highest = highest.unwrap_or(0).min(commits.len() as u32);
    let rank = |commit: &Compact| (highest - highest.min(commit.generation)) as usize;
    let mut next = vec![0; highest as usize + 2];
    for commit in commits {
        next[rank(commit) + 1] += 1;
    }
    let mut before = 0;
    for next in &mut next {
        before += *next;
        *next = before;
    }
    let place = |commit| {
        let next = &mut next[rank(commit)];
        *next += 1;
        *next - 1
    };
    commits.iter().map(place).collect()
}

/// Whether no commit is in two of the graph's files. Git makes such chains and reads them ("Silently
/// ignore duplicates" in its `commit-graph.c`), with parents in a later file than we would find them.
fn has_each_once(graph: &Graph) -> bool {
    let mut end = graph.num_commits();
    while end > 0 {
        let last = Position(end - 1);
        let start = end - 1 - graph.commit_at(last).position().0;
        // Those of the first file are found there.
        if start == 0 {
            break;
        }
        let mut of_file = (start..end).map(Position);
        if of_file.any(|position| graph.lookup(graph.id_at(position)) != Some(position)) {
            return false;
        }
        end = start;
    }
    true
}

impl Compact {
    fn new(commit: file::Commit<'_>, at: Position) -> Self {
        let mut parents = [NO_PARENT; 2];
        for (number, parent) in commit.iter_parents().enumerate() {
            match (parents.get_mut(number), parent) {
                (Some(slot), Ok(parent)) => *slot = parent.0,
                _ => {
                    parents = [ELSEWHERE, at.0];
                    break;
                }
            }
        }
        Compact {
            generation: commit.generation(),
            date: commit.committer_timestamp().try_into().unwrap_or(u32::MAX),
            parents,
        }
    }

    fn renumbered(mut self, positions: &[u32]) -> Self {
        if self.parents[0] != ELSEWHERE {
            let now = |parent| positions.get(parent as usize).copied().unwrap_or(parent);
            self.parents = self.parents.map(now);
        }
        self
    }
}

#[cfg(test)]
mod tests;
