use gix::{hash::Kind as Hash, object::Kind};

use super::{
    Fsck, FsckRules, Object, Special, assert_as_git,
    objects::{entry, id_of, tree},
};
use crate::object::fsck::MAX_SPECIAL;

const FILE: &str = "100644";
const FOLDER: &str = "40000";

type Row = (&'static str, Object, &'static str);

fn rows(hash: Hash) -> Vec<(String, Vec<Object>, &'static str)> {
    let rows = [names, modes, duplicates, order, damage].map(|rows| rows(hash));
    let rows = rows.into_iter().flatten();
    rows.map(|(row, object, expected)| (row.to_owned(), vec![object], expected))
        .collect()
}

fn raw(parts: &[&[u8]]) -> Object {
    (Kind::Tree, parts.concat())
}

/// Names that a tree may have or not.
fn names(hash: Hash) -> Vec<Row> {
    let of = |entries: &[(&str, &str)]| tree_of(hash, entries);
    vec![
        ("empty", raw(&[]), ""),
        (
            "every mode",
            of(&[
                (FILE, "a"),
                ("100755", "b"),
                ("120000", "c"),
                (FOLDER, "d"),
                ("160000", "e"),
            ]),
            "",
        ),
        (
            "null id",
            raw(&[&entry(FILE, "a", &id_of(0, hash))]),
            "nullSha1",
        ),
        (
            "nearly null id",
            raw(&[b"100644 a\0", &id_of(0, hash)[1..], b"\x01"]),
            "",
        ),
        ("slash", of(&[(FILE, "a/b")]), "fullPathname"),
        ("slash at the start", of(&[(FILE, "/b")]), "fullPathname"),
        (
            "slash at the end",
            of(&[(FILE, "averylongname/")]),
            "fullPathname",
        ),
        ("dot", of(&[(FOLDER, ".")]), "hasDot"),
        ("dot dot", of(&[(FOLDER, "..")]), "hasDotdot"),
        ("dot dot dot", of(&[(FOLDER, "...")]), ""),
        (
            "all the dots",
            of(&[(FILE, "."), (FILE, ".."), (FILE, ".git")]),
            "hasDot hasDotdot hasDotgit",
        ),
    ]
}

/// Modes of entries.
fn modes(hash: Hash) -> Vec<Row> {
    let of = |entries: &[(&str, &str)]| tree_of(hash, entries);
    vec![
        ("padded mode", of(&[("0100644", "a")]), "zeroPaddedFilemode"),
        (
            "padded mode of a folder",
            of(&[(FILE, "a"), ("040000", "b")]),
            "zeroPaddedFilemode",
        ),
        ("group may write", of(&[("100664", "a")]), "badFilemode"),
        ("odd mode", of(&[("100600", "a")]), "badFilemode"),
        ("no kind", of(&[("644", "a")]), "badFilemode"),
        (
            "mode zero",
            of(&[("0", "a")]),
            "badFilemode zeroPaddedFilemode",
        ),
        (
            "mode of more bits than are read",
            of(&[("1100644", "a")]),
            "",
        ),
        ("long mode", of(&[("100000000000100644", "a")]), ""),
    ]
}

/// Entries that occur twice, as files or folders.
fn duplicates(hash: Hash) -> Vec<Row> {
    let of = |entries: &[(&str, &str)]| tree_of(hash, entries);
    vec![
        (
            "same name",
            of(&[(FILE, "a"), (FILE, "a")]),
            "duplicateEntries",
        ),
        (
            "same long name",
            of(&[(FILE, "a-long-name"), (FILE, "a-long-name")]),
            "duplicateEntries",
        ),
        (
            "file and folder",
            of(&[(FILE, "a"), (FOLDER, "a")]),
            "duplicateEntries",
        ),
        (
            "file and folder, apart",
            of(&[(FILE, "a"), (FILE, "a.c"), (FOLDER, "a")]),
            "duplicateEntries",
        ),
        (
            "files and folders, nested",
            of(&[
                (FILE, "foo"),
                (FILE, "foo.bar"),
                (FILE, "foo.bar.baz"),
                (FOLDER, "foo.bar"),
                (FOLDER, "foo"),
            ]),
            "duplicateEntries",
        ),
        (
            "the outer one only",
            of(&[
                (FILE, "foo"),
                (FILE, "foo.bar"),
                (FILE, "foo.bar.baz"),
                (FOLDER, "foo.bar.baz2"),
                (FOLDER, "foo"),
            ]),
            "duplicateEntries",
        ),
        (
            "a candidate that is kept",
            of(&[
                (FILE, "foo"),
                (FILE, "foo.bar.baz"),
                (FOLDER, "foo.bar"),
                (FOLDER, "foo"),
            ]),
            "duplicateEntries",
        ),
        (
            "nothing twice",
            of(&[
                (FILE, "foo"),
                (FILE, "foo.bar"),
                (FOLDER, "foo.baz"),
                (FOLDER, "fop"),
            ]),
            "",
        ),
    ]
}

