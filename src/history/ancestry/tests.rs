//! Graphs to ask, and an oracle that knows all of them.

use super::*;
use proptest::prelude::*;
use std::cell::Cell;

mod cases;

fn compare_counting_steps(
    graph: &mut Chain,
    pairs: &[(ObjectId, ObjectId)],
) -> (Vec<Relation>, usize) {
    let checks = Cell::new(0);
    let counting = || {
        checks.set(checks.get() + 1);
        false
    };
    let relations = compare(graph, pairs, &counting).expect("not cancelled");
    (
        relations,
        checks.get() * walked_history::STEPS_PER_CANCEL_CHECK as usize,
    )
}

fn never() -> bool {
    false
}

/// The id of a commit by its number, spread like a real one.
fn id(number: usize) -> ObjectId {
    let mut bytes = [0; 20];
    bytes[..8].copy_from_slice(
        &(number as u64 + 1)
            .wrapping_mul(0x9e37_79b9_7f4a_7c15)
            .to_le_bytes(),
    );
    bytes[12..].copy_from_slice(&(number as u64).to_be_bytes());
    ObjectId::from(bytes)
}

fn number(id: &ObjectId) -> usize {
    let (_, number) = id.as_bytes().split_at(12);
    u64::from_be_bytes(number.try_into().expect("eight bytes")) as usize
}

#[derive(Default)]
struct TestGraph {
    commits: Vec<TestCommit>,
    lookups: Vec<usize>,
    /// Whether commits with a generation have a position, too.
    has_positions: bool,
}

struct TestCommit {
    parents: Vec<usize>,
    generation: Option<u32>,
    date: i64,
    hole: Option<Hole>,
}

impl TestGraph {
    fn parse(commits: &str) -> (Self, impl Fn(&str) -> ObjectId) {
        let mut graph = TestGraph::default();
        let mut names: Vec<char> = Vec::new();
        for commit in commits.split(", ") {
            let mut letters = commit.trim_start_matches(['~', '!']).chars();
            let name = letters.next().expect("a name");
            let named = |parent| {
                names
                    .iter()
                    .position(|name| *name == parent)
                    .expect("a commit")
            };
            let parents: Vec<_> = letters.map(named).collect();
            let number = graph.add(&parents, 0);
            graph.commits[number].hole = match &commit[..1] {
                "~" => Some(Hole::Shallow),
                "!" => Some(Hole::Unreadable),
                _ => None,
            };
            names.push(name);
        }
        let named = move |name: &str| {
            id(names
                .iter()
                .position(|known| name.starts_with(*known))
                .expect("a commit"))
        };
        (graph, named)
    }

    fn add(&mut self, parents: &[usize], date: i64) -> usize {
        self.commits.push(TestCommit {
            parents: parents.to_vec(),
            generation: None,
            date,
            hole: None,
        });
        self.lookups.push(0);
        self.commits.len() - 1
    }
}

/// Positions are not the numbers of the commits.
fn position_of(number: usize) -> u32 {
    number as u32 + 1
}

impl CommitGraph for TestGraph {
    fn commit(&mut self, id: &ObjectId, parents: &mut Vec<ObjectId>) -> Result<Commit, Hole> {
        assert!(parents.is_empty());
        self.lookups[number(id)] += 1;
        let commit = &self.commits[number(id)];
        // A hole may have been noticed late.
        parents.extend(commit.parents.iter().copied().map(self::id));
        match commit.hole {
            Some(hole) => Err(hole),
            None => Ok(Commit {
                generation: commit.generation,
                date: commit.date,
            }),
        }
    }
}

impl PositionedGraph for TestGraph {
    fn position(&mut self, id: &ObjectId) -> Option<u32> {
        let number = number(id);
        let has_one = self.has_positions && self.commits[number].generation.is_some();
        has_one.then(|| position_of(number))
    }

    fn commit_at(&mut self, position: u32, parents: &mut Vec<u32>) -> Result<Commit, Hole> {
        assert!(parents.is_empty());
        let mut ids = Vec::new();
        let commit = self.commit(&id(position as usize - 1), &mut ids);
        parents.extend(ids.iter().map(|id| position_of(number(id))));
        commit
    }
}

/// Each commit's parent is the one before, or the one before that from `fork_at` on.
struct Chain {
    len: usize,
    generations: bool,
    date: fn(usize) -> i64,
    fork_at: usize,
    lookups: usize,
}

impl Chain {
    fn new(len: usize, generations: bool) -> Self {
        Chain {
            len,
            generations,
            date: |number| number as i64,
            fork_at: len,
            lookups: 0,
        }
    }
}

impl CommitGraph for Chain {
    fn commit(&mut self, id: &ObjectId, parents: &mut Vec<ObjectId>) -> Result<Commit, Hole> {
        self.lookups += 1;
        let number = number(id);
        assert!(number < self.len);
        let step = if number > self.fork_at { 2 } else { 1 };
        parents.extend(number.checked_sub(step).map(self::id));
        let generation = self.generations.then_some(number as u32 + 1);
        Ok(Commit {
            generation,
            date: (self.date)(number),
        })
    }
}

