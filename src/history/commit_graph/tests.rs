//! The commits of a commit-graph before and after they are sorted.

use std::{fmt::Write as _, fs};

use gix::{ObjectId, hash::Kind};
use tempfile::TempDir;

use super::*;
use crate::test_support::git_cli::git;

const COMMITS: usize = 40;

/// A repository whose commits have up to four parents, and its commit-graph.
fn repository() -> (TempDir, Vec<u8>) {
    let dir = tempfile::tempdir().expect("a temporary directory");
    git(dir.path(), &["init", "--quiet", "--bare"], b"");
    let mut stream = String::new();
    for number in 1..=COMMITS {
        let when = 1_700_000_000 + number;
        write!(stream, "commit refs/heads/{number}\nmark :{number}\n").expect("text");
        write!(stream, "committer A <a> {when} +0000\ndata 0\n").expect("text");
        let parents = [1, 3, 4, 9][..number % 5].iter();
        let parents = parents.filter_map(|back| number.checked_sub(*back));
        for (nth, parent) in parents.filter(|parent| *parent > 0).enumerate() {
            let name = if nth == 0 { "from" } else { "merge" };
            writeln!(stream, "{name} :{parent}").expect("text");
        }
        stream.push('\n');
    }
    git(dir.path(), &["fast-import", "--quiet"], stream.as_bytes());
    git(dir.path(), &["commit-graph", "write", "--reachable"], b"");
    let graph = fs::read(dir.path().join("objects/info/commit-graph")).expect("a graph");
    (dir, graph)
}

fn open(graph: &[u8]) -> Option<Graph> {
    let file = tempfile::NamedTempFile::new().expect("a file");
    fs::write(file.path(), graph).expect("written");
    Graph::at(file.path(), Kind::Sha1, None).ok()
}

/// Each commit of the graph with the positions of its parents.
fn all(commits: &mut PositionedCommits<'_>) -> Vec<Result<(Commit, Vec<u32>), Hole>> {
    let all = (0..commits.graph.num_commits()).map(|position| {
        let mut parents = Vec::new();
        let mut commit = commits.commit(position, &mut parents)?;
        // Dates are saturated.
        commit.date = commit.date.min(u32::MAX.into());
        Ok((commit, parents))
    });
    all.collect()
}

/// Each commit as a reader finds it that has not sorted them.
fn read_in_file(commits: &mut PositionedCommits<'_>) -> Vec<Result<(Commit, Vec<u32>), Hole>> {
    let all = (0..commits.graph.num_commits()).map(|position| {
        commits.lookups = 0;
        let mut parents = Vec::new();
        let mut commit = commits.commit(position, &mut parents)?;
        commit.date = commit.date.min(u32::MAX.into());
        Ok((commit, parents))
    });
    let all = all.collect();
    assert!(commits.sorted.is_none());
    all
}

#[test]
fn a_sorted_commit_is_what_it_was() {
    let (dir, graph) = repository();
    let graph = open(&graph).expect("a graph");
    let mut commits = PositionedCommits::new(&graph);
    let id = |hex: &str| ObjectId::from_hex(hex.as_bytes()).expect("an id");
    let is_as_in_git = |commits: &mut PositionedCommits<'_>| {
        for line in git(dir.path(), &["rev-list", "--all", "--parents"], b"").lines() {
            let mut ids = line.split(' ').map(id);
            let at = commits.position(&ids.next().expect("a commit"));
            let mut parents = Vec::new();
            let commit = commits.commit(at.expect("in the graph"), &mut parents);
            assert!(commit.expect("readable").generation.is_some());
            let expected: Vec<_> = ids.filter_map(|id| commits.position(&id)).collect();
            assert_eq!(parents, expected, "{line}");
        }
    };
    let before = read_in_file(&mut commits);
    is_as_in_git(&mut commits);
    let sorted = commits.sorted.as_ref().expect("many lookups");
    let generations: Vec<_> = sorted
        .commits
        .iter()
        .map(|commit| commit.generation)
        .collect();
    assert_eq!(generations.len(), COMMITS);
    assert!(
        generations.is_sorted_by(|one, next| one >= next),
        "{generations:?}"
    );
    assert_eq!(all(&mut commits), before);
    is_as_in_git(&mut commits);
}

#[test]
fn sorting_changes_nothing_about_damage() {
    let (_dir, graph) = repository();
    let mut damaged_commits = 0;
    for at in 0..graph.len() {
        let mut damaged = graph.clone();
        damaged[at] ^= 0xff;
        let Some(graph) = open(&damaged) else {
            continue;
        };
        let mut commits = PositionedCommits::new(&graph);
        let before = read_in_file(&mut commits);
        all(&mut commits);
        assert_eq!(all(&mut commits), before, "byte {at}");
        damaged_commits += before.iter().filter(|commit| commit.is_err()).count();
    }
    assert!(damaged_commits > COMMITS, "{damaged_commits}");
}
