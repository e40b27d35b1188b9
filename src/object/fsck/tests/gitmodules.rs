use gix::{hash::Kind as Hash, object::Kind};

use super::{
    Fsck, FsckRules, Git, Object, SpecialContent, assert_as_git, judge,
    objects::{entry, id, module, named},
};
use crate::{FsckMessage, object::fsck::SpecialFile};

const NAMES: &[(&str, &str)] = &[
    ("sub", ""),
    ("a/b", ""),
    ("...", ""),
    ("a..b", ""),
    ("..a", ""),
    ("a..", ""),
    (".", ""),
    ("-x", ""),
    ("", "gitmodulesName"),
    ("..", "gitmodulesName"),
    ("../x", "gitmodulesName"),
    ("x/..", "gitmodulesName"),
    ("a/../b", "gitmodulesName"),
    ("a\\\\..\\\\b", "gitmodulesName"),
    ("..\\\\x", "gitmodulesName"),
    ("x\\\\..", "gitmodulesName"),
    ("/..", "gitmodulesName"),
    ("a.b/../c", "gitmodulesName"),
    ("../x.y", "gitmodulesName"),
];

const URLS: &[(&str, &str)] = &[
    ("https://example.com/x.git", ""),
    ("http://example.com:80/x?y#z", ""),
    ("https://user:secret@example.com:8443/x", ""),
    ("https://[::1]:8080/x", ""),
    ("git://example.com/x", ""),
    ("git@example.com:x", ""),
    ("ssh://example.com/%0a", ""),
    ("file:///x%0a", ""),
    ("HTTP://example.com/%0a", ""),
    ("/x", ""),
    ("x", ""),
    ("./x", ""),
    ("../x", ""),
    ("../../x:y", ""),
    ("./-x", ""),
    ("./../x", ""),
    ("%0a", ""),
    ("ext::sh -c x", ""),
    ("ssh://-x/y", ""),
    ("./:x", ""),
    (".//x", ""),
    ("./x/../:y", ""),
    (".../x", ""),
    (":x", ""),
    ("-x", "gitmodulesUrl"),
    ("--upload-pack=x", "gitmodulesUrl"),
    ("-", "gitmodulesUrl"),
    ("../%0a", "gitmodulesUrl"),
    ("./%0Ax", "gitmodulesUrl"),
    ("git://h/%0a", "gitmodulesUrl"),
    ("..\\\\%0a", "gitmodulesUrl"),
    (".\\\\%0a", "gitmodulesUrl"),
    ("./a\\nb", "gitmodulesUrl"),
    ("./a%0d", ""),
    ("./a%00%0a", "gitmodulesUrl"),
    ("./%250a", ""),
    ("./%%0a", "gitmodulesUrl"),
    ("./%0", ""),
    ("./%", ""),
    ("./%0g%0a", "gitmodulesUrl"),
    ("./%0a:x", ""),
    ("./x:%0a", "gitmodulesUrl"),
    ("../:x", "gitmodulesUrl"),
    ("..//x", "gitmodulesUrl"),
    ("../../../:x", "gitmodulesUrl"),
    ("./../:x", "gitmodulesUrl"),
    ("..\\\\:x", "gitmodulesUrl"),
    (".././/x", "gitmodulesUrl"),
    ("..\\\\\\\\x", ""),
    ("http://h/%0a", "gitmodulesUrl"),
    ("https://h/a?%0A", "gitmodulesUrl"),
    ("https://h/x#%0a", "gitmodulesUrl"),
    ("https://u%0a@h/x", "gitmodulesUrl"),
    ("https://u:%0a@h/x", "gitmodulesUrl"),
    ("ftp://h/%0a", "gitmodulesUrl"),
    ("ftps://h/%0a", "gitmodulesUrl"),
    ("http::http://h/%0a", "gitmodulesUrl"),
    ("https::ssh://h/%0a", "gitmodulesUrl"),
    ("https::ssh://h/x", ""),
    ("http::file:///x", ""),
    ("http::file://h/x", ""),
    ("http::file:///%0a", "gitmodulesUrl"),
    ("http::file://:80/x", "gitmodulesUrl"),
    ("http::file://:/x", ""),
    ("http::file://u@/x", ""),
    ("https://h/%0a/../x", ""),
    ("https://h/x/%2e%2E/y", ""),
    ("https://h/%250a", ""),
    ("https://h/%0d", ""),
    ("https://h/a\\nb", "gitmodulesUrl"),
    ("https://h/../x", "gitmodulesUrl"),
    ("https://h/a/../../x", "gitmodulesUrl"),
    ("https://h/./../x", "gitmodulesUrl"),
    ("https://h/a/./b/../../c", ""),
    ("https://h/a/b/..", ""),
    ("https://h/.", ""),
    ("https://h/%zz", "gitmodulesUrl"),
    ("https://h/%0", "gitmodulesUrl"),
    ("https://h/%", "gitmodulesUrl"),
    ("https://h/?%2", "gitmodulesUrl"),
    ("https://%41@h/", ""),
    ("https://%4@h/", "gitmodulesUrl"),
    ("https:///x", "gitmodulesUrl"),
    ("https://", "gitmodulesUrl"),
    ("https://:80/x", "gitmodulesUrl"),
    ("https://u@/x", "gitmodulesUrl"),
    ("https://@h/x", ""),
    ("https://?x", "gitmodulesUrl"),
    ("https::example.com/x", "gitmodulesUrl"),
    ("http::x", "gitmodulesUrl"),
    ("http::1://h/x", "gitmodulesUrl"),
    ("https://h h/x", "gitmodulesUrl"),
    ("https://h%41/x", "gitmodulesUrl"),
    ("https://\u{e4}/x", "gitmodulesUrl"),
    ("https://h_h/x", ""),
    ("https://h:/x", ""),
    ("https://h:0/x", "gitmodulesUrl"),
    ("https://h:000/x", "gitmodulesUrl"),
    ("https://h:00080/x", ""),
    ("https://h:65535/x", ""),
    ("https://h:65536/x", "gitmodulesUrl"),
    ("https://h:100000/x", "gitmodulesUrl"),
    ("https://h:+1/x", "gitmodulesUrl"),
    ("https://h:8x/x", "gitmodulesUrl"),
    ("https://a:b:80/x", ""),
    ("https://[::1]/x", ""),
    ("https://h:80:/x", ""),
    ("https://h:443", ""),
    ("https://h?x@y", ""),
    ("https://h/@%0a", "gitmodulesUrl"),
];

