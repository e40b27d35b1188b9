//! Objects with strange contents, by each set of rules.

use crate::judge::{Case, Judge, Rules, assert_right};
use crate::objects::{PERSON, entry};
use crate::pack::{Pack, deflate, id, size};
use crate::sample::{ANOTHER, COMMIT, FOLDER, SMALL, Sample, TAG, TREE, stored};
use crate::support::git::ObjectFormat;
use crate::table::{hash_of, type_of};
use gix::hash::Kind as Hash;
use gix::objs::Kind;

/// Commits and tags by what is said after their first line.
fn commits(sample: &Sample) -> Vec<(Kind, Vec<u8>)> {
    let (tree, parent) = (sample.id(TREE), sample.id(COMMIT));
    let person = format!("author {PERSON}\ncommitter {PERSON}\n\nsaid\n");
    let rests = [
        String::new(),
        "\n".to_owned(),
        "\n\n".to_owned(),
        person.clone(),
        format!("parent {parent}\n"),
        format!("parent {parent}\n\n"),
        format!("parent {parent}"),
        format!("parent {parent}\n{person}"),
        format!("parent {parent}\nparent {parent}\n"),
        format!("parent {parent}\nparent {parent}\n{person}"),
        format!("parent {}\n{person}", &parent.to_string()[1..]),
        format!("parent {parent}0\n{person}"),
        format!("parent {} \n{person}", &parent.to_string()[1..]),
        format!("parent  {parent}\n{person}"),
        format!("parents {parent}\n{person}"),
        format!("parent {}\n{person}", parent.to_string().to_uppercase()),
        format!("author {PERSON}\n"),
        format!("author {PERSON}\nparent {parent}\ncommitter {PERSON}\n\n"),
        format!("committer {PERSON}\n\n"),
        "author A <a> 1 +0000\ncommitter A <a> 1 +0000".to_owned(),
        "author A <a> 1 +00\ncommitter A <a>1 +0000\n\n".to_owned(),
        format!("{person}\0 and more\n"),
        format!("author A\0 <a> 1 +0000\n{person}"),
    ];
    let mut commits: Vec<_> = rests
        .iter()
        .map(|rest| format!("tree {tree}\n{rest}"))
        .collect();
    commits.extend([
        String::new(),
        person.clone(),
        format!("tree {tree}"),
        format!("tree {tree} \n{person}"),
        format!("tree {tree}\r\n{person}"),
        format!("tree {}\n{person}", &tree.to_string()[1..]),
        format!("Tree {tree}\n{person}"),
        format!("tree {}\n{person}", tree.to_string().to_uppercase()),
    ]);
    commits
        .into_iter()
        .map(|text| (Kind::Commit, text.into_bytes()))
        .collect()
}

fn tags(sample: &Sample) -> Vec<(Kind, Vec<u8>)> {
    let commit = sample.id(COMMIT);
    let tagger = format!("tagger {PERSON}\n\nsaid\n");
    let rests = [
        String::new(),
        "type commit\n".to_owned(),
        "type commit\ntag".to_owned(),
        "type commit\ntag v1".to_owned(),
        "type commit\ntag v1\n".to_owned(),
        "type commit\ntag v1\n\nwithout a tagger\n".to_owned(),
        format!("type commit\ntag v1\n{tagger}"),
        format!("type commit\ntag \n{tagger}"),
        format!("type commit\ntag {}\n{tagger}", "v".repeat(5000)),
        format!("type commit\ntag v 1\n{tagger}"),
        format!("type commit\n{tagger}"),
        format!("type branch\ntag v1\n{tagger}"),
        format!("type commit \ntag v1\n{tagger}"),
        format!("type {}\ntag v1\n{tagger}", "c".repeat(30)),
        format!("tag v1\ntype commit\n{tagger}"),
        format!("type tree\ntag v1\n{tagger}"),
        format!("type commit\ntag v1\ntagger nobody\n\n{tagger}"),
        format!("type commit\ntag v1\nx-header 1\n{tagger}"),
    ];
    let mut tags: Vec<_> = rests
        .iter()
        .map(|rest| format!("object {commit}\n{rest}"))
        .collect();
    tags.extend([
        String::new(),
        format!("object {commit} \ntype commit\ntag v1\n{tagger}"),
        format!("object \ntype commit\ntag v1\n{tagger}"),
        format!("type commit\nobject {commit}\ntag v1\n{tagger}"),
        format!("object {}\ntype blob\ntag x\n\n", sample.id(SMALL)),
        format!("object {}\ntype blob\ntag \n", sample.id(SMALL)),
        format!("object {}\ntype tag\ntag x\n", sample.id(TAG)),
    ]);
    tags.into_iter()
        .map(|text| (Kind::Tag, text.into_bytes()))
        .collect()
}

