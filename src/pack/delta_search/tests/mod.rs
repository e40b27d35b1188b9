mod rules;

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use proptest::prelude::*;

use super::*;
use crate::{
    ErrorKind, SyncOptions,
    pack::name_hash::name_hash,
    test_support::{apply, inflate, noise},
};

/// Candidates and what is in them.
#[derive(Debug, Default)]
struct Objects {
    candidates: Vec<Candidate>,
    contents: HashMap<ObjectId, Vec<u8>>,
    reads: AtomicUsize,
}

impl Objects {
    /// Versions of one file, each with a line more than the next.
    fn versions(count: usize) -> Self {
        let mut objects = Objects::default();
        for version in 0..count {
            let content = [noise(1000, 1), noise(20 * (count - version), 2)].concat();
            objects.push(Kind::Blob, 7, content);
        }
        objects
    }

    fn push(&mut self, kind: Kind, name_hash: u32, content: Vec<u8>) -> &mut Candidate {
        let number = self.candidates.len();
        let id = ObjectId::from_hex(format!("{number:040x}").as_bytes()).expect("hex");
        let size = content.len() as u64;
        self.contents.insert(id, content);
        self.candidates.push(Candidate {
            id,
            kind,
            name_hash,
            size,
            role: sent(None, 0),
        });
        &mut self.candidates[number]
    }

    fn content(&self, index: usize) -> &[u8] {
        &self.contents[&self.candidates[index].id]
    }

    fn read(&self, id: &oid, buffer: &mut Vec<u8>) -> Result<(), Error> {
        self.reads.fetch_add(1, Ordering::Relaxed);
        let content = self.contents.get(id);
        let content = content.ok_or_else(|| Error::new(ErrorKind::Corrupt, "torn"))?;
        buffer.clear();
        buffer.extend_from_slice(content);
        Ok(())
    }

    fn search(&self, limits: &SearchLimits) -> Result<Vec<Option<Delta>>, Error> {
        let context = SyncContext::new(&SyncOptions::default());
        let open = |_| |id: &oid, buffer: &mut Vec<u8>| self.read(id, buffer);
        search(&self.candidates, open, limits, &context)
    }

    fn deltas(&self, limits: &SearchLimits) -> Vec<Option<Delta>> {
        self.search(limits).expect("everything can be read")
    }

    /// The length of each chain; fails if one is longer than `limits` allow, if a delta
    /// doesn't make its target, or if it is one that must not be.
    fn check(&self, deltas: &[Option<Delta>], limits: &SearchLimits) -> Vec<u32> {
        assert_eq!(deltas.len(), self.candidates.len());
        let mut depths = Vec::new();
        for (index, target) in self.candidates.iter().enumerate() {
            let mut depth = 0;
            let mut at = index;
            while let Some(delta) = &deltas[at] {
                depth += 1;
                assert!(depth <= limits.depth, "{at} is in a cycle or too deep");
                at = delta.base;
            }
            depths.push(depth);
            let Some(delta) = &deltas[index] else {
                continue;
            };
            let base = &self.candidates[delta.base];
            let Role::Sent { whole_in, height } = target.role else {
                panic!("a delta that is not sent")
            };
            assert!(depth + height <= limits.depth);
            assert_eq!(base.kind, target.kind);
            if let Role::Sent { whole_in: own, .. } = base.role {
                assert!(own.is_none() || own != whole_in);
            }
            assert!(delta.size < target.size / 2);
            let data = match &delta.data {
                Some(data) => inflate(data, delta.size as usize),
                None => DeltaBase::new(self.content(delta.base).to_vec())
                    .encode(self.content(index), delta.size as usize)
                    .expect("what fitted once fits again"),
            };
            assert_eq!(data.len() as u64, delta.size);
            let made = apply(self.content(delta.base), &data);
            assert_eq!(made.as_deref(), Some(self.content(index)));
        }
        depths
    }
}

fn sent(whole_in: Option<u32>, height: u32) -> Role {
    Role::Sent { whole_in, height }
}

fn one_thread() -> SearchLimits {
    SearchLimits {
        threads: 1,
        ..SearchLimits::default()
    }
}

#[test]
fn versions_become_deltas_of_the_largest() {
    let objects = Objects::versions(5);
    let deltas = objects.deltas(&one_thread());
    objects.check(&deltas, &one_thread());
    let bases: Vec<_> = deltas.iter().map(|d| d.as_ref().map(|d| d.base)).collect();
    assert_eq!(bases[0], None);
    assert!(bases[1..].iter().all(Option::is_some), "{bases:?}");
}

#[test]
fn a_version_that_the_receiver_has_comes_first() {
    let mut objects = Objects::versions(3);
    objects.candidates[2].role = Role::BaseOnly;
    let deltas = objects.deltas(&one_thread());
    objects.check(&deltas, &one_thread());
    assert_eq!(deltas[0].as_ref().map(|delta| delta.base), Some(2));
    assert!(deltas[1].is_some() && deltas[2].is_none());
}