/// The order of entries.
fn order(hash: Hash) -> Vec<Row> {
    let of = |entries: &[(&str, &str)]| tree_of(hash, entries);
    let id = id_of(0x11, hash);
    vec![
        (
            "out of order",
            of(&[(FILE, "b"), (FILE, "a")]),
            "treeNotSorted",
        ),
        (
            "out of order late",
            of(&[(FILE, "long-prefix-b"), (FILE, "long-prefix-a")]),
            "treeNotSorted",
        ),
        (
            "out of order by length",
            of(&[(FILE, "aa"), (FILE, "a")]),
            "treeNotSorted",
        ),
        (
            "folder as file",
            of(&[(FOLDER, "a"), (FILE, "a.c")]),
            "treeNotSorted",
        ),
        (
            "folder behind file",
            of(&[(FILE, "a.c"), (FOLDER, "a")]),
            "",
        ),
        (
            "folder before digit",
            of(&[(FOLDER, "a"), (FILE, "a0")]),
            "",
        ),
        (
            "unsigned order",
            raw(&[&entry(FILE, "z", &id), &entry(FILE, b"\xc3", &id)]),
            "",
        ),
        (
            "unordered and twice",
            of(&[(FILE, "b"), (FILE, "a"), (FILE, "a")]),
            "duplicateEntries treeNotSorted",
        ),
    ]
}

/// Lengths, and trees that are cut off or no trees.
fn damage(hash: Hash) -> Vec<Row> {
    let of = |entries: &[(&str, &str)]| tree_of(hash, entries);
    let id = id_of(0x11, hash);
    let file = |name: &str| entry(FILE, name, &id);
    let long = |len: usize| entry(FILE, "x".repeat(len), &id);
    let cut = |tree: Vec<u8>, by: usize| (Kind::Tree, tree[..tree.len() - by].to_vec());
    vec![
        ("long name", raw(&[&long(4096)]), ""),
        ("longer name", raw(&[&long(4097)]), "largePathname"),
        ("cut off in the id", cut(file("a"), 1), "badTree"),
        (
            "cut off in the second id",
            cut([file("a"), file("b")].concat(), 1),
            "badTree",
        ),
        ("id too long", raw(&[&file("a"), b"\0"]), "badTree"),
        ("no id", raw(&[b"100644 a\0"]), "badTree"),
        ("no name", raw(&[&entry(FILE, "", &id)]), "badTree"),
        (
            "no name in the second",
            raw(&[&file("a"), &entry(FILE, "", &id)]),
            "badTree",
        ),
        ("no end of the name", raw(&[b"100644 a", &id]), "badTree"),
        ("no mode", raw(&[b" a\0", &id]), "badTree"),
        ("no mode and no space", raw(&[b"a\0", &id]), "badTree"),
        ("no space", raw(&[b"100644\0", &id]), "badTree"),
        ("not octal", of(&[("100844", "a")]), "badTree"),
        ("signed mode", of(&[("-100644", "a")]), "badTree"),
        ("one letter of mode", of(&[("1", "a")]), "badFilemode"),
        ("just too short", raw(&[b"1 \0", &id]), "badTree"),
        (
            "what is wrong with the entry before the bad one",
            raw(&[&entry("0100600", "a/b", &id), b"garbage\0", &id]),
            "badTree fullPathname zeroPaddedFilemode",
        ),
        (
            "much at once",
            of(&[("0100600", ".git/x"), (FILE, "."), (FILE, ".")]),
            "badFilemode duplicateEntries fullPathname hasDot hasDotgit treeNotSorted zeroPaddedFilemode",
        ),
    ]
}

fn tree_of(hash: Hash, entries: &[(&str, &str)]) -> Object {
    let entries = entries.iter().map(|(mode, name)| (*mode, name.as_bytes()));
    tree(hash, &entries.collect::<Vec<_>>())
}

#[test]
fn trees_are_judged_as_by_git() {
    assert_as_git(Hash::Sha1, rows(Hash::Sha1));
}

#[test]
fn trees_with_longer_ids_are_judged_as_by_git() {
    assert_as_git(Hash::Sha256, rows(Hash::Sha256));
}

#[test]
fn a_tree_of_nothing_but_special_files() {
    let entry = |number: u32| {
        let id = [number.to_be_bytes(); 5].concat();
        [&b"100644 .gitmodules\0"[..], &id].concat()
    };
    let tree: Vec<_> = (0..MAX_SPECIAL as u32 + 1000).flat_map(entry).collect();
    let (rules, mut special) = (FsckRules::strict(), Special::default());
    let id = gix::ObjectId::null(Hash::Sha1);
    let judged = Fsck::new(&rules, Hash::Sha1).object(Kind::Tree, &id, &tree, &mut special);
    assert!(judged.is_err(), "names occur more than once");
    assert_eq!(special.len(), MAX_SPECIAL + 1);
}
