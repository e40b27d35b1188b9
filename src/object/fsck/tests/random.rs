//! Good objects, made bad at random, many of them judged by one `git fsck`.

use std::collections::{BTreeMap, BTreeSet};

use gix::{hash::Kind as Hash, object::Kind};
use proptest::{collection::vec, prelude::*, sample::select};

use super::{
    All, Found, Fsck, FsckRules, Git, Object, Special, SpecialContent, check_special,
    objects::{commit, entry, id, id_of, named, tag},
};

const NAMES: &[&str] = &[
    "a",
    "a.c",
    "a0",
    "a-b",
    "b",
    "foo",
    "foo.bar",
    "foo.bar.baz",
    "a-longer-name",
    "a-longer-name.c",
    "a-longer-nbme",
    ".",
    "..",
    "...",
    ".git",
    ".GIT ",
    "git~1",
    "GIT~1.",
    "git~2",
    ".gitmodules",
    "gitmod~1",
    "GI7EBA~1",
    "gi7eb~12",
    "~1000000",
    ".gitattributes",
    "gitatt~2",
    ".gitignore",
    ".mailmap",
    "maba30~1",
    "a/b",
    "a\\b",
    "a\\.git",
    "a\\.gitmodules",
    ".g\u{200c}it",
    "\u{feff}.gitmodules",
    ".git:x",
    "\u{e4}",
    "~",
    "x~1",
    "",
];
const MODES: &[&str] = &[
    "100644", "100644", "100644", "40000", "40000", "120000", "100755", "160000", "0100644",
    "100664", "1",
];
/// The pieces that are put into objects.
const PIECES: &[&str] = &[
    "\0",
    "\n",
    "\n\n",
    " ",
    "  ",
    "\t",
    "<",
    ">",
    " <",
    "> ",
    "0",
    "1",
    "9999999999",
    "+",
    "-",
    "+0000",
    "author ",
    "committer ",
    "parent ",
    "tree ",
    "tagger ",
    "x-header\n",
    ".",
    "..",
    "/",
    "\\",
    "~1",
    ".git",
    "\u{200c}",
    "\u{e4}",
    "\"",
    "[",
    "]",
    "[submodule \"..\"]\n",
    "url = -x\n",
    "path = -x\n",
    "update = !x\n",
    "%0a",
    "%",
    "../",
    "./",
    "git://",
    "https://",
    ":",
    "@",
    "#",
    ";",
    "=",
    "\\\n",
    "\\n",
    "\r",
    "\r\n",
    "{",
    "*",
];
const GITMODULES: &str = "# all of them\n[submodule \"sub\"]\n\tpath = lib/sub\n\turl = https://user@example.com:80/a/./sub.git\n\
    [submodule \"other\"]\n\tpath = \"other\" ; quoted\n\turl = ../../other.git\n\tupdate = rebase\n";