#[test]
fn chains_end_at_the_depth() {
    let objects = Objects::versions(80);
    for (window, depth) in [(1, 50), (10, 50), (1, 3), (10, 1), (10, 0), (0, 50)] {
        let limits = SearchLimits {
            window,
            depth,
            ..one_thread()
        };
        let depths = objects.check(&objects.deltas(&limits), &limits);
        let deepest = if window == 0 { 0 } else { depth };
        assert!(depths.iter().max() <= Some(&deepest), "{limits:?}");
        if window == 1 {
            assert_eq!(depths.iter().max(), Some(&deepest));
        }
    }
}

#[test]
fn a_chain_leaves_room_for_the_deltas_that_are_reused() {
    let mut objects = Objects::versions(9);
    for candidate in &mut objects.candidates {
        candidate.role = sent(None, 48);
    }
    let limits = SearchLimits {
        window: 1,
        ..one_thread()
    };
    let depths = objects.check(&objects.deltas(&limits), &limits);
    assert_eq!(depths.iter().max(), Some(&2));
    objects.candidates[4].role = sent(None, 50);
    let deltas = objects.deltas(&limits);
    objects.check(&deltas, &limits);
    assert_eq!(deltas[4], None);
}

#[test]
fn who_is_not_compared_is_not_even_read() {
    type Change = fn(&mut Candidate);
    let cases: [(&str, Change, SearchLimits); 5] = [
        (
            "compared before",
            |c| c.role = sent(Some(3), 0),
            one_thread(),
        ),
        ("base only", |c| c.role = Role::BaseOnly, one_thread()),
        ("no room for any", |c| c.role = sent(None, 50), one_thread()),
        (
            "large",
            |_| (),
            SearchLimits {
                big_file: 1000,
                ..one_thread()
            },
        ),
        (
            "no memory",
            |_| (),
            SearchLimits {
                window_memory: 1000,
                ..one_thread()
            },
        ),
    ];
    for (name, change, limits) in cases {
        let mut objects = Objects::versions(5);
        objects.candidates.iter_mut().for_each(change);
        assert_eq!(objects.deltas(&limits), vec![None; 5], "{name}");
        assert_eq!(objects.reads.into_inner(), 0, "{name}");
    }
}

#[test]
fn a_delta_that_hardly_can_be_smaller_ends_the_search() {
    for (changed, reads) in [(1, 2), (100, 4)] {
        let mut objects = Objects::default();
        for version in 0..4 {
            let mut content = noise(4000, 1);
            content[2000..2000 + changed].fill(version);
            let candidate = objects.push(Kind::Tree, 7, content);
            if version > 0 {
                candidate.role = Role::BaseOnly;
            }
        }
        let deltas = objects.deltas(&one_thread());
        objects.check(&deltas, &one_thread());
        assert!(deltas[0].is_some());
        assert_eq!(objects.reads.into_inner(), reads, "{changed}");
    }
}

#[test]
fn different_packs_and_bases_are_compared() {
    let mut objects = Objects::versions(4);
    for (candidate, pack) in objects.candidates.iter_mut().zip([1, 2, 1, 1]) {
        candidate.role = sent(Some(pack), 0);
    }
    objects.candidates[3].role = Role::BaseOnly;
    let deltas = objects.deltas(&one_thread());
    objects.check(&deltas, &one_thread());
    assert_eq!(deltas.iter().flatten().count(), 3);
}

#[test]
fn kinds_do_not_mix() {
    let mut objects = Objects::default();
    for kind in [Kind::Blob, Kind::Tree, Kind::Commit, Kind::Tag] {
        objects.push(kind, 0, noise(500, 1));
    }
    assert_eq!(objects.deltas(&one_thread()), vec![None; 4]);
    objects.push(Kind::Tree, 0, noise(490, 1));
    let deltas = objects.deltas(&one_thread());
    assert_eq!(deltas[4].as_ref().map(|delta| delta.base), Some(1));
}

#[test]
fn tiny_objects_are_left_alone() {
    let mut objects = Objects::default();
    objects.push(Kind::Blob, 0, noise(100, 1));
    objects.push(Kind::Blob, 0, noise(49, 1));
    assert_eq!(objects.deltas(&one_thread())[1], None);
    objects.push(Kind::Blob, 0, noise(60, 1));
    assert!(objects.deltas(&one_thread())[2].is_some());
}

const FILE: usize = 2000;

/// SearchLimits for [`many_files()`].
fn small_chunks(threads: usize) -> SearchLimits {
    SearchLimits {
        threads,
        chunk: 20 * FILE as u64,
        ..SearchLimits::default()
    }
}

/// Files enough for several chunks.
fn many_files() -> Objects {
    let mut objects = Objects::default();
    for file in 0..24 {
        for version in 0..4 {
            let mut content = noise(FILE, file);
            content[version * 100..][..50].fill(version as u8);
            objects.push(Kind::Blob, file as u32 + 1, content);
        }
    }
    objects
}

