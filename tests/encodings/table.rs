//! The table: packs with one entry that is written in another way than git does.

use crate::judge::{Case, Judge, Rules, Verdict};
use crate::pack::{BLOB, COMMIT as COMMIT_TYPE, OFS_DELTA, Pack, REF_DELTA, TAG as TAG_TYPE};
use crate::pack::{TREE as TREE_TYPE, deflate, delta, distance, size};
use crate::sample::{
    ANOTHER, BASE, Before, COMMIT, EMPTY, EMPTY_TREE, FOLDER, NEXT, NEXT_COMMIT, NEXT_TREE, SMALL,
    Sample, TAG, TAG_OF_TAG, TREE, delta_of, padded, stored,
};
use crate::support::git::ObjectFormat;
use crate::zlib;
use gix::hash::Kind as Hash;
use gix::objs::Kind;

pub(crate) fn type_of(kind: Kind) -> u8 {
    match kind {
        Kind::Commit => COMMIT_TYPE,
        Kind::Tree => TREE_TYPE,
        Kind::Blob => BLOB,
        Kind::Tag => TAG_TYPE,
    }
}

struct Table {
    sample: Sample,
    cases: Vec<Case>,
}

impl Table {
    fn add(
        &mut self,
        name: impl Into<String>,
        special: usize,
        write: impl FnOnce(&Before<'_>) -> Vec<u8>,
    ) {
        let bytes = self.sample.pack(special, write).finish();
        self.add_pack(name, bytes);
    }

    fn add_pack(&mut self, name: impl Into<String>, bytes: Vec<u8>) {
        self.cases.push(Case {
            name: name.into(),
            bytes,
            tips: self.sample.ids(),
            rules: Rules::Default,
        });
    }

    fn content(&self, at: usize) -> Vec<u8> {
        self.sample.objects[at].1.clone()
    }

    /// The size of an entry, in more and more bytes.
    fn add_headers(&mut self) {
        for at in [SMALL, EMPTY, EMPTY_TREE, FOLDER, COMMIT, TAG] {
            let (kind, content) = self.sample.objects[at].clone();
            for more in 0..=9 {
                let head = padded(size(type_of(kind), content.len() as u64), more);
                let entry = [head, deflate(&content)].concat();
                self.add(format!("{kind} {at}, {more} bytes more"), at, |_| entry);
            }
        }
        let delta = delta_of(&self.content(BASE), &self.content(NEXT));
        for more in 0..=9 {
            let (by_distance, by_id) = (delta.clone(), delta.clone());
            self.add(format!("ofs-delta, {more} bytes more"), NEXT, |before| {
                let head = padded(size(OFS_DELTA, by_distance.len() as u64), more);
                let back = distance(before.end - before.starts[BASE]);
                [head, back, deflate(&by_distance)].concat()
            });
            let base = self.sample.id(BASE);
            self.add(format!("ref-delta, {more} bytes more"), NEXT, |_| {
                let head = padded(size(REF_DELTA, by_id.len() as u64), more);
                [&head, base.as_bytes(), &deflate(&by_id)].concat()
            });
        }
        for kind in [0, 5] {
            let entry = [size(kind, 4), deflate(b"text")].concat();
            self.add(format!("type {kind}"), ANOTHER, |_| entry);
        }
        for kind in [COMMIT_TYPE, TAG_TYPE] {
            let entry = [size(kind, 0), deflate(b"")].concat();
            self.add(format!("type {kind} with nothing in it"), ANOTHER, |_| {
                entry
            });
        }
    }

    fn add_streams(&mut self) {
        for at in [BASE, EMPTY, FOLDER] {
            let (kind, content) = self.sample.objects[at].clone();
            for (name, stream) in zlib::streams(&content) {
                let entry = [size(type_of(kind), content.len() as u64), stream].concat();
                self.add(format!("{kind} {at}: {name}"), at, |_| entry);
            }
        }
        let delta = delta_of(&self.content(BASE), &self.content(NEXT));
        for (name, stream) in zlib::streams(&delta) {
            let head = size(OFS_DELTA, delta.len() as u64);
            self.add(format!("delta: {name}"), NEXT, |before| {
                let back = distance(before.end - before.starts[BASE]);
                [head, back, stream].concat()
            });
        }
        for (name, said) in [("less", 5), ("more", 7)] {
            let entry = [size(BLOB, said), deflate(b"sample")].concat();
            self.add(format!("{name} than there is"), ANOTHER, |_| entry);
        }
    }

    fn add_bases(&mut self) {
        let delta = delta_of(&self.content(SMALL), b"another");
        for (name, back) in [
            ("itself", vec![0]),
            ("a byte before", vec![1]),
            ("far before", distance(1 << 20)),
            ("2^62", distance(1 << 62)),
            ("2^63", [&[0x80, 0xfe][..], &[0xfe; 7], &[0x7f]].concat()),
            ("more than 64 bits", vec![0xff; 12]),
        ] {
            let delta = delta.clone();
            self.add(format!("a distance: {name}"), ANOTHER, |_| {
                [size(OFS_DELTA, delta.len() as u64), back, deflate(&delta)].concat()
            });
        }
        let [(_, thin_blob), (_, thin_tree)] = stored(self.sample.hash);
        let thin = |kind, content: &[u8]| crate::pack::id(self.sample.hash, kind, content);
        let blob_id = thin(Kind::Blob, &thin_blob);
        let tree_id = thin(Kind::Tree, &thin_tree);
        let (own, later) = (self.sample.id(NEXT), self.sample.id(NEXT_TREE));
        let null = refsync::ObjectId::from(self.sample.hash.null());
        let content = |at: usize| self.content(at);
        let (tree, next_tree) = (content(TREE), content(NEXT_TREE));
        let (small, next) = (content(SMALL), content(NEXT));
        let of_thin = delta_of(&thin_blob, &small);
        for (name, at, base, delta) in [
            (
                "earlier",
                NEXT,
                self.sample.id(BASE),
                delta_of(&content(BASE), &next),
            ),
            ("later", TREE, later, delta_of(&next_tree, &tree)),
            ("of the store", SMALL, blob_id, of_thin),
            (
                "of the store, a tree",
                FOLDER,
                tree_id,
                delta_of(&thin_tree, &content(FOLDER)),
            ),
            ("itself", NEXT, own, delta_of(&next, &next)),
            ("the null id", ANOTHER, null, delta.clone()),
        ] {
            let head = size(REF_DELTA, delta.len() as u64);
            let entry = [&head, base.as_bytes(), &deflate(&delta)].concat();
            self.add(format!("a base by id: {name}"), at, |_| entry);
        }
        for (name, base, at) in [
            ("tree", TREE, NEXT_TREE),
            ("commit", COMMIT, NEXT_COMMIT),
            ("tag", TAG, TAG_OF_TAG),
        ] {
            let delta = delta_of(&self.content(base), &self.content(at));
            self.add(format!("a delta of a {name}"), at, |before| {
                before.ofs_delta(base, &delta)
            });
        }
    }

    /// A delta that makes another blob of a base in a strange way.
    fn add_delta(&mut self, name: impl Into<String>, base: usize, delta: Vec<u8>) {
        self.add(name, ANOTHER, |before| before.ofs_delta(base, &delta));
    }

    fn add_deltas(&mut self) {
        let base = self.content(BASE).len() as u64;
        let changed = [delta::copy(0, 100), delta::insert(b"own")].concat();
        for more in 0..=11 {
            let (of_base, result) = (padded(delta::size(base), more), delta::size(103));
            let padded_base = [of_base, result, changed.clone()].concat();
            self.add_delta(format!("the base's size, {more} more"), BASE, padded_base);
            let result = padded(delta::size(103), more);
            let padded_result = [delta::size(base), result, changed.clone()].concat();
            self.add_delta(
                format!("the result's size, {more} more"),
                BASE,
                padded_result,
            );
        }
        let of_base = |result: u64, instructions: &[u8]| delta::of(base, result, instructions);
        let own = delta::insert(b"own");
        let with_own = |result: u64, copy: &[u8]| of_base(result + 3, &[copy, &own].concat());
        let end = base as u32 - 1;
        let offsets = |count: usize| -> Vec<u8> {
            // A copy of nine bytes from offset 0, which is written in so many bytes.
            let bits = (1_u8 << count) - 1;
            [&[0x90 | bits][..], &vec![0; count], &[9]].concat()
        };
        for count in 0..=4 {
            let name = format!("a copy with {count} bytes for its offset");
            self.add_delta(name, BASE, with_own(9, &offsets(count)));
        }
        for (name, result, copy) in [
            ("64 KiB that are not written", 0x10000, vec![0x80]),
            ("64 KiB as zero", 0x10000, vec![0xb0, 0, 0]),
            ("64 KiB as three zeros", 0x10000, vec![0xf0, 0, 0, 0]),
            ("64 KiB as such", 0x10000, vec![0xc0, 1]),
            ("64 KiB in three bytes", 0x10000, vec![0xf0, 0, 0, 1]),
            ("a size in three bytes", 9, vec![0xf0, 9, 0, 0]),
            ("a size without its first byte", 0x200, vec![0xa0, 2]),
            ("the last byte", 1, delta::copy(end, 1)),
            ("a byte after the last", 1, delta::copy(end + 1, 1)),
            ("across the end", 2, delta::copy(end, 2)),
            ("the same twice", 18, [offsets(1), offsets(2)].concat()),
            ("cut off", 9, vec![0xff, 0, 0]),
            ("instruction 0", 0, vec![0]),
        ] {
            self.add_delta(format!("a copy: {name}"), BASE, with_own(result, &copy));
        }
        for length in [1, 2, 126, 127, 128, 300] {
            let text = vec![b'x'; length];
            let result = length as u64;
            let name = format!("an insertion of {length}");
            self.add_delta(name, BASE, of_base(result, &delta::insert(&text)));
        }
        self.add_delta("an insertion that is cut off", BASE, of_base(9, &[9, b'x']));
        self.add_delta("less than it says", BASE, of_base(4, &own));
        self.add_delta("more than it says", BASE, of_base(2, &own));
        self.add_delta("of another base", BASE, delta::of(base - 1, 3, &own));
        self.add_delta("of nothing", EMPTY, delta::of(0, 3, &own));
        self.add_delta("the shortest", EMPTY, vec![0, 1, 1, b'x']);
        self.add_delta("all of its base", SMALL, {
            let small = self.content(SMALL);
            delta_of(&small, &small)
        });
    }

    /// Empty objects as deltas, which git doesn't read.
    fn add_empty(&mut self) {
        for (at, base) in [(EMPTY, SMALL), (EMPTY_TREE, FOLDER)] {
            let (id, length) = (self.sample.id(base), self.content(base).len() as u64);
            for (more_base, more_result) in [(0, 0), (0, 1), (1, 0), (1, 1), (3, 0), (8, 8)] {
                let delta = [
                    padded(delta::size(length), more_base),
                    padded(delta::size(0), more_result),
                ]
                .concat();
                let head = size(REF_DELTA, delta.len() as u64);
                let entry = [&head, id.as_bytes(), &deflate(&delta)].concat();
                self.add(
                    format!("nothing in {} bytes: {at}", delta.len()),
                    at,
                    |_| entry,
                );
            }
        }
    }

    fn add_packs(&mut self) {
        let whole = |table: &Table| -> Pack {
            let (kind, content) = table.sample.objects[ANOTHER - 1].clone();
            let entry = [size(type_of(kind), content.len() as u64), deflate(&content)].concat();
            table.sample.pack(ANOTHER - 1, |_| entry)
        };
        let count = self.sample.objects.len() as u32;
        for version in [0, 1, 2, 3, 4] {
            let bytes = whole(self).finish_as(b"PACK", version, count);
            self.add_pack(format!("version {version}"), bytes);
        }
        for said in [0, count - 1, count + 1] {
            let bytes = whole(self).finish_counting(said);
            self.add_pack(format!("said to have {said}"), bytes);
        }
        let after: [(&str, &[u8]); 2] = [
            ("a byte", b"\n"),
            ("another pack", b"PACK\0\0\0\x02\0\0\0\0"),
        ];
        for (name, more) in after {
            let bytes = [&whole(self).finish()[..], more].concat();
            self.add_pack(format!("{name} after the checksum"), bytes);
        }
        let small = [
            size(BLOB, self.content(SMALL).len() as u64),
            deflate(&self.content(SMALL)),
        ];
        for rules in Rules::ALL {
            let entry = small.concat();
            self.add("an object twice", ANOTHER, |_| entry);
            self.cases.last_mut().expect("a case").rules = rules;
        }
        let with_itself = delta_of(&self.content(SMALL), &self.content(SMALL));
        self.add_delta(
            "an object twice, once as a delta of itself",
            SMALL,
            with_itself,
        );
        self.cases.last_mut().expect("a case").rules = Rules::None;
    }
}

pub(crate) fn hash_of(format: ObjectFormat) -> Hash {
    match format {
        ObjectFormat::Sha1 => Hash::Sha1,
        ObjectFormat::Sha256 => Hash::Sha256,
    }
}

fn cases(hash: Hash) -> Vec<Case> {
    let mut table = Table {
        sample: Sample::of(hash, b"sent"),
        cases: Vec::new(),
    };
    table.add_headers();
    table.add_streams();
    table.add_bases();
    table.add_deltas();
    table.add_empty();
    table.add_packs();
    table.cases
}

fn judged(format: ObjectFormat) {
    let hash = hash_of(format);
    let judge = Judge::new(format, &stored(hash));
    let cases = cases(hash);
    let verdicts = judge.judge_all(&cases);
    let taken = verdicts
        .iter()
        .filter(|verdict| matches!(verdict, Verdict::BothTake));
    assert!(taken.count() > cases.len() / 3, "most of it is sound");
    crate::judge::assert_right(&cases, &verdicts);
}

#[test]
fn every_way_to_write_an_entry() {
    judged(ObjectFormat::Sha1);
}

#[test]
#[ignore = "the same as with SHA-1"]
fn every_way_to_write_an_entry_with_sha256() {
    judged(ObjectFormat::Sha256);
}
