//! Objects that are larger than one may be.

use super::*;

const MOST: u64 = 2000;

/// Receives a pack; the reasons for which objects stay out, and the ids in its index.
fn received(
    store: &Store,
    entries: &Entries,
    window: u64,
    change: impl Fn(&mut SyncOptions),
) -> Result<(Vec<String>, Vec<ObjectId>), Error> {
    let mut options = SyncOptions::default();
    options.limits.object_size = MOST;
    change(&mut options);
    let mut context = SyncContext::new(&options);
    context.tuning.window = window;
    let seen = std::slice::from_ref(&store.objects);
    let dir = QuarantineDir::open(&store.objects, seen, Sharing::Umask)?;
    let pack = entries.pack();
    let received = dir.receive(
        &mut &pack[..],
        &store.odb(),
        true,
        ObjectFormat::Sha1,
        &context,
    )?;
    let mut received = received.expect("objects");
    let odb = Odb::at(dir.objects(), HashKind::Sha1).expect("an object database");
    received.look_at_special(&odb, ObjectFormat::Sha1, &context)?;
    let mut reasons: Vec<_> = received.faulty().values().map(Reason::to_string).collect();
    reasons.sort();
    assert_eq!(received.refused_by_rules(), 0, "{reasons:?}");
    assert!(reasons.is_empty() || received.outside().is_none());
    let index = gix_pack::index::File::at(&received.index, HashKind::Sha1).expect("an index");
    Ok((reasons, index.iter().map(|entry| entry.oid).collect()))
}

fn too_large(kind: Kind, content: &[u8]) -> String {
    let (id, size) = (id(kind, content), content.len());
    format!("too large: {id}, {size} bytes, limit object_size {MOST}")
}

fn noise(length: usize) -> Vec<u8> {
    let hashes = (0..=length / 20).flat_map(|number| {
        let id = id(Kind::Blob, &number.to_be_bytes());
        id.as_bytes().to_vec()
    });
    hashes.take(length).collect()
}

/// Objects of which the first and some others are too large, and deltas that lead from each to the next.
struct Chain {
    entries: Entries,
    contents: Vec<Vec<u8>>,
}

impl Chain {
    /// By distance, or by id.
    fn new(by_id: bool) -> Self {
        let large = noise(MOST as usize + 1);
        let larger = [&large[..], b" and more"].concat();
        let small = larger[..1999].to_vec();
        let again = [&small[..], b"xx"].concat();
        let contents = vec![large, larger, small, again];
        let mut entries = Entries::default();
        let mut start = entries.add(Header::Blob, &contents[0]);
        let own = [
            delta(contents[0].len(), b" and more"),
            delta_of(contents[1].len(), 1999, b""),
            delta(contents[2].len(), b"xx"),
        ];
        for (base, own) in contents.iter().zip(own) {
            let base_distance = entries.bytes.len() as u64 - start;
            let base_id = id(Kind::Blob, base);
            start = if by_id {
                entries.add(Header::RefDelta { base_id }, &own)
            } else {
                entries.add(Header::OfsDelta { base_distance }, &own)
            };
        }
        Chain { entries, contents }
    }
}

#[test]
fn whatever_they_are_built_on_and_is_built_on_them() {
    for by_id in [false, true] {
        let Chain { entries, contents } = Chain::new(by_id);
        let mut expected = [0, 1, 3].map(|at| too_large(Kind::Blob, &contents[at]));
        expected.sort();
        let mut ids: Vec<_> = contents.iter().map(|it| id(Kind::Blob, it)).collect();
        ids.sort();
        for memory in [256 << 20, 20_000] {
            for window in [1, 500, u64::MAX] {
                let found = received(&Store::with(&[]), &entries, window, |options| {
                    options.limits.memory = memory;
                });
                let (reasons, found) = found.expect("a sound pack");
                assert_eq!(reasons, expected, "{by_id} {memory} {window}");
                assert_eq!(found, ids);
            }
        }
    }
}

#[test]
fn an_object_of_just_that_size_is_not() {
    let mut entries = Entries::default();
    let whole = noise(MOST as usize);
    let start = entries.add(Header::Blob, &whole);
    let base_distance = entries.bytes.len() as u64 - start;
    let same_size = [&whole[..1990], b"0123456789"].concat();
    let own = delta_of(whole.len(), 1990, b"0123456789");
    entries.add(Header::OfsDelta { base_distance }, &own);
    let found = received(&Store::with(&[]), &entries, u64::MAX, |_| {});
    let (reasons, ids) = found.expect("a sound pack");
    assert_eq!(reasons, [""; 0]);
    assert!(ids.contains(&id(Kind::Blob, &same_size)));
}

#[test]
fn of_every_kind() {
    let text = String::from_utf8(vec![b'x'; MOST as usize]).expect("ASCII");
    let blob = id(Kind::Blob, b"content");
    let names: Vec<_> = (100..200).map(|name: u32| name.to_string()).collect();
    let names: Vec<_> = names
        .iter()
        .map(|it| (it.as_str(), blob.as_bytes()))
        .collect();
    let tree = tree(&names);
    let commit = [&commit(&id(Kind::Tree, &tree))[..], text.as_bytes()].concat();
    let target = id(Kind::Commit, &commit);
    let tag = format!("object {target}\ntype commit\ntag x\ntagger A <a> 1 +0000\n\n{text}");
    let mut entries = Entries::default();
    entries.add(Header::Blob, b"content");
    entries.add(Header::Tree, &tree);
    entries.add(Header::Commit, &commit);
    entries.add(Header::Tag, tag.as_bytes());
    let mut expected = [
        too_large(Kind::Tree, &tree),
        too_large(Kind::Commit, &commit),
        too_large(Kind::Tag, tag.as_bytes()),
    ];
    expected.sort();
    let (reasons, _) = received(&Store::with(&[]), &entries, 1, |_| {}).expect("a sound pack");
    assert_eq!(reasons, expected);
}