#[test]
fn the_number_of_threads_changes_nothing() {
    let objects = many_files();
    let limits = small_chunks(1);
    let order = order(&objects.candidates, &limits);
    assert!(chunks(&order, &objects.candidates, limits.chunk).len() > 2);
    let single = objects.deltas(&limits);
    objects.check(&single, &limits);
    assert_eq!(single.iter().flatten().count(), 24 * 3);
    for threads in [2, 7, 0] {
        let deltas = objects.deltas(&small_chunks(threads));
        assert!(deltas == single, "{threads} threads");
    }
}

#[test]
fn short_memory_finds_less_and_nothing_wrong() {
    let objects = many_files();
    let pair = 2 * DeltaBase::memory(FILE);
    let mut found = Vec::new();
    for window_memory in [pair - 1, pair, 2 * pair] {
        let limits = SearchLimits {
            window_memory,
            ..small_chunks(4)
        };
        let deltas = objects.deltas(&limits);
        objects.check(&deltas, &limits);
        found.push(deltas.iter().flatten().count());
    }
    assert_eq!(found, [0, 72, 72]);
}

#[test]
fn a_delta_that_cannot_be_kept_is_told_without_its_data() {
    let objects = Objects::versions(6);
    let all = objects.deltas(&one_thread());
    let limits = SearchLimits {
        delta_memory: 60,
        ..one_thread()
    };
    let deltas = objects.deltas(&limits);
    objects.check(&deltas, &limits);
    let data = || deltas.iter().flatten().map(|delta| &delta.data);
    assert!(data().any(Option::is_some) && data().any(Option::is_none));
    assert!(data().flatten().map(Vec::len).sum::<usize>() <= 60);
    let plan = |deltas: &[Option<Delta>]| -> Vec<_> {
        let deltas = deltas.iter().flatten();
        deltas.map(|delta| (delta.base, delta.size)).collect()
    };
    assert_eq!(plan(&deltas), plan(&all));
}

#[test]
fn an_object_that_cannot_be_read_is_named() {
    for threads in [1, 4] {
        let mut objects = many_files();
        let id = objects.candidates[40].id;
        objects.contents.remove(&id);
        let limits = small_chunks(threads);
        let err = objects.search(&limits).expect_err("it is needed");
        assert_eq!(err.kind(), ErrorKind::Corrupt);
        assert_eq!(err.to_string(), format!("blob {id} can't be read"));
        objects.candidates[40].role = Role::BaseOnly;
        let deltas = objects.search(&limits).expect("nobody needs it");
        assert_eq!(deltas.iter().flatten().count(), 24 * 3 - 1);
    }
}

#[test]
fn a_cancelled_search_stops() {
    for threads in [1, 4] {
        let objects = many_files();
        let cancel = Arc::default();
        let options = SyncOptions {
            cancel: Some(Arc::clone(&cancel)),
            ..SyncOptions::default()
        };
        let open = |_| {
            |id: &oid, buffer: &mut Vec<u8>| {
                cancel.store(true, Ordering::Relaxed);
                objects.read(id, buffer)
            }
        };
        let limits = small_chunks(threads);
        let result = search(
            &objects.candidates,
            open,
            &limits,
            &SyncContext::new(&options),
        );
        let err = result.expect_err("it was cancelled");
        assert_eq!(err.kind(), ErrorKind::Cancelled);
        // What each was about to compare.
        assert!(objects.reads.into_inner() <= 2 * threads);
    }
}

/// A strategy for versions of some files, in any order and with any property.
fn objects() -> impl Strategy<Value = Objects> {
    let object = (
        (0..4_u64, 0..30_usize, 30..600_usize),
        (prop::bool::weighted(0.2), prop::option::of(0..2_u32)),
        (0..5_u32, 0..3_u32, prop::bool::weighted(0.2)),
    );
    prop::collection::vec(object, 0..60).prop_map(|list| {
        let mut objects = Objects::default();
        for ((file, at, length), (is_base_only, whole_in), (height, name, is_tree)) in list {
            let content = [
                &noise(at, 9)[..],
                &noise(600, file)[at..][..length.min(500)],
            ]
            .concat();
            let kind = if is_tree { Kind::Tree } else { Kind::Blob };
            let candidate = objects.push(kind, name, content);
            candidate.role = if is_base_only {
                Role::BaseOnly
            } else {
                sent(whole_in, height)
            };
        }
        objects
    })
}

proptest! {
    #[test]
    fn the_rules_hold(objects in objects(), depth in 0..6_u32, memory in 0..20_000_usize) {
        for window_memory in [memory, 256 << 20] {
            let limits = SearchLimits { depth, window_memory, ..one_thread() };
            objects.check(&objects.deltas(&limits), &limits);
        }
    }
}
