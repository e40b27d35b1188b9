use gix::{hash::Kind as Hash, object::Kind};

use super::{
    Object, assert_as_git,
    objects::{AUTHOR, COMMITTER, commit, hex, tag},
};

/// A person, and what is wrong with it.
const PEOPLE: &[(&str, &str)] = &[
    ("A U Thor <a@example.com> 1112911993 -0700", ""),
    ("A U Thor <> 1112911993 -0700", ""),
    (" <a@example.com> 1112911993 -0700", ""),
    ("A \"U\" \\ \u{e4} <a@example.com> 0 +0000", ""),
    ("A <a@example.com> 0 +9999", ""),
    ("A <a@example.com>  \t 1 +0000", ""),
    ("A <a@example.com> 9223372036854775807 +0000", ""),
    ("<a@example.com> 0 +0000", "missingNameBeforeEmail"),
    ("A 0 +0000", "missingEmail"),
    ("", "missingEmail"),
    ("A> <a@example.com> 0 +0000", "badName"),
    (">", "badName"),
    ("A<a@example.com> 0 +0000", "missingSpaceBeforeEmail"),
    ("A <a@example.com 0 +0000", "badEmail"),
    ("A <a@<example.com> 0 +0000", "badEmail"),
    ("A <", "badEmail"),
    ("A <a@example.com>0 +0000", "missingSpaceBeforeDate"),
    ("A <a@example.com>", "missingSpaceBeforeDate"),
    ("A <a@example.com> > 0 +0000", "badDate"),
    ("A <a@example.com> ", "badDate"),
    ("A <a@example.com> x +0000", "badDate"),
    ("A <a@example.com> -1 +0000", "badDate"),
    ("A <a@example.com> +1 +0000", "badDate"),
    ("A <a@example.com> 1x +0000", "badDate"),
    ("A <a@example.com> 1\t+0000", "badDate"),
    ("A <a@example.com> 1", "badDate"),
    ("A <a@example.com> 0", "zeroPaddedDate"),
    ("A <a@example.com> 01 +0000", "zeroPaddedDate"),
    (
        "A <a@example.com> 9223372036854775808 +0000",
        "badDateOverflow",
    ),
    (
        "A <a@example.com> 18446744073709551615 +0000",
        "badDateOverflow",
    ),
    (
        "A <a@example.com> 18446744073709551616 +0000",
        "badDateOverflow",
    ),
    (
        "A <a@example.com> 123456789012345678901234567890 +0000",
        "badDateOverflow",
    ),
    ("A <a@example.com> 1 ", "badTimezone"),
    ("A <a@example.com> 1 0000", "badTimezone"),
    ("A <a@example.com> 1 +000", "badTimezone"),
    ("A <a@example.com> 1 +00000", "badTimezone"),
    ("A <a@example.com> 1 +00:0", "badTimezone"),
    ("A <a@example.com> 1 +0000 ", "badTimezone"),
    ("A <a@example.com> 1  +0000", "badTimezone"),
    ("A <a@example.com> 1 *0000", "badTimezone"),
];

