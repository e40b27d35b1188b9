//! Packs as no git makes them.

mod declared;
mod fix_thin;
mod nesting;
mod too_large;
mod versions;
mod windows;

use std::ops::Range;

use gix::{hash::Kind as HashKind, objs::Write as _};
use gix_pack::data::entry::Header;

use super::*;
use crate::{
    ErrorKind, FsckRules, SyncOptions, files::sharing::Sharing, local::QuarantineDir,
    pack::deflate::Deflater, stored_packs::odb::Odb,
};

const NO_BLOB: [u8; 20] = [7; 20];

fn id(kind: Kind, content: &[u8]) -> ObjectId {
    gix::objs::compute_hash(HashKind::Sha1, kind, content).expect("a hash")
}

fn tree(entries: &[(&str, &[u8])]) -> Vec<u8> {
    let entry = |(name, id): &(&str, &[u8])| {
        let head = format!("100644 {name}\0");
        [head.as_bytes(), *id].concat()
    };
    entries.iter().flat_map(entry).collect()
}

fn commit(tree: &ObjectId) -> Vec<u8> {
    format!("tree {tree}\nauthor A <a> 1 +0000\ncommitter A <a> 1 +0000\n\n").into_bytes()
}

/// A delta that copies all of its base, of less than 64 KiB, and adds some bytes of its own.
fn delta(base: usize, own: &[u8]) -> Vec<u8> {
    delta_of(base, base, own)
}

/// The same that copies only the first bytes of its base.
fn delta_of(base: usize, kept: usize, own: &[u8]) -> Vec<u8> {
    let mut delta = Vec::new();
    for mut size in [base, kept + own.len()] {
        while size > 0x7f {
            delta.push(size as u8 | 0x80);
            size >>= 7;
        }
        delta.push(size as u8);
    }
    delta.extend([0xb0, kept as u8, (kept >> 8) as u8]);
    for batch in own.chunks(0x7f) {
        delta.push(batch.len() as u8);
        delta.extend(batch);
    }
    delta
}

/// A pack of these entries.
#[derive(Default)]
struct Entries {
    bytes: Vec<u8>,
    count: u32,
}

impl Entries {
    /// Its offset.
    fn add(&mut self, header: Header, stream: &[u8]) -> u64 {
        let start = self.bytes.len() as u64;
        let size = stream.len() as u64;
        header.write_to(size, &mut self.bytes).expect("in memory");
        self.bytes.extend(Deflater::new().deflate(stream));
        self.count += 1;
        start
    }

    fn pack(&self) -> Vec<u8> {
        let mut pack = b"PACK\0\0\0\x02".to_vec();
        pack.extend(self.count.to_be_bytes());
        pack.extend(&self.bytes);
        let mut hasher = gix::hash::hasher(HashKind::Sha1);
        hasher.update(&pack);
        pack.extend(hasher.try_finalize().expect("a hash").as_bytes());
        pack
    }
}

struct Store {
    objects: PathBuf,
    _folder: tempfile::TempDir,
}

impl Store {
    fn with(objects: &[(Kind, &[u8])]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        gix::init_bare(folder.path()).expect("a repository");
        let store = Store {
            objects: folder.path().join("objects"),
            _folder: folder,
        };
        for (kind, content) in objects {
            store.odb().write_buf(*kind, content).expect("written");
        }
        store
    }

    fn odb(&self) -> Odb {
        Odb::at(&self.objects, HashKind::Sha1).expect("an object database")
    }

    /// The pack, and the folder that it is in.
    fn receive(
        &self,
        entries: &Entries,
        options: &SyncOptions,
    ) -> Result<(ReceivedPack, QuarantineDir), Error> {
        let seen = std::slice::from_ref(&self.objects);
        let dir = QuarantineDir::open(&self.objects, seen, Sharing::Umask)?;
        let pack = entries.pack();
        let context = SyncContext::new(options);
        let received = dir.receive(
            &mut &pack[..],
            &self.odb(),
            true,
            ObjectFormat::Sha1,
            &context,
        )?;
        Ok((received.expect("objects"), dir))
    }
}

#[test]
fn what_a_base_of_the_store_needs_is_not_in_the_pack() {
    let blob = id(Kind::Blob, b"content");
    let lost = tree(&[("a", &NO_BLOB)]);
    let own = tree(&[("b", blob.as_bytes())]);
    let whole = [&lost[..], &own].concat();

    for is_stored in [true, false] {
        let store = if is_stored {
            Store::with(&[(Kind::Tree, &lost)])
        } else {
            Store::with(&[])
        };
        let mut entries = Entries::default();
        entries.add(Header::Commit, &commit(&id(Kind::Tree, &whole)));
        entries.add(Header::Blob, b"content");
        let base_id = id(Kind::Tree, &lost);
        entries.add(Header::RefDelta { base_id }, &delta(lost.len(), &own));
        if !is_stored {
            entries.add(Header::Tree, &lost);
        }
        let incoming = store.receive(&entries, &SyncOptions::default());
        let (received, _dir) = incoming.expect("a pack");
        let outside = received.outside().expect("all was looked at");
        let lost = ObjectId::from_bytes_or_panic(&NO_BLOB);
        assert_eq!(outside.needed, [(Kind::Blob, lost)], "{is_stored}");
    }
}

