//! Ancestry: generated graphs, and a real one.

use std::path::PathBuf;

use divan::Bencher;
use refsync::{
    LocalStore, ObjectId, RefSource as _, Relation, SyncContext, SyncOptions,
    ancestry::{self, Commit, CommitGraph, Hole},
};

use crate::{
    SIZES, id,
    support::{ObjectFormat, Repo, Sandbox, history::Dice},
};

#[derive(Debug, Clone, Copy)]
pub(super) enum Shape {
    Line,
    /// Each commit has a parent far back, too.
    WideMerges,
    /// As a line, with dates that say nothing.
    SkewedDates,
    /// As a line, with the levels of a commit-graph file.
    Levels,
}

const SHAPES: [Shape; 4] = [
    Shape::Line,
    Shape::WideMerges,
    Shape::SkewedDates,
    Shape::Levels,
];

/// Commits with the numbers of their parents, which are lower than their own.
pub(super) struct Graph {
    shape: Shape,
    parents: Vec<Vec<ObjectId>>,
    dates: Vec<i64>,
}

impl Graph {
    pub(super) fn new(shape: Shape, commits: usize) -> Self {
        let mut dice = Dice::new(2);
        let parents = (0..commits).map(|number| {
            let mut parents: Vec<_> = number.checked_sub(1).into_iter().collect();
            if matches!(shape, Shape::WideMerges) && number > 1 {
                parents.push(dice.below(number - 1));
            }
            parents.into_iter().map(id).collect()
        });
        let parents = parents.collect();
        let dates = (0..commits).map(|number| match shape {
            Shape::SkewedDates => dice.below(commits) as i64,
            _ => number as i64,
        });
        Graph {
            shape,
            parents,
            dates: dates.collect(),
        }
    }
}

impl CommitGraph for &mut Graph {
    fn commit(&mut self, id: &ObjectId, parents: &mut Vec<ObjectId>) -> Result<Commit, Hole> {
        let (_, number) = id.as_bytes().split_last_chunk().ok_or(Hole::Unreadable)?;
        let number = u64::from_be_bytes(*number) as usize;
        let known = self.parents.get(number).ok_or(Hole::Unreadable)?;
        parents.extend_from_slice(known);
        Ok(Commit {
            generation: matches!(self.shape, Shape::Levels).then_some(number as u32 + 1),
            date: self.dates[number],
        })
    }
}

/// Half of them older first, half of them newer first.
fn pairs(count: usize, commits: usize) -> Vec<(ObjectId, ObjectId)> {
    let mut dice = Dice::new(3);
    let pair = |_| (id(dice.below(commits)), id(dice.below(commits)));
    (0..count).map(pair).collect()
}

fn relate(bencher: Bencher<'_, '_>, shape: Shape, commits: usize, count: usize) {
    let mut graph = Graph::new(shape, commits);
    let pairs = pairs(count, commits);
    bencher.bench_local(|| ancestry::compare(&mut &mut graph, &pairs, &|| false));
}

#[divan::bench(args = SHAPES, consts = SIZES)]
fn one_pair<const COMMITS: usize>(bencher: Bencher<'_, '_>, shape: Shape) {
    relate(bencher, shape, COMMITS, 1);
}

#[divan::bench(args = SHAPES, consts = SIZES)]
fn a_thousand_pairs<const COMMITS: usize>(bencher: Bencher<'_, '_>, shape: Shape) {
    relate(bencher, shape, COMMITS, 1000);
}

fn mirror() -> Option<PathBuf> {
    let mirrors = std::env::var_os("REFSYNC_MIRRORS")?;
    Some(PathBuf::from(mirrors).join("git+git/repo"))
}

#[divan::bench(args = [1, 1000], ignore = mirror().is_none(), sample_count = 10)]
fn pairs_of_git_with_commit_graph(bencher: Bencher<'_, '_>, count: usize) {
    real(bencher, count, true);
}

#[divan::bench(args = [1, 1000], ignore = mirror().is_none(), sample_count = 2)]
fn pairs_of_git_without(bencher: Bencher<'_, '_>, count: usize) {
    real(bencher, count, false);
}

fn real(bencher: Bencher<'_, '_>, count: usize, with_graph: bool) {
    let mirror = Repo::at(mirror().expect("REFSYNC_MIRRORS"));
    let sandbox = Sandbox::new();
    let repo = sandbox.init_bare("borrower.git", ObjectFormat::Sha1);
    let objects = mirror.git_dir().join("objects");
    let alternates = repo.path.join("objects/info/alternates");
    std::fs::write(alternates, format!("{}\n", objects.display())).expect("written");
    let head = mirror.git(&["rev-parse", "HEAD"]);
    repo.set_ref("refs/heads/main", &head);
    if with_graph {
        repo.git(&["commit-graph", "write", "--reachable", "--no-progress"]);
    }
    let commits = repo.git(&["rev-list", "main"]);
    let commits: Vec<_> = commits.lines().collect();
    let mut dice = Dice::new(4);
    let mut pick = || commits[dice.below(commits.len())].as_bytes();
    let mut pick = || ObjectId::from_hex(pick()).expect("an id");
    let pairs: Vec<_> = (0..count).map(|_| (pick(), pick())).collect();

    let store = LocalStore::open(&repo.path).expect("a store");
    let context = SyncContext::new(&SyncOptions::default());
    bencher.bench_local(|| {
        let mut objects = store.objects(&context).expect("readable").expect("at hand");
        let relations = objects.relate(&pairs, &|| false).expect("an answer");
        assert!(!relations.contains(&Relation::Unknown));
        relations
    });
}
