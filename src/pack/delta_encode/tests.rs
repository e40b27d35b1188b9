use std::{
    io::Write,
    process::{Command, Stdio},
};

use gix::{ObjectId, objs::Kind};
use proptest::prelude::*;

use super::*;
use crate::{
    pack::deflate::Deflater,
    test_support::{apply, noise},
};

fn encode(base: &[u8], target: &[u8]) -> Vec<u8> {
    DeltaBase::new(base.to_vec())
        .encode(target, usize::MAX)
        .expect("a target and no limit")
}

fn reversed(bytes: &[u8]) -> Vec<u8> {
    bytes.iter().rev().copied().collect()
}

/// Base and target, and what the delta may take at most.
fn pairs() -> Vec<(&'static str, Vec<u8>, Vec<u8>, usize)> {
    let text = noise(5000, 1);
    let long = noise(0x30000, 2);
    let period: Vec<u8> = noise(17, 4).repeat(6000);
    let swapped = [&text[2500..], &text[..2500]].concat();
    let mut changed = text.clone();
    (0..text.len()).step_by(100).for_each(|at| changed[at] ^= 1);
    vec![
        ("empty base", vec![], text.clone(), 5043),
        ("one byte", vec![1], vec![1], 4),
        ("one byte more", text.clone(), [&text[..], b"x"].concat(), 9),
        ("the same", text.clone(), text.clone(), 7),
        ("short", noise(20, 5), noise(20, 5), 5),
        ("nothing in common", text.clone(), noise(5000, 9), 5044),
        ("reversed", text.clone(), reversed(&text), 5044),
        ("shifted", text.clone(), [b"new", &text[..]].concat(), 11),
        ("cut", text.clone(), text[3..].to_vec(), 8),
        ("swapped halves", text.clone(), swapped, 12),
        ("changed here and there", text.clone(), changed, 400),
        ("zeros", vec![0; 100_000], vec![0; 150_000], 20),
        ("a period", period.clone(), period[5..].to_vec(), 30),
        ("a longer period", period[..40_000].to_vec(), period, 250),
        (
            "just below a copy",
            long.clone(),
            long[..0xffff].to_vec(),
            9,
        ),
        ("a copy", long.clone(), long[..0x10000].to_vec(), 7),
        ("above a copy", long.clone(), long[..0x10001].to_vec(), 12),
        ("three copies", long.clone(), long.clone(), 12),
        (
            "copies from the middle",
            long.clone(),
            long[0x123..].to_vec(),
            20,
        ),
    ]
}

/// Its end has an offset of four bytes.
fn huge_pair() -> (&'static str, Vec<u8>, Vec<u8>, usize) {
    let base = noise(17 << 20, 3);
    let target = [&base[base.len() - 999..], &base].concat();
    ("huge", base, target, 1500)
}

#[test]
fn a_delta_makes_its_target_and_is_small() {
    for (name, base, target, most) in pairs().into_iter().chain([huge_pair()]) {
        let delta = encode(&base, &target);
        assert!(apply(&base, &delta) == Some(target), "{name}");
        assert!(delta.len() <= most, "{name}: {} bytes", delta.len());
    }
}

#[test]
fn the_format_to_the_byte() {
    let base: Vec<u8> = (0..0x300).map(|n| (n / 3) as u8 ^ n as u8).collect();
    let long = noise(0x20001, 1);
    for (base, target, expected) in [
        (&base[..32], &base[..32], &[32, 32, 0x90, 32][..]),
        (&base[..32], b"abc", &[32, 3, 3, b'a', b'b', b'c']),
        (&base, &base[0x100..0x200], &[0x80, 6, 0x80, 2, 0xa2, 1, 1]),
        (&base, &base[0x101..0x141], &[0x80, 6, 64, 0x93, 1, 1, 64]),
        // The whole of a copy's greatest size is told without a byte, and so is offset 0.
        (
            &long,
            &long,
            &[0x81, 0x80, 8, 0x81, 0x80, 8, 0x80, 0x84, 1, 0x94, 2, 1],
        ),
    ] {
        assert_eq!(encode(base, target), expected);
    }
    let inserted = encode(b"", &long[..0x80]);
    assert_eq!(inserted[..4], [0, 0x80, 1, 0x7f]);
    assert_eq!(inserted[4 + 0x7f], 1);
}

#[test]
fn a_delta_never_exceeds_the_limit() {
    for (name, base, target, _) in pairs() {
        let whole = encode(&base, &target);
        let base = DeltaBase::new(base);
        assert_eq!(base.encode(&target, whole.len() - 1), None, "{name}");
        assert!(base.encode(&target, whole.len()) == Some(whole), "{name}");
    }
}

/// Git refuses a delta of less than four bytes (`delta.h:DELTA_SIZE_MIN`).
#[test]
fn an_empty_target_has_no_delta() {
    for base in [&b""[..], b"content"] {
        assert_eq!(DeltaBase::new(base.to_vec()).encode(b"", usize::MAX), None);
    }
}

#[test]
fn a_base_serves_many_targets() {
    let text = noise(3000, 1);
    let base = DeltaBase::new(text.clone());
    for at in 0..100 {
        let target = [&text[..at * 20], b"new", &text[at * 20..]].concat();
        let delta = base.encode(&target, 40).expect("one insertion");
        assert_eq!(apply(&text, &delta), Some(target));
    }
}

