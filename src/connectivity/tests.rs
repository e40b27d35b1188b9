//! Stores with very many commits, whose largest pack is read at once if that lacks nothing.

use std::{
    collections::{HashMap, HashSet},
    fmt::Write as _,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use gix::hash::Kind as Hash;
use tempfile::TempDir;

use super::*;
use crate::{
    Progress, SyncOptions,
    history::{
        reachable_from_refs::{ReachableFromRefs, StoreHistory},
        store_commits::StoreCommits,
    },
    stored_packs::odb::Odb,
    test_support::{
        git_cli,
        test_store::{TestStore, commit},
    },
};

const COMMITS: usize = 2000;
/// After so many commits the largest pack is looked at; the next one is complete then, and their trees.
const UNTIL_READ: u64 = 1000;
const VISITED_IN_WHOLE_PACK: u64 = UNTIL_READ + 1 + UNTIL_READ;
/// The number of files in the folder.
const FILES: usize = 9;
/// Enough to read all of the pack, and not enough for that but for everything else.
const MEMORY: u64 = 256 << 20;
const LITTLE_MEMORY: u64 = 3680 << 10;

/// A line.
fn git(directory: &Path, arguments: &[&str], input: &[u8]) -> String {
    git_cli::git(directory, arguments, input).trim().to_owned()
}

/// Each commit changes a file in a folder; `last` is what the last one does beside that.
fn history(files: usize, last: &str) -> TempDir {
    let dir = tempfile::tempdir().expect("a temporary directory");
    git(dir.path(), &["init", "--quiet", "--bare"], b"");
    let mut stream = String::new();
    for number in 0..COMMITS {
        write!(
            stream,
            "commit refs/heads/main\ncommitter A <a> {number} +0000\ndata 0\n"
        )
        .expect("text");
        write!(
            stream,
            "M 100644 inline folder/{}\ndata <<.\n{number}\n.\n\n",
            number % files
        )
        .expect("text");
        if number + 1 == COMMITS {
            stream.push_str(last);
        }
    }
    git(dir.path(), &["fast-import", "--quiet"], stream.as_bytes());
    dir
}

/// A store with no refs that has what `from` has, but for `left_out`, in one pack.
fn store(from: &TempDir, left_out: &str) -> TempDir {
    store_with(from, left_out, &[])
}

fn store_with(from: &TempDir, left_out: &str, options: &[&str]) -> TempDir {
    let list = [
        "cat-file",
        "--batch-all-objects",
        "--batch-check=%(objectname)",
    ];
    let ids = git(from.path(), &list, b"");
    let ids: Vec<_> = ids.lines().filter(|id| *id != left_out).collect();
    let dir = tempfile::tempdir().expect("a temporary directory");
    git(dir.path(), &["init", "--quiet", "--bare"], b"");
    let pack = dir.path().join("objects/pack/pack");
    let pack = [
        "pack-objects",
        "--quiet",
        "--delta-base-offset",
        pack.to_str().expect("text"),
    ];
    let pack = [&pack, options].concat();
    git(from.path(), &pack, ids.join("\n").as_bytes());
    dir
}

#[derive(Default)]
struct Visited(AtomicU64);

impl Progress for Visited {
    fn advance(&self, phase: Phase, _done: u64, total: Option<u64>) {
        if let (Phase::Verify, Some(total)) = (phase, total) {
            self.0.store(total, Relaxed);
        }
    }
}

/// The faults, and how many objects the walk has visited.
fn faults_in(store: &TempDir, tips: &[ObjectId], memory: u64) -> (Vec<(ObjectId, Reason)>, u64) {
    let odb = Odb::at(store.path().join("objects"), Hash::Sha1).expect("a store");
    let (shallow, refused) = (HashSet::new(), HashMap::new());
    let check = Check {
        lookup: &odb,
        shallow: &shallow,
        largest_pack: Some(SelfContainedPack::new(&odb)),
        complete: &mut StoreHistory {
            commits: StoreCommits::new(&odb, None, &shallow),
            reachable: &mut ReachableFromRefs::new(HashSet::new()),
        },
        arrived: None,
        refused: &refused,
        to_freshen: &mut Vec::new(),
        memory: ConnectivityMemory::within(memory),
    };
    let visited = Arc::new(Visited::default());
    let options = SyncOptions {
        progress: Some(visited.clone()),
        ..SyncOptions::default()
    };
    let context = SyncContext::new(&options);
    let faults = find_incomplete(check, tips, &context).expect("not cancelled");
    let for_want_of_memory =
        |(_, reason): &(_, Reason)| reason.to_string().contains("limit `memory`");
    assert_eq!(
        context.doubts_destination(),
        faults.iter().any(for_want_of_memory)
    );
    (faults, visited.0.load(Relaxed))
}

fn id(hex: &str) -> ObjectId {
    ObjectId::from_hex(hex.as_bytes()).expect("an id")
}

#[test]
fn what_a_whole_pack_has_is_not_followed() {
    let history = history(FILES, "");
    let tip = id(&git(history.path(), &["rev-parse", "main"], b""));
    let store = store(&history, "");
    let (faults, visited) = faults_in(&store, &[tip], MEMORY);
    assert_eq!(faults, []);
    assert_eq!(visited, VISITED_IN_WHOLE_PACK);
    // Whatever else is a tip is complete, too.
    let rev = |name: &str| id(&git(history.path(), &["rev-parse", name], b""));
    let others = ["main~1990", "main~1990^{tree}", "main~5"].map(rev);
    let tips = [&[tip], &others[..]].concat();
    let (faults, visited) = faults_in(&store, &tips, MEMORY);
    assert_eq!(faults, []);
    assert_eq!(visited, VISITED_IN_WHOLE_PACK + 3);
    let (faults, visited) = faults_in(&store, &[tip], LITTLE_MEMORY);
    assert_eq!(faults, []);
    assert_eq!(
        visited,
        4 * COMMITS as u64,
        "commits, two trees and a file for each"
    );
}

#[test]
fn there_is_an_end_to_what_is_looked_at() {
    let history = history(FILES, "");
    let tip = id(&git(history.path(), &["rev-parse", "main"], b""));
    let (faults, _) = faults_in(&history, &[tip], 1 << 20);
    assert_eq!(faults.len(), 1);
    let text = faults[0].1.to_string();
    assert!(text.contains("limit `memory`"), "{text}");
}

/// A commit may name any number of parents, over and over.
#[test]
fn there_is_an_end_to_parents() {
    for (commits, is_complete) in [(5, true), (20, false)] {
        let mut store = TestStore::default();
        let tree = store.add(Kind::Tree, b"");
        let mut tip = store.add(Kind::Commit, &commit(tree, &[]));
        for _ in 0..commits {
            tip = store.add(Kind::Commit, &commit(tree, &[tip; 2000]));
        }
        let (folder, ..) = store.write();
        let (faults, _) = faults_in(&folder, &[tip], 1 << 20);
        assert_eq!(faults.is_empty(), is_complete, "{commits} {faults:?}");
    }
}

/// Trees that are no deltas may have any number of entries.
#[test]
fn trees_with_very_much_in_them_are_followed() {
    let history = history(60, "");
    let tip = id(&git(history.path(), &["rev-parse", "main"], b""));
    let store = store_with(&history, "", &["--window=0", "--no-reuse-delta"]);
    for (memory, visits) in [
        (MEMORY, VISITED_IN_WHOLE_PACK),
        (4 << 20, 4 * COMMITS as u64),
    ] {
        let (faults, visited) = faults_in(&store, &[tip], memory);
        assert_eq!(faults, []);
        assert_eq!(visited, visits, "{memory}");
    }
}

#[test]
fn a_very_large_tree_is_followed() {
    let file = |number| format!("M 100644 inline many/{number}\ndata 0\n\n");
    let history = history(FILES, &(0..14_000).map(file).collect::<String>());
    let tip = id(&git(history.path(), &["rev-parse", "main"], b""));
    let store = store(&history, "");
    for (memory, is_read_at_once) in [(MEMORY, true), (4 << 20, false)] {
        let (faults, visited) = faults_in(&store, &[tip], memory);
        assert_eq!(faults, []);
        assert_eq!(
            visited == VISITED_IN_WHOLE_PACK,
            is_read_at_once,
            "{visited}"
        );
    }
}

#[test]
fn what_a_pack_lacks_is_the_fault_of_those_who_need_it() {
    let nested = format!("M 100644 inline {}f\ndata 1\nf\n", "a/".repeat(2048));
    let (plain, nested) = (history(FILES, ""), history(FILES, &nested));
    let rev = |history: &TempDir, name: &str| git(history.path(), &["rev-parse", name], b"");
    // A tree where a file is needed.
    let odd = history(FILES, "");
    let tree = rev(&odd, "main:folder");
    let entry = [&b"100644 odd\0"[..], id(&tree).as_bytes()].concat();
    let literally = ["hash-object", "-w", "--literally", "-t", "tree", "--stdin"];
    let root = git(odd.path(), &literally, &entry);
    let name = ["-c", "user.name=A", "-c", "user.email=a"];
    let commit = [&name[..], &["commit-tree", "-p", "main", &root]].concat();
    let commit = git(odd.path(), &commit, b"");
    git(odd.path(), &["update-ref", "refs/heads/main", &commit], b"");

    let cases = [
        (&plain, rev(&plain, "main~100:folder/1"), "blob", false),
        (&plain, rev(&plain, "main~100:folder"), "tree", false),
        // These are in no tree.
        (&plain, rev(&plain, "main~100^{tree}"), "tree", true),
        (&plain, rev(&plain, "main~100"), "commit", true),
        (
            &odd,
            String::new(),
            "is a tree where a blob is needed",
            false,
        ),
        (
            &nested,
            String::new(),
            "nested more than 2048 levels deep",
            false,
        ),
    ];
    for (history, left_out, expected, are_trees_whole) in cases {
        let tips = ["main~500", "main", "main~1000"].map(|tip| id(&rev(history, tip)));
        let store = store(history, &left_out);
        let (faults, visited) = faults_in(&store, &tips, MEMORY);
        let (as_always, _) = faults_in(&store, &tips, LITTLE_MEMORY);
        assert_eq!(faults, as_always);
        assert_eq!(faults.len(), 1, "{expected}: {faults:?}");
        assert_eq!(faults[0].0, tips[1], "{expected}");
        let text = faults[0].1.to_string();
        assert!(text.contains(expected), "{text}");
        assert!(left_out.is_empty() || text.contains("missing"), "{text}");
        let is_short = visited <= 2 * COMMITS as u64;
        assert_eq!(is_short, are_trees_whole, "{text}: {visited}");
    }
}