/// One change to the bytes, at that part of them.
#[derive(Debug, Clone)]
enum Edit {
    Insert(u16, &'static str),
    Remove(u16, usize),
    Truncate(u16),
    Repeat(u16, usize),
}

fn edit() -> impl Strategy<Value = Edit> {
    prop_oneof![
        4 => (any::<u16>(), select(PIECES)).prop_map(|(at, piece)| Edit::Insert(at, piece)),
        3 => (any::<u16>(), 1..8usize).prop_map(|(at, len)| Edit::Remove(at, len)),
        1 => any::<u16>().prop_map(Edit::Truncate),
        1 => (any::<u16>(), 1..60usize).prop_map(|(at, len)| Edit::Repeat(at, len)),
    ]
}

fn apply(data: &mut Vec<u8>, edit: &Edit) {
    let position = |at: u16| at as usize * data.len() / (1 << 16);
    match *edit {
        Edit::Insert(at, piece) => {
            let at = position(at);
            data.splice(at..at, piece.bytes());
        }
        Edit::Remove(at, len) => {
            let at = position(at);
            data.drain(at..data.len().min(at + len));
        }
        Edit::Truncate(at) => data.truncate(position(at)),
        Edit::Repeat(at, len) => {
            let at = position(at);
            let part = data[at..data.len().min(at + len)].to_vec();
            data.splice(at..at, part);
        }
    }
}

fn some_tree() -> impl Strategy<Value = Object> {
    let entries = vec((select(MODES), select(NAMES), 0..20u8), 0..7);
    (entries, any::<bool>()).prop_map(|(mut entries, is_sorted)| {
        if is_sorted {
            let key = |(mode, name, _): &(&str, &str, u8)| match *mode {
                "40000" => format!("{name}/"),
                _ => (*name).to_owned(),
            };
            entries.sort_by_key(key);
            entries.dedup_by(|a, b| a.1 == b.1);
        }
        let entries = entries
            .iter()
            .flat_map(|(mode, name, byte)| entry(mode, name, &id_of(*byte, Hash::Sha1)));
        (Kind::Tree, entries.collect())
    })
}

fn some_objects() -> impl Strategy<Value = Vec<Object>> {
    let edits = || vec(edit(), 0..4);
    let edited = |kind, text: String| {
        edits().prop_map(move |edits| {
            let mut data = text.clone().into_bytes();
            edits.iter().for_each(|edit| apply(&mut data, edit));
            vec![(kind, data)]
        })
    };
    let tree = (some_tree(), vec(edit(), 0..2)).prop_map(|((kind, mut data), edits)| {
        edits.iter().for_each(|edit| apply(&mut data, edit));
        vec![(kind, data)]
    });
    let modules = edited(Kind::Blob, GITMODULES.to_owned())
        .prop_map(|mut blob| named(".gitmodules", blob.remove(0).1, Hash::Sha1).to_vec());
    prop_oneof![
        3 => tree,
        2 => edited(Kind::Commit, commit(Hash::Sha1)),
        1 => edited(Kind::Tag, tag(Hash::Sha1)),
        2 => modules,
    ]
}

/// The ids that some commits need as a tree and some as a parent. Git takes an object for what it is
/// needed as first, so it can't parse those that need it as the other one; that is no fault of theirs,
/// and to be found by those who have the object.
fn trees_and_commits(objects: &BTreeMap<gix::ObjectId, Object>) -> BTreeSet<Vec<u8>> {
    let needed_as = |name: &[u8]| -> BTreeSet<Vec<u8>> {
        let lines = objects
            .values()
            .flat_map(|(_, data)| data.split(|byte| *byte == b'\n'));
        let ids = lines.filter_map(|line| line.strip_prefix(name));
        ids.map(<[u8]>::to_vec).collect()
    };
    &needed_as(b"tree ") & &needed_as(b"parent ")
}

fn needs_one_of((_, data): &Object, ids: &BTreeSet<Vec<u8>>) -> bool {
    let mut lines = data.split(|byte| *byte == b'\n');
    lines.any(|line| {
        let id = line
            .strip_prefix(b"tree ")
            .or_else(|| line.strip_prefix(b"parent "));
        id.is_some_and(|id| ids.contains(id))
    })
}

fn parse(id: &str) -> gix::ObjectId {
    gix::ObjectId::from_hex(id.as_bytes()).expect("an id")
}

type Findings = BTreeMap<String, BTreeSet<Found>>;

fn ours(objects: &BTreeMap<gix::ObjectId, Object>) -> Findings {
    let rules = FsckRules::strict();
    let fsck = Fsck::new(&rules, Hash::Sha1);
    let mut findings = Findings::new();
    let mut special = Special::default();
    let all = || All {
        rules: &rules,
        found: BTreeSet::new(),
    };
    for (id, (kind, data)) in objects {
        let mut all = all();
        fsck.check(*kind, data, &mut special, &mut all);
        findings
            .entry(id.to_string())
            .or_default()
            .append(&mut all.found);
    }
    for (id, file) in special.into_files() {
        let content = match objects.get(&id) {
            Some((Kind::Blob, data)) => SpecialContent::Blob(data),
            Some(_) => SpecialContent::OtherKind,
            None => SpecialContent::Missing,
        };
        let mut all = all();
        check_special(file, content, &mut all);
        findings
            .entry(id.to_string())
            .or_default()
            .append(&mut all.found);
    }
    findings.retain(|_, found| !found.is_empty());
    findings
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 10,
        max_shrink_iters: 60,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn objects_made_bad_at_random_are_judged_as_by_git(batch in vec(some_objects(), 500)) {
        let objects: BTreeMap<_, _> = batch
            .into_iter()
            .flatten()
            .map(|object| (id(&object, Hash::Sha1), object))
            .collect();
        let mut ours = ours(&objects);
        let pack: Vec<_> = objects.values().cloned().collect();
        let (said, unparsed) = Git::new(Hash::Sha1).fsck(&pack);
        let mut gits = Findings::new();
        for (id, found) in said {
            gits.entry(id).or_default().insert(found);
        }
        let both = trees_and_commits(&objects);
        // Git doesn't check what it can't parse, but refuses it.
        for id in unparsed {
            let is_found = ours.remove(&id).is_some();
            prop_assert!(is_found || needs_one_of(&objects[&parse(&id)], &both), "{id} is no good");
        }
        prop_assert!(gits.len() > 100, "there is something to find: {}", gits.len());
        for (id, object) in &objects {
            let id = id.to_string();
            let (ours, gits) = (ours.remove(&id), gits.remove(&id));
            prop_assert_eq!(ours, gits, "{} {:?}", object.0, bstr::BStr::new(&object.1));
        }
        prop_assert_eq!(ours, gits, "of objects that are missing");
    }
}
