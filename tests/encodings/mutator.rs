//! Packs that are put together and then changed at random, from a seed.

use crate::judge::{Case, Judge, Rules, Verdict, assert_right};
use crate::pack::{OFS_DELTA, Pack, REF_DELTA, deflate, delta, distance, hash, size};
use crate::sample::{Object, Sample, delta_of, padded, stored};
use crate::support::git::ObjectFormat;
use crate::table::type_of;
use crate::zlib;
use gix::hash::Kind as Hash;
use std::env;

/// SplitMix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next() % end.max(1) as u64) as usize
    }

    fn one_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }

    fn pick<'t, T>(&mut self, all: &'t [T]) -> &'t T {
        &all[self.below(all.len())]
    }
}

/// A zlib stream, mostly a sound one.
fn stream(random: &mut Random, content: &[u8]) -> Vec<u8> {
    match random.below(40) {
        0 | 2 => zlib::at_level(random.below(10) as i32, content),
        1 if content.len() < 10_000 => random.pick(&zlib::streams(content)).1.clone(),
        _ => deflate(content),
    }
}

/// A number, rarely in more bytes than it takes, and very rarely in more than git reads.
fn number(random: &mut Random, bytes: Vec<u8>) -> Vec<u8> {
    let more = match random.below(1000) {
        0 => 11,
        1..30 => random.below(8),
        _ => 0,
    };
    padded(bytes, more)
}

/// A delta from the one content to the other, in one of many ways.
fn a_delta(random: &mut Random, base: &[u8], target: &[u8]) -> Vec<u8> {
    let mut made = [
        number(random, delta::size(base.len() as u64)),
        number(random, delta::size(target.len() as u64)),
    ]
    .concat();
    let same = base.iter().zip(target).take_while(|(a, b)| a == b).count();
    let mut at = 0;
    while at < same {
        let most = (same - at).min(if random.one_in(3) { 0x10000 } else { 0xff_ffff });
        let length = 1 + random.below(most);
        match random.below(8) {
            0 => {
                let length = length.min(127);
                made.extend(delta::insert(&target[at..at + length]));
                at += length;
            }
            1 if same - at >= 0x10000 => {
                made.push(0x8f);
                made.extend((at as u32).to_le_bytes());
                at += 0x10000;
            }
            _ => {
                made.extend(delta::copy(at as u32, length as u32));
                at += length;
            }
        }
    }
    made.extend(delta::insert(&target[at..]));
    made
}

fn entry(random: &mut Random, sample: &Sample, at: usize, starts: &[u64], end: u64) -> Vec<u8> {
    let (kind, content) = &sample.objects[at];
    // What comes later may well be built on this one.
    let later = if random.one_in(40) { usize::MAX } else { at };
    let of_kind =
        |object: &&(usize, &Object)| object.1.0 == *kind && object.0 != at && object.0 < later;
    let all: Vec<_> = sample.objects.iter().enumerate().collect();
    let bases: Vec<_> = all.iter().filter(of_kind).collect();
    // An empty object is no delta, or rarely.
    let rarely = if content.is_empty() { 50 } else { 2 };
    let is_delta = !bases.is_empty() && random.one_in(rarely);
    if !is_delta {
        let head = number(random, size(type_of(*kind), content.len() as u64));
        return [head, stream(random, content)].concat();
    }
    let (base, (_, base_content)) = **random.pick(&bases);
    let delta = match random.one_in(2) {
        true => a_delta(random, base_content, content),
        false => delta_of(base_content, content),
    };
    if base < at && random.one_in(2) {
        let head = number(random, size(OFS_DELTA, delta.len() as u64));
        let back = distance(end - starts[base]);
        return [head, back, stream(random, &delta)].concat();
    }
    let head = number(random, size(REF_DELTA, delta.len() as u64));
    let id = sample.id(base);
    [&head, id.as_bytes(), &stream(random, &delta)].concat()
}

