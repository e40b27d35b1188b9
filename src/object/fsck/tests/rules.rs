use std::{collections::BTreeSet, fs};

use gix::{hash::Kind as Hash, object::Kind};

use super::{
    Fsck, FsckLevel, FsckMessage, FsckRules, Git, Object, Special, judge,
    objects::{self, commit, hex, module, named, tag, tree},
};
use crate::ErrorKind;

/// Packs with one sin each.
fn sins() -> Vec<Vec<Object>> {
    let hash = Hash::Sha1;
    let (commit, tag) = (commit(hash), tag(hash));
    let alter = |kind, good: &str, part: &str, by: &str| {
        assert!(good.contains(part), "{part}");
        vec![(kind, good.replacen(part, by, 1).into_bytes())]
    };
    vec![
        vec![tree(hash, &[("0100644", b"a")])],
        vec![tree(hash, &[("100600", b"a")])],
        vec![tree(hash, &[("100644", b"a"), ("100644", b"a")])],
        vec![tree(hash, &[("100644", b".git")])],
        vec![tree(hash, &[("120000", b".gitmodules")])],
        vec![tree(hash, &[("120000", b".mailmap")])],
        vec![tree(hash, &[("100644", &b"x".repeat(5000))])],
        alter(Kind::Commit, &commit, "U Thor <", "U Thor<"),
        alter(Kind::Commit, &commit, " 1112911993", " 01112911993"),
        alter(Kind::Commit, &commit, "author", "x-author"),
        alter(Kind::Commit, &commit, "A message", "A\0message"),
        alter(Kind::Commit, &commit, "A U Thor", "A U\0Thor"),
        alter(Kind::Tag, &tag, "v1.0", "v1."),
        alter(Kind::Tag, &tag, "tagger", "x-tagger"),
        alter(Kind::Tag, &tag, "+0000\n", "+0000\nx-header\n"),
        named(".gitmodules", module("url", "-x"), hash).to_vec(),
        named(".gitmodules", "!", hash).to_vec(),
        named(".gitattributes", "x".repeat(5000), hash).to_vec(),
    ]
}

/// A level weighs as much as with git, and what follows a finding that is no error is found, too.
#[test]
fn levels_are_set_as_for_git() {
    let git = Git::new(Hash::Sha1);
    let messages = [
        "zeroPaddedFilemode",
        "badFilemode",
        "duplicateEntries",
        "hasDotgit",
        "gitmodulesSymlink",
        "mailmapSymlink",
        "largePathname",
        "missingSpaceBeforeEmail",
        "zeroPaddedDate",
        "missingAuthor",
        "nulInCommit",
        "badTagName",
        "missingTaggerEntry",
        "extraHeaderEntry",
        "gitmodulesUrl",
        "gitmodulesParse",
        "gitattributesLineLength",
    ];
    let sins = sins();
    for level in ["error", "warn", "ignore"] {
        let mut rules = FsckRules::strict();
        for name in messages {
            rules
                .set(&name.to_uppercase(), level)
                .expect("a message of git's");
        }
        let option = messages.map(|name| format!("{name}={level}")).join(",");
        for objects in &sins {
            let gits = git.index_pack(objects, &format!("={option}"));
            assert_eq!(
                judge(objects, Hash::Sha1, &rules),
                gits,
                "{level}: {objects:?}"
            );
        }
    }
}

/// The lines behind a finding that doesn't end the reading are read.
#[test]
fn a_line_that_is_let_pass_is_stepped_over() {
    let hash = Hash::Sha1;
    let mut rules = FsckRules::strict();
    for name in [
        "badTreeSha1",
        "badParentSha1",
        "missingAuthor",
        "badObjectSha1",
        "badType",
        "missingEmail",
    ] {
        rules.set(name, "warn").expect("a message");
    }
    let (tree, parent) = (hex(0x22, hash), hex(0x33, hash));
    let bad = commit(hash)
        .replace(&tree, "x")
        .replace(&parent, "y")
        .replace("author", "committer");
    let verdict = judge(&[(Kind::Commit, bad.into())], hash, &rules);
    let warnings = [
        FsckMessage::BadParentSha1,
        FsckMessage::BadTreeSha1,
        FsckMessage::MissingAuthor,
    ];
    assert_eq!(
        verdict.found,
        warnings.map(|message| (FsckLevel::Warn, message)).into()
    );

    let bad = tag(hash)
        .replace(&parent, "")
        .replace("commit", "x")
        .replace(" <", " ");
    let verdict = judge(&[(Kind::Tag, bad.into())], hash, &rules);
    let warnings = [FsckMessage::BadObjectSha1, FsckMessage::BadType];
    let mut expected: BTreeSet<_> = warnings.map(|message| (FsckLevel::Warn, message)).into();
    expected.insert((FsckLevel::Error, FsckMessage::BadName));
    assert_eq!(verdict.found, expected);
}

