//! Inputs that are small and make a receiver's memory large, at two scales.

use crate::deltas::{comb, on_one_base};
use crate::objects::{commit, commit_at, entry, tag, tree};
use crate::pack::{Pack, delta};
use crate::world::{Expected, Offer, World};
use gix::objs::Kind;
use refsync::{ErrorKind, ObjectId, SyncOptions};

/// The size of the limits, and of the inputs with them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Scale {
    /// A quarter of the default memory, an eighth of the default size of an object.
    Small,
    /// As the limits are by default.
    Full,
}

impl Scale {
    fn pick<T>(self, small: T, full: T) -> T {
        match self {
            Scale::Small => small,
            Scale::Full => full,
        }
    }

    pub(crate) fn options(self) -> SyncOptions {
        let mut options = SyncOptions::default();
        if self == Scale::Small {
            options.limits.memory /= 4;
            options.limits.object_size /= 8;
        }
        options
    }
}

pub(crate) struct Input {
    pub(crate) name: &'static str,
    pub(crate) expected: Expected,
    pub(crate) build: fn(&World, Scale) -> Offer,
}

fn rejected(name: &'static str, words: &'static str, build: fn(&World, Scale) -> Offer) -> Input {
    Input {
        name,
        expected: Expected::Rejected(words),
        build,
    }
}

fn broken(name: &'static str, words: &'static str, build: fn(&World, Scale) -> Offer) -> Input {
    Input {
        name,
        expected: Expected::Fails(ErrorKind::Protocol, words),
        build,
    }
}

/// Nothing is wrong with it but its size: it comes in.
fn taken(name: &'static str, build: fn(&World, Scale) -> Offer) -> Input {
    Input {
        name,
        expected: Expected::Taken,
        build,
    }
}

const MISSING: &str = "is missing";

