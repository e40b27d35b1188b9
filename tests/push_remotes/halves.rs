//! Refs that a remote always refuses, and a whole push with them: they keep no other ref out.

use crate::support::git::Repo;
use crate::support::pull::{created, grow};
use crate::support::push::{Pair, Pushed, Sent, report};
use crate::support::{Answer, wire};
use refsync::{Outcome, Reason, SyncOptions, SyncRunStats};

const DECLINED: &str = "pre-receive hook declined";

/// Declines every push with a branch whose name begins with `bad`.
const NO_BAD_ONES: &str =
    "while read old new name; do case $name in refs/heads/bad*) exit 1;; esac; done";

fn remote(text: &str) -> Reason {
    Reason::Remote { text: text.into() }
}

fn sizes(pushed: &Pushed) -> Vec<usize> {
    pushed.sent.iter().map(|sent| sent.names.len()).collect()
}

fn with_previous(stats: &SyncRunStats) -> SyncOptions {
    let mut options = SyncOptions::default();
    options.previous = Some(stats.clone());
    options
}

/// A branch at a commit that git's fsck refuses: nobody has an address like its author's.
fn grow_faulty(repo: &Repo, branch: &str, tree: &str) {
    let commit = format!("tree {tree}\nauthor a 1 +0000\ncommitter a <a@e> 1 +0000\n\n{branch}\n");
    let write = [
        "hash-object",
        "-w",
        "-t",
        "commit",
        "--stdin",
        "--literally",
    ];
    let id = repo.git_with_input(&write, commit.as_bytes());
    repo.write_ref(&format!("refs/heads/{branch}"), &format!("{id}\n"));
}

/// A tree with so many bytes that no other one has.
fn tree(pair: &Pair, name: &str, bytes: usize) -> String {
    // No part of it is like one of another tree.
    let noise = wire::noise(bytes + name.len() + 1);
    let step = 3 + 2 * usize::from(
        name.bytes()
            .fold(0, |sum: u8, byte| sum.wrapping_mul(31).wrapping_add(byte)),
    );
    let mut mixed: String = (0..bytes)
        .map(|at| char::from(noise.as_bytes()[at * step % noise.len()]))
        .collect();
    mixed.insert_str(0, name);
    let blob = pair.source.write_object("blob", mixed.as_bytes());
    let entry = format!("100644 blob {blob}\tnoise\n");
    pair.source.git_with_input(&["mktree"], entry.as_bytes())
}

/// Forty branches that are refused, each with so many bytes of its own, and eight that are not, some
/// in the midst of the others, `main` among them.
fn forty_bad_ones(bytes: usize, is_faulty: bool) -> (Pair, Vec<&'static str>) {
    let pair = Pair::in_step();
    for number in 0..40 {
        let name = format!("bad-{number:02}");
        let tree = tree(&pair, &name, bytes);
        match is_faulty {
            true => grow_faulty(&pair.source, &name, &tree),
            false => {
                let commit = pair.source.git(&["commit-tree", &tree, "-m", &name]);
                let name = format!("refs/heads/{name}");
                pair.source.write_ref(&name, &format!("{commit}\n"));
            }
        }
    }
    match is_faulty {
        true => pair.set("receive.fsckObjects", "true"),
        false => pair.hook("pre-receive", NO_BAD_ONES),
    }
    let good = ["a", "badly", "c", "main", "x", "y", "z"];
    let good = good.map(|name| match name {
        // It sorts among those that are refused.
        "badly" => "bad-20-good",
        name => name,
    });
    for name in good {
        grow(&pair.source, name, &[&pair.tip]);
    }
    if !is_faulty {
        let spared = NO_BAD_ONES.replace("case $name in", "case $name in *-good) ;;");
        pair.hook("pre-receive", &spared);
    }
    pair.source
        .git(&["symbolic-ref", "HEAD", "refs/heads/main"]);
    (pair, good.to_vec())
}

/// The number of runs until each of the good refs has arrived, with the stats of the run before
/// or without.
#[track_caller]
fn runs_until_all_arrived(pair: &Pair, good: &[&str], with_stats: bool) -> usize {
    let mut options = SyncOptions::default();
    for run in 1..=3 {
        let pushed = pair.push_to_any(&options);
        assert!(pushed.sent.len() <= 1 + options.max_repeated_pushes);
        let found = |name: &str| pushed.stats.find(format!("refs/heads/{name}")).unwrap();
        assert!(found("main").after == found("main").source, "{run}");
        assert!(pushed.stats.refs.iter().all(|found| {
            let is_bad =
                found.name.starts_with(b"refs/heads/bad") && !found.name.ends_with(b"good");
            !is_bad || found.outcome.is_rejected()
        }));
        if good
            .iter()
            .all(|name| found(name).after == found(name).source)
        {
            return run;
        }
        if with_stats {
            options = with_previous(&pushed.stats);
        }
    }
    panic!("after three runs some ref has not arrived");
}

