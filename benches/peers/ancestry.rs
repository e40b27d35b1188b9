//! Which of a thousand refs may move.
//!
//! Git has no command that takes pairs. A `git fetch --dry-run` within one repository decides the same
//! in one process: it is asked to move a thousand refs, and says which of them it would reject.

use std::{fs, process::Command};

use crate::{
    SLOW,
    support::{
        FastImport, Mark, ObjectFormat, Repo, Sandbox,
        contest::{Contender, Contest},
        git,
        history::Dice,
        measure::Done,
        programs,
        report::Report,
    },
};

const COMMITS: usize = 40_000;
const PAIRS: usize = 1000;
/// A side branch is forked so often, and merged when the next one is forked.
const SIDE_EVERY: usize = 20;
const PAIRS_FILE: &str = "pairs";

pub(super) fn bench(report: &mut Report) {
    for (name, has_graph) in [
        ("1,000 pairs, 40,000 commits, commit-graph", true),
        ("1,000 pairs, 40,000 commits, no commit-graph", false),
    ] {
        report.run(name, SLOW, || contest(has_graph));
    }
}

fn contest<'a>(has_graph: bool) -> Contest<'a> {
    let sandbox = Sandbox::new();
    let repo = sandbox.init_bare("graph.git", ObjectFormat::Sha1);
    let are_fast_forwards = make(&repo);
    if has_graph {
        repo.git(&["commit-graph", "write", "--reachable", "--no-progress"]);
    }
    let pairs = repo.path.join(PAIRS_FILE);
    let expected: Vec<_> = (0..PAIRS).filter(|at| are_fast_forwards[*at]).collect();
    let prepare = move || {
        let copy = Repo::at(sandbox.path().join("copy.git"));
        repo.copy_to(&copy.path);
        copy
    };
    let check = move |_: &Repo, done: &Done| {
        let mut found = programs::fast_forwards(&done.said);
        if found.is_empty() {
            found = moved_by_git(&done.said);
        }
        let first_wrong = (0..PAIRS).find(|at| found.contains(at) != expected.contains(at));
        assert_eq!(first_wrong, None);
    };
    Contest {
        remote: None,
        prepare: Box::new(prepare),
        check: Box::new(check),
        peers: vec![Contender::new("", |repo, _| fetch_within(repo))],
        ours: vec![Contender::new("", move |repo, _| {
            programs::relate(repo, &pairs.to_string_lossy())
        })],
    }
}

fn fetch_within(repo: &Repo) -> Command {
    let mut command = git::command(&repo.path);
    command.args(["fetch", "--dry-run", "--no-tags", "--no-write-fetch-head"]);
    command.args(["--no-auto-maintenance", ".", "refs/new/*:refs/old/*"]);
    command
}

/// The lines of those that it would move begin with two ids, those of the others with `!`.
fn moved_by_git(said: &str) -> Vec<usize> {
    let moved = said.lines().filter_map(|line| {
        let (ids, refs) = line.strip_prefix("   ")?.split_once(' ')?;
        let (_, old) = refs.split_once("-> ")?;
        let number = old.trim().strip_prefix("refs/old/")?.parse().ok()?;
        ids.contains("..").then_some(number)
    });
    let mut moved: Vec<_> = moved.collect();
    moved.sort_unstable();
    moved
}

/// A main line with side branches, and pairs of `refs/old/N` and `refs/new/N` in it. Tells which of
/// them are fast-forwards.
fn make(repo: &Repo) -> Vec<bool> {
    let mut import = FastImport::new();
    let mut commit = |branch: &str, parents: &[Mark], number: usize| {
        let date = 1_500_000_000 + 600 * number as i64;
        let content = format!("{number} on {branch}\n");
        import.commit(branch, parents, &content, &[("file", &content)], date)
    };
    let mut main = vec![commit("main", &[], 0)];
    // Each with the place on the main line where it was forked.
    let mut sides: Vec<(usize, Mark)> = Vec::new();
    while main.len() + sides.len() < COMMITS {
        let number = main.len();
        let fork = main[number - 1];
        let mut parents = vec![fork];
        if number.is_multiple_of(SIDE_EVERY) {
            parents.extend(sides.last().map(|(_, side)| *side));
            sides.push((number - 1, commit("side", &[fork], number)));
        }
        main.push(commit("main", &parents, number));
    }
    let mut dice = Dice::new(7);
    let mut pairs = Vec::new();
    for number in 0..PAIRS {
        let (old, new, is_fast_forward) = if number % 2 == 0 {
            let old = dice.below(main.len() - 1);
            let new = old + 1 + dice.below(main.len() - old - 1);
            (main[old], main[new], true)
        } else {
            let (fork, side) = sides[dice.below(sides.len() - 1)];
            // Before it is merged.
            let new = fork + 1 + dice.below(SIDE_EVERY - 1);
            (side, main[new], false)
        };
        pairs.push((old, new, is_fast_forward));
    }
    let imported = repo.import(&import);
    let mut refs = Vec::new();
    let mut lines = String::new();
    for (number, (old, new, _)) in pairs.iter().enumerate() {
        let (old, new) = (imported.id(*old), imported.id(*new));
        lines += &format!("{old} {new}\n");
        refs.push((format!("refs/old/{number}"), old));
        refs.push((format!("refs/new/{number}"), new));
    }
    repo.set_refs(refs.iter().map(|(name, id)| (name.as_str(), *id)));
    repo.git(&["pack-refs", "--all"]);
    repo.git(&["repack", "-adq"]);
    fs::write(repo.path.join(PAIRS_FILE), lines).expect("written");
    pairs
        .into_iter()
        .map(|(_, _, is_fast_forward)| is_fast_forward)
        .collect()
}
