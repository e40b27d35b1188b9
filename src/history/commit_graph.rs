//! The commits of a commit-graph file by position.
//!
//! The file sorts commits by id, so that each step of a walk costs a cache miss or two. After many lookups
//! all commits are copied into memory in the order of their generations, which is about the order of a walk.

use gix::{
    commitgraph::{Graph, Position, file},
    oid,
};

use super::ancestry::{Commit, Hole};

/// The commits are sorted once more than 1/32 of them were looked up.
const SORT_AFTER: u32 = 32;

/// The commits of a commit-graph.
pub(super) struct PositionedCommits<'a> {
    graph: &'a Graph,
    /// Whether no commit has two positions. Computed on first use.
    are_unique: Option<bool>,
    lookups: u32,
    sorted: Option<SortedCommits>,
}

/// All commits of the graph, the highest generation first.
struct SortedCommits {
    /// The place in `commits` of each position.
    places: Vec<u32>,
    commits: Vec<CompactCommit>,
}

/// A commit in half the space that the file takes for it.
#[derive(Clone, Copy)]
struct CompactCommit {
    generation: u32,
    /// Saturated: dates only order a walk.
    date: u32,
    /// Positions. [`NO_PARENT`] for none; [`IN_FILE`] first if only the file has room for them.
    parents: [u32; 2],
}

const NO_PARENT: u32 = u32::MAX;
const IN_FILE: u32 = u32::MAX - 1;

impl<'a> PositionedCommits<'a> {
    pub(super) fn new(graph: &'a Graph) -> Self {
        PositionedCommits {
            graph,
            are_unique: None,
            lookups: 0,
            sorted: None,
        }
    }

    /// The position of a commit. `None` for every commit of a graph in which a commit has two.
    pub(super) fn position(&mut self, id: &oid) -> Option<u32> {
        let graph = self.graph;
        let are_unique = self.are_unique.get_or_insert_with(|| has_each_once(graph));
        let position = are_unique.then(|| graph.lookup(id)).flatten();
        position.map(|position| position.0)
    }

    /// The commit at a position; appends the positions of its parents to `parents`, which is empty.
    pub(super) fn commit(&mut self, position: u32, parents: &mut Vec<u32>) -> Result<Commit, Hole> {
        self.sort_after_many_lookups();
        let sorted = self.sorted.as_ref();
        let commit = match sorted.and_then(|sorted| sorted.get(position)) {
            Some(commit) => {
                let known = commit.parents.iter();
                parents.extend(known.filter(|parent| **parent != NO_PARENT));
                from_graph_data(commit.generation, commit.date.into())
            }
            None => self.commit_in_file(position, parents)?,
        };
        self.lookups = self.lookups.saturating_add(1);
        // A damaged file can name positions that it doesn't have.
        let exists = |parent: &u32| *parent < self.graph.num_commits();
        let all_exist = parents.iter().all(exists);
        all_exist.then_some(commit).ok_or(Hole::Unreadable)
    }

    fn commit_in_file(&self, position: u32, parents: &mut Vec<u32>) -> Result<Commit, Hole> {
        if position >= self.graph.num_commits() {
            return Err(Hole::Unreadable);
        }
        let commit = self.graph.commit_at(Position(position));
        for parent in commit.iter_parents() {
            parents.push(parent.map_err(|_| Hole::Unreadable)?.0);
        }
        let (generation, date) = (commit.generation(), commit.committer_timestamp());
        Ok(from_graph_data(generation, date))
    }

    fn sort_after_many_lookups(&mut self) {
        let is_due = self.lookups > self.graph.num_commits() / SORT_AFTER;
        if is_due && self.sorted.is_none() {
            self.sorted = Some(SortedCommits::of(self.graph));
        }
    }
}

impl SortedCommits {
    fn of(graph: &Graph) -> Self {
        let positions = (0..graph.num_commits()).map(Position);
        let in_file = positions.map(|position| CompactCommit::of(graph.commit_at(position)));
        let in_file: Vec<_> = in_file.collect();
        let places = places_by_generation(&in_file);
        // The file is read in its order first: to scatter while reading would wait for a miss each time.
        let mut commits = in_file.clone();
        for (commit, place) in in_file.iter().zip(&places) {
            commits[*place as usize] = *commit;
        }
        SortedCommits { places, commits }
    }

    /// `None` for a commit whose parents are only in the file.
    fn get(&self, position: u32) -> Option<&CompactCommit> {
        let place = self.places.get(position as usize)?;
        let commit = &self.commits[*place as usize];
        (commit.parents[0] != IN_FILE).then_some(commit)
    }
}

/// A generation above this one means "not computed" (gitformat-commit-graph).
const GENERATION_MAX: u32 = 0x3fff_ffff;

/// The order of a commit from the generation and the date in a commit-graph.
pub(super) fn from_graph_data(generation: u32, date: u64) -> Commit {
    let is_known = (1..GENERATION_MAX).contains(&generation);
    Commit {
        generation: is_known.then_some(generation),
        date: date.try_into().unwrap_or(i64::MAX),
    }
}

/// The place of each commit when the highest generation comes first: a counting sort.
fn places_by_generation(commits: &[CompactCommit]) -> Vec<u32> {
    // Each generation has a commit, so none of a sound graph is above their number.
    let highest = commits.iter().map(|commit| commit.generation).max();
    let highest = highest.unwrap_or(0).min(commits.len() as u32);
    let rank = |commit: &CompactCommit| (highest - highest.min(commit.generation)) as usize;
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

/// Whether no commit is in two files of a chain. Git writes and reads such chains ("Silently ignore
/// duplicates" in its `commit-graph.c`), but names parents by the position in the later file.
fn has_each_once(graph: &Graph) -> bool {
    let mut end = graph.num_commits();
    while end > 0 {
        let last = Position(end - 1);
        let start = end - 1 - graph.commit_at(last).position().0;
        // A lookup finds the commits of the first file there.
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

impl CompactCommit {
    fn of(commit: file::Commit<'_>) -> Self {
        let mut parents = [NO_PARENT; 2];
        for (number, parent) in commit.iter_parents().enumerate() {
            let (Some(slot), Ok(parent)) = (parents.get_mut(number), parent) else {
                parents = [IN_FILE; 2];
                break;
            };
            *slot = parent.0;
        }
        CompactCommit {
            generation: commit.generation(),
            date: commit.committer_timestamp().try_into().unwrap_or(u32::MAX),
            parents,
        }
    }
}

#[cfg(test)]
mod tests;
