//! Deltas that lead nowhere, in circles, too deep, or to what they don't say.

use crate::objects::{commit, tree};
use crate::pack::{BLOB, OFS_DELTA, Pack, deflate, deflate_zeros, delta, distance, size};
use crate::support::git::ObjectFormat;
use crate::world::{Case, EVIL, Offer, World, all_fail, breaks, exceeds, rejected};
use gix::objs::Kind;
use refsync::ObjectId;

const NO_ENTRY: &str = "has a delta whose base offset is no entry";
const EMPTY: &str = "a delta with an empty result";
const MISSING: &str = "deltas whose bases are missing";

const BASE: &[u8] = b"The base of all deltas: forty-seven bytes long.";
const BASE_SIZE: u64 = BASE.len() as u64;

fn offer(world: &World, pack: Pack) -> Offer {
    Offer::branch(world.nowhere(1), pack)
}

/// A pack of a base and of what is built on it.
fn on_base(build: impl Fn(&mut Pack, u64) + 'static) -> impl Fn(&World) -> Offer {
    move |world| {
        let mut pack = world.pack();
        let base = pack.place(Kind::Blob, BASE);
        build(&mut pack, base);
        offer(world, pack)
    }
}

pub(crate) fn by_distance_cases() -> Vec<Case> {
    let at = |back: fn(u64) -> u64| {
        on_base(move |pack, _| {
            let back = back(pack.end());
            pack.ofs_delta_at(back, &delta::append(BASE_SIZE, b"!"));
        })
    };
    let raw = |distance: Vec<u8>| {
        on_base(move |pack, _| {
            let instructions = delta::append(BASE_SIZE, b"!");
            let head = size(OFS_DELTA, instructions.len() as u64);
            pack.raw(&[head, distance.clone(), deflate(&instructions)].concat());
        })
    };
    vec![
        breaks("itself", NO_ENTRY, at(|_| 0)),
        breaks("the byte before it", NO_ENTRY, at(|_| 1)),
        breaks("the middle of an entry", NO_ENTRY, at(|end| end - 13)),
        breaks("the header of the pack", NO_ENTRY, at(|end| end - 4)),
        breaks("the start of the pack", NO_ENTRY, at(|end| end)),
        breaks(
            "one byte before the pack",
            "whose base would lie before the pack",
            at(|end| end + 1),
        ),
        breaks(
            "far before the pack",
            "whose base would lie before the pack",
            at(|_| u64::MAX >> 8),
        ),
        breaks(
            "a distance that overflows",
            "impossible distance",
            raw(vec![0xff; 12]),
        ),
        breaks(
            "a distance that wraps around",
            "impossible distance",
            raw([&[0xff; 9][..], &[0x7f]].concat()),
        ),
        breaks(
            "a distance without an end",
            "the pack is damaged",
            |world| {
                let mut pack = world.pack();
                pack.raw(&[0x61, 0x80]);
                offer(world, pack)
            },
        ),
        breaks("a first entry that is a delta", NO_ENTRY, |world| {
            let mut pack = world.pack();
            pack.ofs_delta_at(12, &delta::append(BASE_SIZE, b"!"));
            offer(world, pack)
        }),
    ]
}

/// Deltas that go around: no content could have these ids, so none of them has a base.
fn circle(length: u8) -> impl Fn(&World) -> Offer {
    move |world| {
        let mut pack = world.pack();
        for number in 0..length {
            pack.ref_delta(
                &world.nowhere(10 + (number + 1) % length),
                &delta::append(BASE_SIZE, b"!"),
            );
        }
        offer(world, pack)
    }
}

