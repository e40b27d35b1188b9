//! Repositories that several users share (`core.sharedRepository`), with git as the judge of modes, and
//! a log that has no room for another line.
#![cfg(unix)]

use crate::own_process::{mode, pull_after};
use crate::support::git::{ObjectFormat, Repo};
use crate::support::pull::{Pair, grow};
use std::fs;
use std::process::Command;

/// Git in a repository, with this umask.
fn git_with(umask: &str, repo: &Repo, args: &[&str]) {
    let mut git = Command::new("/bin/sh");
    git.args(["-c", &format!("umask {umask}; exec git \"$@\""), "git"]);
    git.args(args)
        .current_dir(&repo.path)
        .env("HOME", &repo.path);
    git.envs([
        ("GIT_CONFIG_NOSYSTEM", "1"),
        ("GIT_CONFIG_GLOBAL", "/dev/null"),
    ]);
    git.envs([
        ("GIT_COMMITTER_NAME", "C"),
        ("GIT_COMMITTER_EMAIL", "c@example.com"),
    ]);
    assert!(git.status().unwrap().success(), "{args:?}");
}

fn pack_mode(repo: &Repo) -> u32 {
    let packs = fs::read_dir(repo.git_dir().join("objects/pack")).unwrap();
    let mut files = packs.map(|file| file.unwrap().path());
    let pack = files.find(|file| file.extension().is_some_and(|found| found == "pack"));
    mode(&pack.expect("a pack"))
}

#[test]
fn whoever_shares_the_repository_may_use_what_was_pulled() {
    for umask in ["022", "077"] {
        for setting in ["umask", "group", "all", "0660", "0640"] {
            let pair = Pair::in_step();
            let store = |name: &str| {
                let repo = pair.sandbox.init_bare(name, ObjectFormat::Sha1);
                repo.git(&["config", "core.sharedRepository", setting]);
                repo.git(&["config", "core.logAllRefUpdates", "true"]);
                repo
            };
            let (ours, gits) = (store("ours.git"), store("gits.git"));
            let case = format!("{setting}, umask {umask}");
            let same = |path: &str| {
                let [ours, gits] = [&ours, &gits].map(|repo| mode(&repo.git_dir().join(path)));
                assert_eq!(format!("{ours:o}"), format!("{gits:o}"), "{path}: {case}");
            };
            let upstream = pair.upstream.path.to_string_lossy();
            pair.upstream.set_ref("refs/heads/team/one", &pair.tip);
            let pull = || {
                pull_after(&format!("umask {umask}"), &pair.upstream, &ours);
                let fetch = ["-c", "fetch.unpackLimit=1", "fetch", "--quiet", &upstream];
                git_with(umask, &gits, &[&fetch[..], &["refs/*:refs/*"]].concat());
            };
            pull();
            for path in [
                "refs/heads/main",
                "refs/heads/team",
                "refs/heads/team/one",
                "logs",
                "logs/HEAD",
                "logs/refs",
                "logs/refs/heads/team",
                "logs/refs/heads/team/one",
            ] {
                same(path);
            }
            if setting != "umask" {
                let [ours, gits] = [&ours, &gits].map(pack_mode);
                assert_eq!(ours & 0o070, gits & 0o070, "{ours:o} {gits:o} {case}");
                // What is stated is stated for others, too.
                assert!(!setting.starts_with('0') || ours == gits, "{ours:o} {case}");
            }
            let names: Vec<_> = (0..70).map(|n| format!("refs/heads/many/{n}")).collect();
            let new = names.iter().map(|name| (name.as_str(), pair.tip.as_str()));
            pair.upstream.set_refs(new);
            pull();
            git_with(umask, &gits, &["pack-refs", "--all"]);
            for path in [
                "packed-refs",
                "logs/refs/heads/many",
                "logs/refs/heads/many/0",
            ] {
                same(path);
            }
            // What the run has for itself is as much for those who have to sweep it.
            let modes = fs::read_to_string(ours.path.with_extension("modes")).unwrap();
            let modes: Vec<_> = modes
                .split(' ')
                .map(|mode| u32::from_str_radix(mode, 8))
                .collect();
            let [Ok(folder), Ok(lock)] = modes[..] else {
                panic!("{modes:?}")
            };
            let directory = gits.git_dir().join("logs/refs/heads/many");
            let file = gits.git_dir().join("logs/refs/heads/many/0");
            if setting != "umask" {
                assert_eq!(
                    folder & 0o2070,
                    mode(&directory) & 0o2070,
                    "{folder:o} {case}"
                );
                assert_eq!(lock & 0o060, mode(&file) & 0o060, "{lock:o} {case}");
            }
        }
    }
}

#[test]
fn a_mode_that_git_dies_of_fails_the_run() {
    let pair = Pair::in_step();
    let repo = &pair.destination;
    repo.git(&["config", "core.sharedRepository", "0440"]);
    let err = pair.try_pull(&Default::default()).unwrap_err();
    assert_eq!(err.kind(), refsync::ErrorKind::Unsupported);
    assert!(err.to_string().contains("0440"), "{err}");
}

/// The disk, or what a user may have of it, is full in the middle of a line.
#[test]
fn half_a_line_in_a_log_is_taken_back() {
    let pair = Pair::in_step();
    let log = pair.destination.git_dir().join("logs/refs/heads/main");
    fs::create_dir_all(log.parent().unwrap()).unwrap();
    let line = format!("{} {} A <a@b> 1 +0000\tby git\n", pair.root, pair.tip);
    let limit = 16 * 512;
    let mut lines = line.repeat(limit / line.len());
    while limit - lines.len() < 50 {
        lines.truncate(lines.len() - line.len());
    }
    assert!(
        limit - lines.len() < 150,
        "there is no room for a line of ours"
    );
    fs::write(&log, &lines).unwrap();
    let ahead = grow(&pair.upstream, "main", &[&pair.tip]);
    let shell = "trap '' XFSZ; ulimit -f 16";
    let stats = pull_after(shell, &pair.upstream, &pair.destination);
    let main = stats["refs"].as_array().unwrap().iter();
    let main = main
        .into_iter()
        .find(|found| found["name"] == "refs/heads/main")
        .unwrap();
    assert_eq!(main["outcome"], "rejected", "{main}");
    assert_eq!(main["source"], *ahead);
    assert_eq!(fs::read_to_string(&log).unwrap(), lines);
    assert_eq!(pair.destination.git(&["rev-parse", "main"]), pair.tip);
    pair.pull();
    let shown = pair
        .destination
        .git(&["reflog", "show", "--format=%H", "-1", "main"]);
    assert_eq!(shown, ahead);
}
