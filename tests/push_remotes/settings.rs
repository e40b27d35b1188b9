//! Settings of the remote that forbid a push or part of it, and some that don't.

use crate::support::git::Repo;
use crate::support::pull::{copy, created, grow, moved, rejected};
use crate::support::push::{LOOKED_AGAIN, PUSHED, Pair};
use crate::support::wire::noise;
use refsync::{Reason, SyncOptions};
use std::fs;

const MAIN: &str = "refs/heads/main";
const BYSTANDER: &str = "refs/heads/bystander";
const DATE: i64 = 1_700_000_000;

fn remote(text: &str) -> Reason {
    Reason::Remote { text: text.into() }
}

#[test]
fn what_forbids_forced_updates_and_deletions_forbids_nothing_of_ours() {
    let pair = Pair::in_step();
    pair.set("receive.denyNonFastForwards", "true");
    pair.set("receive.denyDeletes", "true");
    pair.remote.set_ref("refs/tags/v1", &pair.root);
    pair.remote.set_ref("refs/heads/ours", &pair.root);
    pair.source.set_ref("refs/tags/v1", &pair.tip);
    let ahead = grow(&pair.source, "main", &[&pair.tip]);
    let pushed = pair.push();
    assert_eq!(pushed.fate_of(MAIN), moved(&pair.tip, &ahead));
    assert_eq!(pushed.fate_of("refs/tags/v1"), moved(&pair.root, &pair.tip));
    assert_eq!(pushed.asked, PUSHED);
}

#[test]
fn refs_that_the_remote_hides_are_refused() {
    let pair = Pair::in_step();
    pair.set("transfer.hideRefs", "refs/heads/hidden");
    pair.remote.set_ref("refs/heads/hidden/here", &pair.root);
    for name in ["refs/heads/hidden/here", "refs/heads/hidden/new"] {
        pair.source.set_ref(name, &pair.tip);
    }
    let pushed = pair.push_to_any(&SyncOptions::default());
    for name in ["refs/heads/hidden/here", "refs/heads/hidden/new"] {
        let fate = rejected(None, &pair.tip, remote("deny updating a hidden ref"));
        assert_eq!(pushed.fate_of(name), fate);
    }
    assert_eq!(pushed.fate_of(BYSTANDER), created(&pair.root));
    assert_eq!(pushed.asked, PUSHED);
    let held = pair.remote.git(&["rev-parse", "refs/heads/hidden/here"]);
    assert_eq!(held, pair.root);
}

#[test]
fn a_pack_that_is_larger_than_the_remote_takes_is_tried_in_halves() {
    let pair = Pair::in_step();
    let branches = pair.branches("small", 7);
    let files = [("noise", &*noise(20_000))];
    let large = pair
        .source
        .commit("large", &[&pair.tip], "large\n", &files, DATE);
    pair.set("receive.maxInputSize", "10000");
    let pushed = pair.push();
    for (name, id) in &branches {
        assert_eq!(pushed.fate_of(name), created(id));
    }
    let reason = pushed.reason_of("refs/heads/large");
    assert!(
        reason.to_string().starts_with("remote: unpacker error"),
        "{reason}"
    );
    assert_eq!(
        pushed.fate_of("refs/heads/large"),
        rejected(None, &large, reason)
    );
    let sizes: Vec<_> = pushed.sent.iter().map(|sent| sent.names.len()).collect();
    assert_eq!(sizes, [9, 1, 2, 1, 1, 2, 4]);
    assert_eq!(pushed.asked.len(), 8);
}

/// A commit whose tree has an entry that `fsck` calls an error, though it can be read.
fn faulty(pair: &Pair) -> String {
    let blob = pair.source.write_object("blob", b"[core]\n");
    let id = refsync::ObjectId::from_hex(blob.as_bytes()).unwrap();
    let entry = [b"100644 .git\0", id.as_bytes()].concat();
    let tree = pair.source.write_object("tree", &entry);
    let args = ["commit-tree", &tree, "-p", &pair.tip, "-m", "faulty"];
    let commit = pair.source.git(&args);
    pair.source.write_ref("refs/heads/faulty", &commit);
    commit
}

