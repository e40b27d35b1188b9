//! Packs that are resolved while they arrive, in windows of some bytes.

use std::{
    error::Error as _,
    io::{self, Read},
    sync::{Arc, atomic::AtomicBool},
};

use super::*;
use crate::{
    files::sharing::Sharing,
    index_pack::{
        delta_batch::Allowance, inflated_cache::InflatedCache, pack_reader::Arrived, window::Window,
    },
};

mod interrupted;

/// A pack of one blob and its versions.
#[derive(Default)]
struct Versions {
    entries: Entries,
    starts: Vec<u64>,
    contents: Vec<Vec<u8>>,
}

impl Versions {
    /// Adds some bytes to one of them, or to none.
    fn add(&mut self, base: Option<usize>, own: &[u8]) {
        let start = self.entries.bytes.len() as u64;
        let (header, stream, content) = match base {
            None => (Header::Blob, own.to_vec(), own.to_vec()),
            Some(base) => {
                let before = &self.contents[base];
                let base_distance = start - self.starts[base];
                (
                    Header::OfsDelta { base_distance },
                    delta(before.len(), own),
                    [before, own].concat(),
                )
            }
        };
        self.entries.add(header, &stream);
        self.starts.push(start);
        self.contents.push(content);
    }

    /// Adds a delta that makes nothing of one of them.
    fn add_faulty(&mut self, base: usize, delta: &[u8]) {
        let base_distance = self.entries.bytes.len() as u64 - self.starts[base];
        self.starts.push(self.entries.bytes.len() as u64);
        self.contents.push(Vec::new());
        self.entries.add(Header::OfsDelta { base_distance }, delta);
    }

    /// The same as [`add`](Versions::add), of a base that it calls by its id and that may come later.
    fn add_by_id(&mut self, base: &[u8], own: &[u8]) {
        let base_id = id(Kind::Blob, base);
        self.starts.push(self.entries.bytes.len() as u64);
        self.contents.push([base, own].concat());
        self.entries
            .add(Header::RefDelta { base_id }, &delta(base.len(), own));
    }

    /// Chains that take turns, each delta being one of the last of its chain or of one far back.
    fn mixed(count: usize) -> Self {
        let mut versions = Versions::default();
        versions.add(None, b"the first one");
        for number in 1..count {
            let own = number.to_be_bytes();
            match number % 11 {
                0 => versions.add(None, &own),
                5 => versions.add_by_id(&[b"late", &own[..]].concat(), b"forward"),
                7 => versions.add(Some(number / 3), &own),
                _ => versions.add(Some(number.saturating_sub(4)), &own),
            }
        }
        for number in (5..count).step_by(11) {
            versions.add(None, &[b"late", &number.to_be_bytes()[..]].concat());
        }
        versions
    }
}

/// Content that takes as much room in a pack as it is long.
fn noise(length: usize) -> Vec<u8> {
    let hash = |number: usize| id(Kind::Blob, &number.to_be_bytes());
    let hashes = (0..length.div_ceil(20)).map(hash);
    let mut bytes: Vec<u8> = hashes.flat_map(|id| id.as_bytes().to_vec()).collect();
    bytes.truncate(length);
    bytes
}

fn of_unknown_instruction(base: usize) -> Vec<u8> {
    let mut delta = delta(base, b"x");
    delta.truncate(delta.len() - 2);
    delta.push(0);
    delta
}