#[test]
fn forty_of_them_before_main() {
    for is_faulty in [false, true] {
        for with_stats in [false, true] {
            let (pair, good) = forty_bad_ones(100, is_faulty);
            runs_until_all_arrived(&pair, &good, with_stats);
        }
    }
}

#[test]
#[ignore = "pushes 150 MB; asked for by name"]
fn forty_of_700_kb_before_main() {
    for is_faulty in [false, true] {
        let (pair, good) = forty_bad_ones(700_000, is_faulty);
        runs_until_all_arrived(&pair, &good, true);
    }
}

#[test]
fn eight_large_ones_among_nine_others() {
    let pair = Pair::in_step();
    let mut good = Vec::new();
    for number in 0..8 {
        let name = format!("line-{number}-a");
        grow(&pair.source, &name, &[&pair.tip]);
        good.push(name);
        let name = format!("line-{number}-bad");
        let tree = tree(&pair, &name, 200_000);
        grow_faulty(&pair.source, &name, &tree);
    }
    pair.set("receive.fsckObjects", "true");
    let mut options = SyncOptions::default();
    let mut arrived = 0;
    for _ in 0..3 {
        let pushed = pair.push_to_any(&options);
        arrived += pushed.stats.count(Outcome::is_updated);
        options.previous = Some(pushed.stats);
    }
    assert_eq!(arrived, 9, "the bystander, too");
}

#[test]
fn the_default_branch_is_tried_first() {
    let pair = Pair::in_step();
    pair.hook("pre-receive", NO_BAD_ONES);
    for name in ["bad-1", "bad-2", "bad-3", "main"] {
        grow(&pair.source, name, &[&pair.tip]);
    }
    pair.source
        .git(&["symbolic-ref", "HEAD", "refs/heads/main"]);
    let mut options = SyncOptions::default();
    options.max_repeated_pushes = 1;
    let pushed = pair.push_to_any(&options);
    assert_eq!(pushed.sent[1].names, ["refs/heads/main"]);
    assert_eq!(pushed.stats.count(Outcome::is_updated), 1);
    let together = remote("pre-receive hook declined (refused together with 4 others)");
    for name in ["bad-1", "bad-2", "bad-3", "bystander"] {
        let found = pushed.stats.find(format!("refs/heads/{name}")).unwrap();
        assert_eq!(
            (found.outcome.rejection(), found.refusal),
            (Some(&together), None)
        );
    }
}

#[test]
fn the_default_branch_does_not_wait_for_others() {
    let pair = Pair::in_step();
    pair.source
        .git(&["symbolic-ref", "HEAD", "refs/heads/main"]);
    grow(&pair.source, "main", &[&pair.tip]);
    pair.hook("pre-receive", "grep -q refs/heads/main && exit 1; exit 0");
    let first = pair.push();
    let main = first.stats.find("refs/heads/main").unwrap();
    assert!(main.refusal.expect("it was judged for itself").alone);
    pair.hook("pre-receive", "exit 0");
    grow(&pair.source, "topic", &[&pair.tip]);
    let mut options = with_previous(&first.stats);
    options.refusal_backoff = std::time::Duration::ZERO;
    options.max_repeated_pushes = 0;
    let second = pair.push_with(&options);
    assert_eq!(sizes(&second), [2]);
    assert_eq!(second.stats.count(Outcome::is_rejected), 0);
}

