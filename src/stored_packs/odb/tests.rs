//! Stores whose first copy of an object is damaged, and that have another one.

use super::*;
use crate::{
    pack::deflate::Deflater,
    test_support::{git_cli, noise, test_store::TestStore},
};
use gix::hash::Kind as HashKind;
use std::{fs, path::Path};
use tempfile::TempDir;

/// A store with a damaged pack, and the blob in it that matters.
struct Damaged {
    folder: TempDir,
    id: gix::ObjectId,
    content: Vec<u8>,
}

impl Damaged {
    fn new(content: Vec<u8>) -> Self {
        let mut store = TestStore::default();
        let id = store.add(Kind::Blob, &content);
        // The larger index is asked first.
        for other in 0..5 {
            store.add(Kind::Blob, &[other]);
        }
        let (folder, ..) = store.write();
        let packs = fs::read_dir(folder.path().join("objects/pack")).expect("a folder");
        let mut packs = packs.map(|file| file.expect("a file").path());
        let pack = packs.find(|path| path.extension().is_some_and(|found| found == "pack"));
        let pack = pack.expect("a pack");
        let mut bytes = fs::read(&pack).expect("a pack");
        // All but the header of the first entry.
        let end = bytes.len() - 20;
        bytes[12 + 3..end].fill(0xff);
        fs::remove_file(&pack).expect("a pack");
        fs::write(&pack, bytes).expect("written");
        Damaged {
            folder,
            id,
            content,
        }
    }

    fn objects(&self) -> PathBuf {
        self.folder.path().join("objects")
    }

    /// Adds a loose file of the id, with any content.
    fn with_loose(self, content: &[u8]) -> Self {
        let hex = self.id.to_string();
        let folder = self.objects().join(&hex[..2]);
        fs::create_dir_all(&folder).expect("a folder");
        let header = format!("blob {}\0", content.len());
        let file = Deflater::new().deflate(&[header.as_bytes(), content].concat());
        fs::write(folder.join(&hex[2..]), file).expect("written");
        self
    }

    fn with_alternate(self, objects: &Path) -> Self {
        let line = format!("{}\n", objects.display());
        fs::write(self.objects().join("info/alternates"), line).expect("written");
        self
    }

    /// With the indices loaded, as packed copies are preferred to loose ones only then.
    fn odb(&self, largest: Option<usize>) -> Odb {
        let mut handle = gix::odb::at(self.objects(), HashKind::Sha1).expect("a store");
        handle.refresh_never();
        handle.exists(&HashKind::Sha1.null());
        Odb::new(handle, largest)
    }

    /// Whether the object is read whole, which both ways to ask for it have to agree about.
    fn is_read(&self, largest: Option<usize>) -> bool {
        let odb = self.odb(largest);
        let mut buffer = Vec::new();
        let found = odb.try_find(&self.id, &mut buffer).ok();
        let is_read = found.is_some_and(|found| {
            let found = found.expect("an object of that id");
            assert!(
                found.kind == Kind::Blob && found.data == self.content,
                "another object"
            );
            true
        });
        if let Ok(header) = odb.try_header(&self.id)
            && is_read
        {
            let header = header.expect("an object of that id");
            let size = self.content.len() as u64;
            assert_eq!((header.kind, header.size), (Kind::Blob, size));
        }
        is_read
    }
}

/// One that is read at once, and one that is so large that its loose file is read in pieces.
fn contents() -> [Vec<u8>; 2] {
    [noise(3000, 1), vec![0; (16 << 20) + 1]]
}

#[test]
fn without_another_copy_it_is_an_error() {
    for content in contents() {
        assert!(!Damaged::new(content).is_read(None));
    }
}

#[test]
fn a_loose_copy_is_read_instead() {
    for content in contents() {
        assert!(
            Damaged::new(content.clone())
                .with_loose(&content)
                .is_read(None)
        );
    }
}

#[test]
fn a_loose_file_with_another_object_is_not() {
    for content in contents() {
        let mut other = content.clone();
        other[1000] ^= 1;
        assert!(!Damaged::new(content).with_loose(&other).is_read(None));
    }
}

