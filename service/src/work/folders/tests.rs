//! Folders that are made at the first need, and never again.

use std::collections::BTreeMap;

use super::*;
use crate::records::{Name, OrgId, Time};

fn repo(head: Option<&str>) -> Repo {
    Repo {
        id: RepoId::from_bits(7),
        org: OrgId::from_bits(1),
        name: Name::new("r").expect("a name"),
        default_bookmark: "main".into(),
        default_given: false,
        tags: BTreeMap::new(),
        head: head.map(Into::into),
        home: "node".into(),
        home_url: None,
        upstream: None,
        latest_sync: None,
        created_at: Time(0),
    }
}

fn folders() -> (tempfile::TempDir, RepoFolders) {
    let data = tempfile::tempdir().expect("a folder");
    let folders = RepoFolders::open(data.path().join("repos")).expect("folders");
    (data, folders)
}

fn head(folders: &RepoFolders, repo: &Repo) -> String {
    fs::read_to_string(folders.path(&repo.id).join("HEAD")).expect("HEAD")
}

#[test]
fn a_lock_is_held_once() {
    let (_data, folders) = folders();
    let id = RepoId::from_bits(1);
    let lock = folders.lock(&id).expect("a lock");
    assert!(lock.is_some());
    assert!(folders.lock(&id).expect("no lock").is_none());
    assert!(
        folders
            .lock(&RepoId::from_bits(2))
            .expect("a lock")
            .is_some()
    );
    drop(lock);
    assert!(folders.lock(&id).expect("a lock").is_some());
}

#[test]
fn the_first_need_makes_a_folder_and_no_later_one_does() {
    let (_data, folders) = folders();
    let new = repo(None);
    let gone = folders
        .open_or_init(&repo(Some("1")))
        .expect_err("it had a head");
    assert_eq!(gone.kind(), ErrorKind::NotARepository);

    folders.open_or_init(&new).expect("made");
    assert_eq!(head(&folders, &new), "ref: refs/heads/main\n");
    folders.open_or_init(&new).expect("opened");

    fs::remove_dir_all(folders.path(&new.id)).expect("removed");
    let gone = folders.open_or_init(&new).expect_err("it was made before");
    assert_eq!(gone.kind(), ErrorKind::NotARepository);
    assert!(!folders.path(&new.id).exists());
}

#[test]
fn a_folder_without_its_mark_gets_it_at_the_next_use() {
    let (_data, folders) = folders();
    let repo = repo(None);
    folders.open_or_init(&repo).expect("made");
    // The process has died before it wrote the mark.
    folders.write_mark(&repo.id, b"").expect("written");
    folders.open_or_init(&repo).expect("opened");
    fs::remove_dir_all(folders.path(&repo.id)).expect("removed");
    let gone = folders.open_or_init(&repo).expect_err("it was there");
    assert_eq!(gone.kind(), ErrorKind::NotARepository);
}

#[test]
fn a_damaged_folder_is_an_error() {
    let (_data, folders) = folders();
    let repo = repo(None);
    folders.open_or_init(&repo).expect("made");
    // HEAD is the default branch, whatever somebody has made of it.
    fs::write(folders.path(&repo.id).join("HEAD"), "x").expect("written");
    folders.open_or_init(&repo).expect("opened");
    assert_eq!(head(&folders, &repo), "ref: refs/heads/main\n");
    let config = folders.path(&repo.id).join("config");
    let sound = fs::read(&config).expect("read");
    fs::write(&config, "[[[").expect("written");
    let err = folders.open_or_init(&repo).expect_err("config");
    assert_eq!(err.kind(), ErrorKind::NotARepository);
    fs::write(&config, sound).expect("written");
    fs::remove_file(folders.path(&repo.id).join("HEAD")).expect("removed");
    let err = folders.open_or_init(&repo).expect_err("no HEAD");
    assert_eq!(err.kind(), ErrorKind::NotARepository);
}

#[test]
fn head_is_the_default_branch() {
    let (_data, folders) = folders();
    let mut repo = repo(None);
    assert_eq!(folders.point_head(&repo).expect("nothing to do"), None);
    folders.open_or_init(&repo).expect("made");
    repo.default_bookmark = "release/1".into();
    folders.open_or_init(&repo).expect("opened");
    assert_eq!(head(&folders, &repo), "ref: refs/heads/release/1\n");
    let id = "1".repeat(40);
    let packed = format!("{id} refs/heads/release/1\n");
    fs::write(folders.path(&repo.id).join("packed-refs"), packed).expect("written");
    assert_eq!(folders.point_head(&repo).expect("a tip"), Some(id));
    let other = "2".repeat(40);
    fs::create_dir_all(folders.path(&repo.id).join("refs/heads/release")).expect("made");
    let loose = folders.path(&repo.id).join("refs/heads/release/1");
    fs::write(loose, format!("{other}\n")).expect("written");
    assert_eq!(folders.point_head(&repo).expect("a tip"), Some(other));
    for bad in ["", "a\nb", "a b"] {
        assert!(folders.set_head(&repo.id, bad).is_err(), "{bad:?}");
    }
    assert_eq!(folders.head(&repo.id, "../../x").expect("no tip"), None);
}

#[test]
fn only_an_empty_repository_is_replaced() {
    let (_data, folders) = folders();
    let repo = repo(None);
    let replace = || {
        folders
            .replace_empty(&repo, ObjectFormat::Sha256)
            .expect("an answer")
    };
    folders.open_or_init(&repo).expect("made");

    let push = folders.pushing(&repo.id);
    let another = folders.pushing(&repo.id);
    drop(push);
    assert!(replace().is_none(), "a push is under way");
    drop(another);

    for file in [
        "refs/heads/a",
        "packed-refs",
        "objects/pack/x.pack",
        "objects/aa/x",
    ] {
        let path = folders.path(&repo.id).join(file);
        let folder = path.parent().expect("a folder");
        fs::create_dir_all(folder).expect("made");
        fs::write(&path, "").expect("written");
        assert!(replace().is_none(), "{file}");
        fs::remove_file(&path).expect("removed");
    }
    assert!(replace().is_none(), "objects/aa is still there");
    fs::remove_dir(folders.path(&repo.id).join("objects/aa")).expect("removed");

    let store = replace().expect("replaced");
    assert_eq!(store.object_format(), ObjectFormat::Sha256);
    assert_eq!(head(&folders, &repo), "ref: refs/heads/main\n");
    let store = folders.open_or_init(&repo).expect("opened");
    assert_eq!(store.object_format(), ObjectFormat::Sha256);
}

#[test]
fn a_repository_is_removed_when_nobody_works_on_it() {
    let (data, folders) = folders();
    let repo = repo(None);
    folders.open_or_init(&repo).expect("made");
    let lock = folders.lock(&repo.id).expect("a lock");
    assert!(!folders.remove(&repo.id).expect("not yet"));
    drop(lock);
    assert!(folders.remove(&repo.id).expect("removed"));
    let left = fs::read_dir(data.path().join("repos"))
        .expect("a folder")
        .count();
    assert_eq!(left, 0);
}