pub(crate) fn inputs() -> Vec<Input> {
    vec![
        rejected(
            "a chain of 60 with 8 large siblings",
            MISSING,
            |world, scale| comb(world, 60, 8, scale.pick(2 << 20, 128 << 20)),
        ),
        rejected("a chain of the largest objects", MISSING, |world, scale| {
            comb(world, 6, 2, scale.options().limits.object_size)
        }),
        rejected(
            "objects that are too large, and deltas of them",
            MISSING,
            |world, scale| comb(world, 1, 1, 4 * scale.options().limits.object_size),
        ),
        rejected("deltas by id on one base", MISSING, |world, scale| {
            on_one_base(world, scale.pick(25_000, 200_000))
        }),
        taken("a line of commits", |world, scale| {
            line(world, scale.pick(40_000, 1_000_000), |_| 1_700_000_000)
        }),
        taken(
            "a line of commits, each older than its parents",
            |world, scale| {
                line(world, scale.pick(40_000, 1_000_000), |n| {
                    1_700_000_000 - i64::from(n)
                })
            },
        ),
        rejected("a line of tags", MISSING, |world, scale| {
            let mut pack = world.pack();
            let mut id = pack.object(Kind::Tag, &tag(&world.nowhere(1), "commit", "x"));
            for _ in 0..scale.pick(40_000, 1_000_000) {
                id = pack.object(Kind::Tag, &tag(&id, "tag", "x"));
            }
            Offer::new([("refs/tags/evil", id)], pack.finish())
        }),
        taken(
            "a commit with the same parent very often",
            |world, scale| {
                let mut pack = world.pack();
                let parents = vec![world.tip; scale.pick(80_000, 340_000)];
                let tip = pack.object(Kind::Commit, &commit(&world.tree, &parents, "evil"));
                Offer::branch(tip, pack)
            },
        ),
        taken("100,000 parents that are all different", |world, scale| {
            let mut pack = world.pack();
            let one = |pack: &mut Pack, n: u32| {
                pack.object(Kind::Commit, &commit(&world.tree, &[], &n.to_string()))
            };
            let mut parents: Vec<_> = (0..scale.pick(20_000, 100_000))
                .map(|n| one(&mut pack, n))
                .collect();
            parents.push(world.tip);
            let tip = pack.object(Kind::Commit, &commit(&world.tree, &parents, "evil"));
            Offer::branch(tip, pack)
        }),
        rejected(
            "a commit of the largest size",
            "limit memory",
            |world, scale| {
                let mut pack = world.pack();
                let parents = scale.options().limits.object_size as usize / 48 - 10;
                let tip = pack.object(
                    Kind::Commit,
                    &commit(&world.tree, &vec![world.tip; parents], "evil"),
                );
                Offer::branch(tip, pack)
            },
        ),
        rejected(
            "a tree of the largest size",
            "limit memory",
            |world, scale| {
                let mut pack = world.pack();
                let content = wide(
                    world,
                    scale.options().limits.object_size as usize / 36 - 10,
                    0,
                );
                let tree = pack.object(Kind::Tree, &content);
                Offer::branch(
                    pack.object(Kind::Commit, &commit(&tree, &[world.tip], "evil")),
                    pack,
                )
            },
        ),
        rejected(
            "a tree of the largest size, as a delta",
            "limit memory",
            |world, scale| {
                let mut pack = world.pack();
                let size = scale.options().limits.object_size;
                let piece = wide(world, 100_000, 0);
                let base = pack.place(Kind::Tree, &piece);
                let times = size / piece.len() as u64;
                let copies = delta::copy_all(piece.len() as u64).repeat(times as usize);
                pack.ofs_delta(
                    base,
                    &delta::of(piece.len() as u64, times * piece.len() as u64, &copies),
                );
                let tree = world.id(Kind::Tree, &piece.repeat(times as usize));
                let commit = commit(&tree, &[world.tip], "evil");
                Offer::branch(pack.object(Kind::Commit, &commit), pack)
            },
        ),
        rejected(
            "300,000 entries that are missing",
            MISSING,
            |world, scale| {
                let mut pack = world.pack();
                let mut content = Vec::new();
                for number in 0..scale.pick(80_000_u32, 300_000) {
                    let id = world.id(Kind::Blob, &number.to_be_bytes());
                    entry(
                        &mut content,
                        "100644",
                        format!("{number:08}").as_bytes(),
                        &id,
                    );
                }
                let tree = pack.object(Kind::Tree, &content);
                Offer::branch(
                    pack.object(Kind::Commit, &commit(&tree, &[world.tip], "evil")),
                    pack,
                )
            },
        ),
        rejected("wide trees in each other", MISSING, |world, scale| {
            nested(world, scale.pick(40, 300), scale.pick(20_000, 100_000))
        }),
        rejected(
            "wide trees beside each other, below parents with others",
            MISSING,
            beside,
        ),
        taken(
            "a tree at the end of deltas that are large",
            |world, scale| large_deltas(world, Kind::Tree, 60, scale.pick(3 << 20, 12 << 20)),
        ),
        rejected(
            "a .gitmodules at the end of deltas that are large",
            "gitmodulesMissing",
            |world, scale| large_deltas(world, Kind::Blob, 60, scale.pick(4 << 20, 64 << 20)),
        ),
        rejected(
            "as many small objects as memory is for, each by id and with a link",
            MISSING,
            |world, scale| many_links(world, scale.pick(30_000, 600_000)),
        ),
        rejected(
            "very many refs whose tips are missing",
            MISSING,
            |world, scale| {
                let tips = (0..scale.pick(10_000_u32, 100_000)).map(|n| {
                    (
                        format!("refs/heads/b{n}"),
                        world.id(Kind::Commit, &n.to_be_bytes()),
                    )
                });
                Offer::new(tips, world.pack().finish())
            },
        ),
        broken(
            "files that git reads for itself",
            "more than 1000 faulty objects",
            |world, _| {
                let mut pack = world.pack();
                let mut all = Vec::new();
                for number in 0..100_u32 {
                    let mut content = Vec::new();
                    for at in 0..990_u32 {
                        let id = world.id(Kind::Blob, &(number * 990 + at).to_be_bytes());
                        let name = format!(".gitmodules::{at:03}");
                        entry(&mut content, "100644", name.as_bytes(), &id);
                    }
                    let id = pack.object(Kind::Tree, &content);
                    entry(&mut all, "40000", format!("{number:03}").as_bytes(), &id);
                }
                let tree = pack.object(Kind::Tree, &all);
                Offer::branch(pack.object(Kind::Commit, &commit(&tree, &[], "evil")), pack)
            },
        ),
    ]
}

/// History on the tip of `main`, which is to move there: the two are compared.
fn line(world: &World, length: u32, date: fn(u32) -> i64) -> Offer {
    let mut pack = world.pack();
    let mut tip = world.tip;
    for number in 0..length {
        tip = pack.object(
            Kind::Commit,
            &commit_at(&world.tree, &[tip], date(number), "x"),
        );
    }
    Offer::new([("refs/heads/main", tip)], pack.finish())
}