/// Nobody has looked at the tree that another one is a delta of.
#[test]
fn what_is_built_on_one_is_looked_at_as_a_whole() {
    let blob = id(Kind::Blob, b"content");
    let names: Vec<_> = (100..160).map(|name: u32| name.to_string()).collect();
    let mut names: Vec<_> = names
        .iter()
        .map(|it| (it.as_str(), blob.as_bytes()))
        .collect();
    names[0].0 = ".git";
    let large = tree(&names);
    let kept = tree(&names[..1]);
    let mut entries = Entries::default();
    let start = entries.add(Header::Tree, &large);
    let base_distance = entries.bytes.len() as u64 - start;
    let own = delta_of(large.len(), kept.len(), b"");
    entries.add(Header::OfsDelta { base_distance }, &own);
    let store = Store::with(&[]);
    let mut options = SyncOptions::default();
    options.limits.object_size = 1000;
    let (received, _dir) = store.receive(&entries, &options).expect("a pack");
    let faulty = received.faulty();
    assert!(matches!(
        faulty.get(&id(Kind::Tree, &large)),
        Some(Reason::TooLarge { .. })
    ));
    assert!(matches!(
        faulty.get(&id(Kind::Tree, &kept)),
        Some(Reason::Faulty { .. })
    ));
}

/// The receiver's own objects are taken as they are.
#[test]
fn a_base_of_the_store_is_not() {
    let base = noise(3000);
    let store = Store::with(&[(Kind::Blob, &base)]);
    let base_id = id(Kind::Blob, &base);
    let mut entries = Entries::default();
    for kept in [1000, 2500] {
        let own = delta_of(base.len(), kept, b"");
        entries.add(Header::RefDelta { base_id }, &own);
    }
    let (reasons, ids) = received(&store, &entries, u64::MAX, |_| {}).expect("a sound pack");
    assert_eq!(reasons, [too_large(Kind::Blob, &base[..2500])]);
    assert!(ids.contains(&base_id) && ids.contains(&id(Kind::Blob, &base[..1000])));
}

#[test]
fn one_that_git_would_read_for_itself() {
    let mut modules = b"[submodule \"..\"]\n\tpath = a\n#".to_vec();
    modules.resize(MOST as usize + 1, b'x');
    let blob = id(Kind::Blob, &modules);
    let mut entries = Entries::default();
    entries.add(Header::Tree, &tree(&[(".gitmodules", blob.as_bytes())]));
    entries.add(Header::Blob, &modules);
    let found = received(&Store::with(&[]), &entries, u64::MAX, |_| {});
    let (reasons, _) = found.expect("a sound pack");
    assert_eq!(reasons, [too_large(Kind::Blob, &modules)]);
}

/// One that nothing is built on is hashed as it is made, and takes no room.
#[test]
fn they_take_room_on_disk_as_long_as_something_is_built_on_them() {
    for (leads_on, is_enough) in [(false, true), (true, false)] {
        let base = noise(1500);
        let large = [&base[..], &[0; 60_000]].concat();
        let mut entries = Entries::default();
        let start = entries.add(Header::Blob, &base);
        let base_distance = entries.bytes.len() as u64 - start;
        let own = delta(base.len(), &[0; 60_000]);
        let start = entries.add(Header::OfsDelta { base_distance }, &own);
        if leads_on {
            let base_distance = entries.bytes.len() as u64 - start;
            let own = delta_of(large.len(), 500, b"");
            entries.add(Header::OfsDelta { base_distance }, &own);
        }
        let found = received(&Store::with(&[]), &entries, u64::MAX, |options| {
            options.limits.quarantine_bytes = 30_000;
        });
        let reasons = found.map(|(reasons, _)| reasons);
        match (is_enough, reasons) {
            (true, reasons) => {
                assert_eq!(reasons.expect("room"), [too_large(Kind::Blob, &large)]);
            }
            (false, reasons) => {
                let err = reasons.expect_err("no room");
                assert!(err.to_string().contains("quarantine_bytes"), "{err}");
            }
        }
    }
}

#[test]
fn all_that_is_said_of_them_has_a_limit() {
    let Chain { entries, contents } = Chain::new(false);
    let all: u64 = contents.iter().map(|content| content.len() as u64).sum();
    for (limit, is_enough) in [(all, true), (all - 1, false)] {
        let found = received(&Store::with(&[]), &entries, u64::MAX, |options| {
            options.limits.inflated_bytes = limit;
        });
        let told = found.map(drop).map_err(|err| err.to_string());
        match told {
            Ok(()) => assert!(is_enough),
            Err(text) => assert!(!is_enough && text.contains("inflated_bytes"), "{text}"),
        }
    }
}