#[test]
fn an_object_that_the_remote_checks_and_finds_faulty() {
    for unpack_limit in ["1", "100"] {
        let pair = Pair::in_step();
        pair.set("receive.fsckObjects", "true");
        pair.set("receive.unpackLimit", unpack_limit);
        let branches = pair.branches("good", 4);
        let commit = faulty(&pair);
        let pushed = pair.push();
        for (name, id) in &branches {
            assert_eq!(pushed.fate_of(name), created(id));
        }
        let reason = pushed.reason_of("refs/heads/faulty");
        assert!(
            reason.to_string().starts_with("remote: unpacker error"),
            "{reason}"
        );
        assert_eq!(
            pushed.fate_of("refs/heads/faulty"),
            rejected(None, &commit, reason)
        );
        assert!(!holds(&pair.remote, &commit), "its objects stay out");
        let sizes: Vec<_> = pushed.sent.iter().map(|sent| sent.names.len()).collect();
        assert_eq!(sizes, [6, 1, 2, 1, 1, 2, 1]);
    }
}

fn holds(repo: &Repo, id: &str) -> bool {
    repo.try_git(&["cat-file", "-e", id]).status.success()
}

#[test]
fn a_ref_that_somebody_holds_locked() {
    let pair = Pair::in_step();
    let ahead = grow(&pair.source, "main", &[&pair.tip]);
    let lock = pair.remote.path.join("refs/heads/main.lock");
    pair.script(move |head| {
        match crate::support::push::is_push(head) {
            true => fs::write(&lock, "").unwrap(),
            false => drop(fs::remove_file(&lock)),
        }
        None
    });
    let pushed = pair.push();
    let reason = pushed.reason_of(MAIN);
    assert!(matches!(reason, Reason::Remote { .. }), "{reason}");
    assert_eq!(pushed.fate_of(MAIN), rejected(&*pair.tip, &ahead, reason));
    assert_eq!(pushed.asked, LOOKED_AGAIN, "it could have been a race");
}

/// It lists the tips of the repository that it borrows from as `.have`.
#[test]
fn what_the_remote_borrows_is_not_sent() {
    let pair = Pair::in_step();
    let borrowed = grow(&pair.source, "borrowed", &[&pair.tip]);
    let other = pair
        .sandbox
        .init_bare("other.git", crate::support::ObjectFormat::Sha1);
    copy(&pair.source, &other);
    let ahead = grow(&pair.source, "borrowed", &[&borrowed]);
    let objects = format!("{}\n", other.path.join("objects").display());
    fs::write(pair.remote.path.join("objects/info/alternates"), objects).unwrap();
    let pushed = pair.push();
    assert_eq!(pushed.fate_of("refs/heads/borrowed"), created(&ahead));
    assert_eq!(
        pushed.stats.traffic.objects, 3,
        "without those of the other repository"
    );
}

#[test]
fn a_small_change_to_a_large_file_is_a_small_push() {
    for unpack_limit in ["1", "100"] {
        let pair = Pair::in_step();
        pair.set("receive.unpackLimit", unpack_limit);
        let mut text = noise(100_000);
        let commit = |parent: &str, text: &str| {
            let files = [("large", text)];
            pair.source
                .commit("main", &[parent], "large\n", &files, DATE)
        };
        let first = commit(&pair.tip, &text);
        pair.push();
        text.insert_str(50_000, "a word");
        let second = commit(&first, &text);
        let pushed = pair.push();
        assert_eq!(pushed.fate_of(MAIN), moved(&first, &second));
        assert_eq!(pushed.stats.traffic.objects, 3);
        let sent = pushed.stats.traffic.bytes_sent;
        assert!(sent < 3_000, "{sent} bytes for a delta");
    }
}

/// Its history ends somewhere, so what it has is not all of what is behind its tips.
#[test]
fn a_shallow_remote_is_pushed_to_above_its_boundary() {
    let pair = Pair::with_remote(|sandbox, source| {
        let url = format!("file://{}", source.path.display());
        sandbox.git(&[
            "clone",
            "--quiet",
            "--bare",
            "--depth=1",
            &url,
            "remote.git",
        ]);
        sandbox.repo("remote.git")
    });
    pair.source.delete_ref(BYSTANDER);
    let ahead = grow(&pair.source, "main", &[&pair.tip]);
    let pushed = pair.push();
    assert_eq!(pushed.fate_of(MAIN), moved(&pair.tip, &ahead));
    assert_eq!(pushed.stats.traffic.objects, 3);
}
