//! Objects that the source can't give, because its own store is damaged or has holes: the refs that need them
//! stay, and the others are pushed in the same request.

use crate::support::git::{ObjectFormat, Repo};
use crate::support::pull::{created, grow, rejected};
use crate::support::push::{PUSHED, Pair};
use refsync::{LocalStore, Outcome, Reason, SyncOptions, sync};
use std::fs;
use std::io::{Seek as _, SeekFrom, Write as _};

const GOOD: &str = "refs/heads/good";
const BAD: &str = "refs/heads/bad";
const BYSTANDER: &str = "refs/heads/bystander";

fn missing(repo: &Repo, id: &str) {
    fs::remove_file(repo.object_file(id)).unwrap();
}

fn unreadable(repo: &Repo, id: &str) {
    missing(repo, id);
    fs::write(repo.object_file(id), "no zlib stream").unwrap();
}

/// Both branches new at the source, `bad` two commits long.
fn two_branches(pair: &Pair) -> (String, String, String) {
    let good = grow(&pair.source, "good", &[&pair.tip]);
    let below = grow(&pair.source, "bad", &[&pair.tip]);
    let bad = grow(&pair.source, "bad", &[&below]);
    (good, below, bad)
}

fn id(repo: &Repo, rev: &str) -> String {
    repo.git(&["rev-parse", rev])
}

/// `bad` is rejected and says which object is at fault; `good` and the bystander go through.
#[track_caller]
fn assert_unavailable(pair: &Pair, good: &str, bad: &str, at_fault: &str) {
    let pushed = pair.push();
    let reason = pushed.reason_of(BAD);
    assert!(matches!(reason, Reason::Unavailable { .. }), "{reason}");
    let text = reason.to_string();
    assert!(text.contains(at_fault), "{text} names {at_fault}");
    assert_eq!(pushed.fate_of(BAD), rejected(None, bad, reason));
    assert_eq!(pushed.fate_of(GOOD), created(good));
    assert_eq!(pushed.asked, PUSHED);
    assert_eq!(pushed.names(), [BYSTANDER, GOOD]);
    assert_eq!(pushed.stats.traffic.objects, 3, "those of the good branch");
}

#[test]
fn an_object_that_is_missing_or_unreadable() {
    for damage in [missing, unreadable] {
        for suffix in [":file", "^{tree}", "^", "^:file", "^^{tree}"] {
            let pair = Pair::in_step();
            let (good, _, bad) = two_branches(&pair);
            let object = id(&pair.source, &format!("{bad}{suffix}"));
            damage(&pair.source, &object);
            assert_unavailable(&pair, &good, &bad, &object);
        }
    }
}

/// Git has the empty tree without any file for it, and pushes it.
#[test]
fn the_empty_tree_needs_no_file() {
    const EMPTY: &str = "4b825dc642cb6eb9a060e54bf8d69288fbee4904";
    for has_all_else in [true, false] {
        let pair = if has_all_else {
            Pair::in_step()
        } else {
            Pair::with_remote(|sandbox, _| sandbox.init_bare("remote.git", ObjectFormat::Sha1))
        };
        let args = ["commit-tree", "-m", "empty", "-p", &pair.tip, EMPTY];
        let empty = pair.source.git(&args);
        pair.source.set_ref(GOOD, &empty);
        assert!(!pair.source.object_file(EMPTY).exists());
        let pushed = pair.push();
        assert_eq!(pushed.fate_of(GOOD), created(&empty));
        pair.remote.fsck();
    }
}

#[test]
fn a_tip_that_is_missing_or_unreadable() {
    for damage in [missing, unreadable] {
        let pair = Pair::in_step();
        let (good, _, bad) = two_branches(&pair);
        damage(&pair.source, &bad);
        let pushed = pair.push();
        let reason = pushed.reason_of(BAD);
        assert!(matches!(reason, Reason::Unavailable { .. }), "{reason}");
        assert!(reason.to_string().contains(&bad), "{reason}");
        assert_eq!(pushed.fate_of(BAD), rejected(None, &bad, reason));
        assert_eq!(pushed.fate_of(GOOD), created(&good));
        assert_eq!(pushed.names(), [BYSTANDER, GOOD]);
    }
}

