//! Sound objects that don't make a whole: what they lead to is missing, or is something else.

use crate::objects::{commit, tag, tree};
use crate::pack::delta;
use crate::support::git::ObjectFormat;
use crate::world::{Case, EVIL, Offer, World, all_fail, rejected};
use gix::objs::Kind;
use refsync::ObjectId;

const MISSING: &str = "is missing";

/// Trees around an object, that many levels of them.
fn below(pack: &mut crate::pack::Pack, mode: &str, id: ObjectId, levels: usize) -> ObjectId {
    let mut id = pack.object(Kind::Tree, &tree([(mode, &b"x"[..], id)]));
    for _ in 1..levels {
        id = pack.object(Kind::Tree, &tree([("40000", &b"x"[..], id)]));
    }
    id
}

/// A delta that has all of its result in it.
fn replace(base: &[u8], content: &[u8]) -> Vec<u8> {
    let [base, result] = [base.len() as u64, content.len() as u64];
    delta::of(base, result, &delta::insert(content))
}

fn missing_cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for levels in [1, 2, 1000] {
        for (mode, kind) in [("100644", "blob"), ("40000", "tree"), ("120000", "link")] {
            cases.push(rejected(
                format!("a {kind} {levels} levels down"),
                MISSING,
                move |world| {
                    let mut pack = world.pack();
                    let tree = below(&mut pack, mode, world.nowhere(1), levels);
                    let tip = pack.object(Kind::Commit, &commit(&tree, &[world.tip], "evil"));
                    Offer::branch(tip, pack)
                },
            ));
        }
        cases.push(rejected(
            format!("a commit {levels} back"),
            MISSING,
            move |world| {
                let mut pack = world.pack();
                let mut tip = world.nowhere(1);
                for _ in 0..levels {
                    tip = pack.object(Kind::Commit, &commit(&world.tree, &[tip], "evil"));
                }
                Offer::branch(tip, pack)
            },
        ));
        cases.push(rejected(
            format!("the object of a tag {levels} tags down"),
            MISSING,
            move |world| {
                let mut pack = world.pack();
                let mut tip = pack.object(Kind::Tag, &tag(&world.nowhere(1), "commit", "evil"));
                for _ in 1..levels {
                    tip = pack.object(Kind::Tag, &tag(&tip, "tag", "evil"));
                }
                Offer::new([("refs/tags/evil", tip)], pack.finish())
            },
        ));
    }
    cases.extend([
        rejected(
            "trees nested deeper than git goes",
            "2048 levels",
            |world| {
                let mut pack = world.pack();
                let tree = below(&mut pack, "100644", world.blob, 2049);
                let tip = pack.object(Kind::Commit, &commit(&tree, &[world.tip], "evil"));
                Offer::branch(tip, pack)
            },
        ),
        rejected("the tip", MISSING, |world| {
            Offer::branch(world.nowhere(1), world.pack())
        }),
        // What completes a thin pack is there, and that is all that is known of it.
        rejected(
            "a commit of debris that a delta is built on",
            MISSING,
            |world| {
                let mut pack = world.pack();
                let base = commit(&world.nowhere(99), &[], "debris");
                assert_eq!(world.id(Kind::Commit, &base), world.broken);
                let sound = commit(&world.tree, &[world.tip], "sound");
                pack.ref_delta(&world.broken, &replace(&base, &sound));
                Offer::branch(world.broken, pack)
            },
        ),
        rejected(
            "a tree of debris beside what is built on it",
            MISSING,
            |world| {
                let mut pack = world.pack();
                let base = tree([("100644", &b"x"[..], world.nowhere(98))]);
                let id = world.broken_tree;
                let sound = tree([("100644", &b"x"[..], world.blob)]);
                pack.ref_delta(&id, &replace(&base, &sound));
                let sound = world.id(Kind::Tree, &sound);
                let root = tree([("40000", &b"a"[..], sound), ("40000", &b"b"[..], id)]);
                let root = pack.object(Kind::Tree, &root);
                let tip = pack.object(Kind::Commit, &commit(&root, &[world.tip], "evil"));
                Offer::branch(tip, pack)
            },
        ),
        rejected("the tip, which is the null id", "unavailable", |world| {
            let mut pack = world.pack();
            pack.object(Kind::Blob, b"x");
            Offer::branch(world.hash.null().into(), pack)
        }),
        rejected("the tree of a commit", MISSING, |world| {
            let mut pack = world.pack();
            let tip = pack.object(
                Kind::Commit,
                &commit(&world.nowhere(1), &[world.tip], "evil"),
            );
            Offer::branch(tip, pack)
        }),
        rejected("the second parent of a commit", MISSING, |world| {
            let mut pack = world.pack();
            let parents = [world.tip, world.nowhere(1)];
            let tip = pack.object(Kind::Commit, &commit(&world.tree, &parents, "evil"));
            Offer::branch(tip, pack)
        }),
        rejected("the last of 1,000 parents", MISSING, |world| {
            let mut pack = world.pack();
            let mut parents: Vec<_> = (0..999)
                .map(|n| pack.object(Kind::Commit, &commit(&world.tree, &[], &n.to_string())))
                .collect();
            parents.push(world.nowhere(1));
            let tip = pack.object(Kind::Commit, &commit(&world.tree, &parents, "evil"));
            Offer::branch(tip, pack)
        }),
        rejected(
            "what is in the store, with a hole, unreachable",
            MISSING,
            |world| {
                let mut pack = world.pack();
                let tip = pack.object(Kind::Commit, &commit(&world.tree, &[world.broken], "evil"));
                Offer::branch(tip, pack)
            },
        ),
        rejected(
            "a tip that is in the store, with a hole, unreachable",
            MISSING,
            |world| Offer::branch(world.broken, world.pack()),
        ),
        rejected(
            "a tag of what is in the store, with a hole",
            MISSING,
            |world| {
                let mut pack = world.pack();
                let tip = pack.object(Kind::Tag, &tag(&world.broken, "commit", "evil"));
                Offer::new([("refs/tags/evil", tip)], pack.finish())
            },
        ),
        rejected("the same, for two refs", MISSING, |world| {
            let mut pack = world.pack();
            let tip = pack.object(Kind::Commit, &commit(&world.nowhere(1), &[], "evil"));
            let child = pack.object(Kind::Commit, &commit(&world.tree, &[tip], "evil"));
            let refs = [
                (EVIL, tip),
                ("refs/heads/more", child),
                ("refs/heads/same", tip),
            ];
            Offer::new(refs, pack.finish())
        }),
        rejected(
            "something under a name that both parents have, with another mode",
            "where a tree is needed",
            |world| {
                let mut pack = world.pack();
                let changed = tree([("40000", &b"file"[..], world.blob)]);
                let tree = pack.object(Kind::Tree, &changed);
                let tip = pack.object(
                    Kind::Commit,
                    &commit(&tree, &[world.tip, world.root], "evil"),
                );
                Offer::branch(tip, pack)
            },
        ),
    ]);
    cases
}

