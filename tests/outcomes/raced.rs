//! Somebody else moves the destination's refs while the run is under way, in ways that only its files know.

use crate::support::git::Repo;
use crate::support::pull::{Pair, Pulled, created, fate_in, grow, moved, rejected};
use refsync::{Outcome, Phase, Progress, Reason, SyncOptions};
use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

const TOPIC: &str = "refs/heads/topic";

/// Runs while `race` happens at the destination, between its listing and the fetch.
fn pull_in_a_race(pair: &Pair, race: impl Fn(&Repo) + Send + Sync + 'static) -> Pulled {
    let destination = pair.destination.clone();
    pair.before_fetch(move || race(&destination));
    pair.pull_with(&SyncOptions::default())
}

/// `after` is what the racer made of the ref, which [`Pair::pull_with`] compares with git.
#[track_caller]
fn assert_raced(pulled: &Pulled, name: &str, before: Option<&str>, theirs: &str) {
    let found = pulled.stats.find(name).unwrap();
    assert_eq!(found.outcome, &Outcome::Rejected(Reason::Raced));
    assert_eq!(found.before.map(|id| id.to_string()).as_deref(), before);
    assert_eq!(found.source.to_string(), theirs);
}

fn pack_refs(repo: &Repo) {
    repo.git(&["pack-refs", "--all"]);
}

fn many_new_branches(pair: &Pair, tip: &str) -> Vec<String> {
    let names: Vec<_> = (0..70).map(|n| format!("refs/heads/many/{n}")).collect();
    pair.upstream
        .set_refs(names.iter().map(|name| (name.as_str(), tip)));
    names
}

#[test]
fn one_of_many_new_branches_that_was_created_loose_meanwhile() {
    let pair = Pair::in_step();
    let theirs = grow(&pair.upstream, "topic", &[&pair.tip]);
    let names = many_new_branches(&pair, &theirs);
    let (raced, root) = (names[7].clone(), pair.root.clone());
    let pulled = pull_in_a_race(&pair, move |repo| repo.set_ref(&raced, &root));
    assert_raced(&pulled, &names[7], None, &theirs);
    let others = names.iter().filter(|name| **name != names[7]);
    for other in others {
        assert_eq!(pulled.fate_of(other), created(&theirs));
    }
}

#[test]
fn one_of_many_new_branches_that_was_created_and_packed_meanwhile() {
    let pair = Pair::in_step();
    let theirs = grow(&pair.upstream, "topic", &[&pair.tip]);
    let names = many_new_branches(&pair, &theirs);
    let (raced, root) = (names[7].clone(), pair.root.clone());
    let pulled = pull_in_a_race(&pair, move |repo| {
        repo.set_ref(&raced, &root);
        pack_refs(repo);
    });
    assert_raced(&pulled, &names[7], None, &theirs);
    assert_eq!(
        pulled.stats.count(Outcome::is_updated),
        71,
        "the others, topic and bystander"
    );
}

/// A directory where the ref would have to be, or a ref where its directory would.
#[test]
fn a_conflicting_name_that_was_created_meanwhile_is_not_overwritten() {
    for (many, packed) in [(false, false), (false, true), (true, false), (true, true)] {
        for (offered, made) in [("topic", "topic/below"), ("topic/below", "topic")] {
            let pair = Pair::in_step();
            let theirs = grow(&pair.upstream, offered, &[&pair.tip]);
            if many {
                many_new_branches(&pair, &theirs);
            }
            let (made, root) = (format!("refs/heads/{made}"), pair.root.clone());
            let racing = made.clone();
            let pulled = pull_in_a_race(&pair, move |repo| {
                repo.set_ref(&racing, &root);
                if packed {
                    pack_refs(repo);
                }
            });
            let with = made.as_str().into();
            let stayed = rejected(None, &theirs, Reason::NameConflict { with });
            let fate = pulled.fate_of(&format!("refs/heads/{offered}"));
            assert_eq!(fate, stayed, "{many} {packed} {offered}");
            assert_eq!(pair.destination.git(&["rev-parse", &made]), pair.root);
        }
    }
}

