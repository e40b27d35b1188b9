//! Names that can't exist beside one another.

use crate::support::git::Repo;
use crate::support::pull::{Pair, created, fate_in, rejected};
use refsync::{Reason, RefGlobs, SyncOptions};
use std::fs;

fn conflict(with: &str) -> Reason {
    Reason::NameConflict { with: with.into() }
}

fn loose(_: &Repo) {}

fn packed(repo: &Repo) {
    repo.git(&["pack-refs", "--all"]);
}

/// The destination has `held`, the upstream `offered`: it is rejected and names what is in the way.
fn conflicts(offered: &str, held: &str, store: fn(&Repo)) {
    let pair = Pair::in_step();
    pair.destination.set_ref(held, &pair.root);
    store(&pair.destination);
    pair.upstream.set_ref(offered, &pair.tip);
    let pulled = pair.pull();
    assert_eq!(
        pulled.fate_of(offered),
        rejected(None, &pair.tip, conflict(held))
    );
}

#[test]
fn a_ref_below_a_loose_one() {
    conflicts("refs/heads/a/b", "refs/heads/a", loose);
    conflicts("refs/tags/a/b/c", "refs/tags/a", loose);
}

#[test]
fn a_ref_below_a_packed_one() {
    conflicts("refs/heads/a/b", "refs/heads/a", packed);
    conflicts("refs/tags/a/b/c", "refs/tags/a", packed);
}

#[test]
fn a_ref_above_a_loose_one() {
    conflicts("refs/heads/a", "refs/heads/a/b", loose);
    conflicts("refs/tags/a", "refs/tags/a/b/c", loose);
}

#[test]
fn a_ref_above_a_packed_one() {
    conflicts("refs/heads/a", "refs/heads/a/b", packed);
    conflicts("refs/tags/a", "refs/tags/a/b/c", packed);
}

#[test]
fn of_two_refs_in_one_batch_the_first_is_created() {
    let pair = Pair::in_step();
    let both = [
        ("refs/heads/a", &*pair.tip),
        ("refs/heads/a/b", &*pair.root),
    ];
    let others = [
        ("refs/heads/main", &*pair.tip),
        ("refs/heads/bystander", &*pair.root),
    ];
    pair.upstream.write_packed_refs(&[both, others].concat());
    let pulled = pair.pull();
    assert_eq!(pulled.fate_of("refs/heads/a"), created(&pair.tip));
    let beside = rejected(None, &pair.root, conflict("refs/heads/a"));
    assert_eq!(pulled.fate_of("refs/heads/a/b"), beside);
}

#[test]
fn a_ref_that_the_globs_leave_out_is_still_in_the_way() {
    let cases = [
        (
            "refs/heads/release/1",
            "refs/heads/release",
            "{bystander,release/*}",
        ),
        (
            "refs/heads/release/1",
            "refs/heads/release/1/2",
            "{bystander,release/1}",
        ),
    ];
    for (offered, held, glob) in cases {
        let pair = Pair::in_step();
        pair.destination.set_ref(held, &pair.root);
        pair.upstream.set_ref(offered, &pair.tip);
        let mut options = SyncOptions::default();
        options.globs = RefGlobs::new(Some(glob), None).unwrap();
        let pulled = pair.pull_with(&options);
        assert_eq!(
            pulled.fate_of(offered),
            rejected(None, &pair.tip, conflict(held))
        );
    }
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

#[test]
fn without_that_setting_case_tells_names_apart() {
    let pair = Pair::in_step();
    pair.upstream.set_ref("refs/heads/Main", &pair.root);
    assert_eq!(pair.pull().fate_of("refs/heads/Main"), created(&pair.root));
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