#[test]
fn a_loose_copy_in_pieces_has_the_limit_of_an_object() {
    let [_, content] = contents();
    let size = content.len();
    let store = Damaged::new(content.clone()).with_loose(&content);
    assert!(store.is_read(Some(size)));
    assert!(!store.is_read(Some(size - 1)));
}

#[test]
fn a_packed_copy_is_read_instead_within_the_limit() {
    let content = b"words ".repeat(500);
    let mut other = TestStore::default();
    other.add(Kind::Blob, &content);
    let (other, ..) = other.write();
    let size = content.len();
    let store = Damaged::new(content).with_alternate(&other.path().join("objects"));
    assert!(store.is_read(None));
    assert!(store.is_read(Some(size)));
    assert!(!store.is_read(Some(size - 1)));
}

/// Stored bytes are in memory as well, and a stream may have any number of empty blocks.
#[test]
fn the_stored_bytes_of_a_copy_have_the_limit_too() {
    let content = b"0123456789".to_vec();
    let block = |is_last: bool, content: &[u8]| {
        let length = content.len() as u16;
        let lengths = [length.to_le_bytes(), (!length).to_le_bytes()].concat();
        [&[u8::from(is_last)], &lengths[..], content].concat()
    };
    let blocks = [block(false, b"").repeat(60_000), block(true, &content)].concat();
    let adler = [0x0a, 0xff, 0x02, 0x0e];
    let entry = [&[0x3a, 0x78, 0x01], &blocks[..], &adler].concat();
    let mut pack = [b"PACK\0\0\0\x02\0\0\0\x01", &entry[..]].concat();
    let mut hasher = gix::hash::hasher(HashKind::Sha1);
    hasher.update(&pack);
    pack.extend_from_slice(hasher.try_finalize().expect("a hash").as_slice());
    let other = tempfile::tempdir().expect("a folder");
    git_cli::git(other.path(), &["init", "--quiet", "--bare"], b"");
    git_cli::git(other.path(), &["index-pack", "--stdin"], &pack);
    let store = Damaged::new(content).with_alternate(&other.path().join("objects"));
    assert!(store.is_read(None));
    assert!(store.is_read(Some(pack.len())));
    assert!(!store.is_read(Some(1000)));
}

/// The base, the delta and what they make are in memory together.
#[test]
fn a_copy_that_is_a_delta_has_the_limit_with_its_base() {
    let base = b"words ".repeat(500);
    let content = [&base[..], b"and more"].concat();
    let mut other = TestStore::default();
    let base_id = other.add(Kind::Blob, &base);
    other.add_on(base_id, Kind::Blob, &content);
    let (other, ..) = other.write();
    let both = base.len() + content.len();
    let store = Damaged::new(content).with_alternate(&other.path().join("objects"));
    assert!(store.is_read(None));
    assert!(store.is_read(Some(both + 100)));
    assert!(!store.is_read(Some(both)));
}

/// Somebody may have chosen another form of it to get around the limit.
#[test]
fn what_is_too_large_in_the_first_copy_is_not_read_from_another() {
    let content = noise(3000, 3);
    let mut store = TestStore::default();
    let id = store.add(Kind::Blob, &content);
    let (folder, ..) = store.write();
    let options = gix::odb::store::init::Options {
        alloc_limit_bytes: Some(2000),
        ..Default::default()
    };
    let objects = folder.path().join("objects");
    let handle = gix::odb::at_opts(objects, HashKind::Sha1, None, options).expect("a store");
    // One that would let it pass, so that nothing but the first answer keeps it out.
    let odb = Odb::new(handle, Some(1 << 20));
    let err = odb.try_find(&id, &mut Vec::new()).expect_err("a limit");
    assert!(err.is_resource_exhausted(), "{err}");
}

#[test]
fn what_is_nowhere_is_no_error() {
    let store = Damaged::new(noise(3000, 1));
    let mut buffer = Vec::new();
    let odb = store.odb(None);
    let found = odb.try_find(&HashKind::Sha1.null(), &mut buffer);
    assert!(matches!(found, Ok(None)));
}