fn by_id_cases() -> Vec<Case> {
    vec![
        breaks("the null id", MISSING, |world| {
            let mut pack = world.pack();
            pack.ref_delta(
                &ObjectId::from(world.hash.null()),
                &delta::append(0, b"text"),
            );
            offer(world, pack)
        }),
        breaks("the null id with a base of its size", MISSING, |world| {
            let mut pack = world.pack();
            pack.ref_delta(
                &ObjectId::from(world.hash.null()),
                &delta::append(BASE_SIZE, b"text"),
            );
            offer(world, pack)
        }),
        breaks("the id of its own result", MISSING, |world| {
            let mut pack = world.pack();
            let own = world.id(Kind::Blob, BASE);
            pack.ref_delta(&own, &delta::of(BASE_SIZE, BASE_SIZE, &delta::insert(BASE)));
            offer(world, pack)
        }),
        breaks("itself", MISSING, circle(1)),
        breaks("a circle of two", MISSING, circle(2)),
        breaks("a circle of three", MISSING, circle(3)),
        breaks("a circle of two that one can enter", MISSING, |world| {
            let mut pack = world.pack();
            let (one, two) = (b"one", b"two");
            let of = |text: &[u8]| delta::of(3, 3, &delta::insert(text));
            pack.ref_delta(&world.id(Kind::Blob, two), &of(one));
            pack.ref_delta(&world.id(Kind::Blob, one), &of(two));
            pack.ofs_delta(12, &of(b"six"));
            offer(world, pack)
        }),
        breaks("what nobody has", MISSING, |world| {
            let mut pack = world.pack();
            pack.ref_delta(&world.nowhere(3), &delta::append(BASE_SIZE, b"!"));
            offer(world, pack)
        }),
        breaks(
            "what nobody has, 1,000 times",
            "1000 deltas whose base",
            |world| {
                let mut pack = world.pack();
                for _ in 0..1000 {
                    pack.ref_delta(&world.nowhere(3), &delta::append(BASE_SIZE, b"!"));
                }
                offer(world, pack)
            },
        ),
        breaks(
            "1,000 things that nobody has",
            "1000 deltas whose base",
            |world| {
                let mut pack = world.pack();
                for number in 0..1000_u32 {
                    let base = world.id(Kind::Blob, &number.to_be_bytes());
                    pack.ref_delta(&base, &delta::append(BASE_SIZE, b"!"));
                }
                offer(world, pack)
            },
        ),
        breaks("half an id", "the pack is damaged", |world| {
            let mut pack = world.pack();
            pack.raw(&[0x71, 1, 2, 3, 4]);
            offer(world, pack)
        }),
        rejected("a base that only debris has", "is missing", |world| {
            let mut pack = world.pack();
            pack.ref_delta(&world.lost_blob, &delta::append(5, b"!"));
            offer(world, pack)
        }),
        breaks(
            "a base of the store with another size",
            "a delta of another base",
            |world| {
                let mut pack = world.pack();
                pack.ref_delta(&world.blob, &delta::append(3, b"!"));
                offer(world, pack)
            },
        ),
        rejected(
            "deltas on the same base by id and by distance",
            "is missing",
            |world| {
                let mut pack = world.pack();
                let base = pack.place(Kind::Blob, BASE);
                pack.ofs_delta(base, &delta::append(BASE_SIZE, b"1"));
                pack.ref_delta(&world.id(Kind::Blob, BASE), &delta::append(BASE_SIZE, b"2"));
                offer(world, pack)
            },
        ),
        breaks("bases that are there 100 times", "twice", |world| {
            let mut pack = world.pack();
            for _ in 0..100 {
                pack.place(Kind::Blob, BASE);
            }
            for _ in 0..100 {
                pack.ref_delta(&world.id(Kind::Blob, BASE), &delta::append(BASE_SIZE, b"2"));
            }
            offer(world, pack)
        }),
        breaks(
            "objects of the store, once more and twice",
            "twice",
            |world| {
                let mut pack = world.pack();
                for _ in 0..2 {
                    pack.object(Kind::Commit, &commit(&world.nowhere(99), &[], "debris"));
                    pack.object(Kind::Blob, b"lost\n");
                }
                Offer::branch(world.broken, pack)
            },
        ),
    ]
}

