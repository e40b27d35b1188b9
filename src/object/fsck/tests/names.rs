use gix::{hash::Kind as Hash, object::Kind};

use super::{
    Object, assert_as_git,
    objects::{entry, id_of},
};

/// All that HFS+ ignores.
const IGNORED: [char; 16] = [
    '\u{200c}', '\u{200d}', '\u{200e}', '\u{200f}', '\u{202a}', '\u{202b}', '\u{202c}', '\u{202d}',
    '\u{202e}', '\u{206a}', '\u{206b}', '\u{206c}', '\u{206d}', '\u{206e}', '\u{206f}', '\u{feff}',
];

const DOT_GIT: &[&str] = &[
    ".git",
    ".GIT",
    ".gIt",
    ".git ",
    ".git.",
    ".git. . ",
    ".git::$INDEX_ALLOCATION",
    ".git:stream",
    ".git ::$DATA",
    ".git\\config",
    ".git. \\x",
    ".git\\",
    "git~1",
    "GIT~1",
    "Git~1 ",
    "git~1.",
    "git~1:x",
    "git~1\\a",
    "a\\.git",
    "a\\b\\git~1",
    "a\\.GIT. ",
    "\\.git",
    "a-long-name\\.git\\hooks",
    "\u{e4}\\.git",
    ".gitignore\\.git",
    ".git\u{ffff}",
    ".git\u{fffe}x",
];

const NOT_DOT_GIT: &[&str] = &[
    "git",
    ".gi",
    ".gitx",
    "..git",
    "git~",
    "git~2",
    "git~10",
    ".git~1",
    "xgit~1",
    ".g\u{ed}t",
    ".g\u{200b}it",
    ".git-",
    ".github",
    ".git x",
    "git~1x",
    "a.git",
    "a\\x.git",
    ".gitx\\a",
    "\u{ffff}.git",
    "a\u{200c}.git",
    "git\u{200c}~1",
    "\u{200c}git~1",
    "\u{200c}",
    "~",
    "g~1",
    "\\",
    "a\\",
    "gi",
    ".git\u{301}",
    ".g\u{131}t",
    "\u{ff0e}git",
    ".gi\u{200c}",
    "gitmodules",
    ".gitkeep",
    "mailmap",
];

/// With a name for `.gitmodules`.
const MODULES: &[&str] = &[
    ".gitmodules",
    ".GITMODULES",
    ".gitModules ",
    ".gitmodules.",
    ".gitmodules. . ",
    ".gitmodules:x",
    ".gitmodules .:$DATA",
    "gitmod~1",
    "gitmod~2",
    "gitmod~3",
    "gitmod~4",
    "GITMOD~1",
    "gitmod~1 ",
    "gitmod~1. :x",
    "gi7eba~1",
    "GI7EBA~9",
    "gi7eb~10",
    "gi7eb~99",
    "gi7e~123",
    "gi7eba~1 .",
    "gi7eba~1:x",
    "a\\.gitmodules",
    "a\\gitmod~1",
    "a\\b\\GI7EBA~1",
    "\\.gitmodules",
    ".git\u{200c}modules",
    "\u{feff}.gitmodules",
    ".gitmodules\u{206f}",
    ".GitModules\u{200d}",
    ".gitmodules\u{ffff}",
];

const ATTRIBUTES: &[&str] = &[
    ".gitattributes",
    ".GITATTRIBUTES",
    ".gitattributes ",
    ".gitattributes..",
    ".gitattributes:x",
    "gitatt~1",
    "GITATT~4",
    "gi7d29~1",
    "GI7D29~3 ",
    "gi7d~100",
    ".git\u{202a}attributes",
    "\u{200c}.gitattributes",
];

const NEITHER: &[&str] = &[
    ".gitmodule",
    ".gitmodulesx",
    "gitmod~0",
    "gitmod~5",
    "gitmod~",
    "gitmod~1x",
    "gitmod~11",
    "gi7eba~0",
    "gi7ebb~1",
    "gi7eba~10",
    "gi7eb~01",
    "gi7eb~1",
    "gi7eb~1x",
    "gi7ebax1",
    "xi7eba~1",
    "gi7eba~",
    "~0000001",
    "~100000x",
    "~",
    "gitmodu~1",
    "gitmo~12",
    ".gitmodules\\x",
    "a\\.gitattributes",
    "a\\gitatt~1",
    ".gitmodules x",
    ".gitmodules.x",
    "gitatt~5",
    "gi7d2a~1",
    "\u{e4}itmod~1",
    "gi\u{e4}eba~1",
];

