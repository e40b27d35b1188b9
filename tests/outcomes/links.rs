//! Refs that are symbolic links, and names that git does not allow, in a local source and at a
//! destination.

use crate::support::pull::{
    Pair, created, fate_in, filtered, grow, reason_in, rejected, unchanged,
};
use refsync::{FilterReason, LocalStore, Reason, SyncOptions, SyncRunStats, sync};
use std::fs;

fn pull_locally(pair: &Pair) -> SyncRunStats {
    let end = |path| LocalStore::open(path).unwrap();
    let (source, destination) = (end(&pair.upstream.path), end(&pair.destination.path));
    sync(&source, &destination, &SyncOptions::default()).unwrap()
}

#[test]
fn names_that_git_does_not_allow_at_a_local_source() {
    let pair = Pair::in_step();
    let heads = pair.upstream.git_dir().join("refs/heads");
    for name in ["broken...ref", "a b", "x~1"] {
        fs::write(heads.join(name), &pair.tip).unwrap();
    }
    fs::write(heads.join("locked.lock"), &pair.tip).unwrap();
    fs::write(heads.join("badsym"), "ref: refs/heads/broken...ref").unwrap();
    let packed = format!(
        "{} refs/heads/pack..ed\n{} refs/heads/q\n",
        pair.tip, pair.root
    );
    fs::write(pair.upstream.git_dir().join("packed-refs"), packed).unwrap();
    let stats = pull_locally(&pair);
    for name in ["broken...ref", "a b", "x~1", "pack..ed"] {
        let fate = fate_in(&stats, &format!("refs/heads/{name}"));
        assert_eq!(
            fate,
            filtered(None, &pair.tip, FilterReason::InvalidName),
            "{name}"
        );
    }
    let null = "0".repeat(40);
    let symbolic = filtered(None, &null, FilterReason::SymbolicRef);
    assert_eq!(fate_in(&stats, "refs/heads/badsym"), symbolic);
    assert_eq!(fate_in(&stats, "refs/heads/q"), created(&pair.root));
    assert!(stats.find("refs/heads/locked.lock").is_none());
}

#[cfg(unix)]
#[test]
fn links_at_a_local_source() {
    use std::os::unix::fs::symlink;
    let pair = Pair::in_step();
    let heads = pair.upstream.git_dir().join("refs/heads");
    symlink("refs/heads/main", heads.join("alias")).unwrap();
    symlink("main", heads.join("same-file")).unwrap();
    symlink("nowhere", heads.join("dangling")).unwrap();
    let elsewhere = pair.sandbox.path().join("elsewhere");
    fs::create_dir(&elsewhere).unwrap();
    fs::write(elsewhere.join("x"), &pair.root).unwrap();
    symlink(&elsewhere, heads.join("team")).unwrap();
    let git = |name: &str| pair.upstream.git(&["rev-parse", name]);
    assert_eq!(
        (git("alias"), git("same-file")),
        (pair.tip.clone(), pair.tip.clone())
    );
    assert_eq!(git("team/x"), pair.root);
    let stats = pull_locally(&pair);
    let fate = |name: &str| fate_in(&stats, &format!("refs/heads/{name}"));
    assert_eq!(fate("main"), unchanged(&pair.tip));
    assert_eq!(
        fate("alias"),
        filtered(None, &pair.tip, FilterReason::SymbolicRef)
    );
    assert_eq!(fate("same-file"), created(&pair.tip));
    assert_eq!(fate("team/x"), created(&pair.root));
    let detail = "the source lists no tip for it".to_owned();
    let null = "0".repeat(40);
    assert_eq!(
        fate("dangling"),
        rejected(None, &null, Reason::Unavailable { detail })
    );
}

/// Git's older form of a symbolic ref.
#[cfg(unix)]
#[test]
fn links_at_a_destination_that_are_symbolic_refs() {
    for many in [0, 70] {
        let pair = Pair::in_step();
        let heads = pair.destination.git_dir().join("refs/heads");
        for (link, to) in [("alias", "refs/heads/main"), ("unborn", "refs/heads/none")] {
            std::os::unix::fs::symlink(to, heads.join(link)).unwrap();
            pair.upstream
                .set_ref(&format!("refs/heads/{link}"), &pair.root);
        }
        let names: Vec<_> = (0..many).map(|n| format!("refs/heads/many/{n}")).collect();
        let new = names.iter().map(|name| (name.as_str(), pair.tip.as_str()));
        pair.upstream.set_refs(new);
        // What looks for leftovers can't read a link that leads nowhere.
        let pulled = pair.try_pull(&SyncOptions::default()).unwrap();
        let alias = filtered(&*pair.tip, &pair.root, FilterReason::SymbolicRef);
        assert_eq!(fate_in(&pulled, "refs/heads/alias"), alias);
        let unborn = filtered(None, &pair.root, FilterReason::SymbolicRef);
        assert_eq!(fate_in(&pulled, "refs/heads/unborn"), unborn);
        for (link, to) in [("alias", "refs/heads/main"), ("unborn", "refs/heads/none")] {
            assert_eq!(fs::read_link(heads.join(link)).unwrap().to_str(), Some(to));
        }
    }
}

/// It becomes one after the listing.
#[cfg(unix)]
#[test]
fn a_link_that_is_made_meanwhile_is_not_overwritten() {
    for many in [0, 70] {
        let pair = Pair::in_step();
        let theirs = grow(&pair.upstream, "alias", &[&pair.tip]);
        let names: Vec<_> = (0..many).map(|n| format!("refs/heads/many/{n}")).collect();
        let new = names.iter().map(|name| (name.as_str(), theirs.as_str()));
        pair.upstream.set_refs(new);
        let link = pair.destination.git_dir().join("refs/heads/alias");
        let made = link.clone();
        pair.before_fetch(move || {
            std::os::unix::fs::symlink("refs/heads/main", &made).unwrap();
        });
        let pulled = pair.try_pull(&SyncOptions::default()).unwrap();
        assert_eq!(reason_in(&pulled, "refs/heads/alias"), Reason::Raced);
        assert_eq!(
            fs::read_link(&link).unwrap().to_str(),
            Some("refs/heads/main")
        );
    }
}