/// Acts once many new refs are in `packed-refs`, and before the run looks whether that was right.
struct OnceWritten<F>(F, AtomicBool);

impl<F: Fn() + Send + Sync> Progress for OnceWritten<F> {
    fn advance(&self, phase: Phase, done: u64, _: Option<u64>) {
        if phase == Phase::Apply && done > 0 && !self.1.swap(true, Ordering::SeqCst) {
            (self.0)();
        }
    }
}

/// A process that looked before the file was replaced, and writes after.
#[test]
fn what_comes_to_exist_beside_many_new_branches_at_the_last_moment() {
    let pair = Pair::in_step();
    let theirs = grow(&pair.upstream, "topic", &[&pair.tip]);
    let names = many_new_branches(&pair, &theirs);
    pair.upstream.set_ref("refs/heads/deep/er/x", &theirs);
    let (git_dir, root, tip) = (
        pair.destination.git_dir(),
        pair.root.clone(),
        theirs.clone(),
    );
    let write = {
        let names = names.clone();
        move || {
            let write = |name: &str, content: &str| {
                let path = git_dir.join(name);
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(path, content).unwrap();
            };
            write(&names[7], &root);
            write(&names[8], &tip);
            write(&format!("{}/below", names[9]), &root);
            write("refs/heads/deep/er", &root);
            write(&format!("{}.lock", names[10]), "");
        }
    };
    let mut options = SyncOptions::default();
    options.progress = Some(Arc::new(OnceWritten(write, AtomicBool::new(false))));
    let pulled = pair.try_pull(&options).unwrap();
    let fate = |name: &str| fate_in(&pulled, name);
    let reason = |name: &str| pulled.find(name).unwrap().outcome.rejection().cloned();
    let conflict = |with: &str| Some(Reason::NameConflict { with: with.into() });
    assert_eq!(reason(&names[7]), Some(Reason::Raced));
    assert_eq!(fate(&names[8]), created(&theirs));
    assert_eq!(reason(&names[9]), conflict(&format!("{}/below", names[9])));
    assert_eq!(
        reason("refs/heads/deep/er/x"),
        conflict("refs/heads/deep/er")
    );
    let locked = reason(&names[10]);
    assert!(
        matches!(locked, Some(Reason::NotWritten { .. })),
        "{locked:?}"
    );
    let others = names
        .iter()
        .enumerate()
        .filter(|(at, _)| !(7..11).contains(at));
    for (_, other) in others {
        assert_eq!(fate(other), created(&theirs));
    }
    let git = |args: &[&str]| pair.destination.git(args);
    assert_eq!(git(&["rev-parse", &names[7]]), pair.root);
    assert_eq!(git(&["rev-parse", &names[8]]), theirs);
    let packed = fs::read_to_string(pair.destination.git_dir().join("packed-refs")).unwrap();
    for lost in [&names[7], &names[9], &names[10], "refs/heads/deep/er/x"] {
        assert!(!packed.contains(&format!("{lost}\n")), "{lost}");
    }
    let clone = pair.sandbox.path().join("clone");
    git(&["clone", "--quiet", "--bare", ".", &clone.to_string_lossy()]);
}

#[test]
fn the_next_run_makes_up_for_a_race() {
    let pair = Pair::in_step();
    let theirs = grow(&pair.upstream, "topic", &[&pair.tip]);
    let root = pair.root.clone();
    let pulled = pull_in_a_race(&pair, move |repo| repo.set_ref(TOPIC, &root));
    let mut options = SyncOptions::default();
    options.previous = Some(pulled.stats);
    assert_eq!(
        pair.pull_into_any(&options).fate_of(TOPIC),
        moved(&pair.root, &theirs)
    );
}