pub(crate) fn instruction_cases() -> Vec<Case> {
    let with = |delta: Vec<u8>| {
        on_base(move |pack, base| {
            pack.ofs_delta(base, &delta);
        })
    };
    let damaged = "the pack is damaged";
    let all = delta::copy_all(BASE_SIZE);
    let at_end = delta::copy(BASE_SIZE as u32, 1);
    let across_end = delta::copy(BASE_SIZE as u32 - 1, 2);
    let far = delta::copy(u32::MAX, 0xff_ffff);
    let exact = |instructions: &[u8], result| delta::of(BASE_SIZE, result, instructions);
    vec![
        breaks(
            "a smaller base",
            "of another base",
            with(delta::of(BASE_SIZE - 1, 1, &delta::copy(0, 1))),
        ),
        breaks(
            "a larger base",
            "of another base",
            with(delta::of(BASE_SIZE + 1, 1, &delta::copy(0, 1))),
        ),
        breaks(
            "a base of 2^63",
            "of another base",
            with(delta::of(1 << 63, 1, &delta::copy(0, 1))),
        ),
        breaks(
            "more than it says",
            "longer result",
            with(exact(&all, BASE_SIZE - 1)),
        ),
        breaks(
            "less than it says",
            "shorter result",
            with(exact(&all, BASE_SIZE + 1)),
        ),
        breaks(
            "nothing where something is said",
            "shorter result",
            with(exact(&[], 1)),
        ),
        breaks(
            "something where nothing is said",
            "longer result",
            with(exact(&[1, b'x'], 0)),
        ),
        breaks(
            "256 MiB less than it says",
            "shorter result",
            with(exact(&all, 256 << 20)),
        ),
        breaks(
            "less than it says, of what is too large",
            "shorter result",
            with(exact(&all, (256 << 20) + 1)),
        ),
        breaks(
            "more than it says, of what is too large",
            "longer result",
            with(exact(&all.repeat(2), BASE_SIZE + 1)),
        )
        .with(|options| options.limits.object_size = BASE_SIZE),
        exceeds(
            "a result of 2^40",
            "limit `inflated_bytes`",
            with(exact(&all, 1 << 40)),
        ),
        exceeds(
            "a result of 2^63",
            "limit `inflated_bytes`",
            with(exact(&all, 1 << 63)),
        ),
        exceeds(
            "a result of 2^64-1",
            "limit `inflated_bytes`",
            with(exact(&all, u64::MAX)),
        ),
        breaks(
            "a size without an end",
            "impossible size",
            with(vec![0x80; 20]),
        ),
        breaks(
            "a result that doesn't fit into 64 bits",
            "impossible size",
            with([delta::size(BASE_SIZE), vec![0xff; 9], vec![2]].concat()),
        ),
        breaks("no bytes", damaged, with(Vec::new())),
        breaks("an empty result", EMPTY, with(exact(&[], 0))),
        breaks(
            "an empty result in the four bytes that a delta has to have",
            EMPTY,
            with(vec![BASE_SIZE as u8 | 0x80, 0, 0x80, 0]),
        ),
        breaks("an empty tree", EMPTY, |world| {
            let mut pack = world.pack();
            let entries = tree([("100644", &b"file"[..], world.blob)]);
            let base = pack.place(Kind::Tree, &entries);
            pack.ofs_delta(base, &delta::of(entries.len() as u64, 0, &[]));
            let empty = world.id(Kind::Tree, b"");
            let tip = pack.object(Kind::Commit, &commit(&empty, &[world.tip], "news"));
            Offer::branch(tip, pack)
        }),
        breaks("one size alone", damaged, with(delta::size(BASE_SIZE))),
        breaks("instruction 0", "unknown instruction", with(exact(&[0], 1))),
        breaks(
            "instruction 0 at the end",
            "unknown instruction",
            with(exact(&[&all[..], &[0]].concat(), BASE_SIZE)),
        ),
        breaks(
            "a copy from the end",
            "from beyond its base",
            with(exact(&at_end, 1)),
        ),
        breaks(
            "a copy across the end",
            "from beyond its base",
            with(exact(&across_end, 2)),
        ),
        breaks(
            "a copy from far beyond",
            "from beyond its base",
            with(exact(&far, 0xff_ffff)),
        ),
        breaks(
            "a copy of 64 KiB",
            "from beyond its base",
            with(exact(&[0x80], 0x10000)),
        ),
        breaks(
            "a copy that is cut off",
            damaged,
            with(exact(&[0xff, 1], 1)),
        ),
        breaks(
            "an insertion that is cut off",
            damaged,
            with(exact(&[5, b'x'], 5)),
        ),
        breaks(
            "copies without an end",
            "longer result",
            with(exact(&all.repeat(10_000), BASE_SIZE)),
        ),
    ]
}

