//! Tips with something behind them that is larger than one object may be.

use crate::support::pull::{
    LISTED, Pair, created, fate_in, grow, leftovers, moved, reason_in, rejected,
};
use refsync::{LocalStore, Reason, SyncOptions, SyncRunStats, sync};

const MOST: u64 = 100_000;
const FETCHED_TWICE: &[&str] = &["info/refs", "ls-refs", "fetch", "fetch"];

fn options() -> SyncOptions {
    let mut options = SyncOptions::default();
    options.limits.object_size = MOST;
    options
}

/// Lines that don't deflate to next to nothing, of some bytes in all.
fn lines(bytes: usize) -> String {
    let line = |number: u32| format!("{:08x}\n", number.wrapping_mul(2_654_435_761));
    let mut text: String = (0..).map(line).take(bytes / 9 + 1).collect();
    text.truncate(bytes);
    text
}

/// A branch with this file, on `main`.
fn branch(pair: &Pair, name: &str, file: &str) -> String {
    pair.upstream
        .commit(name, &[&pair.tip], name, &[("large", file)], 1_700_000_000)
}

/// The reason that names an object, with the size that git has for it.
fn too_large(pair: &Pair, object: &str) -> Reason {
    let id = pair.upstream.git(&["rev-parse", object]);
    let size = pair.upstream.git(&["cat-file", "-s", &id]);
    Reason::TooLarge {
        detail: format!("{id}, {size} bytes, limit object_size {MOST}"),
    }
}

/// The same into another repository, from the upstream's folder.
fn pull_locally(pair: &Pair) -> SyncRunStats {
    let destination = pair
        .sandbox
        .init_bare("local.git", crate::support::git::ObjectFormat::Sha1);
    let from = LocalStore::open(&pair.upstream.path).expect("a repository");
    let to = LocalStore::open(&destination.path).expect("a repository");
    let stats = sync(&from, &to, &options()).expect("a run that does its work");
    destination.fsck();
    assert_eq!(leftovers(&destination), [""; 0]);
    stats
}

#[test]
fn a_branch_with_a_blob_that_is_too_large_stays_out_alone() {
    let pair = Pair::in_step();
    let good = grow(&pair.upstream, "good", &[&pair.tip]);
    let large = branch(&pair, "large", &lines(150_000));
    let later = grow(&pair.upstream, "later", &[&large]);
    pair.upstream.set_ref("refs/tags/v1", &large);
    let reason = too_large(&pair, "large:large");

    let pulled = pair.pull_with(&options());
    let words = format!(
        "too large: {}",
        pair.upstream.git(&["rev-parse", "large:large"])
    );
    assert_eq!(
        reason.to_string(),
        format!("{words}, 150000 bytes, limit object_size 100000")
    );
    for (name, tip) in [
        ("refs/heads/large", &large),
        ("refs/heads/later", &later),
        ("refs/tags/v1", &large),
    ] {
        assert_eq!(pulled.fate_of(name), rejected(None, tip, reason.clone()));
    }
    assert_eq!(pulled.fate_of("refs/heads/good"), created(&good));
    assert_eq!(pulled.asked, FETCHED_TWICE);
    assert_eq!(pulled.stats.faulty_objects, 0, "no rule speaks against it");
    let found = pair.destination.try_git(&["cat-file", "-e", &large]);
    assert!(!found.status.success(), "it came in");

    let stats = pull_locally(&pair);
    assert_eq!(reason_in(&stats, "refs/heads/later"), reason);
    assert_eq!(fate_in(&stats, "refs/heads/good"), created(&good));
}

/// Git makes the smaller ones deltas of the larger ones.
#[test]
fn what_is_a_delta_of_one_that_is_too_large_comes_in() {
    let pair = Pair::in_step();
    let text = lines(150_000);
    branch(&pair, "large", &text);
    branch(&pair, "larger", &format!("{text}and more\n"));
    let small = branch(&pair, "small", &text[..90_000]);
    let whole = ["-c", "gc.auto=0", "repack", "-adfq"];
    pair.upstream.git(&whole);
    let chains = pair.upstream.git(&[
        "cat-file",
        "--batch-all-objects",
        "--batch-check=%(objectname) %(deltabase)",
    ]);
    let blob = pair.upstream.git(&["rev-parse", "small:large"]);
    let null = "0".repeat(40);
    let as_whole = format!("{blob} {null}");
    assert!(!chains.contains(&as_whole), "it is a delta");

    let pulled = pair.pull_with(&options());
    for name in ["large", "larger"] {
        let reason = too_large(&pair, &format!("{name}:large"));
        assert_eq!(pulled.reason_of(&format!("refs/heads/{name}")), reason);
    }
    assert_eq!(pulled.fate_of("refs/heads/small"), created(&small));
    let stats = pull_locally(&pair);
    assert_eq!(fate_in(&stats, "refs/heads/small"), created(&small));
    let reason = too_large(&pair, "larger:large");
    assert_eq!(reason_in(&stats, "refs/heads/larger"), reason);
}