/// The index of a pack that is received in windows of so many bytes, or its error.
fn received(
    pack: &mut dyn BufRead,
    window: u64,
    options: &SyncOptions,
) -> Result<Vec<u8>, (ErrorKind, String)> {
    let store = Store::with(&[]);
    let seen = std::slice::from_ref(&store.objects);
    let dir = QuarantineDir::open(&store.objects, seen, Sharing::Umask).expect("a quarantine");
    let mut context = SyncContext::new(options);
    context.tuning.window = window;
    let received = dir.receive(pack, &store.odb(), true, ObjectFormat::Sha1, &context);
    let index = |pack: ReceivedPack| fs::read(pack.index).expect("an index");
    let received = received.map(|pack| pack.map(index));
    drop(dir);
    let left = fs::read_dir(&store.objects).expect("a folder");
    let left = left.filter(|entry| {
        let name = entry.as_ref().expect("an entry").file_name();
        name != "pack" && name != "info"
    });
    assert_eq!(left.count(), 0, "the quarantine is gone");
    match received {
        Ok(index) => Ok(index.expect("objects")),
        Err(err) => {
            let cause = err.source().map(|cause| format!(": {cause}"));
            Err((err.kind(), format!("{err}{}", cause.unwrap_or_default())))
        }
    }
}

/// The work that is done while a pack arrives.
struct Early {
    /// The entries of each window.
    windows: Vec<Range<u32>>,
    is_known: Vec<bool>,
    allowance: Allowance,
}

/// `piece` is how many bytes are there at a time.
fn early(entries: &Entries, window: u64, piece: usize) -> Early {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("pack");
    let mut file = File::create(&path).expect("a file");
    let context = SyncContext::new(&SyncOptions::default());
    let budget = Budget::new(context.limits());
    let findings = SharedFindings::new(context.fsck(), HashKind::Sha1, 0, 0);
    let bytes = entries.pack();
    let mut reader = io::BufReader::with_capacity(piece, &bytes[..]);
    let pack_reader = PackReader::begin(&mut reader, &mut file, HashKind::Sha1, &budget, &context)
        .expect("a header");
    let pack = Pack {
        path: &path,
        folder: folder.path(),
        table: Table::new(HashKind::Sha1, pack_reader.count as usize),
        findings: &findings,
        budget: &budget,
        context: &context,
    };
    let mut inspection = findings.inspection();
    let mut windows = Vec::new();
    let arrived: Result<(Arrived, _), _> = pack.resolve_while(|hand_over| {
        pack_reader.receive(&pack.table, &mut inspection, window, &mut |window| {
            windows.push(window.entries.clone());
            hand_over(window);
        })
    });
    let (_, allowance) = arrived.expect("a sound pack");
    let is_known = (0..pack.table.len()).map(|entry| pack.table.kind(entry).is_some());
    Early {
        windows,
        is_known: is_known.collect(),
        allowance,
    }
}

#[test]
fn windows_change_nothing() {
    let pack = Versions::mixed(700).entries.pack();
    let mut options = SyncOptions::default();
    let whole = received(&mut &pack[..], u64::MAX, &options).expect("a sound pack");
    // All deltas are at hand, or some, or hardly any.
    for memory in [options.limits.memory, 300_000, 240_000] {
        options.limits.memory = memory;
        for window in [1, 50, 333, 1000, 5000, 10_000] {
            let index = received(&mut &pack[..], window, &options).expect("a sound pack");
            assert!(index == whole, "{window} {memory}");
        }
    }
}

#[test]
fn what_has_arrived_is_resolved_but_for_what_may_come_later() {
    let mut versions = Versions::default();
    for number in 0..400_usize {
        let base = (number % 50 != 0).then(|| number / 50 * 50);
        versions.add(base, &number.to_be_bytes());
    }
    let by_id = versions.contents.len();
    versions.add_by_id(b"elsewhere", b"own");
    versions.add(Some(by_id), b"more of it");
    versions.add(None, b"elsewhere");
    versions.add(Some(by_id - 50), b"one more");
    versions.add(None, &noise(1100));

    let early = early(&versions.entries, 250, 8192);
    assert!(early.windows.len() > 10, "{:?}", early.windows);
    let last = early.windows.last().expect("some").end as usize;
    assert_eq!(last, versions.contents.len(), "all of it was handed over");
    let Allowance { cost, redone } = early.allowance;
    assert!(redone > 0 && redone <= cost / 8, "{redone} {cost}");
    let sizes = versions.contents.iter().map(|content| content.len() as u64);
    let not_made: u64 = sizes.clone().skip(by_id).take(2).sum();
    let of_each = 1024 * u64::from(versions.entries.count);
    assert_eq!(cost, sizes.sum::<u64>() - not_made + of_each);
    let left: Vec<_> = (0..last).filter(|at| !early.is_known[*at]).collect();
    assert_eq!(left, [by_id, by_id + 1]);
}

