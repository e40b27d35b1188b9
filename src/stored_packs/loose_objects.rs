//! Loose objects, read rather than mapped into memory.
//!
//! Mapping and unmapping thousands of small files is slower than reading them, and makes threads wait for
//! each other.

use std::{
    fs::File,
    io::{self, BufReader, Read},
    path::{Path, PathBuf},
};

use gix::{
    objs::{Kind, compute_hash, decode::loose_header},
    oid,
    zlib::{Decompress, FlushDecompress, Status},
};

use crate::pack::inflate::{Inflater, Inflating};

/// The longest header of a loose object: a kind, a size and their separators.
const MAX_HEADER: usize = "commit ".len() + 20 + 1;

/// Bytes of a stream that suffice for the first inflated bytes, even with dynamic Huffman codes.
const STREAM_START: u64 = 512;

/// The largest file that is read as a whole, which takes memory for file and content. Larger ones are
/// [streamed](LooseObjects::stream), or read by the object database.
const MAX_FILE: u64 = 1024 * 1024;

/// The largest object that is read as a whole, however small its file.
const MAX_SIZE: u64 = 16 * 1024 * 1024;

/// Upper bound of an object's size, in sizes of its deflated stream.
const MAX_RATIO: usize = 1100;

/// A reader of the loose objects in some `objects` folders.
pub(crate) struct LooseObjects {
    folders: Vec<PathBuf>,
    inflater: Decompress,
    file: Vec<u8>,
}

/// The content of an object, inflated as it is read.
pub(crate) type LooseStream = Inflating<Inflater, BufReader<File>>;

/// Bytes of a streamed file that are read at a time.
const STREAM_CHUNK: usize = 64 * 1024;

/// The start of an object, with some of its content.
struct Start {
    kind: Kind,
    size: u64,
    bytes: [u8; MAX_HEADER],
    /// The range of these that is content.
    content: std::ops::Range<usize>,
}

impl LooseObjects {
    /// The loose objects in these `objects` folders.
    pub(crate) fn at(folders: &[PathBuf]) -> Self {
        LooseObjects {
            folders: folders.to_owned(),
            inflater: Decompress::new(),
            file: Vec::new(),
        }
    }

    /// Kind and size of an object. `None` for one that is missing or malformed: the object database may find
    /// another copy, or name the fault.
    pub(crate) fn header(&mut self, id: &oid) -> Option<(Kind, u64)> {
        if self.load(id, STREAM_START).is_none() {
            return built_in(id).map(|kind| (kind, 0));
        }
        let start = self.start()?;
        Some((start.kind, start.size))
    }

    /// Reads an object into `content`, and returns its kind. `None` as for [`header`](Self::header), and for a
    /// large file.
    pub(crate) fn read(&mut self, id: &oid, content: &mut Vec<u8>) -> Option<Kind> {
        if self.load(id, MAX_FILE + 1).is_none() {
            content.clear();
            return built_in(id);
        }
        if self.file.len() as u64 > MAX_FILE {
            return None;
        }
        let start = self.start()?;
        let size = usize::try_from(start.size).ok()?;
        if start.size > MAX_SIZE || size > self.file.len() * MAX_RATIO {
            return None;
        }
        let begun = &start.bytes[start.content.clone()];
        content.clear();
        content.extend_from_slice(begun);
        // One byte of room beyond the size reveals a stream that is too long.
        content.resize(size.max(begun.len()) + 1, 0);
        let rest = &self.file[self.inflater.total_in() as usize..];
        let to = &mut content[begun.len()..];
        let done = self.inflater.decompress(rest, to, FlushDecompress::Finish);
        let all = (start.content.start + size) as u64;
        let is_whole = matches!(done, Ok(Status::StreamEnd)) && self.inflater.total_out() == all;
        content.truncate(size);
        is_whole.then_some(start.kind)
    }

    /// [`read`](Self::read) that also compares the id of the content. `None` for a damaged object: a pack may
    /// have a sound copy.
    pub(crate) fn read_sound(&mut self, id: &oid, content: &mut Vec<u8>) -> Option<Kind> {
        let kind = self.read(id, content)?;
        let made = compute_hash(id.kind(), kind, content);
        made.is_ok_and(|made| *made == *id).then_some(kind)
    }

    /// Kind, size and content of an object that is too large for [`read`](Self::read). `None` for a smaller
    /// one, and as for [`header`](Self::header). Reading the content fails if the stream is damaged.
    pub(crate) fn stream(&mut self, id: &oid) -> Option<(Kind, u64, LooseStream)> {
        let file = self.open(id)?;
        self.load(id, STREAM_START)?;
        let Start {
            kind,
            size,
            content,
            ..
        } = self.start()?;
        if size <= MAX_SIZE && file.metadata().ok()?.len() <= MAX_FILE {
            return None;
        }
        let header = content.start as u64;
        let file = BufReader::with_capacity(STREAM_CHUNK, file);
        let mut stream = Inflater::new().into_read(file, header.checked_add(size)?);
        io::copy(&mut stream.by_ref().take(header), &mut io::sink()).ok()?;
        Some((kind, size, stream))
    }

    fn open(&self, id: &oid) -> Option<File> {
        let mut files = self.folders.iter().map(|folder| path_in(folder, id));
        files.find_map(|path| File::open(path).ok())
    }

