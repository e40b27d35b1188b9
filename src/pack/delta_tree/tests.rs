use std::{cell::Cell, ops::Range, sync::Mutex};

use gix::hash::Hasher;
use proptest::prelude::*;

use super::*;
use crate::pack::deflate::Deflater;

/// Entries of a pack: each a whole object or a delta of one before it.
struct Pack {
    bytes: Vec<u8>,
    ranges: Vec<Range<u64>>,
    contents: Vec<Vec<u8>>,
    /// Those contents and deltas, as they are without their headers.
    streams: Vec<Vec<u8>>,
    deltas: Deltas,
}

/// `plan` has a base for each entry, among those before it or none, and how much it adds.
fn pack(plan: &[(Option<usize>, usize)]) -> Pack {
    let mut bytes = b"PACK, or what stands in for its header".to_vec();
    let (mut ranges, mut contents, mut bases) =
        (Vec::<Range<u64>>::new(), Vec::<Vec<u8>>::new(), Vec::new());
    let mut streams = Vec::new();
    for (entry, &(base, added)) in plan.iter().enumerate() {
        let start = bytes.len() as u64;
        let own = vec![entry as u8; added];
        let (header, stream, content) = match base {
            None => (data::entry::Header::Blob, own.clone(), own),
            Some(base) => {
                let before = &contents[base];
                let kept = before.len() - before.len() / 3;
                let content = [&before[..kept], &own].concat();
                let base_distance = start - ranges[base].start;
                let header = data::entry::Header::OfsDelta { base_distance };
                (header, delta(before.len(), kept, &own), content)
            }
        };
        header
            .write_to(stream.len() as u64, &mut bytes)
            .expect("written to memory");
        bytes.extend(Deflater::new().deflate(&stream));
        ranges.push(start..bytes.len() as u64);
        contents.push(content);
        streams.push(stream);
        bases.push(base.map_or(NO_BASE, |base| base as u32));
    }
    Pack {
        bytes,
        ranges,
        contents,
        streams,
        deltas: Deltas::of_bases(&bases),
    }
}

/// A delta that makes a content of the first bytes of its base and some of its own.
fn delta(base: usize, kept: usize, own: &[u8]) -> Vec<u8> {
    let mut delta = Vec::new();
    for mut size in [base, kept + own.len()] {
        while size > 0x7f {
            delta.push(size as u8 | 0x80);
            size >>= 7;
        }
        delta.push(size as u8);
    }
    for start in (0..kept).step_by(0xffff) {
        let length = (kept - start).min(0xffff);
        delta.extend([0xb7, start as u8, (start >> 8) as u8, (start >> 16) as u8]);
        delta.extend([length as u8, (length >> 8) as u8]);
    }
    for part in own.chunks(0x7f) {
        delta.push(part.len() as u8);
        delta.extend(part);
    }
    delta
}

struct Check<'a> {
    pack: &'a Pack,
    seen: Vec<usize>,
    /// Whether some delta is left for later than that with the most behind it.
    one_waits: bool,
    /// The entry to fail at.
    last: u32,
    /// Whether objects and deltas are at hand.
    is_at_hand: bool,
    /// The size of the largest object that is looked at.
    most: u64,
    on_disk: u64,
    /// The number of times that it may still go on.
    goes_on: Cell<u32>,
}