#[test]
fn the_fatal_stay_fatal() {
    let git = Git::new(Hash::Sha1);
    for name in ["nulInHeader", "unterminatedHeader"] {
        for level in ["warn", "ignore"] {
            let err = FsckRules::strict().set(name, level).expect_err("a refusal");
            assert_eq!(err.kind(), ErrorKind::InvalidOptions);
            let option = format!("--fsck-objects={name}={level}");
            let gits = git.git(&["index-pack", &option, "--stdin"], b"");
            let stderr = String::from_utf8_lossy(&gits.stderr);
            assert!(stderr.contains("Cannot demote"), "{stderr}");
        }
        FsckRules::strict().set(name, "error").expect("no change");
    }
}

#[test]
fn what_git_does_not_know_is_an_error() {
    for (name, level) in [
        ("hasDotGits", "warn"),
        ("", "warn"),
        ("has_dotgit", "warn"),
        ("hasDotgit", "info"),
        ("hasDotgit", ""),
        ("hasDotgit", "Warn"),
        ("hasDotgit", "warn:10"),
        ("largePathname", "warn:x"),
        ("largePathname", "warn:"),
        ("largePathname", "loud:10"),
        ("largePathname", "warn:10kk"),
        ("badRefName", "warn"),
    ] {
        let err = FsckRules::strict().set(name, level).expect_err(name);
        assert_eq!(err.kind(), ErrorKind::InvalidOptions, "{name}={level}");
    }
}

/// By the list that git completes configuration from.
#[test]
fn the_messages_are_those_of_git() {
    let git = Git::new(Hash::Sha1);
    let listed = git.git(&["help", "--config-for-completion"], b"");
    let listed = String::from_utf8(listed.stdout).expect("text");
    let gits: BTreeSet<&str> = listed
        .lines()
        .filter_map(|line| line.strip_prefix("fsck."))
        .filter(|name| *name != "skipList" && !name.starts_with('<'))
        .collect();
    let ours: BTreeSet<&str> = FsckMessage::all().map(FsckMessage::name).collect();
    assert!(gits.len() > 40, "{gits:?}");
    let about_refs =
        |name: &str| name.starts_with("ref") || name.contains("Ref") || name == "badHeadTarget";
    let missing: Vec<_> = gits
        .difference(&ours)
        .filter(|name| !about_refs(name))
        .collect();
    assert!(missing.is_empty(), "{missing:?}");
    // Since git 2.52.
    let newer = ["badGpgsig", "badHeaderContinuation"];
    let added: Vec<_> = ours
        .difference(&gits)
        .filter(|name| !newer.contains(*name))
        .collect();
    assert!(added.is_empty(), "{added:?}");
    for message in FsckMessage::all() {
        assert_eq!(
            message.name().parse::<FsckMessage>().expect("its own name"),
            message
        );
        let debug = format!("{message:?}");
        assert!(debug.eq_ignore_ascii_case(message.name()), "{debug}");
    }
}

#[test]
fn the_length_of_a_large_path_name_can_be_set() {
    let git = Git::new(Hash::Sha1);
    let objects = |len: usize| [tree(Hash::Sha1, &[("100644", &b"x".repeat(len))])];
    for (value, longest) in [
        ("error:10", 10),
        ("warn:10", 10),
        ("error:1k", 1024),
        ("ignore:1", 1),
        ("error:0", 0),
        ("error", 4096),
    ] {
        let mut rules = FsckRules::strict();
        rules.set("largePathname", value).expect("a length");
        for len in [longest.max(1), longest + 1] {
            let ours = judge(&objects(len), Hash::Sha1, &rules);
            let gits = git.index_pack(&objects(len), &format!("=largePathname={value}"));
            assert_eq!(ours, gits, "{value}, {len}");
        }
    }
}

#[test]
fn objects_are_skipped_as_by_git() {
    let git = Git::new(Hash::Sha1);
    let folder = tempfile::tempdir().expect("a folder");
    let list = folder.path().join("skip");
    for objects in sins() {
        let ids = objects
            .iter()
            .map(|object| objects::id(object, Hash::Sha1).to_string());
        let text = format!(
            "# sins\n\n  {}\n",
            ids.collect::<Vec<_>>().join(" # one\n\t")
        );
        fs::write(&list, &text).expect("a file");
        let mut rules = FsckRules::strict();
        rules.skip = FsckRules::parse_skip_list(&text).expect("a list of git's");
        let gits = git.index_pack(&objects, &format!("=skiplist={}", list.display()));
        let fsck = Fsck::new(&rules, Hash::Sha1);
        let mut special = Special::default();
        let found = objects.iter().try_for_each(|object| {
            let id = objects::id(object, Hash::Sha1);
            fsck.object(object.0, &id, &object.1, &mut special)
        });
        // Git parses before it asks for the list, and what it can't parse is refused all the same.
        assert_eq!(found, Ok(()), "{objects:?}");
        assert!(
            gits.found.is_empty() && !gits.refused,
            "{gits:?} {objects:?}"
        );
    }
}