    /// Reads at most `limit` bytes of the file into `self.file`.
    fn load(&mut self, id: &oid, limit: u64) -> Option<()> {
        let file = self.open(id)?;
        self.file.clear();
        file.take(limit).read_to_end(&mut self.file).ok()?;
        Some(())
    }

    fn start(&mut self) -> Option<Start> {
        self.inflater.reset();
        let mut bytes = [0; MAX_HEADER];
        let flush = FlushDecompress::None;
        self.inflater
            .decompress(&self.file, &mut bytes, flush)
            .ok()?;
        let filled = self.inflater.total_out() as usize;
        let (kind, size, header) = loose_header(&bytes[..filled]).ok()?;
        Some(Start {
            kind,
            size,
            bytes,
            content: header..filled,
        })
    }
}

/// The kind of an object that git has without a file: the empty tree (`find_cached_object()` in git's
/// `object-file.c`).
pub(crate) fn built_in(id: &oid) -> Option<Kind> {
    id.is_empty_tree().then_some(Kind::Tree)
}

/// The path of a loose object (gitrepository-layout(5), "objects/[0-9a-f][0-9a-f]").
pub(crate) fn path_in(folder: &Path, id: &oid) -> PathBuf {
    let name = id.to_hex().to_string();
    let (first, rest) = name.split_at(2);
    folder.join(first).join(rest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{pack::deflate::Deflater, test_support::noise};

    const ID: &str = "0123456789012345678901234567890123456789";

    /// A store with one loose file.
    fn store(file: &[u8]) -> (tempfile::TempDir, LooseObjects, gix::ObjectId) {
        let folder = tempfile::tempdir().expect("a folder");
        let empty = folder.path().join("empty");
        std::fs::create_dir(folder.path().join("01")).expect("a folder");
        std::fs::write(folder.path().join("01").join(&ID[2..]), file).expect("a file");
        let loose = LooseObjects::at(&[empty, folder.path().to_owned()]);
        let id = gix::ObjectId::from_hex(ID.as_bytes()).expect("an id");
        (folder, loose, id)
    }

    fn read(file: &[u8]) -> Option<(Kind, Vec<u8>)> {
        let (_folder, mut loose, id) = store(file);
        let header = loose.header(&id);
        let mut content = b"left from before".to_vec();
        let kind = loose.read(&id, &mut content)?;
        assert_eq!(header, Some((kind, content.len() as u64)));
        Some((kind, content))
    }

    fn file(header: &str, content: &[u8]) -> Vec<u8> {
        Deflater::new().deflate(&[header.as_bytes(), content].concat())
    }

    #[test]
    fn whole_objects() {
        for size in [0, 1, 20, 21, 22, 300, 100_000] {
            for content in [noise(size, 1), b"word".repeat(size / 4)] {
                let file = file(&format!("blob {}\0", content.len()), &content);
                assert!(read(&file) == Some((Kind::Blob, content)), "{size}");
            }
        }
        let commit = file("commit 5\0", b"12345");
        assert_eq!(read(&commit), Some((Kind::Commit, b"12345".to_vec())));
    }

    #[test]
    fn what_is_damaged_or_large_is_left_to_others() {
        let whole = file("blob 300\0", &noise(300, 1));
        let mut damaged = whole.clone();
        damaged[200] ^= 1;
        for (what, file) in [
            ("cut off", whole[..whole.len() - 1].to_vec()),
            ("damaged", damaged),
            ("longer than it says", file("blob 299\0", &noise(300, 1))),
            ("shorter than it says", file("blob 301\0", &noise(300, 1))),
            (
                "much shorter than it says",
                file("blob 3\0", &noise(300, 1)),
            ),
            (
                "of a size that nothing has",
                file("blob 99999999999999\0", b""),
            ),
            ("of no kind", file("blub 1\0", b"1")),
            ("no stream", b"blob 1\x001".to_vec()),
            ("empty", Vec::new()),
            ("large", file("blob 1200000\0", &noise(1_200_000, 1))),
        ] {
            assert_eq!(read(&file), None, "{what}");
        }
    }

    #[test]
    fn large_objects_are_streamed() {
        let zeros = vec![0; MAX_SIZE as usize + 1];
        for content in [noise(1_200_000, 1), zeros] {
            let whole = file(&format!("blob {}\0", content.len()), &content);
            assert_eq!(read(&whole), None);
            let streamed = |file: &[u8]| {
                let (_folder, mut loose, id) = store(file);
                let (kind, size, mut stream) = loose.stream(&id).expect("a large object");
                assert_eq!((kind, size), (Kind::Blob, content.len() as u64));
                let mut read = Vec::new();
                stream.read_to_end(&mut read).map(|_| read)
            };
            assert!(streamed(&whole).is_ok_and(|read| read == content));
            assert!(streamed(&whole[..whole.len() - 1]).is_err());
        }
        let (_folder, mut loose, id) = store(&file("blob 300\0", &noise(300, 1)));
        assert!(loose.stream(&id).is_none());
    }

    #[test]
    fn the_empty_tree_needs_no_file() {
        let (_folder, mut loose, other) = store(&file("blob 1\0", b"1"));
        let tree = gix::ObjectId::empty_tree(other.kind());
        let mut content = b"left from before".to_vec();
        assert_eq!(loose.header(&tree), Some((Kind::Tree, 0)));
        assert_eq!(loose.read(&tree, &mut content), Some(Kind::Tree));
        assert_eq!(content, b"");
    }
}
