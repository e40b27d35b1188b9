//! Names that no ref may have, for tips that are sound.

use crate::objects::commit;
use crate::world::{Case, Offer, World, all_fail, rejected};
use gix::objs::Kind;

fn named(name: impl Into<Vec<u8>>, words: &'static str) -> Case {
    let name = name.into();
    let shown = String::from_utf8_lossy(&name[..name.len().min(60)]).into_owned();
    rejected(shown, words, move |world: &World| {
        let mut pack = world.pack();
        let tip = pack.object(Kind::Commit, &commit(&world.tree, &[world.tip], "evil"));
        Offer::new([(name.clone(), tip)], pack.finish())
    })
}

fn invalid_cases() -> Vec<Case> {
    let names: [&[u8]; 42] = [
        b"refs/heads/../x",
        b"refs/heads/a/../b",
        b"refs/heads/../../config",
        b"refs/heads/..",
        b"refs/heads/.",
        b"refs/heads/.a",
        b"refs/heads/a/.b",
        b"refs/heads/a..b",
        b"refs/heads/a.",
        b"refs/heads/a/",
        b"refs/heads//a",
        b"refs/heads/a//b",
        b"refs/heads/",
        b"refs/heads/a.lock",
        b"refs/heads/a.lock/b",
        b"refs/heads/a b",
        b"refs/heads/a~1",
        b"refs/heads/a^",
        b"refs/heads/a:b",
        b"refs/heads/a?",
        b"refs/heads/a*",
        b"refs/heads/[a",
        b"refs/heads/a\\b",
        b"refs/heads/@{",
        b"refs/heads/a@{1}",
        b"refs/heads/a\x7f",
        b"refs/heads/a\x01b",
        b"refs/heads/a\tb",
        b"refs/heads/a\nb",
        b"refs/heads/a\rb",
        b"refs/heads/a\0b",
        b"refs/heads/\x1b[31mred",
        b"refs/tags/../x",
        b"refs/tags/.a",
        b"refs/tags/a..b",
        b"refs/tags/a.lock",
        b"refs/tags/",
        b"refs/tags/a b",
        b"refs/tags/a~",
        b"refs/tags/a^{}",
        b"refs/tags/a\\b",
        b"refs/heads/a.lock.lock",
    ];
    names
        .into_iter()
        .map(|name| named(name, "invalid name"))
        .collect()
}

fn other_cases() -> Vec<Case> {
    let mut cases = vec![
        named(
            [b"refs/heads/".to_vec(), vec![b'a'; 64 * 1024]].concat(),
            "name too long",
        ),
        named(
            [b"refs/heads/".to_vec(), vec![b'a'; 251]].concat(),
            "name too long",
        ),
        named(
            [
                b"refs/heads/".to_vec(),
                b"a/".repeat(32 * 1024),
                b"a".to_vec(),
            ]
            .concat(),
            "name too long",
        ),
        named("refs/heads/main/below", "name conflict"),
    ];
    cases.push(rejected(
        "names in each other's way",
        "name conflict",
        |world| {
            let mut pack = world.pack();
            let tip = pack.object(Kind::Commit, &commit(&world.tree, &[], "evil"));
            let refs = [
                "refs/heads/main/a",
                "refs/heads/main/a/b",
                "refs/heads/main/a/b/c",
            ];
            Offer::new(refs.map(|name| (name, tip)), pack.finish())
        },
    ));
    cases
}

#[test]
fn invalid() {
    all_fail(&World::new(), &invalid_cases());
}

#[test]
fn in_the_way_or_too_long() {
    all_fail(&World::new(), &other_cases());
}

/// Not even a source can have these synced.
#[test]
fn outside_of_the_namespaces() {
    let world = World::new();
    let files = world.repo.files();
    let mut pack = world.pack();
    let tip = pack.object(Kind::Commit, &commit(&world.tree, &[world.tip], "evil"));
    let names = [
        "HEAD",
        "ORIG_HEAD",
        "refs/heads",
        "refs/stash",
        "refs/notes/x",
        "refs/pull/1/head",
        "config",
        "../x",
        "/refs/heads/x",
        "refs/Heads/x",
        "refs/remotes/origin/x",
        "refs/replace/x",
        "",
        "@",
        "refs/heads/HEAD/../../HEAD",
    ];
    let offer = Offer::new(names.map(|name| (name, tip)), pack.finish());
    let stats = world.pull(&offer, &Default::default()).unwrap();
    assert_eq!(stats.count(refsync::Outcome::is_updated), 0, "{stats:?}");
    assert!(stats.refs.len() <= 1, "{stats:?}");
    assert_eq!(world.repo.files(), files);
    world.works_again();
}

/// One of the names that are in each other's way comes in, and the store stays sound.
#[test]
fn one_of_those_in_each_others_way() {
    let world = World::new();
    let mut pack = world.pack();
    let tip = pack.object(Kind::Commit, &commit(&world.tree, &[world.tip], "news"));
    let names = ["refs/heads/a", "refs/heads/a/b", "refs/heads/a/b/c"];
    let offer = Offer::new(names.map(|name| (name, tip)), pack.finish());
    let stats = world.pull(&offer, &Default::default()).unwrap();
    assert_eq!(stats.count(refsync::Outcome::is_updated), 1, "{stats:?}");
    assert_eq!(stats.count(refsync::Outcome::is_rejected), 2, "{stats:?}");
    world.repo.fsck();
    world.works_again();
}
