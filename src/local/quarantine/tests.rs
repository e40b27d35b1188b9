use std::path::Path;

use super::*;
use crate::{
    LocalStore, SyncOptions,
    test_support::{git_cli, test_store},
};

/// Writes a commit that no ref reaches, with a tree and a blob of its own.
fn commit(store: &Path, content: &str, parents: &[gix::ObjectId]) -> gix::ObjectId {
    let write = |kind, content: &[u8]| {
        let id = git_cli::git(
            store,
            &["hash-object", "-t", kind, "-w", "--stdin"],
            content,
        );
        gix::ObjectId::from_hex(id.trim_end().as_bytes()).expect("hex")
    };
    let blob = write("blob", content.as_bytes());
    let tree = write("tree", &test_store::tree(&[("100644", "file", blob)]));
    write("commit", &test_store::commit(tree, parents))
}

#[test]
fn unreferenced_objects_are_listed_once_and_not_for_a_discarded_pack() {
    let [folder, source] = [(); 2].map(|()| tempfile::tempdir().expect("a folder"));
    let [store, _] = [&folder, &source]
        .map(|folder| LocalStore::init(folder.path(), ObjectFormat::Sha1).expect("a store"));
    let first = commit(folder.path(), "first", &[]);
    let second = commit(folder.path(), "second", &[]);
    commit(source.path(), "second", &[]);
    let sent = commit(source.path(), "sent", &[second]);
    let revs = format!("{sent}\n^{second}\n");
    let pack = source.path().join("sent");
    let arguments = ["pack-objects", "--revs", "-q", &pack.to_string_lossy()];
    let name = git_cli::git(source.path(), &arguments, revs.as_bytes());
    let pack = std::fs::read(format!("{}-{}.pack", pack.display(), name.trim_end())).expect("one");

    let context = SyncContext::new(&SyncOptions::default());
    let mut quarantine = store.quarantine(&context).expect("a quarantine");
    let listed = |quarantine: &mut LocalQuarantine, tip| {
        let faults = quarantine.find_incomplete(&[ObjectId(tip)], &context);
        assert_eq!(faults.expect("a walk"), []);
        quarantine.unreferenced.ids.len()
    };
    assert_eq!(
        listed(&mut quarantine, first),
        3,
        "a commit, a tree, a blob"
    );
    assert_eq!(listed(&mut quarantine, first), 3);
    // A source that gave up has sent no pack: there is none to discard.
    quarantine.discard().expect("nothing to drop");
    assert_eq!(quarantine.unreferenced.ids.len(), 3);
    quarantine.receive(&mut &*pack, &context).expect("a pack");
    assert_eq!(listed(&mut quarantine, sent), 6);
    quarantine.discard().expect("a pack to drop");
    assert_eq!(quarantine.unreferenced.ids.len(), 3);
}
