//! Tags of tags, more than anybody makes.

use crate::objects::{commit, tag};
use crate::world::{Offer, World};
use gix::objs::Kind;
use refsync::Outcome;
use std::fs;

/// Each is read once, whichever ref leads to it: the tests in `src/history/` count that.
const TAGS: usize = 10_000;

/// Enough refs that they are packed, with what each tag is about beside it.
#[test]
fn what_they_are_about_is_written_beside_them() {
    let world = World::new();
    let mut pack = world.pack();
    let tip = pack.object(Kind::Commit, &commit(&world.tree, &[world.tip], "news"));
    let (mut last, mut kind) = (tip, "commit");
    let mut refs = Vec::new();
    for number in 0..TAGS {
        last = pack.object(Kind::Tag, &tag(&last, kind, "x"));
        kind = "tag";
        // The innermost has the last name.
        refs.push((format!("refs/tags/{:05}", TAGS - number), last));
    }
    refs.reverse();
    let offer = Offer::new(refs.clone(), pack.finish());
    let stats = world.pull(&offer, &Default::default()).expect("a pull");
    assert_eq!(stats.count(Outcome::is_updated), refs.len(), "{stats:?}");
    let packed = fs::read_to_string(world.repo.path.join("packed-refs")).expect("a file");
    assert!(packed.contains("fully-peeled"), "{packed}");
    let expected: String = refs
        .iter()
        .map(|(name, id)| format!("{id} {name}\n^{tip}\n"))
        .collect();
    assert!(packed.contains(&expected), "{packed}");
    // Git goes by the objects here.
    let (name, _) = refs.first().expect("some");
    let about = world
        .repo
        .git(&["rev-parse", "--verify", &format!("{name}^{{}}")]);
    assert_eq!(about, tip.to_string());
    world.repo.fsck();
}