fn row(
    name: &[u8],
    mode: &str,
    hash: Hash,
    expected: &'static str,
) -> (String, Vec<Object>, &'static str) {
    let tree = (Kind::Tree, entry(mode, name, &id_of(0x11, hash)));
    (
        format!("{mode} {:?}", bstr::BStr::new(name)),
        vec![tree],
        expected,
    )
}

#[test]
fn names_for_a_repository_are_seen_as_git_does() {
    let mut rows = Vec::new();
    let mut add = |name: &[u8], expected| rows.push(row(name, "40000", Hash::Sha1, expected));
    for name in DOT_GIT {
        add(name.as_bytes(), "hasDotgit");
    }
    for name in NOT_DOT_GIT {
        add(name.as_bytes(), "");
    }
    for ignored in IGNORED {
        for position in 0..=4 {
            let (start, end) = ".gIt".split_at(position);
            add(format!("{start}{ignored}{end}").as_bytes(), "hasDotgit");
        }
        add(
            format!("{ignored}.{ignored}git{ignored}{ignored}").as_bytes(),
            "hasDotgit",
        );
        add(format!("{ignored}git").as_bytes(), "");
    }
    // The neighbours of those are not ignored.
    for seen in [
        '\u{200b}',
        '\u{2010}',
        '\u{2029}',
        '\u{202f}',
        '\u{2069}',
        '\u{2070}',
        '\u{fefe}',
        '\u{ff00}',
        '\u{10ffff}',
    ] {
        add(format!(".g{seen}it").as_bytes(), "");
    }
    for malformed in [
        &b"\xff"[..],
        b"\x80",
        b"\xc0\x80",
        b"\xe2\x80",
        b"\xed\xa0\x80",
        b"\xf0\x80\x80\x80",
        b"\xf5\x80\x80\x80",
    ] {
        add(&[b".git", malformed].concat(), "hasDotgit");
        add(&[b".g", malformed, b"it"].concat(), "");
        add(&[malformed, b".git"].concat(), "");
    }
    add(b".git/x", "hasDotgit fullPathname");
    add(".git\u{200c}/x".as_bytes(), "hasDotgit fullPathname");
    add(b"x/.git", "fullPathname");
    add(b"git~1/x", "hasDotgit fullPathname");
    assert_as_git(Hash::Sha1, rows);
}

#[test]
fn names_for_files_of_git_are_seen_as_git_does() {
    let mut rows = Vec::new();
    let mut add =
        |name: &str, mode, expected| rows.push(row(name.as_bytes(), mode, Hash::Sha256, expected));
    for name in MODULES {
        add(name, "100644", "gitmodulesMissing");
        add(name, "120000", "gitmodulesSymlink");
    }
    add(".gitmodules", "100755", "gitmodulesMissing");
    add(".gitmodules", "40000", "gitmodulesMissing");
    add(".gitmodules", "160000", "gitmodulesMissing");
    for name in ATTRIBUTES {
        add(name, "100644", "gitattributesMissing");
        add(name, "120000", "gitattributesSymlink");
    }
    for name in NEITHER {
        add(name, "100644", "");
        add(name, "120000", "");
    }
    for name in [
        ".gitignore",
        ".GITIGNORE. ",
        "gitign~1",
        "gi250a~1",
        ".git\u{200c}ignore",
    ] {
        add(name, "100644", "");
        add(name, "120000", "gitignoreSymlink");
    }
    for name in [
        ".mailmap",
        ".MAILMAP:x",
        "mailma~4",
        "maba30~1",
        "ma~12345",
        ".mail\u{feff}map",
    ] {
        add(name, "100644", "");
        add(name, "120000", "mailmapSymlink");
    }
    for name in ["~1000000", "~9999999 "] {
        add(name, "100644", "gitmodulesMissing gitattributesMissing");
        add(
            name,
            "120000",
            "gitmodulesSymlink gitattributesSymlink gitignoreSymlink mailmapSymlink",
        );
    }
    for name in ["g~100000", "gi~12345", "gi7~1000"] {
        add(name, "100644", "gitmodulesMissing gitattributesMissing");
    }
    add(".gitmodules/x", "120000", "gitmodulesSymlink fullPathname");
    assert_as_git(Hash::Sha256, rows);
}