#[test]
fn a_pack_that_is_smaller_than_a_window_is_left_for_the_end() {
    let versions = Versions::mixed(300);
    let early = early(
        &versions.entries,
        versions.entries.bytes.len() as u64 + 1,
        8192,
    );
    assert_eq!(early.windows, []);
    assert_eq!(early.allowance.redone, 0);
}

#[test]
fn what_is_done_again_has_a_limit() {
    // One long chain, and in every window a delta of its end.
    let mut versions = Versions::default();
    versions.add(None, &[1; 5000]);
    for number in 0..500_u32 {
        versions.add(Some(number as usize), &number.to_be_bytes());
    }
    for number in 0..500_u32 {
        versions.add(Some(500), &number.to_be_bytes());
        versions.add(None, &number.to_be_bytes());
    }
    let pack = versions.entries.pack();
    let bytewise = early(&versions.entries, 60, 1);
    let early = early(&versions.entries, 60, 8192);
    assert_eq!(early.allowance, bytewise.allowance, "however it comes in");
    assert!(early.is_known == bytewise.is_known);
    assert!(early.windows.len() > 300, "{}", early.windows.len());
    let Allowance { cost, redone } = early.allowance;
    assert!(redone > cost / 10, "it has to be worth a limit: {redone}");
    assert!(redone <= cost / 8, "{redone} {cost}");
    let left = early.is_known.iter().filter(|is_known| !**is_known).count();
    assert!(left > 100, "{left}");

    let options = SyncOptions::default();
    let whole = received(&mut &pack[..], u64::MAX, &options).expect("a sound pack");
    assert!(received(&mut &pack[..], 60, &options).expect("a sound pack") == whole);
}

#[test]
fn the_first_fault_is_told_whenever_it_is_found() {
    let faulty = |faults: &[usize]| {
        let mut versions = Versions::default();
        versions.add(None, &[1; 1000]);
        for number in 1..400_usize {
            match faults.iter().position(|fault| *fault == number) {
                Some(0) => versions.add_faulty(0, &delta(999, b"damaged")),
                Some(_) => versions.add_faulty(0, &of_unknown_instruction(1000)),
                None => versions.add(Some(0), &number.to_be_bytes()),
            }
        }
        versions.entries
    };
    let options = SyncOptions::default();
    let (other_base, unknown) = ("of another base", "unknown instruction");
    for (faults, words) in [
        (&[3][..], other_base),
        (&[398], other_base),
        (&[500, 3], unknown),
        (&[500, 398], unknown),
        (&[20, 380], other_base),
        (&[380, 20], unknown),
        (&[200, 230], other_base),
        (&[230, 200], unknown),
    ] {
        let entries = faulty(faults);
        let pack = entries.pack();
        for window in [1200, 2000] {
            for _ in 0..10 {
                let err = received(&mut &pack[..], window, &options).expect_err("a fault");
                assert!(err.1.contains(words), "{faults:?} {window} {err:?}");
            }
        }
        // In windows as small as that some are left for later, but always the same ones.
        let mut again = (0..10).map(|_| received(&mut &pack[..], 60, &options));
        let first = again.next();
        assert!(again.all(|err| Some(err) == first));
        // What shows as it arrives is before that.
        let mut damaged = pack.clone();
        *damaged.last_mut().expect("a checksum") ^= 1;
        let whole = received(&mut &damaged[..], u64::MAX, &options);
        assert_eq!(whole, received(&mut &damaged[..], 100, &options));
        assert!(matches!(whole, Err((ErrorKind::Protocol, _))));
    }
}

