//! Holes in the destination's history: nothing moves that might not be a fast-forward.

use crate::support::git::ObjectFormat;
use crate::support::pull::{FETCHED, LISTED, Pair, created, grow, moved, rejected};
use refsync::Reason;
use std::fs;

const MAIN: &str = "refs/heads/main";

/// `main` at the destination two commits ahead of what both ends know, every object loose.
fn ahead_at_the_destination() -> (Pair, String, String) {
    let pair = Pair::in_step();
    let hole = grow(&pair.destination, "main", &[&pair.tip]);
    let tip = grow(&pair.destination, "main", &[&hole]);
    (pair, hole, tip)
}

/// Nothing of the upstream's new `main` is in the history that the destination has.
fn unrelated(pair: &Pair) -> String {
    pair.upstream
        .commit("main", &[], "unrelated\n", &[("u", "1")], 1)
}

fn shallow() -> Pair {
    Pair::with_destination(|sandbox, upstream| {
        let url = format!("file://{}", upstream.path.display());
        sandbox.git(&["clone", "--quiet", "--bare", "--depth=1", &url, "down.git"]);
        let destination = sandbox.repo("down.git");
        assert!(destination.git_dir().join("shallow").exists());
        destination
    })
}

#[test]
fn a_branch_of_a_shallow_destination_stays_where_the_boundary_hides_the_answer() {
    let pair = shallow();
    let theirs = pair
        .upstream
        .commit("main", &[&pair.root], "other\n", &[], 1);
    let pulled = pair.pull();
    assert_eq!(
        pulled.fate_of(MAIN),
        rejected(&*pair.tip, &theirs, Reason::HistoryUnknown)
    );
}

#[test]
fn a_branch_of_a_shallow_destination_is_fast_forwarded_above_the_boundary() {
    let pair = shallow();
    let boundary = fs::read(pair.destination.git_dir().join("shallow")).unwrap();
    let ahead = grow(&pair.upstream, "main", &[&pair.tip]);
    let pulled = pair.pull();
    assert_eq!(pulled.fate_of(MAIN), moved(&pair.tip, &ahead));
    assert_eq!(pulled.asked, FETCHED);
    let after = fs::read(pair.destination.git_dir().join("shallow")).unwrap();
    assert_eq!(after, boundary, "the boundary is the destination's own");
}

#[test]
fn a_branch_with_a_commit_missing_behind_it_stays() {
    let (pair, hole, tip) = ahead_at_the_destination();
    let theirs = unrelated(&pair);
    fs::remove_file(pair.destination.object_file(&hole)).unwrap();
    let pulled = pair.pull();
    assert_eq!(
        pulled.fate_of(MAIN),
        rejected(&*tip, &theirs, Reason::HistoryUnknown)
    );
}

#[test]
fn a_branch_with_a_corrupt_commit_behind_it_stays() {
    let (pair, hole, tip) = ahead_at_the_destination();
    let theirs = unrelated(&pair);
    let file = pair.destination.object_file(&hole);
    fs::remove_file(&file).unwrap();
    fs::write(&file, "no zlib stream").unwrap();
    let pulled = pair.pull();
    assert_eq!(
        pulled.fate_of(MAIN),
        rejected(&*tip, &theirs, Reason::HistoryUnknown)
    );
}

#[test]
fn a_branch_whose_tip_is_missing_stays() {
    let (pair, _, tip) = ahead_at_the_destination();
    let theirs = grow(&pair.upstream, "main", &[&pair.tip]);
    fs::remove_file(pair.destination.object_file(&tip)).unwrap();
    let pulled = pair.pull();
    assert_eq!(
        pulled.fate_of(MAIN),
        rejected(&*tip, &theirs, Reason::HistoryUnknown)
    );
}

#[test]
fn a_missing_tip_that_the_upstream_has_comes_back_with_the_pull() {
    let pair = Pair::in_step();
    let lost = grow(&pair.upstream, "main", &[&pair.tip]);
    let ahead = grow(&pair.upstream, "main", &[&lost]);
    pair.destination.write_ref(MAIN, &lost);
    let pulled = pair.pull();
    assert_eq!(pulled.fate_of(MAIN), moved(&lost, &ahead));
    pair.destination.fsck();
}

#[test]
fn a_ref_file_that_cannot_be_read_stays_as_it_is() {
    for content in ["", "0123", "ref: ", "\0\0\0\0"] {
        let pair = Pair::in_step();
        grow(&pair.upstream, "main", &[&pair.tip]);
        let file = pair.destination.git_dir().join(MAIN);
        fs::write(&file, content).unwrap();
        let pulled = pair.pull_into_any(&Default::default());
        let main = pulled.stats.find(MAIN).unwrap();
        assert!(main.outcome.is_rejected(), "{content:?}: {main:?}");
        assert_eq!(fs::read_to_string(&file).unwrap(), content);
        let bystander = pulled.stats.find("refs/heads/bystander").unwrap();
        assert!(bystander.outcome.is_updated());
    }
}

/// It has the tip without what is behind it.
#[test]
fn the_refs_of_a_shallow_alternate_vouch_for_nothing() {
    let pair = Pair::with_destination(|sandbox, upstream| {
        let url = format!("file://{}", upstream.path.display());
        sandbox.git(&["clone", "-q", "--bare", "--depth=1", &url, "shallow.git"]);
        let destination = sandbox.init_bare("down.git", ObjectFormat::Sha1);
        let objects = sandbox.path().join("shallow.git/objects");
        let alternates = destination.path.join("objects/info/alternates");
        fs::write(alternates, format!("{}\n", objects.display())).unwrap();
        destination
    });
    let shallow = pair.sandbox.repo("shallow.git");
    assert_eq!(shallow.git(&["rev-parse", "main"]), pair.tip);
    let pulled = pair.pull();
    assert_eq!(pulled.fate_of("refs/heads/main"), created(&pair.tip));
    assert_eq!(pulled.asked, FETCHED);
    pair.destination.fsck();
}

/// The same with all of its history is not sent again.
#[test]
fn the_refs_of_an_alternate_vouch_for_what_is_behind_them() {
    let pair = Pair::with_destination(|sandbox, upstream| {
        let destination = sandbox.init_bare("down.git", ObjectFormat::Sha1);
        let objects = upstream.path.join("objects");
        let alternates = destination.path.join("objects/info/alternates");
        fs::write(alternates, format!("{}\n", objects.display())).unwrap();
        destination
    });
    let pulled = pair.pull();
    assert_eq!(pulled.fate_of("refs/heads/main"), created(&pair.tip));
    assert_eq!(pulled.asked, LISTED);
}
