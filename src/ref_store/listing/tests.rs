use std::fs;

use bstr::BString;

use super::*;

const HEADER: &str = "# pack-refs with: peeled fully-peeled sorted \n";

fn id(digit: char) -> String {
    digit.to_string().repeat(40)
}

/// The refs of a repository with these files, as a source and as a destination.
fn listed(files: &[(&str, String)], prefixes: &[&str]) -> [Vec<String>; 2] {
    let folder = tempfile::tempdir().expect("a folder");
    let repo = gix::init_bare(folder.path()).expect("a repository");
    for (name, content) in files {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        fs::write(path, content).expect("a file");
    }
    let prefixes: Vec<BString> = prefixes.iter().map(|prefix| (*prefix).into()).collect();
    let prefixes: Vec<&RelativePath> = prefixes
        .iter()
        .map(|prefix| prefix.as_bstr().try_into().expect("a path"))
        .collect();
    let context = SyncContext::new(&Default::default());
    [Service::UploadPack, Service::ReceivePack].map(|service| {
        let listed = match list(&repo, service, &prefixes, &context) {
            Ok(listed) => listed,
            Err(err) => return vec![format!("{:?}", err.kind())],
        };
        let text = |listed: AdvertisedRef<'_>| {
            let digit = |id: ObjectId| id.to_string().remove(0);
            let peeled = if listed.annotated { "^" } else { "" };
            let sign = if listed.symbolic { '@' } else { '=' };
            let (name, tip) = (listed.name, digit(listed.target));
            format!("{name}{sign}{tip}{peeled}")
        };
        listed.iter().map(text).collect()
    })
}

#[test]
fn loose_refs_stand_in_front_of_packed_ones() {
    let [a, b, c, d] = ['a', 'b', 'c', 'd'].map(id);
    let packed = format!(
        "{HEADER}{a} refs/heads/a\n{a} refs/heads/b\n{a} refs/notes/x\n^{b}\n{c} refs/tags/v1\n\
         ^{b}\n{c} refs/tags/v2\n{c} refs/tags/v3\n^{c}\n"
    );
    let files = [
        ("packed-refs", packed),
        ("refs/heads/b", format!("{d}\n")),
        ("refs/heads/a/b", format!("{d}\n")),
        ("refs/heads/link", "ref: refs/heads/b\n".to_owned()),
        ("refs/heads/unborn", "ref: refs/heads/none\n".to_owned()),
        ("refs/tags/v1.lock", format!("{d}\n")),
        ("refs/tags/v1", format!("{d}\n")),
    ];
    let all = [
        "refs/heads/a=a",
        "refs/heads/a/b=d",
        "refs/heads/b=d",
        "refs/heads/link@d",
        "refs/heads/unborn@0",
        "refs/tags/v1=d",
        "refs/tags/v2=c",
        "refs/tags/v3=c",
    ];
    for (prefixes, expected) in [
        (&["refs/heads/", "refs/tags/"][..], &all[..]),
        (&["refs/heads/a", "refs/tags/v2"], &[all[0], all[1], all[6]]),
        (&["refs/heads/link/"], &[]),
    ] {
        let [found, with_gix] = listed(&files, prefixes);
        assert_eq!(found, expected, "{prefixes:?}");
        assert_eq!(found, with_gix, "{prefixes:?}");
    }
    let tag = format!("{HEADER}{c} refs/tags/v1\n^{b}\n");
    let [found, _] = listed(&[("packed-refs", tag)], &["refs/tags/"]);
    assert_eq!(found, ["refs/tags/v1=c^"]);
}