#[test]
fn what_was_refused_alone_comes_last_and_by_itself() {
    let pair = Pair::in_step();
    pair.hook("pre-receive", NO_BAD_ONES);
    let bad = ["bad-1", "bad-2"].map(|name| grow(&pair.source, name, &[&pair.tip]));
    let first = pair.push();
    assert_eq!(first.stats.count(Outcome::is_rejected), 2);
    let topic = grow(&pair.source, "topic", &[&pair.tip]);
    let mut options = with_previous(&first.stats);
    options.refusal_backoff = std::time::Duration::ZERO;
    let second = pair.push_with(&options);
    let names: Vec<_> = second.sent.iter().flat_map(|sent| &sent.names).collect();
    assert_eq!(
        names,
        ["refs/heads/topic", "refs/heads/bad-1", "refs/heads/bad-2"]
    );
    assert_eq!(sizes(&second), [1, 1, 1]);
    assert_eq!(second.fate_of("refs/heads/topic"), created(&topic));
    for (name, tip) in ["refs/heads/bad-1", "refs/heads/bad-2"]
        .into_iter()
        .zip(&bad)
    {
        let found = second.stats.find(name).unwrap();
        assert_eq!(found.source.to_string(), *tip);
        assert!(found.refusal.expect("it was judged for itself").alone);
    }
    // They are no danger to others when they move, either.
    grow(&pair.source, "bad-1", &[&bad[0]]);
    grow(&pair.source, "topic", &[&topic]);
    let third = pair.push_with(&with_previous(&second.stats));
    assert_eq!(sizes(&third), [1, 1, 1]);
    options.previous = Some(third.stats);
    options.max_repeated_pushes = 0;
    let fourth = pair.push_with(&options);
    assert_eq!(sizes(&fourth), [1], "the budget is for all pushes");
    assert_eq!(fourth.reason_of("refs/heads/bad-2"), remote(DECLINED));
    assert!(
        fourth
            .stats
            .find("refs/heads/bad-2")
            .unwrap()
            .refusal
            .is_some()
    );
    pair.hook("pre-receive", "exit 0");
    options.max_repeated_pushes = 1;
    let fifth = pair.push_with(&options);
    assert_eq!(sizes(&fifth), [1, 1]);
    assert_eq!(fifth.stats.count(Outcome::is_rejected), 0);
}

/// JGit says the same of every ref of a pack that it did not take in, in words of its own.
#[test]
fn whatever_the_words_are() {
    for text in ["n/a (unpacker error)", "not on a Sunday", ""] {
        for unpack in ["unpack error Invalid object", "unpack ok"] {
            let pair = Pair::in_step();
            let branches = pair.branches("many", 6);
            let line = text.to_owned();
            pair.on_push(move |head| {
                let names = Sent::parse(&head.body).names;
                let is_bad = names.iter().any(|name| name.ends_with("-04"));
                is_bad.then(|| {
                    let refused = names.iter().map(|name| format!("ng {name} {line}"));
                    let lines: Vec<_> = [unpack.to_owned()].into_iter().chain(refused).collect();
                    let lines: Vec<_> = lines.iter().map(String::as_str).collect();
                    wire::ok("application/x-git-receive-pack-result", report(&lines))
                })
            });
            let pushed = pair.push();
            for (name, id) in &branches {
                match name.ends_with("-04") {
                    true => assert!(pushed.stats.find(name).unwrap().refusal.is_some()),
                    false => assert_eq!(pushed.fate_of(name), created(id), "{text} {unpack}"),
                }
            }
        }
    }
}

/// `git receive-pack` dies of a `reference-transaction` hook that says no, and of the others' refs
/// nothing is said.
#[test]
fn a_remote_that_dies_of_one_ref() {
    let pair = Pair::in_step();
    let branches = pair.branches("many", 8);
    pair.hook(
        "reference-transaction",
        "test $1 = prepared && grep -q many-00 && exit 1; exit 0",
    );
    let pushed = pair.push();
    let (bad, good) = branches.split_first().unwrap();
    assert_eq!(
        sizes(&pushed),
        [9, 1, 1, 2, 4],
        "the bystander had moved before"
    );
    for (name, id) in good {
        assert_eq!(pushed.fate_of(name), created(id));
    }
    let found = pushed.stats.find(&bad.0).unwrap();
    assert!(
        matches!(found.outcome.rejection(), Some(Reason::Unconfirmed { .. })),
        "{found:?}"
    );
    let pushed = pair.push_with(&with_previous(&pushed.stats));
    assert_eq!(sizes(&pushed), [1], "it is tried again, by itself");
}

/// A connection that broke is no answer.
#[test]
fn a_connection_that_breaks_is_not_looked_into() {
    let pair = Pair::in_step();
    pair.branches("many", 3);
    let half = b"HTTP/1.1 200 OK\r\nContent-Type: application/x-git-receive-pack-result\r\n\
        Content-Length: 100\r\n\r\n0030";
    pair.on_push(|_| Some(Answer::Raw(half.to_vec())));
    let pushed = pair.push_to_any(&SyncOptions::default());
    assert_eq!(sizes(&pushed), [4]);
    assert!(
        pushed
            .stats
            .refs
            .iter()
            .all(|found| found.refusal.is_none())
    );
}
