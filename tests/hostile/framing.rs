//! The framing of the objects: header, entry headers, zlib streams, trailer.

use crate::pack::{BLOB, Pack, deflate, deflate_zeros, size};
use crate::support::git::ObjectFormat;
use crate::world::{Case, Offer, World, all_fail, breaks, exceeds, rejected};
use gix::objs::Kind;

const DAMAGED: &str = "the pack is damaged";

/// A pack with a blob and a commit, as it has to be: the tree is the store's.
fn sound(world: &World) -> (refsync::ObjectId, Pack) {
    let mut pack = world.pack();
    pack.object(Kind::Blob, b"some text\n");
    let commit = crate::objects::commit(&world.tree, &[world.tip], "news");
    (pack.object(Kind::Commit, &commit), pack)
}

fn changed(change: impl Fn(&mut Vec<u8>) + 'static) -> impl Fn(&World) -> Offer {
    move |world| {
        let (tip, pack) = sound(world);
        let mut bytes = pack.finish();
        change(&mut bytes);
        Offer::bytes(tip, bytes)
    }
}

pub(crate) fn header_cases() -> Vec<Case> {
    let signature = |signature: &'static [u8; 4]| {
        move |world: &World| {
            let (tip, pack) = sound(world);
            Offer::bytes(tip, pack.finish_as(signature, 2, 2))
        }
    };
    let version = |version| {
        move |world: &World| {
            let (tip, pack) = sound(world);
            Offer::bytes(tip, pack.finish_as(b"PACK", version, 2))
        }
    };
    let count = |count| {
        move |world: &World| {
            let (tip, pack) = sound(world);
            Offer::bytes(tip, pack.finish_counting(count))
        }
    };
    vec![
        breaks("no bytes", DAMAGED, changed(Vec::clear)),
        breaks("half a signature", DAMAGED, changed(|b| b.truncate(2))),
        breaks("a signature alone", DAMAGED, changed(|b| b.truncate(4))),
        breaks("half a header", DAMAGED, changed(|b| b.truncate(11))),
        breaks("a header alone", DAMAGED, changed(|b| b.truncate(12))),
        breaks("another signature", "is no pack", signature(b"KCAP")),
        breaks("a small signature", "is no pack", signature(b"pack")),
        breaks("a signature of zeros", "is no pack", signature(b"\0\0\0\0")),
        breaks("a bundle's signature", "is no pack", signature(b"# v2")),
        breaks("version 0", DAMAGED, version(0)),
        breaks("version 1", DAMAGED, version(1)),
        breaks("version 3", "is of an unknown version", version(3)),
        breaks("version 4", DAMAGED, version(4)),
        breaks("version 2^32-1", DAMAGED, version(u32::MAX)),
        breaks("a count of one less", "another checksum", count(1)),
        breaks("a count of none", "another checksum", count(0)),
        breaks("a count of one more", DAMAGED, count(3)),
        breaks("a count of half a million", DAMAGED, count(500_000)),
        exceeds("a count of 2^32-1", "limit `objects`", count(u32::MAX)),
        exceeds("one object over the limit", "limit `objects`", count(2))
            .with(|options| options.limits.objects = 1),
        exceeds(
            "more objects than memory is for",
            "limit `memory`",
            count(9_000_000),
        ),
        exceeds(
            "more bytes than disk is for",
            "limit `quarantine_bytes`",
            count(2),
        )
        .with(|options| options.limits.quarantine_bytes = 100),
    ]
}

pub(crate) fn trailer_cases() -> Vec<Case> {
    let flip_last = |bytes: &mut Vec<u8>| *bytes.last_mut().unwrap() ^= 1;
    vec![
        breaks("a wrong trailer", "another checksum", changed(flip_last)),
        breaks(
            "no trailer",
            DAMAGED,
            changed(|bytes| bytes.truncate(bytes.len() - 20)),
        ),
        breaks(
            "half a trailer",
            DAMAGED,
            changed(|bytes| bytes.truncate(bytes.len() - 10)),
        ),
        breaks(
            "a trailer of zeros",
            "another checksum",
            changed(|bytes| {
                let from = bytes.len() - 20;
                bytes[from..].fill(0);
            }),
        ),
        breaks(
            "a byte after the trailer",
            "goes on after its end",
            changed(|bytes| bytes.push(0)),
        ),
        breaks(
            "another pack after the trailer",
            "goes on after its end",
            changed(|bytes| bytes.extend_from_within(..)),
        ),
        breaks(
            "a megabyte before the trailer",
            "another checksum",
            changed(|bytes| {
                let at = bytes.len() - 20;
                bytes.splice(at..at, vec![7; 1 << 20]);
            }),
        ),
        breaks(
            "a byte that changed on the way",
            DAMAGED,
            changed(|bytes| bytes[20] ^= 0x10),
        ),
    ]
}

