//! What a commit-graph says of its commits before and after they are sorted.

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

/// What is said of the commits, in the order of the files, with the positions of the parents there.
fn all(commits: &mut ByPosition<'_>) -> Vec<Result<(Commit, Vec<u32>), Hole>> {
    let count = commits.graph.num_commits();
    let mut in_files: Vec<_> = (0..count).collect();
    in_files.sort_by_key(|at| commits.now(*at));
    let all = (0..count).map(|at| {
        let mut parents = Vec::new();
        let mut commit = commits.commit(commits.now(at), &mut parents)?;
        // A later date is as good as that.
        commit.date = commit.date.min(u32::MAX.into());
        let parents = parents.iter().map(|now| in_files[*now as usize]);
        Ok((commit, parents.collect()))
    });
    all.collect()
}

#[test]
fn a_sorted_commit_is_what_it_was() {
    let (dir, graph) = repository();
    let graph = open(&graph).expect("a graph");
    let mut commits = ByPosition::new(&graph);
    let id = |hex: &str| ObjectId::from_hex(hex.as_bytes()).expect("an id");
    let is_as_in_git = |commits: &mut ByPosition<'_>| {
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
    assert_eq!(commits.sort_if_many(), None, "none was asked for");
    is_as_in_git(&mut commits);
    let before = all(&mut commits);
    assert_eq!(before.len(), COMMITS);

    let positions = commits.sort_if_many().expect("many were asked for");
    assert_eq!(positions.len(), COMMITS);
    assert_eq!(commits.sort_if_many(), None, "once is enough");
    is_as_in_git(&mut commits);
    assert_eq!(all(&mut commits), before);
    let generations: Vec<_> = commits
        .sorted
        .iter()
        .map(|commit| commit.generation)
        .collect();
    assert!(
        generations.is_sorted_by(|one, next| one >= next),
        "{generations:?}"
    );
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
        let mut commits = ByPosition::new(&graph);
        let before = all(&mut commits);
        commits.sort_if_many();
        assert_eq!(all(&mut commits), before, "byte {at}");
        damaged_commits += before.iter().filter(|commit| commit.is_err()).count();
    }
    assert!(damaged_commits > COMMITS, "{damaged_commits}");
}