#[test]
fn a_tip_that_a_ref_would_move_to_is_missing() {
    let pair = Pair::in_step();
    let next = grow(&pair.source, "main", &[&pair.tip]);
    missing(&pair.source, &next);
    let pushed = pair.push();
    let reason = pushed.reason_of("refs/heads/main");
    assert!(matches!(reason, Reason::Unavailable { .. }), "{reason}");
    let main = pushed.fate_of("refs/heads/main");
    assert_eq!(main, rejected(&*pair.tip, &next, reason));
}

#[test]
fn what_an_annotated_tag_is_about_is_missing() {
    let pair = Pair::in_step();
    let blob = pair.source.write_object("blob", b"signed\n");
    let tag = pair.source.tag_annotated("v1", &blob);
    missing(&pair.source, &blob);
    let pushed = pair.push();
    let reason = pushed.reason_of("refs/tags/v1");
    assert!(matches!(reason, Reason::Unavailable { .. }), "{reason}");
    assert_eq!(pushed.fate_of("refs/tags/v1"), rejected(None, &tag, reason));
    assert_eq!(pushed.names(), [BYSTANDER]);
}

/// Every other object of the pack can be read.
#[test]
fn an_entry_of_a_pack_that_is_corrupt() {
    let pair = Pair::in_step();
    let (good, _, bad) = two_branches(&pair);
    let blob = id(&pair.source, &format!("{bad}:file"));
    pair.source.git(&["repack", "-a", "-d", "--quiet"]);
    corrupt_packed(&pair.source, &blob);
    assert_unavailable(&pair, &good, &bad, &blob);
}

/// Writes over what follows the entry's header.
fn corrupt_packed(repo: &Repo, id: &str) {
    let packs = repo.git_dir().join("objects/pack");
    let paths = fs::read_dir(packs)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let pack = paths
        .filter(|path| path.extension().is_some_and(|ext| ext == "pack"))
        .find(|path| path.exists())
        .expect("a pack");
    let index = pack.with_extension("idx");
    let listed = repo.git(&["verify-pack", "-v", &index.to_string_lossy()]);
    let line = listed.lines().find(|line| line.starts_with(id)).unwrap();
    let words: Vec<_> = line.split_whitespace().collect();
    let (length, offset): (u64, u64) = (words[3].parse().unwrap(), words[4].parse().unwrap());
    let copy = fs::read(&pack).unwrap();
    fs::remove_file(&pack).unwrap();
    fs::write(&pack, copy).unwrap();
    let mut file = fs::OpenOptions::new().write(true).open(&pack).unwrap();
    file.seek(SeekFrom::Start(offset + length - 6)).unwrap();
    file.write_all(b"broken").unwrap();
}

#[test]
fn every_branch_damaged_is_no_error_but_a_rejection_each() {
    let pair = Pair::in_step();
    pair.source.delete_ref(BYSTANDER);
    let branches = pair.branches("bad", 4);
    for (_, commit) in &branches {
        let tree = id(&pair.source, &format!("{commit}^{{tree}}"));
        missing(&pair.source, &tree);
    }
    let files = pair.remote.files();
    let pushed = pair.push();
    for (name, _) in &branches {
        let reason = pushed.reason_of(name);
        assert!(matches!(reason, Reason::Unavailable { .. }), "{reason}");
    }
    assert_eq!(pushed.asked, ["info/refs"]);
    assert_eq!(pair.remote.files(), files);
}

/// The object is whole, and another one than its name says. Only the remote finds out.
#[test]
fn an_object_that_is_another_one_than_its_name_says() {
    let pair = Pair::in_step();
    let (good, _, bad) = two_branches(&pair);
    let blob = id(&pair.source, &format!("{bad}:file"));
    let other = pair.source.write_object("blob", b"another one\n");
    missing(&pair.source, &blob);
    fs::copy(
        pair.source.object_file(&other),
        pair.source.object_file(&blob),
    )
    .unwrap();
    let pushed = pair.push();
    let reason = pushed.reason_of(BAD);
    assert!(
        matches!(reason, Reason::Unavailable { .. } | Reason::Remote { .. }),
        "{reason}"
    );
    assert_eq!(pushed.fate_of(BAD), rejected(None, &bad, reason));
    assert_eq!(pushed.fate_of(GOOD), created(&good));
}

