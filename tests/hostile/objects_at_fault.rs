//! Objects that git's fsck objects to. Which ones it does is tested with the rules; here: that every
//! way in leads past them.

use crate::objects::{PERSON, commit, entry, tag, tree};
use crate::pack::{Pack, delta};
use crate::support::git::ObjectFormat;
use crate::world::{Case, EVIL, Offer, World, all_fail, breaks, rejected};
use gix::objs::Kind;
use refsync::{FsckRules, ObjectId, SyncOptions};

/// A commit of that tree, on the tip of the store.
fn of_tree(world: &World, mut pack: Pack, content: &[u8]) -> Offer {
    let tree = pack.object(Kind::Tree, content);
    let tip = pack.object(Kind::Commit, &commit(&tree, &[world.tip], "evil"));
    Offer::branch(tip, pack)
}

/// Some of what the default rules let in.
fn strictly(options: &mut SyncOptions) {
    options.fsck = FsckRules::strict();
}

/// A tree with these entries, each of the store's blob.
fn named(words: &'static str, name: &'static str, entries: &[(&'static str, &[u8])]) -> Case {
    let entries: Vec<_> = entries
        .iter()
        .map(|(mode, name)| (*mode, name.to_vec()))
        .collect();
    rejected(format!("tree: {name}"), words, move |world| {
        let mut content = Vec::new();
        for (mode, name) in &entries {
            let id = if *mode == "40000" {
                world.tree
            } else {
                world.blob
            };
            entry(&mut content, mode, name, &id);
        }
        of_tree(world, world.pack(), &content)
    })
}

fn name_cases() -> Vec<Case> {
    let dot_gits: [(&str, &[u8]); 13] = [
        (".git", b".git"),
        (".GIT", b".GIT"),
        (".Git", b".Git"),
        (".git with a dot after it, as NTFS reads it", b".git."),
        (".git with a space after it", b".git "),
        (".git as a stream", b".git::$INDEX_ALLOCATION"),
        (".git with what NTFS cuts off", b".git . .:x"),
        ("git~1", b"git~1"),
        ("GIT~1", b"GIT~1"),
        (".git with a joiner that HFS+ ignores", b".g\xe2\x80\x8cit"),
        (".git with a mark at its end", b".git\xef\xbb\xbf"),
        (".git with a mark in front", b"\xe2\x80\x8e.git"),
        (".git behind a backslash", b"a\\.git"),
    ];
    let mut cases: Vec<_> = dot_gits
        .into_iter()
        .map(|(name, bytes)| named("hasDotgit", name, &[("40000", bytes)]))
        .collect();
    cases.extend([
        named("hasDotdot", "..", &[("40000", b"..")]),
        named("hasDot:", ".", &[("40000", b".")]),
        named("fullPathname", "a/b", &[("100644", b"a/b")]),
        named("fullPathname", "/", &[("40000", b"/")]),
        named(
            "fullPathname",
            "../../hooks/post-checkout",
            &[("100755", b"../../hooks/post-checkout")],
        ),
        named("badTree", "no name", &[("100644", b"")]),
        named(
            "treeNotSorted",
            "not in order",
            &[("100644", b"b"), ("100644", b"a")],
        ),
        named(
            "duplicateEntries",
            "the same name twice",
            &[("100644", b"a"), ("100644", b"a")],
        ),
        named(
            "duplicateEntries",
            "a file and a directory of one name",
            &[("100644", b"a"), ("100644", b"a.b"), ("40000", b"a")],
        ),
        named(
            "zeroPaddedFilemode",
            "a mode with a zero in front",
            &[("0100644", b"a")],
        )
        .with(strictly),
        named("badTree", "no mode", &[("", b"a")]),
        named("badTree", "a mode that is no number", &[("10x644", b"a")]),
        named("badTree", "a negative mode", &[("-100644", b"a")]),
        named(
            "gitmodulesSymlink",
            "a .gitmodules that is a link",
            &[("120000", b".gitmodules")],
        ),
        named(
            "gitmodulesBlob",
            "a .gitmodules that is a directory",
            &[("40000", b".gitmodules")],
        ),
    ]);
    cases
}

fn tree_cases() -> Vec<Case> {
    let raw = |name: &str, words, content: fn(&World) -> Vec<u8>| {
        rejected(format!("tree: {name}"), words, move |world: &World| {
            of_tree(world, world.pack(), &content(world))
        })
    };
    vec![
        raw("the null id", "nullSha1", |world| {
            tree([("100644", &b"a"[..], world.hash.null().into())])
        }),
        raw("half an id", "badTree", |_| b"100644 a\0half".to_vec()),
        raw("no id", "badTree", |_| b"100644 a\0".to_vec()),
        raw("a name without an end", "badTree", |_| {
            b"100644 aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa".to_vec()
        }),
        raw("bytes after the last entry", "badTree", |world| {
            [tree([("100644", &b"a"[..], world.blob)]), b"1".to_vec()].concat()
        }),
        raw("no bytes of an entry but a zero", "badTree", |_| vec![0]),
        raw("text", "badTree", |_| b"this is no tree\n".to_vec()),
        rejected("tree: at fault three levels down", "hasDotgit", |world| {
            let mut pack = world.pack();
            let mut id = pack.object(Kind::Tree, &tree([("40000", &b".git"[..], world.tree)]));
            for _ in 0..3 {
                id = pack.object(Kind::Tree, &tree([("40000", &b"down"[..], id)]));
            }
            Offer::branch(pack.object(Kind::Commit, &commit(&id, &[], "evil")), pack)
        }),
        rejected("tree: at fault, and a delta", "hasDotgit", |world| {
            let mut pack = world.pack();
            let sound = tree([("40000", &b"a"[..], world.tree)]);
            let base = pack.place(Kind::Tree, &sound);
            let content = tree([("40000", &b".git"[..], world.tree)]);
            let size = content.len() as u64;
            let delta = delta::of(sound.len() as u64, size, &delta::insert(&content));
            pack.ofs_delta(base, &delta);
            let id = world.id(Kind::Tree, &content);
            Offer::branch(pack.object(Kind::Commit, &commit(&id, &[], "evil")), pack)
        }),
        rejected(
            "tree: at fault, and a delta on an object of the store",
            "hasDotgit",
            |world| {
                let mut pack = world.pack();
                let content = tree([("40000", &b".git"[..], world.tree)]);
                let base: u64 = world
                    .repo
                    .git(&["cat-file", "-s", &world.tree.to_string()])
                    .parse()
                    .unwrap();
                pack.ref_delta(
                    &world.tree,
                    &delta::of(base, content.len() as u64, &delta::insert(&content)),
                );
                let id = world.id(Kind::Tree, &content);
                Offer::branch(pack.object(Kind::Commit, &commit(&id, &[], "evil")), pack)
            },
        ),
        breaks(
            "tree: at fault, and nobody asked for it",
            "an object that no wanted tip needs",
            |world| {
                let mut pack = world.pack();
                pack.object(Kind::Tree, &tree([("40000", &b".git"[..], world.tree)]));
                let tip = pack.object(Kind::Commit, &commit(&world.tree, &[world.tip], "fine"));
                Offer::branch(tip, pack)
            },
        ),
        breaks(
            "tree: 1,001 at fault",
            "more than 1000 faulty objects",
            |world| {
                let mut pack = world.pack();
                for number in 0..1001 {
                    let name = format!("{number}");
                    pack.object(Kind::Tree, &tree([("040000", name.as_bytes(), world.tree)]));
                    let both = [
                        ("40000", &b".git"[..], world.tree),
                        ("40000", name.as_bytes(), world.tree),
                    ];
                    pack.object(Kind::Tree, &tree(both));
                }
                Offer::branch(world.nowhere(1), pack)
            },
        ),
        rejected(
            "tree: larger than memory is for",
            "limit memory 8388608, of which one tree may take 524288",
            |world| {
                let mut content = Vec::new();
                for number in 0..20_000 {
                    entry(
                        &mut content,
                        "100644",
                        format!("{number:08}").as_bytes(),
                        &world.blob,
                    );
                }
                of_tree(world, world.pack(), &content)
            },
        )
        .with(|options| options.limits.memory = 8 << 20),
    ]
}

/// A tip of that kind and content, beside nothing.
fn tip(
    name: &str,
    words: &'static str,
    kind: Kind,
    content: impl Fn(&World) -> String + 'static,
) -> Case {
    rejected(format!("{kind}: {name}"), words, move |world: &World| {
        let mut pack = world.pack();
        let tip = pack.object(kind, content(world).as_bytes());
        Offer::branch(tip, pack)
    })
}

fn commit_cases() -> Vec<Case> {
    let ends = format!("author {PERSON}\ncommitter {PERSON}\n\nevil\n");
    let after = |name, words, start: fn(&World) -> String| {
        let ends = ends.clone();
        tip(name, words, Kind::Commit, move |world| start(world) + &ends)
    };
    let person = |name: &str, words, author: &'static str| {
        tip(name, words, Kind::Commit, move |world| {
            format!(
                "tree {}\nauthor {author}\ncommitter {PERSON}\n\nevil\n",
                world.tree
            )
        })
    };
    vec![
        tip("nothing", "faulty", Kind::Commit, |_| String::new()),
        tip("text", "unterminatedHeader", Kind::Commit, |_| {
            "text".to_owned()
        }),
        after("no tree", "missingTree", |_| String::new()),
        after("a tree that is no id", "badTreeSha1", |_| {
            "tree zzzz\n".to_owned()
        }),
        after("half a tree id", "badTreeSha1", |world| {
            format!("tree {}\n", &world.tree.to_string()[1..])
        }),
        after("a parent that is no id", "badParentSha1", |world| {
            format!("tree {}\nparent x\n", world.tree)
        }),
        after("a parent after a hole", "badParentSha1", |world| {
            format!("tree {}\nparent \nparent {}\n", world.tree, world.tip)
        }),
        tip("no author", "missingAuthor", Kind::Commit, |world| {
            format!("tree {}\ncommitter {PERSON}\n\nevil\n", world.tree)
        }),
        tip("two authors", "multipleAuthors", Kind::Commit, |world| {
            format!(
                "tree {0}\nauthor {PERSON}\nauthor {PERSON}\ncommitter {PERSON}\n\nevil\n",
                world.tree
            )
        }),
        tip("no committer", "missingCommitter", Kind::Commit, |world| {
            format!("tree {}\nauthor {PERSON}\n\nevil\n", world.tree)
        }),
        tip(
            "a NUL in its header",
            "nulInHeader",
            Kind::Commit,
            |world| {
                format!(
                    "tree {}\nauthor A\0 <a> 1 +0000\ncommitter {PERSON}\n\nevil\n",
                    world.tree
                )
            },
        ),
        person("no email", "missingEmail", "A U Thor 1 +0000"),
        person("no name", "missingNameBeforeEmail", "<a@b> 1 +0000"),
        person(
            "a date that overflows",
            "badDateOverflow",
            "A <a@b> 99999999999999999999999 +0000",
        ),
        person("no date", "Date", "A <a@b>").with(strictly),
        person(
            "a date with a zero in front",
            "zeroPaddedDate",
            "A <a@b> 01 +0000",
        ),
        person("a time zone that is none", "badTimezone", "A <a@b> 1 +zzzz").with(strictly),
        person("a name that is an email", "badName", "A> <a@b> 1 +0000"),
        rejected("commit: the null id as its tree", "is missing", |world| {
            let mut pack = world.pack();
            let content = commit(&ObjectId::from(world.hash.null()), &[], "evil");
            Offer::branch(pack.object(Kind::Commit, &content), pack)
        }),
        rejected(
            "commit: at fault among its ancestors",
            "missingAuthor",
            |world| {
                let mut pack = world.pack();
                let bad = format!("tree {}\ncommitter {PERSON}\n\nevil\n", world.tree);
                let mut tip = pack.object(Kind::Commit, bad.as_bytes());
                for _ in 0..50 {
                    tip = pack.object(
                        Kind::Commit,
                        &commit(&world.tree, &[tip, world.tip], "fine"),
                    );
                }
                Offer::branch(tip, pack)
            },
        ),
    ]
}

fn tag_cases() -> Vec<Case> {
    let after = |name: &str, words, content: fn(&World) -> String| {
        rejected(format!("tag: {name}"), words, move |world: &World| {
            let mut pack = world.pack();
            let tag = pack.object(Kind::Tag, content(world).as_bytes());
            Offer::new([("refs/tags/evil", tag)], pack.finish())
        })
    };
    vec![
        after("nothing", "faulty", |_| String::new()),
        after("no object", "missingObject", |_| {
            format!("type commit\ntag x\ntagger {PERSON}\n\nx\n")
        }),
        after("an object that is no id", "badObjectSha1", |_| {
            format!("object x\ntype commit\ntag x\ntagger {PERSON}\n\nx\n")
        }),
        after("no type", "missingTypeEntry", |world| {
            format!("object {}\ntag x\ntagger {PERSON}\n\nx\n", world.tip)
        }),
        after("a type that is none", "badType", |world| {
            format!(
                "object {}\ntype comet\ntag x\ntagger {PERSON}\n\nx\n",
                world.tip
            )
        }),
        after("no name", "missingTagEntry", |world| {
            format!("object {}\ntype commit\ntagger {PERSON}\n\nx\n", world.tip)
        }),
        after("its header cut off", "unterminatedHeader", |world| {
            format!("object {}\ntype commit\ntag x", world.tip)
        }),
        after("a tagger without a date", "Date", |world| {
            format!(
                "object {}\ntype commit\ntag x\ntagger A <a>\n\nx\n",
                world.tip
            )
        })
        .with(strictly),
        after("the null id as its object", "is missing", |world| {
            String::from_utf8(tag(&ObjectId::from(world.hash.null()), "commit", "x")).unwrap()
        }),
    ]
}

fn modules(name: &str, words: &'static str, text: &'static str) -> Case {
    rejected(
        format!(".gitmodules: {name}"),
        words,
        move |world: &World| {
            let mut pack = world.pack();
            let blob = pack.object(Kind::Blob, text.as_bytes());
            of_tree(world, pack, &tree([("100644", &b".gitmodules"[..], blob)]))
        },
    )
}

fn modules_cases() -> Vec<Case> {
    vec![
        modules(
            "a name that leads up",
            "gitmodulesName",
            "[submodule \"../../hooks\"]\n\tpath = a\n",
        ),
        modules(
            "a name that leads up later",
            "gitmodulesName",
            "[submodule \"a/../b\"]\n\turl = x\n",
        ),
        modules(
            "a URL that is an option",
            "gitmodulesUrl",
            "[submodule \"a\"]\n\turl = --upload-pack=touch\n",
        ),
        modules(
            "a URL with a line feed",
            "gitmodulesUrl",
            "[submodule \"a\"]\n\turl = \"https://a\\nb/c\"\n",
        ),
        modules(
            "a path that is an option",
            "gitmodulesPath",
            "[submodule \"a\"]\n\tpath = -x\n",
        ),
        modules(
            "a command",
            "gitmodulesUpdate",
            "[submodule \"a\"]\n\tupdate = !touch x\n",
        ),
        rejected(
            ".gitmodules: the tree comes first",
            "gitmodulesName",
            |world| {
                let mut pack = world.pack();
                let text = b"[submodule \"..\"]\n\tpath = a\n";
                let blob = world.id(Kind::Blob, text);
                let tree = pack.object(Kind::Tree, &tree([("100644", &b".gitmodules"[..], blob)]));
                let tip = pack.object(Kind::Commit, &commit(&tree, &[], "evil"));
                pack.object(Kind::Blob, text);
                Offer::branch(tip, pack)
            },
        ),
        rejected(
            ".gitmodules: under a name that NTFS shortens",
            "gitmodulesName",
            |world| {
                let mut pack = world.pack();
                let blob = pack.object(Kind::Blob, b"[submodule \"..\"]\n\tpath = a\n");
                of_tree(world, pack, &tree([("100644", &b"gitmod~1"[..], blob)]))
            },
        ),
        rejected(".gitmodules: a blob as a delta", "gitmodulesUrl", |world| {
            let mut pack = world.pack();
            let (sound, text) = (
                b"[submodule \"a\"]\n\turl = x\n",
                b"[submodule \"a\"]\n\turl = -x\n",
            );
            let base = pack.place(Kind::Blob, sound);
            pack.ofs_delta(
                base,
                &delta::of(sound.len() as u64, text.len() as u64, &delta::insert(text)),
            );
            let blob = world.id(Kind::Blob, text);
            of_tree(world, pack, &tree([("100644", &b".gitmodules"[..], blob)]))
        }),
        rejected(".gitmodules: missing", "gitmodulesMissing", |world| {
            of_tree(
                world,
                world.pack(),
                &tree([("100644", &b".gitmodules"[..], world.nowhere(7))]),
            )
        }),
        rejected(
            ".gitattributes: a line of 100 KB",
            "gitattributesLineLength",
            |world| {
                let mut pack = world.pack();
                let blob = pack.object(Kind::Blob, &[b'a'; 100_000]);
                of_tree(
                    world,
                    pack,
                    &tree([("100644", &b".gitattributes"[..], blob)]),
                )
            },
        ),
        breaks(
            ".gitmodules: 100,001 of them",
            "files that git reads for itself",
            |world| {
                let mut pack = world.pack();
                for chunk in 0..101_u32 {
                    let mut content = Vec::new();
                    for number in 0..1000_u32 {
                        // Each in a spelling of its own would be sorted; one and the same is at fault, but counts.
                        let id = world.id(Kind::Blob, &(chunk * 1000 + number).to_be_bytes());
                        entry(&mut content, "100644", b".gitmodules", &id);
                    }
                    pack.object(Kind::Tree, &content);
                }
                Offer::branch(world.nowhere(1), pack)
            },
        ),
    ]
}

#[test]
fn names() {
    all_fail(&World::new(), &name_cases());
}

#[test]
fn trees() {
    all_fail(&World::new(), &tree_cases());
}

#[test]
fn commits() {
    all_fail(&World::new(), &commit_cases());
}

#[test]
fn tags() {
    all_fail(&World::new(), &tag_cases());
}

#[test]
fn special_files() {
    all_fail(&World::new(), &modules_cases());
}

#[test]
fn with_sha256() {
    let world = World::of(ObjectFormat::Sha256);
    all_fail(&world, &name_cases());
    all_fail(&world, &tree_cases());
    all_fail(&world, &commit_cases());
    all_fail(&world, &tag_cases());
    all_fail(&world, &modules_cases());
}

/// The targets of these names are harmless by themselves.
#[test]
fn the_same_without_what_is_wrong_comes_in() {
    let world = World::new();
    let mut pack = world.pack();
    let blob = pack.object(
        Kind::Blob,
        b"[submodule \"a\"]\n\turl = https://example.com/a\n\tpath = a\n",
    );
    let content = tree([
        ("100644", &b".gitmodules"[..], blob),
        ("160000", b"a", world.nowhere(5)),
    ]);
    let tree = pack.object(Kind::Tree, &content);
    let tip = pack.object(Kind::Commit, &commit(&tree, &[world.tip], "fine"));
    let tag = pack.object(Kind::Tag, &tag(&tip, "commit", "fine"));
    let refs = [(EVIL, tip), ("refs/tags/fine", tag)];
    let stats = world
        .pull(&Offer::new(refs, pack.finish()), &Default::default())
        .unwrap();
    assert_eq!(stats.count(refsync::Outcome::is_updated), 2, "{stats:?}");
    world.repo.fsck();
}