/// Whole files.
const FILES: &[(&str, &str)] = &[
    ("", ""),
    ("# nothing\n; at all", ""),
    ("[submodule \"s\"]\n\turl = -x", "gitmodulesUrl"),
    ("[submodule \"s\"] url = -x", "gitmodulesUrl"),
    ("[SubModule \"s\"]\nURL=-x\n", "gitmodulesUrl"),
    ("[submodule.s]\nurl=-x\n", "gitmodulesUrl"),
    ("[submodule.s.]\nurl=-x\n", "gitmodulesUrl"),
    ("[submodule.]\nurl=x\n", "gitmodulesName"),
    ("[submodule]\nurl=-x\n", ""),
    ("[submodule \"s\"]\nurl\n", ""),
    ("[submodule \"..\"]\nurl\n", "gitmodulesName"),
    ("[submodule \"..\"]\nunknown = 1\n", "gitmodulesName"),
    ("[submodule \"..\"]\n", ""),
    ("[submodules \"..\"]\nurl = -x\n", ""),
    ("[other \"..\"]\nurl = -x\n", ""),
    ("[other \"s\"]\n[submodule \"s\"]\n[other]\nurl = -x\n", ""),
    ("url = -x\n", ""),
    ("submodule = -x\n", ""),
    (
        "[submodule \"..\"]\nurl = -x\npath = -y\nupdate = !z\n",
        "gitmodulesName gitmodulesPath gitmodulesUpdate gitmodulesUrl",
    ),
    ("[submodule \"s\"]\nurl = good\nurl = -x\n", "gitmodulesUrl"),
    ("[submodule \"s\"]\nurl = \"-x\"\n", "gitmodulesUrl"),
    ("[submodule \"s\"]\nurl = \" -x\"\n", ""),
    ("[submodule \"s\"]\nurl = \\\n-x\n", "gitmodulesUrl"),
    ("[submodule \"s\"]\nurl = # -x\n", ""),
    ("[submodule \"s\"]\nurl = x # \"\n", ""),
    ("[submodule \"s\"]\nurl = -x;y\n", "gitmodulesUrl"),
    ("[submodule \"s\"]\nurl = \"#\"-x\n", ""),
    ("[submodule \"s\"]\r\nurl = -x\r\n", "gitmodulesUrl"),
    ("[submodule \"s\"]\r\nurl = ./x\ry\r\n", ""),
    ("[submodule \"s\"]\nurl=\r", ""),
    ("[submodule \"s\"]\nurl = ./x\\t\\b\\\"\\\\y  \n", ""),
    ("[submodule \"s\\\"]\nurl = x\n", "gitmodulesParse"),
    ("[submodule \".\\.\"]\nurl = x\n", "gitmodulesName"),
    ("[submodule  \t \"..\"]\nurl = x\n", "gitmodulesName"),
    ("[submodule \"s\"]url=-x", "gitmodulesUrl"),
    (
        "[submodule \"s\"]\nurl=-x\n[submodule \"t\"]\nupdate=!y",
        "gitmodulesUpdate gitmodulesUrl",
    ),
    ("[submodule \"s\"]\nurl\0x = -x\n", "gitmodulesParse"),
    ("[submodule \"s\"]\nurl = ./\0%0a\n", ""),
    ("[submodule \"s\"]\nurl = \0-x\n", ""),
    ("[submodule \"s\0t\"]\nurl = -x\n", ""),
    ("[submodule \"a.b\0t\"]\nurl = -x\n", ""),
    (
        "[submodule \"...url\0t\"]\npath = -x\n",
        "gitmodulesName gitmodulesUrl",
    ),
    ("[submodule \"\0.url\"]\npath = -x\n", ""),
    (
        "[submodule \"s\"]\npath = x\n[submodule \"..\"]\npath = -x\npath = x\n",
        "gitmodulesName gitmodulesPath",
    ),
    ("[submodule \"..\"]\n!", "gitmodulesParse"),
    ("[submodule \"..\"]\r\nurl\r\n", "gitmodulesName"),
    ("[submodule \"s\"]\r\nurl = \\\r\n-x\r\n", "gitmodulesUrl"),
    // What can't be parsed ends it.
    ("garbage\n[submodule \"s\"]\nurl = -x\n", "gitmodulesUrl"),
    ("garbage!\n[submodule \"s\"]\nurl = -x\n", "gitmodulesParse"),
    (
        "[submodule \"s\"]\nurl = -x\n!garbage\n",
        "gitmodulesParse gitmodulesUrl",
    ),
    ("!garbage\n[submodule \"s\"]\nurl = -x\n", "gitmodulesParse"),
    ("[submodule \"s\"\nurl = -x\n", "gitmodulesParse"),
    ("[submodule \"s\" ]\nurl = -x\n", "gitmodulesParse"),
    ("[submodule\n\"s\"]\nurl = -x\n", "gitmodulesParse"),
    ("[submodule s]\nurl = -x\n", "gitmodulesParse"),
    ("[submodule_x]\nurl = -x\n", "gitmodulesParse"),
    ("[]\nurl = -x\n", "gitmodulesParse"),
    ("[ \"s\"]\nurl = -x\n", ""),
    ("[", "gitmodulesParse"),
    ("[submodule", "gitmodulesParse"),
    ("[submodule \"", "gitmodulesParse"),
    ("[submodule \"s\\\n\"]", "gitmodulesParse"),
    ("[submodule \"s\"]\nurl = \"-x\n", "gitmodulesParse"),
    ("[submodule \"s\"]\nurl = -x\\q\n", "gitmodulesParse"),
    ("[submodule \"s\"]\nurl = -x\\", "gitmodulesUrl"),
    ("[submodule \"s\"]\nurl : -x\n", "gitmodulesParse"),
    ("[submodule \"s\"]\n1url = -x\n", "gitmodulesParse"),
    ("[submodule \"s\"]\nu_rl = -x\n", "gitmodulesParse"),
    ("[submodule \"s\"]\nur-l2 = -x\n", ""),
    ("[submodule \"s\"]\nurl \x0c= -x\n", "gitmodulesParse"),
    ("\u{e4}", "gitmodulesParse"),
];