/// The base completes the thin pack and was not inspected: what it references may be missing.
#[test]
fn a_base_of_the_store_that_is_needed_is_not_in_the_pack() {
    let base = tree(&[("a", &NO_BLOB)]);
    let base_id = id(Kind::Tree, &base);
    let blob = id(Kind::Blob, b"content");
    let other = tree(&[("b", blob.as_bytes())]);
    let below = [&b"40000 base\0"[..], base_id.as_bytes()].concat();
    let store = Store::with(&[(Kind::Tree, &base)]);
    let mut entries = Entries::default();
    entries.add(Header::Blob, b"content");
    entries.add(Header::Tree, &below);
    let sizes = [base.len() as u8, other.len() as u8, other.len() as u8];
    entries.add(Header::RefDelta { base_id }, &[&sizes[..], &other].concat());
    let incoming = store.receive(&entries, &SyncOptions::default());
    let (received, _dir) = incoming.expect("a pack");
    let outside = received.outside().expect("all was looked at");
    assert_eq!(outside.needed, [(Kind::Tree, base_id)]);
    assert!(received.is_added(&base_id));
    assert!(!received.is_added(&id(Kind::Tree, &below)));
}

#[test]
fn a_pack_that_goes_in_circles() {
    // Who looks for either of the two blobs may find it as a delta of the other.
    let (one, two) = (b"content".to_vec(), b"content and more".to_vec());
    let of = |base: &[u8]| Header::RefDelta {
        base_id: id(Kind::Blob, base),
    };
    let back = [two.len() as u8, one.len() as u8, 0x90, one.len() as u8];
    for is_stored in [false, true] {
        let store = if is_stored {
            Store::with(&[(Kind::Blob, &one)])
        } else {
            Store::with(&[])
        };
        let mut entries = Entries::default();
        if !is_stored {
            entries.add(Header::Blob, &one);
        }
        entries.add(of(&one), &delta(one.len(), b" and more"));
        entries.add(of(&two), &back);
        let received = store.receive(&entries, &SyncOptions::default());
        let err = received.err().expect("a circle");
        assert_eq!(err.kind(), ErrorKind::Protocol, "{err}");
    }
}

#[test]
fn a_pack_that_has_an_object_twice() {
    let store = Store::with(&[]);
    let mut entries = Entries::default();
    for content in [&b"content"[..], b"content", b"more"] {
        entries.add(Header::Blob, content);
    }
    let base_id = id(Kind::Blob, b"more");
    entries.add(Header::RefDelta { base_id }, &delta(4, b" content"));
    let lenient = SyncOptions {
        fsck: FsckRules::none(),
        ..SyncOptions::default()
    };
    let incoming = store.receive(&entries, &lenient);
    let (received, _dir) = incoming.expect("a pack");
    let outside = received.outside().expect("nothing is faulty");
    assert_eq!(outside.needed, []);
    assert!(store.receive(&entries, &SyncOptions::default()).is_err());
}

#[test]
fn contents_that_wait_on_disk_take_room_there() {
    let store = Store::with(&[]);
    // Each waits for the second of its deltas, while the first one leads on to the next.
    let mut entries = Entries::default();
    let mut content = vec![0; 20_000];
    let mut base = entries.add(Header::Blob, &content);
    for version in 1..=100 {
        let base_id = id(Kind::Blob, &content);
        let next = delta(content.len(), &[version]);
        content.push(version);
        let last = delta(content.len() - 1, b"last");
        let base_distance = entries.bytes.len() as u64 - base;
        entries.add(Header::OfsDelta { base_distance }, &last);
        base = entries.add(Header::RefDelta { base_id }, &next);
    }
    let mut options = SyncOptions::default();
    options.limits.memory = 256 * 1024;
    options.limits.quarantine_bytes = 1024 * 1024;
    assert!(entries.bytes.len() < 100_000);
    let err = store.receive(&entries, &options).err().expect("too much");
    assert_eq!(err.kind(), ErrorKind::BudgetExceeded, "{err}");
    assert!(err.to_string().contains("quarantine_bytes"), "{err}");

    options.limits.quarantine_bytes *= 3;
    assert!(store.receive(&entries, &options).is_ok());
}

/// The memory plan counts on it: once the pack is indexed, five bytes are held for each.
#[test]
fn an_entry_takes_more_than_what_is_left_of_it() {
    for hash in [HashKind::Sha1, HashKind::Sha256] {
        assert!(Table::memory_of_an_entry(hash) >= 20 * 5);
    }
}

#[test]
fn what_a_thin_pack_has_is_not_added_to_it() {
    // Whichever of the two ids comes first.
    for number in 0..8_u8 {
        let stored = [&b"content "[..], &[number]].concat();
        let sent = [&stored[..], b" and more"].concat();
        let store = Store::with(&[(Kind::Blob, &stored), (Kind::Blob, &sent)]);
        let of = |base: &[u8]| Header::RefDelta {
            base_id: id(Kind::Blob, base),
        };
        let mut entries = Entries::default();
        entries.add(of(&stored), &delta(stored.len(), b" and more"));
        entries.add(of(&sent), &delta(sent.len(), b" still"));
        let received = store.receive(&entries, &SyncOptions::default());
        assert!(received.is_ok(), "{:?}", received.err());
    }
}
