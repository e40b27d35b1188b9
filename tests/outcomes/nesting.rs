//! Trees nested deeper than git goes (`core.maxTreeDepth` in git-config(1)): nobody could clone a
//! repository that has them, nor collect its garbage.

use crate::support::pull::{Pair, created, reason_in};
use crate::support::{git::Repo, sync};
use refsync::{LocalStore, SyncOptions, SyncRunStats};

const TOO_DEEP: &str = "nested more than 2048 levels deep";

/// A commit whose tree has so many levels, of which the last one has `below` in it: the rest of a
/// fast-import command.
fn nested(repo: &Repo, branch: &str, from: Option<&str>, levels: usize, below: &str) -> String {
    repo.git(&["config", "core.maxTreeDepth", "100000"]);
    let (kind, named) = below.split_once(' ').expect("a mode and what it is of");
    let (named, data) = named.split_once('\n').unwrap_or((named, ""));
    let from = from.map_or(String::new(), |from| format!("from {from}\n"));
    let path = format!("{}x", "a/".repeat(levels - 1));
    let stream = format!(
        "commit refs/heads/{branch}\ncommitter A <a> 1 +0000\ndata 0\n{from}M {kind} {named} {path}\n{data}\n"
    );
    repo.fast_import(stream.as_bytes());
    repo.git(&["rev-parse", branch])
}

const A_FILE: &str = "100644 inline\ndata 1\nf\n";

fn tree_of(repo: &Repo, branch: &str) -> String {
    let tree = repo.git(&["rev-parse", &format!("{branch}^{{tree}}")]);
    format!("40000 {tree}")
}

/// By way of HTTP and from one repository to the other.
fn ways() -> [fn(&Pair) -> SyncRunStats; 2] {
    let local = |pair: &Pair| {
        let [from, to] = [&pair.upstream, &pair.destination]
            .map(|repo| LocalStore::open(&repo.path).expect("a repository"));
        sync(&from, &to, &SyncOptions::default()).expect("a run that does its work")
    };
    [|pair| pair.pull().stats, local]
}

#[track_caller]
fn assert_too_deep(pair: &Pair, stats: &SyncRunStats, name: &str) {
    let reason = reason_in(stats, name).to_string();
    assert!(reason.contains(TOO_DEEP), "{reason}");
    pair.destination.git(&["rev-list", "--objects", "--all"]);
    pair.destination.git(&["gc", "--quiet"]);
}

#[track_caller]
fn assert_created(pair: &Pair, stats: &SyncRunStats, name: &str, tip: &str) {
    assert_eq!(crate::support::pull::fate_in(stats, name), created(tip));
    pair.destination.git(&["rev-list", "--objects", "--all"]);
    pair.destination.git(&["gc", "--quiet"]);
}

fn empty_pair() -> Pair {
    let pair = Pair::in_step();
    for name in ["refs/heads/main", "refs/heads/bystander"] {
        pair.upstream.delete_ref(name);
    }
    pair.destination.delete_ref("refs/heads/main");
    pair.destination.git(&["gc", "--quiet", "--prune=now"]);
    pair
}

#[test]
fn a_pack_that_needs_nothing_else() {
    for way in ways() {
        for (levels, is_taken) in [(10_000, false), (2049, false), (2048, true)] {
            let pair = empty_pair();
            let tip = nested(&pair.upstream, "deep", None, levels, A_FILE);
            let stats = way(&pair);
            match is_taken {
                true => assert_created(&pair, &stats, "refs/heads/deep", &tip),
                false => assert_too_deep(&pair, &stats, "refs/heads/deep"),
            }
        }
    }
}

#[test]
fn new_levels_around_an_old_tree() {
    for way in ways() {
        for (levels, is_taken) in [(1500, false), (548, false), (547, true)] {
            let pair = Pair::in_step();
            let inner = nested(&pair.upstream, "inner", None, 1501, A_FILE);
            assert_created(&pair, &way(&pair), "refs/heads/inner", &inner);
            let below = tree_of(&pair.upstream, "inner");
            let tip = nested(&pair.upstream, "outer", Some(&inner), levels, &below);
            let stats = way(&pair);
            match is_taken {
                true => assert_created(&pair, &stats, "refs/heads/outer", &tip),
                false => assert_too_deep(&pair, &stats, "refs/heads/outer"),
            }
        }
    }
}

/// A branch that is sound by itself goes through, whichever of the two comes first.
#[test]
fn new_levels_around_a_tree_of_another_branch() {
    for way in ways() {
        for [first, second] in [["inner", "outer"], ["zinner", "outer"]] {
            let pair = empty_pair();
            let inner = nested(&pair.upstream, first, None, 1501, A_FILE);
            let below = tree_of(&pair.upstream, first);
            nested(&pair.upstream, second, None, 1500, &below);
            let stats = way(&pair);
            assert_too_deep(&pair, &stats, "refs/heads/outer");
            assert_created(&pair, &stats, &format!("refs/heads/{first}"), &inner);
        }
    }
}

/// A folder that moves to another one, with more beside it than a pull looks at.
#[test]
fn a_folder_that_moves_further_down() {
    for way in ways() {
        let pair = empty_pair();
        let inner = nested(&pair.upstream, "inner", None, 12, A_FILE);
        assert_created(&pair, &way(&pair), "refs/heads/inner", &inner);
        let below = tree_of(&pair.upstream, "inner");
        let tip = nested(&pair.upstream, "outer", Some(&inner), 30, &below);
        assert_created(&pair, &way(&pair), "refs/heads/outer", &tip);
    }
}