fn trees(sample: &Sample) -> Vec<(Kind, Vec<u8>)> {
    let (blob, tree) = (sample.id(SMALL), sample.id(FOLDER));
    let null = refsync::ObjectId::from(sample.hash.null());
    let one = |mode: &str, name: &[u8], id| {
        let mut content = Vec::new();
        entry(&mut content, mode, name, &id);
        content
    };
    let file = |name: &[u8]| one("100644", name, blob);
    let mut trees: Vec<_> = [
        "100644",
        "100755",
        "100664",
        "100600",
        "120000",
        "120777",
        "160000",
        "644",
        "0",
        "1",
        "0100644",
        "00100644",
        "0000000100644",
        "300644",
        "20000100644",
        "777777",
        "10064",
        "140000",
        "",
        " 100644",
        "10x644",
        "-100644",
        "+100644",
        "100644 ",
        "100684",
    ]
    .iter()
    .map(|mode| one(mode, b"name", blob))
    .collect();
    let folders = [
        "40000",
        "040000",
        "0040000",
        "000040000",
        "40755",
        "41000",
        "240000",
    ];
    trees.extend(folders.iter().map(|mode| one(mode, b"name", tree)));
    let names: [&[u8]; 8] = [
        b"",
        b".",
        b"..",
        b".git",
        b"a/b",
        b"a\nb",
        b"\xff\xfe",
        &[b'n'; 5000],
    ];
    trees.extend(names.iter().map(|name| file(name)));
    trees.extend([
        one("100644", b"null", null),
        one("40000", b"null", null),
        // Files that are folders, and the other way round.
        one("100644", b"name", tree),
        one("40000", b"name", blob),
        [file(b"b"), file(b"a")].concat(),
        [file(b"a"), file(b"a")].concat(),
        [file(b"a"), vec![b'1']].concat(),
        [file(b"a"), b"100644 b\0half".to_vec()].concat(),
        file(b"a")[..file(b"a").len() - 1].to_vec(),
        b"100644 a\0".to_vec(),
        b"100644 a".to_vec(),
        vec![0],
        vec![0; 64],
        b"this is no tree, and it is longer than an entry has to be\n".to_vec(),
    ]);
    trees
        .into_iter()
        .map(|content| (Kind::Tree, content))
        .collect()
}

fn cases(hash: Hash, all: &[Rules]) -> Vec<Case> {
    let sample = Sample::of(hash, b"sent");
    let contents = [commits(&sample), tags(&sample), trees(&sample)].concat();
    let case = |(kind, content): &(Kind, Vec<u8>), rules| {
        let entry = [size(type_of(*kind), content.len() as u64), deflate(content)].concat();
        let pack: Pack = sample.pack(ANOTHER, |_| entry);
        let mut tips = sample.ids();
        tips.push(id(hash, *kind, content));
        let shown = &content[..content.len().min(200)];
        Case {
            name: format!("{kind} {:?}", bstr::BStr::new(shown)),
            bytes: pack.finish(),
            tips,
            rules,
        }
    };
    let by_each = |content| all.iter().map(move |rules| case(content, *rules));
    contents.iter().flat_map(by_each).collect()
}

fn judged(format: ObjectFormat, all: &[Rules]) {
    let hash = hash_of(format);
    let judge = Judge::new(format, &stored(hash));
    let cases = cases(hash, all);
    let verdicts = judge.judge_all(&cases);
    assert_right(&cases, &verdicts);
}

#[test]
fn every_strange_object() {
    judged(ObjectFormat::Sha1, &[Rules::Default, Rules::None]);
}

#[test]
#[ignore = "takes a minute; the other test does the same with fewer rules"]
fn every_strange_object_by_all_rules() {
    judged(ObjectFormat::Sha1, &Rules::ALL);
    judged(ObjectFormat::Sha256, &Rules::ALL);
}