fn rows(hash: Hash) -> Vec<(String, Vec<Object>, &'static str)> {
    let mut files = Vec::new();
    let mut add = |file: String, expected| files.push((file, expected));
    for (name, expected) in NAMES {
        add(format!("[submodule \"{name}\"]\npath = x\n"), *expected);
    }
    for (url, expected) in URLS {
        add(module("url", format!("\"{url}\"")), *expected);
    }
    for (path, expected) in [
        ("-x", "gitmodulesPath"),
        ("x", ""),
        ("../x", ""),
        ("\"-\"", "gitmodulesPath"),
        ("a/-x", ""),
        ("", ""),
    ] {
        add(module("path", path), expected);
    }
    for (update, expected) in [
        ("!x", "gitmodulesUpdate"),
        ("!", "gitmodulesUpdate"),
        ("none", ""),
        ("checkout", ""),
        ("x!", ""),
        ("", ""),
    ] {
        add(module("update", update), expected);
    }
    for (file, expected) in FILES {
        add((*file).to_owned(), *expected);
    }
    let rows = files.into_iter().enumerate();
    rows.map(|(index, (file, expected))| {
        let [blob, tree] = named(".gitmodules", file.as_bytes(), hash);
        // A blob may come before its tree and after it.
        let objects = if index % 2 == 0 {
            vec![blob, tree]
        } else {
            vec![tree, blob]
        };
        (format!("{file:?}"), objects, expected)
    })
    .collect()
}