/// A tree with so many entries for the store's blob.
fn wide(world: &World, entries: usize, number: u32) -> Vec<u8> {
    let mut content = Vec::new();
    entry(
        &mut content,
        "100644",
        format!("!{number:08}").as_bytes(),
        &world.blob,
    );
    for number in 0..entries {
        entry(
            &mut content,
            "100644",
            format!("{number:08}").as_bytes(),
            &world.blob,
        );
    }
    content
}

/// Wide trees, each with the one before it as its last entry; the innermost lacks something.
fn nested(world: &World, depth: u32, entries: usize) -> Offer {
    let mut pack = world.pack();
    let start = wide(world, entries, 0);
    let mut base = pack.place(Kind::Tree, &start);
    let mut size = start.len() as u64;
    let mut last = Vec::new();
    entry(&mut last, "100644", b"x", &world.nowhere(1));
    let mut id = world.nowhere(1);
    for _ in 0..depth {
        let content = [&start[..], &last].concat();
        let instructions = [delta::copy_all(start.len() as u64), delta::insert(&last)].concat();
        base = pack.ofs_delta(base, &delta::of(size, content.len() as u64, &instructions));
        size = content.len() as u64;
        id = world.id(Kind::Tree, &content);
        last.clear();
        entry(&mut last, "40000", b"x", &id);
    }
    let tip = pack.object(Kind::Commit, &commit(&id, &[world.tip], "evil"));
    Offer::branch(tip, pack)
}

/// A merge of eight, each with a wide tree of its own.
fn beside(world: &World, scale: Scale) -> Offer {
    let mut pack = world.pack();
    let entries = scale.pick(60_000, 380_000);
    let start = wide(world, entries, 0);
    let base = pack.place(Kind::Tree, &start);
    let mut trees = Vec::new();
    for number in 0..9_u8 {
        let mut last = Vec::new();
        entry(&mut last, "100644", b"x", &world.id(Kind::Blob, &[number]));
        let content = [&start[..], &last].concat();
        pack.ofs_delta(base, &delta::append(start.len() as u64, &last));
        trees.push(world.id(Kind::Tree, &content));
        if number < 8 {
            pack.object(Kind::Blob, &[number]);
        }
    }
    let one = |tree: &ObjectId| commit(tree, &[world.tip], "fine");
    let parents: Vec<_> = trees[..8]
        .iter()
        .map(|tree| pack.object(Kind::Commit, &one(tree)))
        .collect();
    let tip = pack.object(Kind::Commit, &commit(&trees[8], &parents, "evil"));
    Offer::branch(tip, pack)
}

/// Deltas that each carry all of their result, which is all the same but for some bytes.
fn large_deltas(world: &World, kind: Kind, depth: u32, size: usize) -> Offer {
    let mut pack = world.pack();
    let content = |number: u32| match kind {
        Kind::Tree => wide(world, size / 37, number),
        _ => [format!("# {number}\n").into_bytes(), vec![b'\n'; size]].concat(),
    };
    let start = content(0);
    let mut base = pack.place(kind, &start);
    let mut before = start.len() as u64;
    let mut last = start;
    for number in 1..=depth {
        last = content(number);
        let instructions = delta::of(before, last.len() as u64, &delta::insert(&last));
        base = pack.ofs_delta(base, &instructions);
        before = last.len() as u64;
    }
    let id = world.id(kind, &last);
    let root = match kind {
        Kind::Tree => id,
        _ => pack.object(Kind::Tree, &tree([("100644", &b".gitmodules"[..], id)])),
    };
    Offer::branch(
        pack.object(Kind::Commit, &commit(&root, &[world.tip], "evil")),
        pack,
    )
}

/// Trees of one entry, each naming another blob, each a delta that names its base.
fn many_links(world: &World, count: u32) -> Offer {
    let mut pack = world.pack();
    let start = tree([("100644", &b"x"[..], world.blob)]);
    let base = pack.object(Kind::Tree, &start);
    let mut id = base;
    for number in 0..count {
        let mut bytes = world.blob.as_bytes().to_vec();
        bytes[..4].copy_from_slice(&number.wrapping_mul(2_654_435_761).to_be_bytes());
        let named = ObjectId::from_bytes(&bytes).expect("an id");
        let content = tree([("100644", &b"x"[..], named)]);
        let instructions = [delta::copy(0, 9), delta::insert(&bytes)].concat();
        let size = start.len() as u64;
        pack.ref_delta(&base, &delta::of(size, size, &instructions));
        id = world.id(Kind::Tree, &content);
    }
    Offer::branch(
        pack.object(Kind::Commit, &commit(&id, &[world.tip], "evil")),
        pack,
    )
}