fn thin_entry(random: &mut Random, hash: Hash) -> Vec<u8> {
    let [(_, blob), _] = stored(hash);
    let target = [&blob[..], &random.next().to_be_bytes()].concat();
    let delta = a_delta(random, &blob, &target);
    let base = crate::pack::id(hash, gix::objs::Kind::Blob, &blob);
    let head = size(REF_DELTA, delta.len() as u64);
    [&head, base.as_bytes(), &stream(random, &delta)].concat()
}

/// Changes some bytes, more often where entries begin than elsewhere, and mends the checksum.
fn change(random: &mut Random, bytes: &mut Vec<u8>, starts: &[u64], hash_kind: Hash) {
    let checksum = bytes.split_off(bytes.len() - hash_kind.len_in_bytes());
    for _ in 0..1 + random.below(3) {
        let at = match random.one_in(3) {
            true => random.below(bytes.len()),
            false => (*random.pick(starts) as usize + random.below(24)).min(bytes.len() - 1),
        };
        match random.below(8) {
            0..=2 => bytes[at] ^= 1 << random.below(8),
            3 => bytes[at] = random.next() as u8,
            4 => bytes.insert(at, random.next() as u8),
            5 => drop(bytes.remove(at)),
            6 => bytes[at] = *random.pick(&[0, 0x7f, 0x80, 0xff]),
            _ => {
                let end = (at + random.below(40)).min(bytes.len());
                let piece = bytes[at..end].to_vec();
                let to = random.below(bytes.len());
                bytes.splice(to..to, piece);
            }
        }
    }
    match random.one_in(30) {
        true => bytes.extend(checksum),
        false => bytes.extend(hash(hash_kind, &[bytes]).as_bytes()),
    }
}

fn case(seed: u64, hash: Hash) -> Case {
    let random = &mut Random(seed);
    let mut sample = Sample::of(hash, format!("{seed}").as_bytes());
    if random.one_in(5) {
        // Something is wrong with what it says, and nothing of what leads to it knows.
        let at = random.below(sample.objects.len());
        let content = &mut sample.objects[at].1;
        if !content.is_empty() {
            let byte = random.below(content.len());
            content[byte] ^= 1 << random.below(8);
        }
    }
    let mut pack = Pack::new(hash);
    let mut starts = Vec::new();
    for at in 0..sample.objects.len() {
        let entry = entry(random, &sample, at, &starts, pack.end());
        starts.push(pack.raw(&entry));
    }
    if random.one_in(3) {
        pack.raw(&thin_entry(random, hash));
    }
    let mut bytes = pack.finish();
    if random.one_in(2) {
        change(random, &mut bytes, &starts, hash);
    }
    if random.one_in(300) {
        bytes.push(0);
    }
    Case {
        name: format!("seed {seed}"),
        bytes,
        tips: sample.ids(),
        rules: match random.below(10) {
            0 => Rules::None,
            1 => Rules::WithoutPeople,
            2..5 => Rules::Strict,
            _ => Rules::Default,
        },
    }
}

/// So many of them, with seeds from this one on. At most one in a hundred may be refused by us alone.
fn judged(first: u64, count: u64) {
    let judge = Judge::new(ObjectFormat::Sha1, &stored(Hash::Sha1));
    let cases: Vec<_> = (first..first + count)
        .map(|seed| case(seed, Hash::Sha1))
        .collect();
    let verdicts = judge.judge_all(&cases);
    let stricter = assert_right(&cases, &verdicts);
    assert!(
        stricter * 100 <= cases.len(),
        "{stricter} of {}",
        cases.len()
    );
    let taken = verdicts.iter();
    let taken = taken.filter(|verdict| matches!(verdict, Verdict::BothTake));
    assert!(taken.count() > cases.len() / 10, "some are sound");
}

#[test]
fn a_hundred_changed_packs() {
    judged(1, 100);
}

#[test]
#[ignore = "takes minutes; the other test does the same with fewer"]
fn thousands_of_changed_packs() {
    let number = |name: &str| env::var(name).ok().and_then(|number| number.parse().ok());
    let first = number("REFSYNC_TEST_SEED").unwrap_or(1000);
    judged(first, number("REFSYNC_TEST_COUNT").unwrap_or(3000));
}