type Row = (String, Vec<Object>, &'static str);

fn row(kind: Kind, text: impl Into<Vec<u8>>, expected: &'static str) -> Row {
    let text = text.into();
    let name = String::from_utf8_lossy(&text).into_owned();
    (name, vec![(kind, text)], expected)
}

/// The good one with a part replaced, which has to be there.
#[track_caller]
fn with(good: &str, part: &str, by: &str) -> String {
    assert!(good.contains(part), "{part}");
    good.replacen(part, by, 1)
}

fn commits(hash: Hash) -> Vec<Row> {
    let good = commit(hash);
    let (tree, parent) = (hex(0x22, hash), hex(0x33, hash));
    let (tree_line, parent_line) = (format!("tree {tree}\n"), format!("parent {parent}\n"));
    let author = format!("{AUTHOR}\n");
    let committer = format!("{COMMITTER}\n");
    let signature = "gpgsig -----BEGIN-----\n \n abc\n -----END-----\nencoding latin1\n\n";
    let mut rows = vec![
        (good.clone(), ""),
        (with(&good, &parent_line, ""), ""),
        (with(&good, &parent_line, &parent_line.repeat(3)), ""),
        (with(&good, "\n\n", &format!("\n{signature}")), ""),
        (with(&good, "\n\nA message\n", "\n"), ""),
        (with(&good, "\n\nA message\n", "\n\n"), ""),
        (with(&good, "A message\n", "no line end"), ""),
        (with(&good, &tree, &tree.replace('2', "A")), ""),
        (String::new(), "unterminatedHeader"),
        ("\n".to_owned(), "missingTree"),
        (with(&good, "\n\nA message\n", ""), "unterminatedHeader"),
        (with(&good, &tree_line, ""), "missingTree"),
        (with(&good, "tree ", "Tree "), "missingTree"),
        (with(&good, &tree, &tree[1..]), "badTreeSha1"),
        (with(&good, &tree, &format!("{tree}2")), "badTreeSha1"),
        (with(&good, &tree, &format!("{tree} ")), "badTreeSha1"),
        (with(&good, &tree, &tree.replace('2', "g")), "badTreeSha1"),
        (
            with(&good, &tree_line, &tree_line.repeat(2)),
            "missingAuthor",
        ),
        (with(&good, &parent, &parent[1..]), "badParentSha1"),
        (with(&good, &parent, &format!("{parent}3")), "badParentSha1"),
        (
            with(&good, &parent, &parent.replace('3', "z")),
            "badParentSha1",
        ),
        (with(&good, &author, ""), "missingAuthor"),
        (with(&good, &author, &author.repeat(2)), "multipleAuthors"),
        (with(&good, "author ", "author: "), "missingAuthor"),
        (with(&good, &committer, ""), "missingCommitter"),
        (
            with(&good, &committer, &format!("x-header\n{committer}")),
            "missingCommitter",
        ),
        (
            with(&good, &author, &format!("{author}{parent_line}")),
            "missingCommitter",
        ),
        (with(&good, "A message", "A\0message"), "nulInCommit"),
        (with(&good, "A U Thor", "A\0U Thor"), "nulInHeader"),
        (with(&good, "\n\n", "\n\0\n\n"), "nulInHeader"),
        (with(&good, "\n\nA message\n", "\0\n"), "nulInHeader"),
    ];
    for (person, problem) in PEOPLE {
        rows.push((with(&good, AUTHOR, &format!("author {person}")), problem));
        rows.push((
            with(&good, COMMITTER, &format!("committer {person}")),
            problem,
        ));
    }
    let rows = rows.into_iter();
    rows.map(|(text, expected)| row(Kind::Commit, text, expected))
        .collect()
}

fn tags(hash: Hash) -> Vec<Row> {
    let good = tag(hash);
    let object = hex(0x33, hash);
    let tagger = "tagger C O Mitter <c@example.com> 1112911993 +0000\n";
    let mut rows = vec![
        (good.clone(), ""),
        (with(&good, "type commit", "type blob"), ""),
        (with(&good, "type commit", "type tree"), ""),
        (with(&good, "type commit", "type tag"), ""),
        (with(&good, "\n\nA message\n", "\n"), ""),
        (with(&good, "A message", "A\0message"), ""),
        (with(&good, tagger, &format!("{tagger}x-header\n")), ""),
        (
            with(&good, tagger, &format!("{tagger}gpgsig abc\n def\n")),
            "",
        ),
        (with(&good, tagger, ""), "missingTaggerEntry"),
        (with(&good, "tagger ", "Tagger "), "missingTaggerEntry"),
        (String::new(), "unterminatedHeader"),
        (with(&good, "object ", "Object "), "missingObject"),
        (with(&good, &object, &object[1..]), "badObjectSha1"),
        (with(&good, &object, &format!("{object}3")), "badObjectSha1"),
        (
            with(&good, &object, &object.replace('3', "x")),
            "badObjectSha1",
        ),
        (with(&good, "type commit\n", ""), "missingTypeEntry"),
        (with(&good, "type commit", "type Commit"), "badType"),
        (with(&good, "type commit", "type"), "missingTypeEntry"),
        (with(&good, "type commit", "type "), "badType"),
        (with(&good, "type commit", "type commits"), "badType"),
        (with(&good, "type commit", "type com"), "badType"),
        (with(&good, "tag v1.0\n", ""), "missingTagEntry"),
        (with(&good, "\n\nA message\n", ""), "unterminatedHeader"),
        (with(&good, "v1.0", "v1\0"), "nulInHeader"),
    ];
    for name in [
        "", ".v1", "v1.", "v..1", "v1.lock", "v 1", "v~1", "v^1", "v:1", "v?", "v*", "v[", "v\\1",
        "v@{1", "/v1", "v1/", "v//1", "v1\u{7f}", "v\t1", "a/.b", "a.lock/b", "-v", "@", "v@1",
        "a/b", "v{1", "\u{e4}", "a./b", "HEAD",
    ] {
        let is_good = ["-v", "@", "v@1", "a/b", "v{1", "\u{e4}", "a./b", "HEAD"].contains(&name);
        let expected = if is_good { "" } else { "badTagName" };
        rows.push((with(&good, "v1.0", name), expected));
    }
    for (person, problem) in PEOPLE {
        rows.push((with(&good, tagger, &format!("tagger {person}\n")), problem));
    }
    let rows = rows.into_iter();
    rows.map(|(text, expected)| row(Kind::Tag, text, expected))
        .collect()
}

#[test]
fn commits_are_judged_as_by_git() {
    assert_as_git(Hash::Sha1, commits(Hash::Sha1));
}

#[test]
fn tags_are_judged_as_by_git() {
    assert_as_git(Hash::Sha1, tags(Hash::Sha1));
}

#[test]
fn commits_and_tags_with_longer_ids_are_judged_as_by_git() {
    let all = [commits(Hash::Sha256), tags(Hash::Sha256)].concat();
    assert_as_git(Hash::Sha256, all);
}
