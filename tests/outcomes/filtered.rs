//! Refs that take no part: names that git doesn't allow, as only a server can list them, and what only the
//! destination's own files tell: its symbolic refs and the names that it can't hold.

use crate::support::pull::{LISTED, Pair, created, filtered, grow};
use crate::support::wire;
use refsync::FilterReason;
use std::fs;

/// The upstream lists these with its `bystander`, all on `root`.
fn listing(pair: &Pair, names: &[&str]) {
    let root = pair.root.clone();
    let names = ["refs/heads/bystander"].iter().chain(names);
    let lines: Vec<_> = names.map(|name| format!("{root} {name}")).collect();
    pair.server
        .intercept(move |head| (head.command()? == "ls-refs").then(|| wire::listing(&lines)));
}

#[test]
fn a_name_that_git_does_not_allow() {
    let names = [
        "refs/heads/a..b",
        "refs/heads/../../config",
        "refs/heads/x.lock",
        "refs/heads/.hidden",
        "refs/heads/a//b",
        "refs/heads/",
        "refs/heads/a\\b",
        "refs/heads/@{0}",
        "refs/heads/esc\x1b[31m",
        "refs/tags/../heads/main",
        "refs/tags/a:b",
    ];
    let pair = Pair::in_step();
    listing(&pair, &names);
    let config = fs::read(pair.destination.git_dir().join("config")).unwrap();
    let pulled = pair.pull();
    for name in names {
        let fate = pulled.fate_of(name);
        assert_eq!(
            fate,
            filtered(None, &pair.root, FilterReason::InvalidName),
            "{name:?}"
        );
    }
    assert_eq!(pulled.asked, LISTED);
    assert_eq!(
        fs::read(pair.destination.git_dir().join("config")).unwrap(),
        config
    );
    assert_eq!(
        pair.destination.for_each_ref().len(),
        2,
        "main and bystander"
    );
}

#[test]
fn names_outside_of_branches_and_tags_are_not_listed() {
    let pair = Pair::in_step();
    listing(
        &pair,
        &[
            "HEAD",
            "refs/headsx",
            "refs/notes/x",
            "config",
            "refs/heads",
        ],
    );
    let pulled = pair.pull();
    assert_eq!(pulled.stats.refs.len(), 1, "{:?}", pulled.stats);
}

#[test]
fn a_ref_that_is_listed_twice_counts_once() {
    let pair = Pair::in_step();
    listing(&pair, &["refs/heads/twice", "refs/heads/twice"]);
    let pulled = pair.pull();
    assert_eq!(pulled.fate_of("refs/heads/twice"), created(&pair.root));
    assert_eq!(pulled.stats.refs.len(), 2);
}

#[test]
fn a_symbolic_ref_at_the_destination() {
    let pair = Pair::in_step();
    pair.destination
        .git(&["symbolic-ref", "refs/heads/alias", "refs/heads/main"]);
    let theirs = grow(&pair.upstream, "alias", &[&pair.tip]);
    let pulled = pair.pull();
    let alias = filtered(&*pair.tip, &theirs, FilterReason::SymbolicRef);
    assert_eq!(pulled.fate_of("refs/heads/alias"), alias);
    assert_eq!(
        pair.destination.git(&["symbolic-ref", "refs/heads/alias"]),
        "refs/heads/main"
    );
}

#[test]
fn a_symbolic_ref_at_the_destination_that_leads_nowhere() {
    for many in [0, 64] {
        let pair = Pair::in_step();
        pair.destination
            .git(&["symbolic-ref", "refs/heads/alias", "refs/heads/unborn"]);
        let names: Vec<_> = (0..many).map(|n| format!("refs/heads/many/{n}")).collect();
        pair.upstream
            .set_refs(names.iter().map(|name| (name.as_str(), pair.tip.as_str())));
        pair.upstream.set_ref("refs/heads/alias", &pair.tip);
        let pulled = pair.pull();
        let alias = filtered(None, &pair.tip, FilterReason::SymbolicRef);
        assert_eq!(pulled.fate_of("refs/heads/alias"), alias, "{many}");
        let kept = pair.destination.git(&["symbolic-ref", "refs/heads/alias"]);
        assert_eq!(kept, "refs/heads/unborn");
    }
}

#[test]
fn a_name_that_no_file_can_have() {
    let pair = Pair::in_step();
    let fits = format!("refs/heads/{}", "f".repeat(250));
    let too_long = format!("refs/heads/dir/{}/x", "l".repeat(251));
    listing(&pair, &[&fits, &too_long]);
    let pulled = pair.pull();
    assert_eq!(pulled.fate_of(&fits), created(&pair.root));
    let refused = filtered(None, &pair.root, FilterReason::NameTooLong);
    assert_eq!(pulled.fate_of(&too_long), refused);
    assert_eq!(pulled.asked, LISTED);
}

#[test]
fn a_name_that_no_path_can_have() {
    for many in [0, 64] {
        let pair = Pair::in_step();
        let too_long = format!("refs/heads/{}x", "dir/".repeat(1_100));
        let names: Vec<_> = (0..many).map(|n| format!("refs/heads/many/{n}")).collect();
        let mut listed: Vec<_> = names.iter().map(String::as_str).collect();
        listed.push(&too_long);
        listing(&pair, &listed);
        let pulled = pair.pull();
        let refused = filtered(None, &pair.root, FilterReason::NameTooLong);
        assert_eq!(pulled.fate_of(&too_long), refused, "{many}");
    }
}