/// A source with `main` down to its tip only.
fn shallow(pair: &Pair) -> LocalStore {
    let url = format!("file://{}", pair.source.path.display());
    let args = [
        "clone",
        "--quiet",
        "--bare",
        "--depth=1",
        "--no-single-branch",
    ];
    pair.sandbox
        .git(&[&args[..], &[&url, "shallow.git"]].concat());
    LocalStore::open(pair.sandbox.path().join("shallow.git")).unwrap()
}

#[test]
fn a_shallow_source_gives_what_is_above_its_boundary() {
    let pair = Pair::in_step();
    shallow(&pair);
    let clone = pair.sandbox.repo("shallow.git");
    let ahead = grow(&clone, "main", &[&pair.tip]);
    let local = LocalStore::open(&clone.path).unwrap();
    let stats = sync(&local, &pair.destination(), &SyncOptions::default()).unwrap();
    assert_eq!(
        stats.find("refs/heads/main").unwrap().after.to_string(),
        ahead
    );
    assert_eq!(id(&pair.remote, "main"), ahead);
    pair.remote.fsck();
}

#[test]
fn a_shallow_source_cannot_give_what_is_below_its_boundary() {
    let pair = Pair::in_step();
    pair.remote.delete_ref("refs/heads/main");
    pair.remote.set_ref("refs/tags/base", &pair.root);
    let local = shallow(&pair);
    let stats = sync(&local, &pair.destination(), &SyncOptions::default()).unwrap();
    let main = stats.find("refs/heads/main").unwrap();
    let reason = main.outcome.rejection().unwrap();
    assert!(matches!(reason, Reason::Unavailable { .. }), "{reason}");
    assert_eq!(stats.find(BYSTANDER).unwrap().outcome.rejection(), None);
    let held = pair.remote.for_each_ref();
    let names: Vec<_> = held.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, [BYSTANDER, "refs/tags/base"]);
    pair.remote.fsck();
}

/// The receiver has it, so it is of use for a delta only, and there is none without it.
#[test]
fn an_unreadable_base_costs_nobody_anything() {
    let pair = Pair::in_step();
    let noise = crate::support::wire::noise(20_000);
    let files = |last: &str| [("big", format!("{noise}{last}"))];
    let commit = |parent: &str, last: &str, date| {
        let files = files(last).map(|(name, content)| (name, content.leak() as &str));
        pair.source.commit("main", &[parent], last, &files, date)
    };
    let old = commit(&pair.tip, "one", 1_700_000_100);
    pair.push();
    let new = commit(&old, "two", 1_700_000_200);
    let base = id(&pair.source, &format!("{old}:big"));
    let path = pair.source.object_file(&base);
    let mut content = fs::read(&path).unwrap();
    content.truncate(content.len() / 2);
    fs::remove_file(&path).unwrap();
    fs::write(&path, content).unwrap();
    let good = grow(&pair.source, "good", &[&pair.tip]);
    let pushed = pair.push();
    assert_eq!(
        pushed.stats.find("refs/heads/main").unwrap().outcome,
        &Outcome::Updated
    );
    assert_eq!(pushed.fate_of(GOOD), created(&good));
    assert_eq!(id(&pair.remote, "main"), new);
}

/// Commits below a destination's boundary are behind its tips, and yet it doesn't have them.
#[test]
fn a_shallow_destination_is_given_what_it_lacks() {
    let clone = |sandbox: &crate::support::Sandbox, source: &Repo| {
        let url = format!("file://{}", source.path.display());
        sandbox.git(&["clone", "-q", "--bare", "--depth=1", &url, "remote.git"]);
        sandbox.repo("remote.git")
    };
    for over_http in [true, false] {
        let pair = Pair::with_remote(clone);
        let topic = grow(&pair.source, "topic", &[&pair.root]);
        let main = grow(&pair.source, "main", &[&pair.tip]);
        let options = SyncOptions::default();
        let stats = if over_http {
            pair.try_push(&options).unwrap()
        } else {
            let source = LocalStore::open(&pair.source.path).unwrap();
            let destination = LocalStore::open(&pair.remote.path).unwrap();
            sync(&source, &destination, &options).unwrap()
        };
        assert_eq!(stats.count(Outcome::is_updated), 3, "{:?}", stats.refs);
        assert_eq!(id(&pair.remote, "topic"), topic);
        assert_eq!(id(&pair.remote, "main"), main);
        pair.remote.fsck();
    }
}
