//! Trees that are deltas of others: of these, only what has changed is looked at.

use super::*;
use crate::pack::delta_encode::DeltaBase;

const NULL: [u8; 20] = [0; 20];
/// No `.gitmodules` that git takes.
const BAD_MODULES: &[u8] = b"[submodule \"..\"]\n\turl = a\n";

#[derive(Debug, Clone, Copy)]
enum Stored {
    Whole,
    /// As a delta of the one before, which it names by id.
    RefDelta,
    /// As a delta of the one before, which it names by its distance.
    OfsDelta,
}

/// The trees, the first one whole. The blob comes with them, and an empty one.
fn pack(trees: &[Vec<u8>], blob: &[u8], stored: Stored) -> Entries {
    let mut entries = Entries::default();
    entries.add(Header::Blob, blob);
    entries.add(Header::Blob, b"");
    let mut start = entries.add(Header::Tree, &trees[0]);
    for (base, tree) in trees.iter().zip(&trees[1..]) {
        let base_distance = entries.bytes.len() as u64 - start;
        start = match stored {
            Stored::Whole => entries.add(Header::Tree, tree),
            Stored::RefDelta => add_delta(&mut entries, base, tree),
            Stored::OfsDelta => {
                let delta = DeltaBase::new(base.clone()).encode(tree, usize::MAX);
                let header = Header::OfsDelta { base_distance };
                entries.add(header, &delta.expect("a delta"))
            }
        };
    }
    entries
}

fn add_delta(entries: &mut Entries, base: &[u8], tree: &[u8]) -> u64 {
    let base_id = id(Kind::Tree, base);
    let delta = DeltaBase::new(base.to_vec()).encode(tree, usize::MAX);
    entries.add(Header::RefDelta { base_id }, &delta.expect("a delta"))
}

/// The faulty objects, and whether nothing leads out of the pack.
fn received(store: &Store, entries: &Entries, options: &SyncOptions) -> (Vec<String>, bool) {
    let (mut received, dir) = store.receive(entries, options).expect("a pack");
    let context = SyncContext::new(options);
    let odb = Odb::at(dir.objects(), HashKind::Sha1).expect("the quarantine");
    let looked = received.look_at_special(&odb, ObjectFormat::Sha1, &context);
    looked.expect("readable");
    let outside = received.outside();
    let is_self_contained = outside.is_some_and(|outside| outside.needed.is_empty());
    let faulty = received.faulty().iter();
    let mut faulty: Vec<_> = faulty
        .map(|(id, reason)| format!("{id} {reason}"))
        .collect();
    faulty.sort();
    (faulty, is_self_contained)
}

/// A tree of 20 files, of which the tenth has this name and all have this blob, but for the tenth.
fn twenty(tenth: &str, tenth_id: &[u8], others: &[u8]) -> Vec<u8> {
    let names: Vec<_> = (10..30).map(|number| format!("file-{number}")).collect();
    let mut entries: Vec<_> = names.iter().map(|name| (name.as_str(), others)).collect();
    entries[9] = (tenth, tenth_id);
    entries.sort();
    tree(&entries)
}

#[test]
fn a_delta_has_the_faults_that_the_whole_tree_has() {
    let blob = b"content";
    let here = id(Kind::Blob, blob);
    let (here, bad) = (here.as_bytes(), id(Kind::Blob, BAD_MODULES));
    let empty = id(Kind::Blob, b"");
    let plain = |tenth: &[u8]| twenty("file-19", tenth, here);
    let modules = |tenth: &[u8]| twenty(".gitmodules", tenth, here);
    let git = |tenth: &[u8]| twenty(".git", tenth, here);
    let other_mode = |tree: Vec<u8>| {
        let mut tree = tree;
        tree[0] = b'0';
        tree
    };
    let unsorted = |tenth: &[u8]| [twenty("file-19", tenth, here), plain(here)].concat();
    // The trees, how many of them are faulty, and whether all that they need is there.
    let table = [
        (vec![plain(here), plain(empty.as_bytes())], 0, true),
        (
            vec![plain(here), plain(&NO_BLOB), plain(empty.as_bytes())],
            0,
            false,
        ),
        (vec![plain(here), plain(&NULL)], 1, false),
        (vec![plain(here), plain(&NULL), plain(&NO_BLOB)], 1, false),
        (vec![plain(&NULL), plain(here), plain(&NO_BLOB)], 1, false),
        (vec![modules(here), modules(bad.as_bytes())], 1, false),
        (vec![modules(bad.as_bytes()), modules(here)], 1, false),
        (
            vec![git(here), git(&NO_BLOB), git(empty.as_bytes())],
            3,
            false,
        ),
        (vec![plain(here), other_mode(plain(here))], 1, false),
        (vec![unsorted(here), unsorted(&NO_BLOB)], 2, false),
    ];
    for (at, (trees, faulty, is_closed)) in table.into_iter().enumerate() {
        let store = Store::with(&[(Kind::Blob, BAD_MODULES)]);
        let options = SyncOptions {
            fsck: FsckRules::strict(),
            ..SyncOptions::default()
        };
        let received = |stored| received(&store, &pack(&trees, blob, stored), &options);
        let whole = received(Stored::Whole);
        let (found, was_closed) = &whole;
        assert_eq!(found.len(), faulty, "{at}: {found:?}");
        assert_eq!(*was_closed, is_closed, "{at}");
        for stored in [Stored::RefDelta, Stored::OfsDelta] {
            assert_eq!(received(stored), whole, "{at} {stored:?}");
        }
    }
}

#[test]
fn what_is_said_of_one_object_is_not_said_of_the_next() {
    let here = id(Kind::Blob, b"content");
    let [skipped, other] = [here.as_bytes(), &NO_BLOB].map(|tenth| twenty(".git", tenth, &NO_BLOB));
    let mut options = SyncOptions::default();
    options
        .fsck
        .skip
        .insert(crate::ObjectId(id(Kind::Tree, &skipped)));
    let entries = pack(&[skipped, other.clone()], b"content", Stored::OfsDelta);
    let (faulty, _) = received(&Store::with(&[]), &entries, &options);
    assert_eq!(faulty.len(), 1, "{faulty:?}");
    assert!(faulty[0].starts_with(&id(Kind::Tree, &other).to_string()));

    let mut options = SyncOptions::default();
    let warn = options.fsck.set("hasDotgit", "warn");
    warn.expect("a rule of git's");
    let (faulty, _) = received(&Store::with(&[]), &entries, &options);
    assert_eq!(faulty, Vec::<String>::new());
}

/// Nobody has looked at what the store has, and it may have come there in any way.
#[test]
fn what_a_base_of_the_store_has_is_looked_at_in_what_is_built_on_it() {
    let bad = id(Kind::Blob, BAD_MODULES);
    let [base, one, two] =
        [1, 2, 3].map(|other| twenty(".gitmodules", bad.as_bytes(), &[other; 20]));
    let store = Store::with(&[(Kind::Blob, BAD_MODULES), (Kind::Tree, &base)]);
    let mut entries = Entries::default();
    add_delta(&mut entries, &base, &one);
    add_delta(&mut entries, &one, &two);
    let (faulty, _) = received(&store, &entries, &SyncOptions::default());
    assert_eq!(faulty.len(), 1, "{faulty:?}");
    assert!(faulty[0].starts_with(&bad.to_string()));
}
