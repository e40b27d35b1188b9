//! Pulls of real history, against `git fetch` in turn.
//!
//! ```sh
//! REFSYNC_MIRRORS=/path/to/mirrors cargo bench --bench pull [-- [FILTER] [--quick] [--json]]
//! ```
//! As `--bench peers`, and beside `git fetch` as it is by default also with `fsckObjects`, because ours
//! verifies all that it receives. `REFSYNC_MIRRORS` holds a bare `git+git/repo` with its full history.

#![allow(
    missing_docs,
    clippy::print_stdout,
    reason = "a program that prints figures"
)]

mod support;

use std::{cell::LazyCell, path::PathBuf, time::Duration};

use support::{
    Repo,
    contest::{Contender, Contest},
    measure,
    programs::{self, Refs},
    report::Report,
    served::Served,
};

const ROUNDS: usize = 5;
const ROUNDS_OF_THE_WHOLE: usize = 3;

fn main() {
    if measure::plays_its_role() || programs::plays_its_role() {
        return;
    }
    let Some(mirrors) = std::env::var_os("REFSYNC_MIRRORS") else {
        return println!("there is nothing to pull from without REFSYNC_MIRRORS");
    };
    let mirror = Repo::at(PathBuf::from(mirrors).join("git+git/repo"));
    let git = LazyCell::new(|| Served::all_of(&mirror));
    let mut report = Report::from_arguments();
    for (name, commits) in [("pull, 1 commit", 1), ("pull, 100 commits", 100)] {
        report.run(name, ROUNDS, || {
            let (after, before) = (git.main(0), git.main(commits));
            let git = &*git;
            contest(git, &after, move || git.copy_of(&before))
        });
    }
    report.run("pull, all of it", ROUNDS_OF_THE_WHOLE, || {
        contest(&git, &git.repo, || git.empty())
    });
}

fn contest<'a>(git: &'a Served, source: &Repo, prepare: impl Fn() -> Repo + 'a) -> Contest<'a> {
    let mut contest = git.pulls(source, Refs::ALL, Duration::ZERO, prepare);
    let checked = |repo: &Repo, url: &str| programs::git_fetch_checked(repo, url, Refs::ALL);
    contest.peers.push(Contender::new("fsckObjects", checked));
    contest
}