#[test]
fn trees_commits_and_tags() {
    let pair = Pair::in_step();
    let upstream = &pair.upstream;
    let text = lines(120_000);
    let write = |kind: &str, text: &str| upstream.write_object(kind, text.as_bytes());
    let file = write("blob", "content\n");
    let entries: String = (10_000..14_000)
        .map(|name| format!("100644 blob {file}\t{name}\n"))
        .collect();
    let tree = upstream.git_with_input(&["mktree"], entries.as_bytes());
    let of_tree = upstream.git(&["commit-tree", "-m", "wide", "-p", &pair.tip, &tree]);
    upstream.set_ref("refs/heads/tree", &of_tree);
    let person = "A <a@example.com> 1 +0000";
    let small = upstream.git(&["rev-parse", "main^{tree}"]);
    let head = format!("tree {small}\nparent {}\nauthor {person}", pair.tip);
    let commit = write("commit", &format!("{head}\ncommitter {person}\n\n{text}"));
    upstream.set_ref("refs/heads/commit", &commit);
    let head = format!("object {}\ntype commit\ntag tag\ntagger {person}", pair.tip);
    let tag = write("tag", &format!("{head}\n\n{text}"));
    upstream.set_ref("refs/tags/tag", &tag);

    let pulled = pair.pull_with(&options());
    let locally = pull_locally(&pair);
    for (name, object) in [
        ("refs/heads/tree", &tree),
        ("refs/heads/commit", &commit),
        ("refs/tags/tag", &tag),
    ] {
        assert_eq!(pulled.reason_of(name), too_large(&pair, object));
        assert_eq!(reason_in(&locally, name), too_large(&pair, object));
    }
}

/// The stats of the run before say what was too large, for which limit.
#[test]
fn one_is_fetched_again_once_the_limit_is_another() {
    let pair = Pair::in_step();
    let large = branch(&pair, "large", &lines(150_000));
    let mut options = options();
    options.previous = Some(pair.pull_with(&options).stats);
    let again = pair.pull_with(&options);
    assert_eq!(again.asked, LISTED, "nothing is fetched for it");
    let reason = too_large(&pair, "large:large");
    assert_eq!(again.reason_of("refs/heads/large"), reason);
    options.previous = Some(again.stats);
    options.limits.object_size = 150_000;
    let pulled = pair.pull_with(&options);
    assert_eq!(pulled.fate_of("refs/heads/large"), created(&large));
}

/// The destination has one from a time when it was allowed, and the source sends what is built on it.
#[test]
fn a_base_that_is_there_may_be_of_any_size() {
    let pair = Pair::in_step();
    let text = lines(150_000);
    let old = branch(&pair, "large", &text);
    let pulled = pair.pull();
    assert_eq!(pulled.fate_of("refs/heads/large"), created(&old));
    let on_old = |name: &str, text: &str| {
        let files = [("large", text)];
        pair.upstream
            .commit(name, &[&old], name, &files, 1_700_000_001)
    };
    let small = on_old("small", &text[..90_000]);
    on_old("larger", &format!("{text}and more\n"));
    let pulled = pair.pull_with(&options());
    let reason = too_large(&pair, "larger:large");
    assert_eq!(pulled.reason_of("refs/heads/larger"), reason);
    assert_eq!(pulled.fate_of("refs/heads/small"), created(&small));
    // Either file would be tens of thousands of bytes, if it were sent whole.
    let received = pulled.stats.traffic.bytes_received;
    assert!(received < 10_000, "not on a base that is there: {received}");
}

/// The limit on bases is for what is added to a thin pack, and no pack has to be thin.
#[test]
fn a_pack_on_bases_over_their_limit_is_asked_for_whole() {
    let pair = Pair::in_step();
    let text = lines(150_000);
    let old = branch(&pair, "large", &text);
    pair.pull();
    let files = [("large", &format!("{text}and more\n")[..])];
    let new = pair
        .upstream
        .commit("large", &[&old], "more", &files, 1_700_000_001);
    let mut options = SyncOptions::default();
    options.limits.thin_bases = 100_000;
    let pulled = pair.pull_with(&options);
    assert_eq!(pulled.fate_of("refs/heads/large"), moved(&old, &new));
    let fetches = pulled.asked.iter().filter(|request| *request == "fetch");
    assert_eq!(fetches.count(), 2, "{:?}", pulled.asked);
}
