//! Journals as they are written and read, and what they tell.

use refsync::ObjectFormat;

use super::*;
use crate::records::RefAction;

fn id(digit: char) -> ObjectId {
    let hex = digit.to_string().repeat(40);
    ObjectId::from_hex(hex.as_bytes()).expect("an id")
}

fn refs(refs: &[(&str, char)]) -> Refs {
    let pair = |(name, tip): &(&str, char)| (BString::from(*name), id(*tip));
    refs.iter().map(pair).collect()
}

#[test]
fn a_journal_is_read_as_it_was_written() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("r.refs");
    assert!(Journal::read(&path).expect("read").is_none());
    for refs in [
        refs(&[]),
        refs(&[("refs/heads/a b", '1'), ("refs/tags/x", '2')]),
    ] {
        let run = "sync_1".to_owned();
        Journal {
            run,
            refs: refs.clone(),
        }
        .write(&path)
        .expect("written");
        let read = Journal::read(&path).expect("read").expect("a journal");
        assert_eq!((read.run.as_str(), read.refs), ("sync_1", refs));
    }
    let whole = fs::read(&path).expect("text");
    for cut in 0..whole.len() {
        assert!(Journal::parse(&whole[..cut]).is_none(), "{cut}");
    }
    Journal::remove(&path).expect("removed");
    Journal::remove(&path).expect("nothing to remove");
    assert!(Journal::read(&path).expect("read").is_none());
}

#[test]
fn changes_are_what_differs() {
    let before = refs(&[
        ("refs/heads/a", '1'),
        ("refs/heads/b", '1'),
        ("refs/heads/c", '1'),
    ]);
    let after = refs(&[
        ("refs/heads/b", '2'),
        ("refs/heads/c", '1'),
        ("refs/heads/d", '3'),
    ]);
    let found = changes(&before, &after);
    let found: Vec<_> = found
        .iter()
        .map(|u| (u.bookmark.as_str(), u.action))
        .collect();
    let expected = [
        ("b", RefAction::Updated),
        ("d", RefAction::Created),
        ("a", RefAction::Deleted),
    ];
    assert_eq!(found, expected);
}

#[test]
fn a_keeper_without_a_place_to_write_cancels_the_attempt() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = LocalStore::init(folder.path().join("r.git"), ObjectFormat::Sha1).expect("a store");
    let keeper = |path: PathBuf| {
        let cancel = Arc::new(AtomicBool::new(false));
        let keeper = Keeper::new(path, "sync_1".into(), store.clone(), Arc::clone(&cancel));
        (keeper, cancel)
    };
    let (kept, cancel) = keeper(folder.path().join("r.refs"));
    kept.advance(Phase::Receive, 0, None);
    assert!(!folder.path().join("r.refs").exists());
    kept.advance(Phase::Apply, 0, Some(1));
    assert!(folder.path().join("r.refs").exists() && !cancel.load(Ordering::Relaxed));
    assert!(kept.failure().is_none());

    let (failed, cancel) = keeper(folder.path().join("gone/r.refs"));
    failed.advance(Phase::Apply, 0, Some(1));
    assert!(cancel.load(Ordering::Relaxed) && failed.failure().is_some());
}

#[test]
fn an_older_journal_stays() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = LocalStore::init(folder.path().join("r.git"), ObjectFormat::Sha1).expect("a store");
    let path = folder.path().join("r.refs");
    let older = refs(&[("refs/heads/a", '1')]);
    let run = "sync_1".to_owned();
    Journal {
        run,
        refs: older.clone(),
    }
    .write(&path)
    .expect("written");
    let keeper = Keeper::new(path.clone(), "sync_2".into(), store, Arc::default());
    keeper.advance(Phase::Apply, 0, Some(1));
    let read = Journal::read(&path).expect("read").expect("a journal");
    assert_eq!((read.run.as_str(), read.refs), ("sync_1", older));
}