impl ObjectVisitor for Check<'_> {
    type Error = String;

    fn byte_range(&self, entry: u32) -> Range<u64> {
        self.pack.ranges[entry as usize].clone()
    }

    fn visit(
        &mut self,
        entry: u32,
        kind: Kind,
        content: &[u8],
        base: Option<&[u8]>,
    ) -> Result<(), String> {
        assert_eq!(kind, Kind::Blob);
        assert!(content == self.pack.contents[entry as usize], "{entry}");
        let bases = (0..).zip(&self.pack.contents);
        let mut bases = bases.filter(|(base, _)| self.pack.deltas.of(*base).contains(&entry));
        let expected = bases.next().map(|(_, content)| &content[..]);
        assert!(base.is_none() || base == expected, "{entry}");
        self.seen[entry as usize] += 1;
        if entry == self.last {
            Err("the last one".to_owned())
        } else {
            Ok(())
        }
    }

    fn deltas(&mut self, entry: u32, to: &mut Vec<u32>) -> Result<(), String> {
        let first = to.len();
        to.extend_from_slice(self.pack.deltas.of(entry));
        if self.one_waits && to.len() > first {
            to[first..].rotate_right(1);
        }
        Ok(())
    }

    fn whole(&self, entry: u32, to: &mut Vec<u8>) -> Option<Kind> {
        let content = &self.pack.contents[entry as usize];
        let is_at_hand = self.is_at_hand && self.pack.streams[entry as usize] == *content;
        is_at_hand.then(|| {
            to.clone_from(content);
            Kind::Blob
        })
    }

    fn inflated(&self, entry: u32, most: usize, to: &mut Vec<u8>) -> bool {
        let delta = &self.pack.streams[entry as usize];
        let is_at_hand = self.is_at_hand && delta.len() <= most;
        if is_at_hand {
            to.clone_from(delta);
        }
        is_at_hand
    }

    fn allows(&mut self, _: u32, _: Kind, size: u64, _: Chain) -> Result<bool, String> {
        Ok(size <= self.most)
    }

    fn oversized(
        &mut self,
        entry: u32,
        kind: Kind,
        size: u64,
        hasher: Hasher,
    ) -> Result<(), String> {
        let content = &self.pack.contents[entry as usize];
        assert!(size > self.most && size == content.len() as u64);
        let id = gix::objs::compute_hash(gix::hash::Kind::Sha1, kind, content);
        assert_eq!(hasher.try_finalize().ok(), id.ok(), "{entry}");
        self.seen[entry as usize] += 1;
        Ok(())
    }

    fn may_lead_on(&self, entry: u32) -> bool {
        !self.pack.deltas.of(entry).is_empty()
    }

    fn allows_on_disk(&mut self, more: u64) -> Result<(), String> {
        self.on_disk += more;
        Ok(())
    }

    fn may_go_on(&self) -> bool {
        let left = self.goes_on.get().checked_sub(1);
        self.goes_on.set(left.unwrap_or_default());
        left.is_some()
    }

    fn unreadable(&self, entry: u32, err: io::Error) -> String {
        format!("{entry} can't be read: {err}")
    }

    fn failed(&self, err: io::Error) -> String {
        format!("the disk failed: {err}")
    }
}

fn memory(large: usize, waiting: usize) -> ContentMemory {
    ContentMemory {
        large,
        waiting,
        one_at_a_time: Mutex::new(()),
    }
}

/// Everything is seen once and as it is, and memory holds no more than it may.
fn check(plan: &[(Option<usize>, usize)], memory: &ContentMemory) {
    for (is_at_hand, most) in [
        (false, u64::MAX),
        (true, u64::MAX),
        (false, 2000),
        (false, 0),
    ] {
        check_with(plan, memory, is_at_hand, most);
    }
}

fn check_with(
    plan: &[(Option<usize>, usize)],
    memory: &ContentMemory,
    is_at_hand: bool,
    most: u64,
) {
    let pack = pack(plan);
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("pack");
    std::fs::write(&path, &pack.bytes).expect("a pack");
    let mut visitor = Check {
        pack: &pack,
        seen: vec![0; plan.len()],
        one_waits: false,
        last: NO_BASE,
        is_at_hand,
        most,
        on_disk: 0,
        goes_on: Cell::new(u32::MAX),
    };
    let mut traversal =
        DeltaTraversal::new(&path, gix::hash::Kind::Sha1, memory, folder.path()).expect("a pack");
    for root in 0..plan.len() as u32 {
        if plan[root as usize].0.is_none() {
            traversal
                .traverse(root, &mut visitor)
                .expect("a sound pack");
            assert_eq!((traversal.in_memory, traversal.disk.held), (0, 0));
            // One byte more shows that a delta has ended.
            assert!(traversal.delta.len() <= memory.large + 1);
        }
    }
    assert!(
        visitor.seen.iter().all(|seen| *seen == 1),
        "{:?}",
        visitor.seen
    );
}

