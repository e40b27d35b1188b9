//! Objects that git can't parse: they stay out whatever the rules of fsck are. With them in the store
//! `git gc` and `git clone --mirror` fail.

use crate::objects::{PERSON, commit, tree};
use crate::support::git::ObjectFormat;
use crate::world::{Case, EVIL, Offer, World, all_fail, breaks, judge, rejected};
use gix::objs::Kind;
use refsync::{FsckRules, ObjectId, SyncOptions};

const UNPARSABLE: &str = "git can't parse this";

type Content = fn(&World) -> Vec<u8>;

fn none(options: &mut SyncOptions) {
    options.fsck = FsckRules::none();
}

fn without_people(options: &mut SyncOptions) {
    for id in ["missingAuthor", "missingCommitter"] {
        options.fsck.set(id, "ignore").expect("a level");
    }
}

fn without_bad_trees(options: &mut SyncOptions) {
    options.fsck.set("badTree", "ignore").expect("a level");
}

fn tip(kind: Kind, name: &str, content: impl Fn(&World) -> Vec<u8> + 'static) -> Case {
    rejected(
        format!("{kind}: {name}"),
        UNPARSABLE,
        move |world: &World| {
            let mut pack = world.pack();
            let tip = pack.object(kind, &content(world));
            Offer::branch(tip, pack)
        },
    )
}

fn ends_after_its_tree(world: &World) -> Vec<u8> {
    format!("tree {}\n", world.tree).into_bytes()
}

fn ends_after_a_parent(world: &World) -> Vec<u8> {
    format!("tree {}\nparent {}\n", world.tree, world.tip).into_bytes()
}

fn tag_that_is_cut_off(world: &World) -> Vec<u8> {
    format!("object {}\ntype commit\ntag v1", world.tip).into_bytes()
}

fn commit_and_tag_cases() -> Vec<Case> {
    let commit = |name, content: Content| tip(Kind::Commit, name, content);
    let tag = |name, rest: &'static str| {
        tip(Kind::Tag, name, move |world| {
            format!("object {}\n{rest}", world.tip).into_bytes()
        })
    };
    vec![
        commit("ends after its tree", ends_after_its_tree).with(none),
        commit("ends after its tree", ends_after_its_tree).with(without_people),
        commit("ends after a parent", ends_after_a_parent).with(none),
        commit("ends after a parent", ends_after_a_parent).with(without_people),
        commit("nothing", |_| Vec::new()).with(none),
        commit("no tree", |_| format!("author {PERSON}\n\n").into_bytes()).with(none),
        commit("half a tree", |_| b"tree 0123456789\n\n".to_vec()).with(none),
        commit("a space after its tree", |world| {
            format!("tree {} \nauthor {PERSON}\n\n", world.tree).into_bytes()
        })
        .with(none),
        tip(Kind::Tag, "ends after its name", tag_that_is_cut_off).with(none),
        tag("ends after its type", "type commit\n").with(none),
        tag("another kind", "type branch\ntag v1\n\nand a message\n").with(none),
        tag("no name", "type commit\ntagger A <a> 1 +0000\n\n").with(none),
        tip(Kind::Tag, "nothing", |_| Vec::new()).with(none),
    ]
}

/// In a commit that is as it should be.
fn tree_cases() -> Vec<Case> {
    let contents: [(&str, Content); 4] = [
        ("no name", |world| tree([("100644", &b""[..], world.blob)])),
        ("no mode", |world| tree([("", &b"a"[..], world.blob)])),
        ("half an id", |_| b"100644 a\0half".to_vec()),
        ("text", |_| b"this is no tree\n".to_vec()),
    ];
    let mut cases = Vec::new();
    for (name, content) in contents {
        let with_tree = move |world: &World| {
            let mut pack = world.pack();
            let tree = pack.object(Kind::Tree, &content(world));
            let tip = pack.object(Kind::Commit, &commit(&tree, &[world.tip], "evil"));
            Offer::branch(tip, pack)
        };
        for rules in [none, without_bad_trees] {
            cases.push(rejected(format!("tree: {name}"), UNPARSABLE, with_tree).with(rules));
        }
    }
    cases.push(
        breaks(
            "nobody needs it",
            "an object that no wanted tip needs",
            |world| {
                let mut pack = world.pack();
                pack.object(Kind::Commit, &ends_after_its_tree(world));
                let tip = pack.object(Kind::Commit, &commit(&world.tree, &[world.tip], "fine"));
                Offer::branch(tip, pack)
            },
        )
        .with(none),
    );
    cases
}

#[test]
fn commits_and_tags() {
    all_fail(&World::new(), &commit_and_tag_cases());
}

#[test]
fn trees() {
    all_fail(&World::new(), &tree_cases());
}

#[test]
fn with_sha256() {
    let world = World::of(ObjectFormat::Sha256);
    all_fail(&world, &commit_and_tag_cases());
    all_fail(&world, &tree_cases());
}

#[test]
fn a_skip_list_lets_none_of_them_in() {
    let world = World::new();
    let contents: [(Kind, Content); 3] = [
        (Kind::Commit, ends_after_its_tree),
        (Kind::Commit, ends_after_a_parent),
        (Kind::Tag, tag_that_is_cut_off),
    ];
    for (kind, content) in contents {
        let case = tip(kind, "skipped", content);
        let offer = (case.build)(&world);
        let skipped: ObjectId = offer.refs[0].1;
        let mut options = SyncOptions::default();
        options.fsck.skip.insert(skipped);
        let pulled = world.pull(&offer, &options);
        assert_eq!(judge(&case.expected, &pulled), Ok(()));
    }
    assert!(
        world
            .repo
            .try_git(&["rev-parse", "--verify", EVIL])
            .stdout
            .is_empty()
    );
    world.works_again();
}