fn kind_cases() -> Vec<Case> {
    let in_tree = |name: &str, words, mode: &'static str, id: fn(&World) -> ObjectId| {
        rejected(format!("in a tree, {name}"), words, move |world: &World| {
            let mut pack = world.pack();
            let tree = pack.object(Kind::Tree, &tree([(mode, &b"x"[..], id(world))]));
            let tip = pack.object(Kind::Commit, &commit(&tree, &[], "evil"));
            Offer::branch(tip, pack)
        })
    };
    let tagged = |name: &str, words, kind: &'static str, id: fn(&World) -> ObjectId| {
        rejected(format!("a tag of {name}"), words, move |world: &World| {
            let mut pack = world.pack();
            let tip = pack.object(Kind::Tag, &tag(&id(world), kind, "evil"));
            Offer::new([("refs/tags/evil", tip)], pack.finish())
        })
    };
    let with = |name: &str, words, tree: fn(&World) -> ObjectId, parent: fn(&World) -> ObjectId| {
        rejected(
            format!("a commit with {name}"),
            words,
            move |world: &World| {
                let mut pack = world.pack();
                let content = commit(&tree(world), &[parent(world)], "evil");
                Offer::branch(pack.object(Kind::Commit, &content), pack)
            },
        )
    };
    vec![
        in_tree(
            "a tree as a file",
            "is a tree where a blob is needed",
            "100644",
            |w| w.tree,
        ),
        in_tree(
            "a commit as a file",
            "is a commit where a blob is needed",
            "100644",
            |w| w.tip,
        ),
        in_tree(
            "a blob as a tree",
            "is a blob where a tree is needed",
            "40000",
            |w| w.blob,
        ),
        in_tree(
            "a commit as a tree",
            "is a commit where a tree is needed",
            "40000",
            |w| w.tip,
        ),
        in_tree(
            "a tree as a link",
            "is a tree where a blob is needed",
            "120000",
            |w| w.tree,
        ),
        tagged(
            "a commit that is a tree",
            "is a tree where a commit is needed",
            "commit",
            |w| w.tree,
        ),
        tagged(
            "a tree that is a commit",
            "is a commit where a tree is needed",
            "tree",
            |w| w.tip,
        ),
        tagged(
            "a blob that is a commit",
            "is a commit where a blob is needed",
            "blob",
            |w| w.tip,
        ),
        tagged(
            "a tag that is a commit",
            "is a commit where a tag is needed",
            "tag",
            |w| w.tip,
        ),
        with(
            "a blob as its tree",
            "is a blob where a tree is needed",
            |w| w.blob,
            |w| w.tip,
        ),
        with(
            "a commit as its tree",
            "is a commit where a tree is needed",
            |w| w.tip,
            |w| w.tip,
        ),
        with(
            "a tree as its parent",
            "is a tree where a commit is needed",
            |w| w.tree,
            |w| w.tree,
        ),
        with(
            "a blob as its parent",
            "is a blob where a commit is needed",
            |w| w.tree,
            |w| w.blob,
        ),
        rejected("a new object as two kinds", "where a", |world| {
            let mut pack = world.pack();
            let blob = pack.object(Kind::Blob, b"x");
            let content = tree([("100644", &b"a"[..], blob), ("40000", &b"b"[..], blob)]);
            let tree = pack.object(Kind::Tree, &content);
            Offer::branch(pack.object(Kind::Commit, &commit(&tree, &[], "evil")), pack)
        }),
        rejected(
            "a tag as the parent of a commit",
            "is a tag where a commit is needed",
            |world| {
                let mut pack = world.pack();
                let tag = pack.object(Kind::Tag, &tag(&world.tip, "commit", "x"));
                Offer::branch(
                    pack.object(Kind::Commit, &commit(&world.tree, &[tag], "evil")),
                    pack,
                )
            },
        ),
        rejected("a blob as a branch", "not a commit", |world| {
            let mut pack = world.pack();
            Offer::branch(pack.object(Kind::Blob, b"x"), pack)
        }),
        rejected("a tree as a branch", "not a commit", |world| {
            let mut pack = world.pack();
            let content = tree([("100644", &b"a"[..], world.blob)]);
            Offer::branch(pack.object(Kind::Tree, &content), pack)
        }),
        rejected("a tag as a branch", "not a commit", |world| {
            let mut pack = world.pack();
            Offer::branch(
                pack.object(Kind::Tag, &tag(&world.tip, "commit", "x")),
                pack,
            )
        }),
        rejected("a blob of the store as a branch", "not a commit", |world| {
            Offer::branch(world.lost_blob, world.pack())
        }),
    ]
}