/// Each entry a delta of the one before it.
fn chain(pack: &mut Pack, depth: u32) -> u64 {
    let mut base = pack.place(Kind::Blob, BASE);
    for number in 0..depth {
        let text = number.to_be_bytes();
        let instructions = [delta::copy(0, BASE_SIZE as u32 - 4), delta::insert(&text)].concat();
        base = pack.ofs_delta(base, &delta::of(BASE_SIZE, BASE_SIZE, &instructions));
    }
    base
}

fn deep(depth: u32) -> impl Fn(&World) -> Offer {
    move |world| {
        let mut pack = world.pack();
        chain(&mut pack, depth);
        offer(world, pack)
    }
}

fn depth_cases() -> Vec<Case> {
    let by_id = |depth: u32| {
        move |world: &World| {
            let mut pack = world.pack();
            let mut content = BASE.to_vec();
            pack.place(Kind::Blob, BASE);
            let mut base = world.id(Kind::Blob, BASE);
            for number in 0..depth {
                let text = number.to_be_bytes();
                let instructions =
                    [delta::copy(0, BASE_SIZE as u32 - 4), delta::insert(&text)].concat();
                pack.ref_delta(&base, &delta::of(BASE_SIZE, BASE_SIZE, &instructions));
                content[BASE.len() - 4..].copy_from_slice(&text);
                base = world.id(Kind::Blob, &content);
            }
            offer(world, pack)
        }
    };
    let trees = |world: &World| {
        let mut pack = world.pack();
        let tree = |id: &ObjectId| [&b"100644 a\0"[..], id.as_bytes()].concat();
        let whole = tree(&world.id(Kind::Blob, BASE));
        pack.place(Kind::Tree, &whole);
        let name = b"100644 a\0".len();
        let id = world.id(Kind::Blob, b"");
        let instructions = [delta::copy(0, name as u32), delta::insert(id.as_bytes())].concat();
        let (base, size) = (world.id(Kind::Tree, &whole), whole.len() as u64);
        pack.ref_delta(&base, &delta::of(size, size, &instructions));
        offer(world, pack)
    };
    vec![
        rejected("as many bytes as allowed", "is missing", trees)
            .with(|options| options.limits.delta_chain_bytes = 2 * 29),
        exceeds("more bytes", "limit `delta_chain_bytes`", trees)
            .with(|options| options.limits.delta_chain_bytes = 2 * 29 - 1),
        rejected("more bytes, of blobs", "is missing", deep(1))
            .with(|options| options.limits.delta_chain_bytes = 1),
        rejected("as deep as allowed", "is missing", deep(4095)),
        exceeds("one deeper", "limit `delta_depth`", deep(4096)),
        exceeds("deeper than 16 bits", "limit `delta_depth`", deep(65_536)),
        rejected(
            "deeper than 16 bits, and allowed",
            "is missing",
            deep(65_600),
        )
        .with(|options| options.limits.delta_depth = u32::MAX),
        exceeds("one deeper, by id", "limit `delta_depth`", by_id(4096)),
        rejected("deep by id, and allowed", "is missing", by_id(6_000))
            .with(|options| options.limits.delta_depth = u32::MAX),
        exceeds("one", "limit `delta_depth`", deep(1))
            .with(|options| options.limits.delta_depth = 0),
    ]
}