#[test]
fn submodules_are_judged_as_by_git() {
    assert_as_git(Hash::Sha1, rows(Hash::Sha1));
}

#[test]
fn a_blob_is_only_looked_at_under_its_name() {
    let hash = Hash::Sha1;
    let bad = module("url", "-x");
    let other = named("gitmodules", bad.as_str(), hash).to_vec();
    let on_windows = named("GITMOD~1", bad.as_str(), hash).to_vec();
    let row = |name: &str, objects, expected| (name.to_owned(), objects, expected);
    assert_as_git(
        hash,
        [
            row("other", other, ""),
            row("on Windows", on_windows, "gitmodulesUrl"),
        ],
    );
}

#[test]
fn attributes_are_judged_as_by_git() {
    let hash = Hash::Sha256;
    let line = |len: usize| "x".repeat(len);
    let rows = [
        (line(2047), ""),
        (line(2048), "gitattributesLineLength"),
        (line(2047) + "\n" + &line(2047), ""),
        (
            "a b\n".to_owned() + &line(2048) + "\n",
            "gitattributesLineLength",
        ),
        ("a b\n\0".to_owned() + &line(2048) + "\n", ""),
        (line(2000) + "\0" + &line(2048), ""),
        (line(2048) + "\0", "gitattributesLineLength"),
        (String::new(), ""),
        ("\0".repeat(100 * 1024 * 1024), ""),
        ("\0".repeat(100 * 1024 * 1024 + 1), "gitattributesLarge"),
    ];
    let rows = rows.into_iter().map(|(file, expected)| {
        let name = format!("{} bytes", file.len());
        (name, named(".gitattributes", file, hash).to_vec(), expected)
    });
    assert_as_git(hash, rows);
}

#[test]
fn what_is_no_blob_is_judged_as_by_git() {
    let hash = Hash::Sha1;
    let inner = (Kind::Tree, Vec::new());
    let rows = [
        (".gitmodules", "gitmodulesBlob"),
        (".gitattributes", "gitattributesBlob"),
    ];
    let rows = rows.map(|(name, expected)| {
        let outer = (
            Kind::Tree,
            entry("40000", name, id(&inner, hash).as_slice()),
        );
        (name.to_owned(), vec![inner.clone(), outer], expected)
    });
    assert_as_git(hash, rows);
}

/// Git says this of a blob above `core.bigFileThreshold`.
#[test]
fn a_file_that_is_too_large_to_read_is_refused() {
    let rules = FsckRules::strict();
    let fsck = Fsck::new(&rules, Hash::Sha1);
    let object = id(&(Kind::Blob, Vec::new()), Hash::Sha1);
    for (file, expected) in [
        (SpecialFile::Modules, FsckMessage::GitmodulesLarge),
        (SpecialFile::Attributes, FsckMessage::GitattributesLarge),
    ] {
        let found = fsck.special_blob(&object, file, SpecialContent::TooLarge);
        assert_eq!(found.expect_err("a finding").message, expected);
    }
}

/// Git's parser takes a byte order mark and 0xff for something else in memory than in a file, where
/// a `char` has a sign.
#[test]
fn what_gits_parser_does_not_see_is_seen() {
    let git = Git::new(Hash::Sha1);
    let rules = FsckRules::strict();
    for start in [&b"\xef\xbb\xbf"[..], b"# \xff\n"] {
        let content = [start, module("url", "-x").as_bytes()].concat();
        let objects = named(".gitmodules", content, Hash::Sha1);
        let ours = judge(&objects, Hash::Sha1, &rules);
        assert!(ours.refused, "{start:?}");
        if cfg!(target_arch = "x86_64") {
            assert!(!git.index_pack(&objects, "").refused, "{start:?}");
        }
    }
}

#[test]
fn a_url_is_not_shown() {
    let rules = FsckRules::strict();
    let fsck = Fsck::new(&rules, Hash::Sha1);
    let object = id(&(Kind::Blob, Vec::new()), Hash::Sha1);
    let file =
        module("url", "https://user:secret@example.com/%0a").replace("sub\"", "su\u{202e}b\"");
    let content = SpecialContent::Blob(file.as_bytes());
    let found = fsck.special_blob(&object, SpecialFile::Modules, content);
    assert_eq!(
        found.expect_err("a finding").to_string(),
        format!("object {object}: gitmodulesUrl: disallowed url of submodule \"su\\u{{202e}}b\"")
    );
}