/// A pack of one entry with these bytes.
fn entry(bytes: Vec<u8>) -> impl Fn(&World) -> Offer {
    move |world| {
        let mut pack = world.pack();
        pack.raw(&bytes);
        Offer::branch(world.nowhere(1), pack)
    }
}

pub(crate) fn entry_header_cases() -> Vec<Case> {
    let typed = |kind: u8| entry([size(kind, 4), deflate(b"text")].concat());
    let sized = |size: &[u8]| entry([size, &deflate(b"text")[..]].concat());
    let claims = |claim: u64| entry([size(BLOB, claim), deflate(b"text")].concat());
    vec![
        breaks("type 0", DAMAGED, typed(0)),
        breaks("type 5", DAMAGED, typed(5)),
        breaks("a size without an end", DAMAGED, sized(&[0xb4; 40])),
        breaks(
            "a size of more than 64 bits",
            DAMAGED,
            sized(&[0xb4, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f]),
        ),
        breaks(
            "a size in more bytes than git reads",
            "an impossible size",
            sized(&[0xb4, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x00]),
        ),
        breaks(
            "a size that wraps around to the right one",
            DAMAGED,
            sized(&[0xb4, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x10]),
        ),
        breaks(
            "a size that shifts beyond 64 bits",
            DAMAGED,
            sized(&[
                0xb4, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x01,
            ]),
        ),
        breaks(
            "a size with zeros beyond 64 bits",
            DAMAGED,
            sized(&[
                0xb4, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x00,
            ]),
        ),
        exceeds("a size of 2^40", "limit `inflated_bytes`", claims(1 << 40)),
        exceeds(
            "a size of 2^60-1",
            "limit `inflated_bytes`",
            claims((1 << 60) - 1),
        ),
        breaks("a size of 2^60", "an impossible size", claims(1 << 60)),
        breaks("a size of 2^64-1", "an impossible size", claims(u64::MAX)),
        breaks(
            "one byte over the limit that isn't there",
            "is shorter than it says",
            claims(5),
        )
        .with(|options| options.limits.object_size = 4),
        rejected(
            "one byte over the limit that is there",
            "limit object_size 9",
            changed(|_| ()),
        )
        .with(|options| options.limits.object_size = "some text".len() as u64),
        rejected("a tree as large as blobs may be", "limit memory", |world| {
            let mut pack = world.pack();
            let length = 100 << 20;
            pack.stream(crate::pack::TREE, length, &deflate_zeros(length));
            let tree = world.id(Kind::Tree, &vec![0; length as usize]);
            let commit = crate::objects::commit(&tree, &[world.tip], "news");
            Offer::branch(pack.object(Kind::Commit, &commit), pack)
        }),
        breaks(
            "a size of 256 MiB and no content",
            DAMAGED,
            claims(256 << 20),
        ),
        breaks("an entry that ends in its header", DAMAGED, |world| {
            let mut pack = world.pack();
            pack.raw(&[0xb4]);
            Offer::branch(world.nowhere(1), pack)
        }),
    ]
}

/// A zlib stream (RFC 1950) around a deflate stream.
fn zlib(deflated: &[u8], adler: [u8; 4]) -> Vec<u8> {
    [&[0x78, 0x01], deflated, &adler].concat()
}

fn stored(text: &[u8], is_last: bool) -> Vec<u8> {
    let length = text.len() as u16;
    let head = [
        &[u8::from(is_last)],
        &length.to_le_bytes()[..],
        &(!length).to_le_bytes(),
    ]
    .concat();
    [&head, text].concat()
}

const NOTHING: [u8; 4] = [0, 0, 0, 1];