/// The closure of all paths, computed the slow way.
struct Oracle {
    /// `sees[a][b]`: a path of commits that are no holes leads from `a` to `b`.
    sees: Vec<Vec<bool>>,
    holes: Vec<Option<Hole>>,
}

impl Oracle {
    fn new(graph: &TestGraph) -> Self {
        let mut sees: Vec<Vec<bool>> = Vec::new();
        for (number, commit) in graph.commits.iter().enumerate() {
            let mut seen = vec![false; graph.commits.len()];
            seen[number] = true;
            for parent in commit.parents.iter().filter(|_| commit.hole.is_none()) {
                (0..number).for_each(|other| seen[other] |= sees[*parent][other]);
            }
            sees.push(seen);
        }
        let holes = graph.commits.iter().map(|commit| commit.hole).collect();
        Oracle { sees, holes }
    }

    fn relation(&self, old: usize, new: usize) -> Relation {
        if old == new {
            return Relation::Same;
        }
        if self.unreadable(old) || self.unreadable(new) {
            return Relation::Unknown;
        }
        match (self.sees[new][old], self.sees[old][new]) {
            (true, _) => Relation::FastForward,
            (_, true) => Relation::Behind,
            _ if self.may_hide(new, old) || self.may_hide(old, new) => Relation::Unknown,
            _ => Relation::Diverged,
        }
    }

    /// Whether some hole that `from` sees could have `to` as its parent without making a cycle.
    fn may_hide(&self, from: usize, to: usize) -> bool {
        (0..self.holes.len())
            .any(|at| self.holes[at].is_some() && self.sees[from][at] && !self.sees[to][at])
    }

    fn unreadable(&self, number: usize) -> bool {
        self.holes[number] == Some(Hole::Unreadable)
    }
}

#[derive(Debug, Clone)]
struct DrawnGraph {
    commits: Vec<DrawnCommit>,
    dates: Dates,
    /// Rate of holes: one in so many commits; none if 0.
    holes: u8,
    /// Rate of commits that lend a generation to their history, among those that may have one; none if 0.
    generations: u8,
}

#[derive(Debug, Clone)]
struct DrawnCommit {
    /// The distance to each parent, less one.
    parents: Vec<u8>,
    date: i64,
    hole: u8,
    generation: u8,
}

#[derive(Debug, Clone, Copy)]
enum Dates {
    Equal,
    Right,
    Backwards,
    Random,
}

#[derive(PartialEq)]
enum Generations {
    AsPromised,
    EvenAboveHoles,
}

fn drawn_graph() -> impl Strategy<Value = DrawnGraph> {
    let commit = (
        prop::collection::vec(0..12u8, 0..4),
        any::<i64>(),
        any::<u8>(),
        any::<u8>(),
    )
        .prop_map(|(parents, date, hole, generation)| DrawnCommit {
            parents,
            date,
            hole,
            generation,
        });
    let dates = prop_oneof![
        Just(Dates::Equal),
        Just(Dates::Right),
        Just(Dates::Backwards),
        Just(Dates::Random)
    ];
    let rate = || prop_oneof![Just(0), Just(1), Just(4), Just(12)];
    let holes = prop_oneof![Just(0), Just(4), Just(12)];
    (prop::collection::vec(commit, 1..40), dates, holes, rate()).prop_map(
        |(commits, dates, holes, generations)| DrawnGraph {
            commits,
            dates,
            holes,
            generations,
        },
    )
}

impl DrawnGraph {
    fn build(&self, generations: Generations) -> TestGraph {
        let one_in = |rate: u8, drawn: u8| drawn.checked_rem(rate) == Some(0);
        let mut graph = TestGraph::default();
        let mut levels: Vec<Option<u32>> = Vec::new();
        for (number, drawn) in self.commits.iter().enumerate() {
            let back = drawn.parents.iter().map(|back| usize::from(*back) + 1);
            let parents: Vec<_> = back.filter_map(|back| number.checked_sub(back)).collect();
            let date = match self.dates {
                Dates::Equal => 0,
                Dates::Right => number as i64,
                Dates::Backwards => -(number as i64),
                Dates::Random => drawn.date,
            };
            graph.add(&parents, date);
            if one_in(self.holes, drawn.hole) {
                let shallow = drawn.hole.is_multiple_of(8);
                graph.commits[number].hole = Some(if shallow {
                    Hole::Shallow
                } else {
                    Hole::Unreadable
                });
            }
            let allowed =
                graph.commits[number].hole.is_none() || generations == Generations::EvenAboveHoles;
            let above = parents
                .iter()
                .try_fold(0, |above, parent| Some(levels[*parent]?.max(above)));
            levels.push(above.filter(|_| allowed).map(|above| above + 1));
        }
        for (number, drawn) in self.commits.iter().enumerate().rev() {
            let lends = one_in(self.generations, drawn.generation) && levels[number].is_some();
            if lends || graph.commits[number].generation.is_some() {
                graph.commits[number].generation = levels[number];
                for parent in graph.commits[number].parents.clone() {
                    graph.commits[parent].generation = levels[parent];
                }
            }
        }
        graph
    }
}