#[test]
fn of_what_git_does_not_write_a_source_lists_what_is_sound() {
    let [a, b] = ['a', 'b'].map(id);
    let good = format!("{a} refs/heads/a\n");
    let (same, refused) = (None, Some("MalformedPackedRefs"));
    for (packed, loose, expected, at_destination) in [
        (
            format!("{b} refs/heads/b\n{good}"),
            "",
            &["a=a", "b=b"][..],
            same,
        ),
        (
            format!("{HEADER}{good}{b} refs/heads/b"),
            "",
            &["a=a"],
            refused,
        ),
        (
            format!("{HEADER}{good}{b} refs/heads/b..c\n"),
            "",
            &["a=a", "b..c=b"],
            same,
        ),
        (format!("{HEADER}{good}nonsense\n"), "", &["a=a"], refused),
        (
            format!("{HEADER}{good}^{b}\n^{b}\n"),
            "",
            &["a=a^"],
            refused,
        ),
        (
            format!("{HEADER}{good}\n{b} refs/heads/b\n"),
            "",
            &["a=a", "b=b"],
            refused,
        ),
        (format!("# by hand\n{good}"), "", &["a=a"], refused),
        (
            format!("{HEADER}{good}{b}{} refs/heads/b\n", &a[..24]),
            "",
            &["a=a"],
            refused,
        ),
        (
            format!("{HEADER}{good}"),
            "nonsense",
            &["a=a", "loose=0"],
            same,
        ),
        (
            format!("{HEADER}{good}{b} refs/heads/loose\n"),
            "",
            &["a=a", "loose=b"],
            same,
        ),
        (
            format!("{HEADER}{good}{b} refs/heads/loose\n"),
            "?",
            &["a=a", "loose=0"],
            same,
        ),
        (String::new(), "", &[], same),
    ] {
        let mut files = vec![("packed-refs", packed)];
        if !loose.is_empty() {
            files.push(("refs/heads/loose", loose.to_owned()));
        }
        let [source, destination] = listed(&files, &["refs/heads/"]);
        let expected = expected.iter().map(|name| format!("refs/heads/{name}"));
        let expected: Vec<_> = expected.collect();
        assert_eq!(source, expected, "{files:?}");
        match at_destination {
            None => assert_eq!(destination, expected, "{files:?}"),
            Some(kind) => assert_eq!(destination, [kind], "{files:?}"),
        }
    }
}

/// A file that went through an editor of another system: git has names that end with CR in it.
#[test]
fn line_ends_of_other_systems() {
    let b = id('b');
    let file = format!("{HEADER}{b} refs/heads/b\r\n");
    let [source, destination] = listed(&[("packed-refs", file)], &["refs/heads/"]);
    assert_eq!(source, ["refs/heads/b=b"]);
    assert_eq!(destination, ["refs/heads/b\r=b"]);
}

#[test]
fn a_prefix_is_looked_for_once() {
    let prefixes: [&[u8]; 4] = [
        b"refs/tags/v1",
        b"refs/heads/",
        b"refs/heads/a/",
        b"refs/tags/v",
    ];
    let prefixes = Prefixes::new(prefixes.into_iter());
    assert_eq!(prefixes.0, [&b"refs/heads/"[..], b"refs/tags/v"]);
    for (name, expected) in [
        ("refs/heads/a", true),
        ("refs/heads/a/b", true),
        ("refs/tags/v2", true),
        ("refs/tags/u", false),
        ("refs/a", false),
        ("refs/zz", false),
    ] {
        assert_eq!(prefixes.has(name.into()), expected, "{name}");
    }
}

#[cfg(unix)]
#[test]
fn links_are_symbolic_refs_or_files_elsewhere_as_git_has_it() {
    use std::os::unix::fs::symlink;
    let folder = tempfile::tempdir().expect("a folder");
    let repo = gix::init_bare(folder.path()).expect("a repository");
    let heads = folder.path().join("refs/heads");
    fs::write(heads.join("main"), id('a')).expect("a ref");
    for (link, to) in [
        ("alias", "refs/heads/main"),
        ("unborn", "refs/heads/none"),
        ("same-file", "main"),
        ("dangling", "nowhere"),
    ] {
        symlink(to, heads.join(link)).expect("a link");
    }
    let context = SyncContext::new(&Default::default());
    let prefix: &RelativePath = BStr::new("refs/heads/").try_into().expect("a path");
    let found = list(&repo, Service::UploadPack, &[prefix], &context).expect("a listing");
    let found = found.iter().map(|found| {
        let digit = found.target.to_string().remove(0);
        (found.name.to_string(), digit, found.symbolic)
    });
    let expected = [
        ("refs/heads/alias", 'a', true),
        ("refs/heads/dangling", '0', false),
        ("refs/heads/main", 'a', false),
        ("refs/heads/same-file", 'a', false),
        ("refs/heads/unborn", '0', true),
    ];
    let expected = expected.map(|(name, digit, symbolic)| (name.to_owned(), digit, symbolic));
    assert_eq!(found.collect::<Vec<_>>(), expected);
}