#[test]
fn missing() {
    all_fail(&World::new(), &missing_cases());
}

#[test]
fn of_another_kind() {
    all_fail(&World::new(), &kind_cases());
}

/// `badFilemode` is a hint only, so entries of any mode may come in. What git follows, we do, too;
/// where gix takes what git calls a submodule for a tree, more is asked for than git needs.
#[test]
fn modes_that_git_never_writes() {
    let world = World::new();
    let modes = [
        "0",
        "1",
        "644",
        "755",
        "40001",
        "40755",
        "100000",
        "100600",
        "100664",
        "100777",
        "110644",
        "120777",
        "130000",
        "140000",
        "160001",
        "170000",
        "177777",
        "200000",
        "240000",
        "300644",
        "340000",
        "1040000",
        "4240000",
        "37777040000",
        "77777777777777140644",
    ];
    let mut wrong = Vec::new();
    for mode in modes {
        let mut pack = world.pack();
        let content = tree([(mode, &b"x"[..], world.nowhere(1))]);
        let id = world.repo.write_object("tree", &content);
        let listed = world.repo.git(&["ls-tree", &id]);
        let tree = pack.object(Kind::Tree, &content);
        let tip = pack.object(Kind::Commit, &commit(&tree, &[], "evil"));
        let stats = world.pull(&Offer::branch(tip, pack), &Default::default());
        let found = match stats {
            Ok(stats) if stats.count(refsync::Outcome::is_updated) == 1 => "commit".to_owned(),
            Ok(stats) => {
                let reason = stats.find(EVIL).unwrap().outcome.rejection().unwrap();
                let text = reason.to_string();
                ["blob", "tree"]
                    .into_iter()
                    .find(|kind| text.contains(&format!("{kind} {}", world.nowhere(1))))
                    .map_or(text.clone(), str::to_owned)
            }
            Err(err) => err.to_string(),
        };
        let expected = listed.split(' ').nth(1).unwrap().to_owned();
        let is_followed = expected != "commit";
        if is_followed && !found.contains(&expected) {
            wrong.push(format!("{mode}: git says {expected}, we {found}"));
        }
        if found == "commit" {
            world.repo.git(&["update-ref", "-d", EVIL]);
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn with_sha256() {
    let world = World::of(ObjectFormat::Sha256);
    all_fail(&world, &missing_cases());
}

/// Leftovers of an aborted run don't stand for a history: the next run gets all of it.
#[test]
fn debris_does_not_poison_what_follows() {
    let world = World::new();
    let mut pack = world.pack();
    // All that the debris names, this time.
    let blob = pack.object(Kind::Blob, b"whole\n");
    let content = tree([("100644", &b"whole"[..], blob)]);
    let tree = pack.object(Kind::Tree, &content);
    let tip = commit(&tree, &[world.tip], "whole");
    let tip_id = world.id(Kind::Commit, &tip);
    world.repo.write_object("commit", &tip);
    world.repo.write_object("tree", &content);
    let offer = Offer::branch(tip_id, pack);
    let stats = world.pull(&offer, &Default::default()).unwrap();
    assert_eq!(stats.count(refsync::Outcome::is_updated), 1, "{stats:?}");
    assert_eq!(
        offer.packs_given.load(std::sync::atomic::Ordering::SeqCst),
        1
    );
    world.repo.git(&["rev-list", "--objects", "--all"]);
}

/// Complete and in the store, though no ref leads to it: nothing needs to be sent.
#[test]
fn what_is_there_as_a_whole_is_taken_as_it_is() {
    let world = World::new();
    let mut pack = world.pack();
    let tip = pack.object(
        Kind::Commit,
        &commit(&world.lost_tree, &[world.tip], "found"),
    );
    let stats = world
        .pull(&Offer::branch(tip, pack), &Default::default())
        .unwrap();
    assert_eq!(stats.count(refsync::Outcome::is_updated), 1, "{stats:?}");
    world.repo.fsck();
}