fn zlib_cases() -> Vec<Case> {
    let stream = |length: u64, bytes: Vec<u8>| entry([size(BLOB, length), bytes].concat());
    let cut = |less: usize| {
        let whole = deflate(b"some more text");
        whole[..whole.len() - less].to_vec()
    };
    let mut wrong_sum = deflate(b"text");
    *wrong_sum.last_mut().unwrap() ^= 1;
    let mut cases = vec![
        breaks("no zlib stream", DAMAGED, stream(4, b"text".to_vec())),
        breaks(
            "a gzip stream",
            DAMAGED,
            stream(4, vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0]),
        ),
        breaks(
            "a wrong Adler-32",
            "is no zlib stream",
            stream(4, wrong_sum),
        ),
        breaks(
            "a stream that needs a dictionary",
            DAMAGED,
            stream(4, vec![0x78, 0x20, 1, 2, 3, 4]),
        ),
        breaks(
            "a reserved block type",
            "is no zlib stream",
            stream(4, zlib(&[7], NOTHING)),
        ),
        breaks(
            "a stored block of another length",
            "is no zlib stream",
            stream(4, zlib(&[1, 4, 0, 4, 0, 1, 2, 3, 4], NOTHING)),
        ),
        breaks("a stream that is cut off", DAMAGED, stream(14, cut(5))),
        breaks("a stream without its Adler-32", DAMAGED, stream(14, cut(4))),
        breaks(
            "less than it says",
            "is shorter than it says",
            stream(5, deflate(b"text")),
        ),
        breaks(
            "more than it says",
            "is longer than it says",
            stream(3, deflate(b"text")),
        ),
        breaks(
            "something where nothing is said",
            "is longer than it says",
            stream(0, deflate(b"text")),
        ),
        breaks(
            "nothing where something is said",
            "is shorter than it says",
            stream(1, deflate(b"")),
        ),
        breaks(
            "bytes between a stream and the trailer",
            "another checksum",
            stream(4, [deflate(b"text"), b"junk".to_vec()].concat()),
        ),
        breaks(
            "a bomb of 64 MiB where a byte is said",
            "is longer than it says",
            |world| {
                let mut pack = world.pack();
                pack.stream(BLOB, 1, &deflate_zeros(64 << 20));
                Offer::branch(world.nowhere(1), pack)
            },
        ),
        exceeds(
            "bombs of more than may be inflated",
            "limit `inflated_bytes`",
            |world| {
                let mut pack = world.pack();
                let bomb = deflate_zeros(1 << 20);
                for _ in 0..9 {
                    pack.stream(BLOB, 1 << 20, &bomb);
                }
                Offer::branch(world.nowhere(1), pack)
            },
        )
        .with(|options| options.limits.inflated_bytes = 8 << 20),
        breaks("two million empty blocks and no end", DAMAGED, |world| {
            let mut pack = world.pack();
            let flood = stored(b"", false).repeat(2_000_000);
            pack.raw(&[size(BLOB, 4), vec![0x78, 1], flood].concat());
            Offer::branch(world.nowhere(1), pack)
        }),
        exceeds(
            "empty blocks beyond the disk",
            "limit `quarantine_bytes`",
            |world| {
                let mut pack = world.pack();
                let flood = stored(b"", false).repeat(400_000);
                pack.raw(
                    &[
                        size(BLOB, 0),
                        vec![0x78, 1],
                        flood,
                        stored(b"", true),
                        NOTHING.to_vec(),
                    ]
                    .concat(),
                );
                Offer::branch(world.nowhere(1), pack)
            },
        )
        .with(|options| options.limits.quarantine_bytes = 1 << 20),
    ];
    cases.push(breaks("a bomb as a delta", DAMAGED, |world| {
        let mut pack = world.pack();
        let base = pack.place(Kind::Blob, b"base");
        let distance = crate::pack::distance(pack.end() - base);
        let head = size(crate::pack::OFS_DELTA, 12);
        pack.raw(&[head, distance, deflate_zeros(32 << 20)].concat());
        Offer::branch(world.nowhere(1), pack)
    }));
    cases
}

#[test]
fn headers() {
    all_fail(&World::new(), &header_cases());
}

#[test]
fn trailers() {
    all_fail(&World::new(), &trailer_cases());
}

#[test]
fn entry_headers() {
    all_fail(&World::new(), &entry_header_cases());
}

#[test]
fn zlib_streams() {
    all_fail(&World::new(), &zlib_cases());
}

#[test]
fn with_sha256() {
    let world = World::of(ObjectFormat::Sha256);
    all_fail(&world, &header_cases());
    all_fail(&world, &entry_header_cases());
}

/// Without their changes the cases do not fail.
#[test]
fn without_a_change_it_comes_in() {
    for format in [ObjectFormat::Sha1, ObjectFormat::Sha256] {
        let world = World::of(format);
        let (tip, pack) = sound(&world);
        let stats = world
            .pull(&Offer::branch(tip, pack), &Default::default())
            .unwrap();
        assert_eq!(stats.count(refsync::Outcome::is_updated), 1, "{stats:?}");
        world.repo.fsck();
    }
}