/// Otherwise repetitive content would take time that grows with the square of its size.
#[test]
fn a_bucket_has_few_blocks_and_from_everywhere() {
    let base = noise(3 * STRIDE, 1).repeat(10_000);
    let index = Index::new(&base);
    let sizes = index.starts.windows(2).map(|pair| pair[1] - pair[0]);
    assert_eq!(sizes.max(), Some(MAX_BUCKET as u32));
    let offsets: Vec<_> = index
        .candidates(base.first_chunk().expect("a block"))
        .collect();
    let evenly = base.len() / MAX_BUCKET;
    assert_eq!(offsets.len(), MAX_BUCKET);
    for (nth, offset) in offsets.iter().enumerate() {
        assert!(
            offset.abs_diff(nth * evenly) <= 3 * STRIDE,
            "{nth}: {offset}"
        );
    }
}

#[test]
fn a_block_that_repeats_its_neighbour_is_not_in_the_index() {
    let zeros = Index::new(&[0; 10_000]);
    assert_eq!(zeros.blocks.len(), 1);
}

/// The one who decides.
#[test]
fn git_reads_the_deltas() {
    let folder = tempfile::tempdir().expect("a folder");
    let git = |args: &[&str], input: &[u8]| {
        let mut git = Command::new("git")
            .current_dir(folder.path())
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("git runs");
        let mut stdin = git.stdin.take().expect("a pipe");
        stdin.write_all(input).expect("git reads it all");
        drop(stdin);
        let output = git.wait_with_output().expect("git ends");
        assert!(output.status.success(), "{args:?}");
        String::from_utf8(output.stdout).expect("text")
    };
    let mut deflater = Deflater::new();
    let mut entries = Vec::new();
    let mut count = 0_u32;
    let mut ids = String::new();
    for (_, base, target, _) in pairs().into_iter().chain([huge_pair()]) {
        let delta = encode(&base, &target);
        let base_entry = entries.len();
        push_entry_header(&mut entries, 3, base.len());
        entries.extend(deflater.deflate(&base));
        let distance = entries.len() - base_entry;
        push_entry_header(&mut entries, 6, delta.len());
        push_distance(&mut entries, distance);
        entries.extend(deflater.deflate(&delta));
        count += 2;
        ids += &format!("{}\n", id_of(&target));
    }
    let mut pack = [b"PACK\0\0\0\x02", &count.to_be_bytes()[..], &entries].concat();
    let mut hasher = gix::hash::hasher(gix::hash::Kind::Sha1);
    hasher.update(&pack);
    pack.extend_from_slice(hasher.try_finalize().expect("no collision").as_slice());
    git(&["init", "--quiet", "--bare"], b"");
    git(&["index-pack", "--stdin"], &pack);
    let found = git(&["cat-file", "--batch-check=%(objecttype)"], ids.as_bytes());
    assert!(found.lines().all(|line| line == "blob"), "{found}");
    assert_eq!(found.lines().count(), ids.lines().count());
}

fn id_of(blob: &[u8]) -> ObjectId {
    gix::objs::compute_hash(gix::hash::Kind::Sha1, Kind::Blob, blob).expect("no collision")
}

fn push_entry_header(pack: &mut Vec<u8>, kind: u8, size: usize) {
    let mut byte = kind << 4 | size as u8 & 0xf;
    let mut rest = size >> 4;
    while rest > 0 {
        pack.push(byte | 0x80);
        byte = rest as u8 & 0x7f;
        rest >>= 7;
    }
    pack.push(byte);
}

fn push_distance(pack: &mut Vec<u8>, mut distance: usize) {
    let mut bytes = vec![distance as u8 & 0x7f];
    distance >>= 7;
    while distance > 0 {
        distance -= 1;
        bytes.push(distance as u8 | 0x80);
        distance >>= 7;
    }
    pack.extend(bytes.iter().rev());
}

/// Pieces of the base, of all lengths, repeated or not, with other bytes between them.
fn edited() -> impl Strategy<Value = (Vec<u8>, Vec<u8>)> {
    let base = prop_oneof![
        prop::collection::vec(any::<u8>(), 0..2000),
        prop::collection::vec(0..3_u8, 0..2000),
        (prop::collection::vec(any::<u8>(), 1..40), 1..60_usize)
            .prop_map(|(part, n)| part.repeat(n)),
    ];
    let piece = (
        any::<prop::sample::Index>(),
        0..400_usize,
        prop::collection::vec(0..4_u8, 0..30),
    );
    (base, prop::collection::vec(piece, 0..12))
        .prop_map(|(base, pieces)| {
            let mut target = Vec::new();
            for (start, length, inserted) in pieces {
                let start = start.index(base.len() + 1);
                target.extend(base[start..].iter().take(length));
                target.extend(inserted);
            }
            (base, target)
        })
        .prop_filter("nothing to tell", |(_, target)| !target.is_empty())
}

proptest! {
    #[test]
    fn any_edit_round_trips((base, target) in edited()) {
        prop_assert_eq!(apply(&base, &encode(&base, &target)), Some(target));
    }

    #[test]
    fn a_limit_makes_no_other_delta((base, target) in edited(), percent in 0..120_usize) {
        let whole = encode(&base, &target);
        let limit = whole.len() * percent / 100;
        if let Some(delta) = DeltaBase::new(base).encode(&target, limit) {
            prop_assert!(delta.len() <= limit);
            prop_assert_eq!(delta, whole);
        }
    }
}