/// A delta of a base of zeros whose result is other zeros: hardly any bytes for it.
fn other_zeros(length: u64, number: u64) -> Vec<u8> {
    let text = number.to_be_bytes();
    let rest = length - text.len() as u64;
    delta::of(
        length,
        length,
        &[delta::insert(&text), delta::copy_all(rest)].concat(),
    )
}

/// A chain, and at each entry of it a branch: all of them wait while the chain is followed.
pub(crate) fn comb(world: &World, depth: u64, siblings: u64, length: u64) -> Offer {
    let mut pack = world.pack();
    let mut base = pack.stream(BLOB, length, &deflate_zeros(length));
    let mut number = 0;
    let mut next = || {
        number += 1;
        number
    };
    for _ in 0..depth {
        base = pack.ofs_delta(base, &other_zeros(length, next()));
    }
    for _ in 0..siblings {
        pack.ofs_delta(base, &other_zeros(length, next()));
    }
    offer(world, pack)
}

/// So many deltas by id on one base.
pub(crate) fn on_one_base(world: &World, count: u32) -> Offer {
    let mut pack = world.pack();
    let base = pack.object(Kind::Blob, BASE);
    for number in 0..count {
        let text = [number.to_be_bytes(), number.to_le_bytes()].concat();
        let instructions = delta::of(
            BASE_SIZE,
            16,
            &[delta::copy(0, 8), delta::insert(&text)].concat(),
        );
        pack.ref_delta(&base, &instructions);
    }
    offer(world, pack)
}

fn amount_cases() -> Vec<Case> {
    vec![
        rejected("20,000 deltas by id on one base", "is missing", |world| {
            on_one_base(world, 20_000)
        }),
        rejected(
            "20,000 siblings",
            "is missing",
            on_base(|pack, base| {
                for number in 0..20_000_u32 {
                    pack.ofs_delta(base, &delta::append(BASE_SIZE, &number.to_be_bytes()));
                }
            }),
        ),
        breaks(
            "20,000 deltas that are the same object",
            "twice",
            on_base(|pack, base| {
                for _ in 0..20_000 {
                    pack.ofs_delta(base, &delta::append(BASE_SIZE, b"!"));
                }
            }),
        ),
        rejected(
            "a chain of 60 with 8 siblings of 2 MiB each",
            "is missing",
            |world| comb(world, 60, 8, 2 << 20),
        ),
        exceeds(
            "deltas of more than may be inflated",
            "limit `inflated_bytes`",
            |world| comb(world, 60, 8, 1 << 20),
        )
        .with(|options| options.limits.inflated_bytes = 32 << 20),
        breaks(
            "a delta over the size of an object",
            "of another base",
            on_base(|pack, base| {
                let head = size(OFS_DELTA, 5000);
                let distance = distance(pack.end() - base);
                pack.raw(&[head, distance, deflate_zeros(5000)].concat());
            }),
        )
        .with(|options| options.limits.object_size = 4096),
        exceeds(
            "a delta of more than all objects may have",
            "limit `inflated_bytes`",
            on_base(|pack, base| {
                let head = size(OFS_DELTA, 1 << 40);
                let distance = distance(pack.end() - base);
                pack.raw(&[head, distance, deflate_zeros(5000)].concat());
            }),
        ),
        exceeds(
            "objects that are too large and more than the disk may hold",
            "limit `quarantine_bytes`",
            |world| comb(world, 60, 8, 2 << 20),
        )
        .with(|options| {
            options.limits.object_size = 1 << 20;
            options.limits.quarantine_bytes = 3 << 20;
        }),
        rejected(
            "a chain of 60 with 8 siblings of 2 MiB each, all too large",
            "is missing",
            |world| comb(world, 60, 8, 2 << 20),
        )
        .with(|options| {
            options.limits.object_size = 1 << 20;
            options.limits.quarantine_bytes = 5 << 20;
        }),
    ]
}

