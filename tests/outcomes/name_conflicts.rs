//! Names that can't exist beside one another, by the settings and the files of the destination.

use crate::support::pull::{Pair, created, fate_in, rejected};
use refsync::{Reason, RefGlobs, SyncOptions};
use std::fs;

fn conflict(with: &str) -> Reason {
    Reason::NameConflict { with: with.into() }
}

#[test]
fn a_directory_that_was_left_empty_is_in_nobody_s_way() {
    for many in [0, 64] {
        let pair = Pair::in_step();
        fs::create_dir_all(pair.destination.git_dir().join("refs/heads/a/b")).unwrap();
        pair.upstream.set_ref("refs/heads/a", &pair.tip);
        let names: Vec<_> = (0..many).map(|n| format!("refs/heads/many/{n}")).collect();
        pair.upstream
            .set_refs(names.iter().map(|name| (name.as_str(), pair.tip.as_str())));
        assert_eq!(
            pair.pull().fate_of("refs/heads/a"),
            created(&pair.tip),
            "{many}"
        );
    }
}

/// A destination that says that its file system ignores case.
fn ignoring_case() -> Pair {
    let pair = Pair::in_step();
    pair.destination.git(&["config", "core.ignoreCase", "true"]);
    pair
}

#[test]
fn names_that_differ_in_case_only() {
    let pair = ignoring_case();
    pair.destination.set_ref("refs/heads/Dir/x", &pair.root);
    for name in ["refs/heads/Main", "refs/heads/dir/y", "refs/tags/MAIN"] {
        pair.upstream.set_ref(name, &pair.tip);
    }
    let pulled = pair.pull();
    let beside = |with| rejected(None, &pair.tip, conflict(with));
    assert_eq!(pulled.fate_of("refs/heads/Main"), beside("refs/heads/main"));
    assert_eq!(
        pulled.fate_of("refs/heads/dir/y"),
        beside("refs/heads/Dir/x")
    );
    assert_eq!(pulled.fate_of("refs/tags/MAIN"), created(&pair.tip));
}

#[test]
fn names_in_one_batch_that_differ_in_case_only() {
    let pair = ignoring_case();
    for name in ["refs/tags/V1", "refs/tags/v1"] {
        pair.upstream.set_ref(name, &pair.tip);
    }
    let pulled = pair.pull();
    assert_eq!(pulled.fate_of("refs/tags/V1"), created(&pair.tip));
    assert_eq!(
        pulled.fate_of("refs/tags/v1"),
        rejected(None, &pair.tip, conflict("refs/tags/V1"))
    );
}

#[test]
fn a_name_in_another_case_is_in_the_way_even_outside_of_the_globs() {
    let pair = ignoring_case();
    pair.destination.set_ref("refs/heads/Release/1", &pair.root);
    pair.upstream.set_ref("refs/heads/release/1", &pair.tip);
    let mut options = SyncOptions::default();
    options.globs = RefGlobs::new(Some("{bystander,release/*}"), None).unwrap();
    let beside = rejected(None, &pair.tip, conflict("refs/heads/Release/1"));
    assert_eq!(
        pair.pull_with(&options).fate_of("refs/heads/release/1"),
        beside
    );
}

#[cfg(unix)]
#[test]
fn links_that_lead_in_a_circle_are_in_the_way_and_in_nobody_elses() {
    let pair = Pair::in_step();
    let heads = pair.destination.path.join("refs/heads");
    for link in ["loop", "other"] {
        std::os::unix::fs::symlink(".", heads.join(link)).unwrap();
    }
    let names: Vec<_> = (0..70).map(|at| format!("refs/heads/new-{at}")).collect();
    for name in &names {
        pair.upstream.set_ref(name, &pair.tip);
    }
    pair.upstream.set_ref("refs/heads/loop/in", &pair.tip);
    // What looks for leftovers goes round in circles.
    let stats = pair.try_pull(&Default::default()).unwrap();
    for name in &names {
        assert_eq!(fate_in(&stats, name), created(&pair.tip));
    }
    let with = "refs/heads/loop".into();
    let fate = rejected(None, &pair.tip, Reason::NameConflict { with });
    assert_eq!(fate_in(&stats, "refs/heads/loop/in"), fate);
}