/// The first one is told of the faults in one window, too, which several threads share.
#[test]
fn the_first_of_the_faults_in_a_window_is_told() {
    let mut versions = Versions::default();
    // It takes long to get to the fault that is the first.
    versions.add(None, &[1; 1000]);
    for number in 0..100_usize {
        versions.add(Some(number), &number.to_be_bytes());
    }
    versions.add_faulty(100, &delta(999, b"damaged"));
    for number in 0..20_u8 {
        let root = versions.contents.len();
        versions.add(None, &[number; 1000]);
        versions.add_faulty(root, &of_unknown_instruction(1000));
    }
    for _ in 0..20 {
        versions.add(None, &noise(1900));
    }
    versions.add(None, b"the next window");
    let pack = versions.entries.pack();
    let options = SyncOptions::default();
    for _ in 0..10 {
        let (_, text) = received(&mut &pack[..], 30_000, &options).expect_err("faults");
        assert!(text.contains("of another base"), "{text}");
    }
}

/// A delta that says to make so many bytes of a base, and makes one.
fn claiming(base: u64, result: u64) -> Vec<u8> {
    let mut delta = Vec::new();
    for mut size in [base, result] {
        while size > 0x7f {
            delta.push(size as u8 | 0x80);
            size >>= 7;
        }
        delta.push(size as u8);
    }
    delta.extend([1, b'x']);
    delta
}

#[test]
fn what_a_delta_claims_to_make_allows_nothing_and_is_not_made() {
    let mut entries = Entries::default();
    let blob = entries.add(Header::Blob, &noise(2000));
    let base_distance = entries.bytes.len() as u64 - blob;
    let claim = claiming(2000, 1 << 33);
    let huge = entries.add(Header::OfsDelta { base_distance }, &claim);
    for number in 0..20_u8 {
        let base_id = id(Kind::Blob, &[number]);
        entries.add(Header::RefDelta { base_id }, &claiming(1, 1 << 32));
    }
    let base_distance = entries.bytes.len() as u64 - huge;
    let last = claiming(1 << 33, 1 << 34);
    entries.add(Header::OfsDelta { base_distance }, &last);
    entries.add(Header::Blob, &noise(1100));

    let early = early(&entries, 500, 8192);
    assert!(early.windows.len() > 2, "{:?}", early.windows);
    let Allowance { cost, redone } = early.allowance;
    assert_eq!(cost, 3100 + 1024 * u64::from(entries.count));
    assert!(redone <= cost / 8, "{redone}");
    let known = early.is_known.iter().filter(|is_known| **is_known);
    assert_eq!(known.count(), 2, "the blobs");

    let options = SyncOptions::default();
    let (kind, text) = received(&mut &entries.pack()[..], 500, &options).expect_err("an error");
    assert_eq!(kind, ErrorKind::Protocol);
    assert!(text.contains("shorter result"), "{text}");
}

/// Whichever of them come first.
#[test]
fn whole_objects_and_those_that_are_made_share_a_limit() {
    let mut versions = Versions::default();
    versions.add(None, &noise(1000));
    for number in 0..8 {
        versions.add(Some(0), &[number; 10]);
    }
    for number in 0..9_u8 {
        versions.add(None, &[&noise(1000)[..], &[number]].concat());
    }
    let mut options = SyncOptions::default();
    let all: usize = versions.contents.iter().map(Vec::len).sum();
    for (limit, is_enough) in [(all as u64, true), (all as u64 - 1, false)] {
        options.limits.inflated_bytes = limit;
        for window in [400, u64::MAX] {
            let mut pack = &versions.entries.pack()[..];
            let received = received(&mut pack, window, &options);
            let is_received = received.map_err(|(kind, _)| kind).map(|_| ());
            let expected = if is_enough {
                Ok(())
            } else {
                Err(ErrorKind::BudgetExceeded)
            };
            assert_eq!(is_received, expected, "{limit} {window}");
        }
    }
}