fn plans() -> impl Strategy<Value = Vec<(Option<usize>, usize)>> {
    let base = prop::option::weighted(0.9, any::<prop::sample::Index>());
    let entries = prop::collection::vec((base, 0..3000_usize), 1..60);
    entries.prop_map(|entries| {
        let entries = entries.into_iter().enumerate();
        let picked = entries.map(|(entry, (base, added))| {
            let base = base.filter(|_| entry > 0);
            (base.map(|base| base.index(entry)), added)
        });
        picked.collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(64) })]

    #[test]
    fn every_object_is_seen_once_whatever_the_room(plan in plans(), large in 0..4000_usize, waiting in 0..9000_usize) {
        check(&plan, &memory(large, waiting));
    }
}

/// Each a delta of the one before the one before it, so that there are two long chains.
#[test]
fn chains_are_followed_however_long_they_are() {
    let base = |entry: usize| (entry > 0).then(|| entry.saturating_sub(2));
    let plan: Vec<_> = (0..1000).map(|entry| (base(entry), 30)).collect();
    check(&plan, &memory(1000, 200));
}

#[test]
fn what_waits_has_no_buffer_of_something_larger() {
    // A chain of small ones, each with a large one built on it that is looked at before the next.
    let mut plan = vec![(None, 10)];
    for link in 0..60 {
        let base = 3 * link;
        plan.extend([(Some(base), 10), (Some(base), 20_000), (Some(base), 10)]);
    }
    let pack = pack(&plan);
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("pack");
    std::fs::write(&path, &pack.bytes).expect("a pack");
    let mut visitor = Check {
        pack: &pack,
        seen: vec![0; plan.len()],
        one_waits: true,
        last: plan.len() as u32 - 1,
        is_at_hand: false,
        most: u64::MAX,
        on_disk: 0,
        goes_on: Cell::new(u32::MAX),
    };
    let memory = memory(30_000, 100_000);
    let mut traversal =
        DeltaTraversal::new(&path, gix::hash::Kind::Sha1, &memory, folder.path()).expect("a pack");
    traversal
        .traverse(0, &mut visitor)
        .expect_err("the last one");
    let buffers = traversal.path.iter().map(|waiting| match &waiting.content {
        Content::InMemory(buffer) => buffer.capacity(),
        Content::OnDisk { .. } => panic!("there is room in memory"),
    });
    assert!(traversal.path.len() > 50, "{}", traversal.path.len());
    let held: usize = buffers.sum();
    // One more is being worked on.
    assert!(held <= traversal.in_memory);
    assert!(held < 10_000, "{held}");
}

/// Each is written to disk only for what is built on it, and room is taken once for those that come after
/// each other.
#[test]
fn what_is_too_large_is_made_in_pieces() {
    let size = 10 * 64 * 1024_u64;
    let whole = (None, size as usize);
    // 64 KiB that are inserted take more room as a delta.
    let entry = |base| (Some(base), size as usize / 3);
    let plan = [whole, entry(0), entry(1), entry(2)];
    let pack = pack(&plan);
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("pack");
    std::fs::write(&path, &pack.bytes).expect("a pack");
    let memory = memory(1000, 2000);
    for (goes_on, seen, said) in [
        (u32::MAX, 4, ""),
        (0, 0, "0 can't be read: there is no time to go on"),
        (9, 0, "0 can't be read: there is no time to go on"),
        (11, 1, "1 can't be read: there is no time to go on"),
    ] {
        let mut visitor = Check {
            pack: &pack,
            seen: vec![0; plan.len()],
            one_waits: false,
            last: NO_BASE,
            is_at_hand: false,
            most: size / 2,
            on_disk: 0,
            goes_on: Cell::new(goes_on),
        };
        let traversal = DeltaTraversal::new(&path, gix::hash::Kind::Sha1, &memory, folder.path());
        let done = traversal.expect("a pack").traverse(0, &mut visitor);
        assert_eq!(done.err().unwrap_or_default(), said);
        assert_eq!(visitor.seen.iter().sum::<usize>(), seen);
        if said.is_empty() {
            let sizes = pack.contents.iter().map(|content| content.len() as u64);
            assert_eq!(sizes.clone().max(), Some(size), "{sizes:?}");
            assert!(visitor.on_disk <= 2 * size, "{}", visitor.on_disk);
        }
    }
}