fn thin_cases() -> Vec<Case> {
    fn thin(world: &World, times: u8) -> Offer {
        let mut pack = world.pack();
        for number in 0..times {
            let base = world.repo.git(&["cat-file", "-s", &world.blob.to_string()]);
            let base = base.parse().unwrap();
            pack.ref_delta(&world.blob, &delta::append(base, &[number]));
        }
        offer(world, pack)
    }
    vec![
        exceeds("bases over the limit", "limit `thin_bases`", |world| {
            thin(world, 1)
        })
        .with(|options| options.limits.thin_bases = 100),
        exceeds("bases over the disk", "limit `quarantine_bytes`", |world| {
            thin(world, 1)
        })
        .with(|options| options.limits.quarantine_bytes = 200),
        rejected("one base for many", "is missing", |world| thin(world, 200))
            .with(|options| options.limits.thin_bases = 2000),
        breaks(
            "a base that another thin one leads to, and one that none does",
            MISSING,
            |world| {
                let mut pack = world.pack();
                let base = world.repo.git(&["cat-file", "-s", &world.blob.to_string()]);
                pack.ref_delta(&world.blob, &delta::append(base.parse().unwrap(), b"1"));
                pack.ref_delta(&world.nowhere(4), &delta::append(3, b"2"));
                offer(world, pack)
            },
        ),
        rejected(
            "a commit as a delta of a commit of the store that makes no sense",
            "faulty",
            |world| {
                let mut pack = world.pack();
                let content = b"no commit at all\n";
                let base = world.repo.git(&["cat-file", "-s", &world.tip.to_string()]);
                let base = base.parse().unwrap();
                pack.ref_delta(
                    &world.tip,
                    &delta::of(base, content.len() as u64, &delta::insert(content)),
                );
                Offer::branch(world.id(Kind::Commit, content), pack)
            },
        ),
    ]
}

#[test]
fn by_distance() {
    all_fail(&World::new(), &by_distance_cases());
}

#[test]
fn by_id() {
    all_fail(&World::new(), &by_id_cases());
}

#[test]
fn instructions() {
    all_fail(&World::new(), &instruction_cases());
}

#[test]
fn depth() {
    all_fail(&World::new(), &depth_cases());
}

#[test]
fn amounts() {
    all_fail(&World::new(), &amount_cases());
}

#[test]
fn thin_packs() {
    all_fail(&World::new(), &thin_cases());
}

#[test]
fn with_sha256() {
    let world = World::of(ObjectFormat::Sha256);
    all_fail(&world, &by_distance_cases());
    all_fail(&world, &by_id_cases());
    all_fail(&world, &instruction_cases());
    all_fail(&world, &thin_cases());
}

/// Without their changes the cases do not fail.
#[test]
fn sound_deltas_come_in() {
    let world = World::new();
    let mut pack = world.pack();
    let base = pack.place(Kind::Blob, BASE);
    pack.ofs_delta(base, &delta::append(BASE_SIZE, b"!"));
    let blob = world.id(Kind::Blob, &[BASE, b"!"].concat());
    let base = world.repo.git(&["cat-file", "-s", &world.blob.to_string()]);
    pack.ref_delta(&world.blob, &delta::append(base.parse().unwrap(), b"!"));
    let content = tree([("100644", &b"deltas"[..], blob)]);
    let tree = pack.object(Kind::Tree, &content);
    let tip = pack.object(Kind::Commit, &commit(&tree, &[world.tip], "news"));
    let stats = world
        .pull(
            &Offer::new([(EVIL, tip)], pack.finish()),
            &Default::default(),
        )
        .unwrap();
    assert_eq!(stats.count(refsync::Outcome::is_updated), 1, "{stats:?}");
    world.repo.fsck();
}
