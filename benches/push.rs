//! Pushes of real history, and of much at once, against `git push` in turn.
//!
//! ```sh
//! REFSYNC_MIRRORS=/path/to/mirrors cargo bench --bench push [-- [FILTER] [--quick] [--json]]
//! ```
//! As `--bench peers`. `REFSYNC_MIRRORS` holds a bare `git+git/repo` with its full history; without it
//! there are only the pushes of 300 MB, which are about memory.

#![allow(missing_docs, reason = "a program that prints figures")]

mod support;

use std::{cell::LazyCell, path::PathBuf, time::Duration};

use support::{
    Repo,
    history::Dice,
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
    let mut report = Report::from_arguments();
    let sizes = (0..6000).map(|number| 1000 + number % 100 * 1000);
    for (name, sizes) in [
        ("push, 3 files of 100 MB", vec![100_000_000; 3]),
        ("push, 6,000 files of 50 kB", sizes.collect()),
    ] {
        let noise = LazyCell::new(|| Served::made_by(|repo| commit_noise(repo, &sizes)));
        report.run(name, 1, || {
            let prepare = || noise.empty();
            noise.pushes(&noise.repo, Refs::ALL, Duration::ZERO, prepare)
        });
    }
    if let Some(mirrors) = std::env::var_os("REFSYNC_MIRRORS") {
        real_history(
            &mut report,
            &Repo::at(PathBuf::from(mirrors).join("git+git/repo")),
        );
    }
}

fn real_history(report: &mut Report, mirror: &Repo) {
    let git = LazyCell::new(|| Served::all_of(mirror));
    for (commits, is_packed, name) in [
        (1, false, "push, 1 commit, loose"),
        (1, true, "push, 1 commit, packed"),
        (100, false, "push, 100 commits, loose"),
        (100, true, "push, 100 commits, packed"),
    ] {
        report.run(name, ROUNDS, || {
            let (after, before) = (git.main_with_loose(commits), git.main(commits));
            let git = &*git;
            if is_packed {
                after.git(&["repack", "-adq"]);
            }
            let prepare = move || git.copy_of(&before);
            git.pushes(&after, Refs::ALL, Duration::ZERO, prepare)
        });
    }
    report.run("push, all of it", ROUNDS_OF_THE_WHOLE, || {
        git.pushes(&git.repo, Refs::ALL, Duration::ZERO, || git.empty())
    });
}

/// Files of these sizes, which nothing compresses.
fn commit_noise(repo: &Repo, sizes: &[usize]) {
    let folder = repo.path.with_extension("files");
    std::fs::create_dir(&folder).expect("a new folder");
    let mut dice = Dice::new(8);
    for (number, size) in sizes.iter().enumerate() {
        let words = (0..size / 8).map(|_| dice.roll().to_le_bytes());
        let content: Vec<u8> = words.flatten().collect();
        std::fs::write(folder.join(format!("file-{number}")), content).expect("a file");
    }
    let folder = folder.to_string_lossy();
    let git = ["--work-tree", &folder];
    repo.git(&[&git[..], &["add", "."]].concat());
    repo.git(&[&git[..], &["commit", "-qm", "Add noise"]].concat());
}