#[test]
fn a_skipped_tree_still_names_its_special_files() {
    let [blob, tree] = named(".gitmodules", module("url", "-x"), Hash::Sha1);
    let mut rules = FsckRules::strict();
    rules
        .skip
        .insert(crate::ObjectId(objects::id(&tree, Hash::Sha1)));
    let mut special = Special::default();
    let id = objects::id(&tree, Hash::Sha1);
    let found = Fsck::new(&rules, Hash::Sha1).object(tree.0, &id, &tree.1, &mut special);
    assert_eq!(found, Ok(()));
    let files: Vec<_> = special.into_files().into_iter().map(|(id, _)| id).collect();
    assert_eq!(files, [objects::id(&blob, Hash::Sha1)]);
}

#[test]
fn a_list_of_anything_but_ids_is_an_error() {
    let id = hex(0x11, Hash::Sha1);
    let longer = hex(0x11, Hash::Sha256);
    assert_eq!(FsckRules::parse_skip_list("").expect("a list").len(), 0);
    let both = format!("{id}\r\n{longer}");
    assert_eq!(FsckRules::parse_skip_list(&both).expect("a list").len(), 2);
    for bad in [
        &id[1..],
        "main",
        &format!("{id} {id}"),
        &format!("{id}1"),
        "\0",
    ] {
        let err = FsckRules::parse_skip_list(bad).expect_err(bad);
        assert_eq!(err.kind(), ErrorKind::InvalidOptions, "{bad}");
    }
}

#[test]
fn without_rules_nothing_is_refused() {
    let rules = FsckRules::none();
    assert!(rules.is_none() && !FsckRules::strict().is_none());
    for objects in sins() {
        let verdict = judge(&objects, Hash::Sha1, &rules);
        assert!(!verdict.refused && verdict.found.is_empty(), "{verdict:?}");
    }
}

/// The first difference to git that [`FsckRules`] names.
#[test]
fn a_malformed_tagger_is_refused_whatever_follows() {
    let bad = tag(Hash::Sha1).replace(" +0000\n", "\nx-header\n");
    let objects = [(Kind::Tag, bad.into_bytes())];
    let ours = judge(&objects, Hash::Sha1, &FsckRules::strict());
    let gits = Git::new(Hash::Sha1).index_pack(&objects, "");
    assert_eq!(ours.found, gits.found);
    assert!(ours.refused && !gits.refused);
}

/// The next to last difference to git that [`FsckRules`] names.
#[test]
fn a_level_decides_about_what_can_not_be_parsed() {
    let hash = Hash::Sha1;
    let tree_line = format!("tree {}\n", hex(0x22, hash));
    let bad = commit(hash).replace(&tree_line, "").into_bytes();
    let mut rules = FsckRules::strict();
    rules.set("missingTree", "ignore").expect("a message");
    let objects = [(Kind::Commit, bad)];
    assert!(!judge(&objects, hash, &rules).refused);
    assert!(
        Git::new(hash)
            .index_pack(&objects, "=missingTree=ignore")
            .refused
    );
}

/// The last difference to git that [`FsckRules`] names.
#[test]
fn a_signature_is_no_extra_header() {
    let hash = Hash::Sha256;
    let git = Git::new(hash);
    let version = git.git(&["version"], b"").stdout;
    let version = String::from_utf8(version).expect("text");
    let mut numbers = version.split(|c: char| !c.is_ascii_digit());
    let mut number = || {
        numbers
            .find_map(|part| part.parse::<u32>().ok())
            .expect("a number")
    };
    let is_older = (number(), number()) < (2, 52);

    let mut rules = FsckRules::strict();
    rules.set("extraHeaderEntry", "error").expect("a message");
    let message = "\n\nA message";
    for header in ["gpgsig a\n b\n c", "gpgsig-sha256 a"] {
        let signed = tag(hash).replace(message, &format!("\n{header}{message}"));
        let objects = [(Kind::Tag, signed.into_bytes())];
        assert!(!judge(&objects, hash, &rules).refused, "{header}");
        let gits = git.index_pack(&objects, "=extraHeaderEntry=error");
        assert_eq!(gits.refused, is_older, "{version}: {header}");
    }
}

#[test]
fn special_files_of_several_threads_are_one_set() {
    let rules = FsckRules::strict();
    let fsck = Fsck::new(&rules, Hash::Sha1);
    let note = |content: &str, name: &str, special: &mut Special| {
        let [blob, tree] = named(name, content, Hash::Sha1);
        let id = objects::id(&tree, Hash::Sha1);
        fsck.object(tree.0, &id, &tree.1, special)
            .expect("a good tree");
        objects::id(&blob, Hash::Sha1)
    };
    let (mut one, mut other) = (Special::default(), Special::default());
    let a = note("a", ".gitmodules", &mut one);
    assert_eq!(note("a", ".gitmodules", &mut other), a);
    assert_eq!(note("a", ".gitattributes", &mut other), a);
    note("b", ".gitattributes", &mut other);
    one.merge(other);
    assert_eq!(one.into_files().len(), 3);
}
