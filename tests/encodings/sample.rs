//! A small history with every kind of object in it, as a pack.

use crate::objects::{commit_at, entry, tag};
use crate::pack::{Pack, deflate, delta, distance, id, size};
use gix::hash::Kind as Hash;
use gix::objs::Kind;
use refsync::ObjectId;

/// The position of each object in the list.
pub(crate) const BASE: usize = 0;
pub(crate) const NEXT: usize = 1;
pub(crate) const SMALL: usize = 2;
pub(crate) const EMPTY: usize = 3;
pub(crate) const EMPTY_TREE: usize = 4;
pub(crate) const FOLDER: usize = 5;
pub(crate) const TREE: usize = 6;
pub(crate) const NEXT_TREE: usize = 7;
pub(crate) const COMMIT: usize = 8;
pub(crate) const NEXT_COMMIT: usize = 9;
pub(crate) const TAG: usize = 10;
pub(crate) const TAG_OF_TAG: usize = 11;
/// Behind all of them.
pub(crate) const ANOTHER: usize = 12;

pub(crate) type Object = (Kind, Vec<u8>);

pub(crate) struct Sample {
    pub(crate) hash: Hash,
    pub(crate) objects: Vec<Object>,
}

/// The objects of all stores, for the bases of thin packs: a blob and a tree.
pub(crate) fn stored(hash: Hash) -> [Object; 2] {
    let blob = b"small stored".to_vec();
    let mut tree = Vec::new();
    entry(&mut tree, "100644", b"small", &id(hash, Kind::Blob, &blob));
    [(Kind::Blob, blob), (Kind::Tree, tree)]
}

impl Sample {
    /// More than a copy can copy at a time, and then some; `own` makes it another one.
    pub(crate) fn of(hash: Hash, own: &[u8]) -> Self {
        let lines = (0..6000).map(|line| format!("line {line}\n"));
        let base = [lines.collect::<String>().as_bytes(), own].concat();
        let next = [&base[..40_000], b"changed", &base[40_500..]].concat();
        let small = [b"small ", own].concat();
        let blob = |content: &[u8]| id(hash, Kind::Blob, content);
        let tree_of = |entries: &[(&str, &str, ObjectId)]| {
            let mut content = Vec::new();
            for (mode, name, id) in entries {
                entry(&mut content, mode, name.as_bytes(), id);
            }
            content
        };
        let (empty, empty_tree) = (blob(b""), id(hash, Kind::Tree, b""));
        let folder = tree_of(&[
            ("100755", "empty", empty),
            ("100644", "small", blob(&small)),
        ]);
        let folder_id = id(hash, Kind::Tree, &folder);
        let root = |file: &[u8]| {
            tree_of(&[
                ("100644", "file", blob(file)),
                ("40000", "folder", folder_id),
                ("120000", "link", blob(&small)),
                ("40000", "nothing", empty_tree),
                ("160000", "submodule", blob(b"elsewhere")),
            ])
        };
        let (tree, next_tree) = (root(&base), root(&next));
        let commit = commit_at(&id(hash, Kind::Tree, &tree), &[], 1_600_000_000, "first");
        let parent = id(hash, Kind::Commit, &commit);
        let next_id = id(hash, Kind::Tree, &next_tree);
        let next_commit = commit_at(&next_id, &[parent], 1_600_000_001, "second");
        let tagged = tag(&id(hash, Kind::Commit, &next_commit), "commit", "v1");
        let again = tag(&id(hash, Kind::Tag, &tagged), "tag", "v1-again");
        let objects = vec![
            (Kind::Blob, base),
            (Kind::Blob, next),
            (Kind::Blob, small),
            (Kind::Blob, Vec::new()),
            (Kind::Tree, Vec::new()),
            (Kind::Tree, folder),
            (Kind::Tree, tree),
            (Kind::Tree, next_tree),
            (Kind::Commit, commit),
            (Kind::Commit, next_commit),
            (Kind::Tag, tagged),
            (Kind::Tag, again),
        ];
        Sample { hash, objects }
    }

    pub(crate) fn id(&self, at: usize) -> ObjectId {
        let (kind, content) = &self.objects[at];
        id(self.hash, *kind, content)
    }

    pub(crate) fn ids(&self) -> Vec<ObjectId> {
        (0..self.objects.len()).map(|at| self.id(at)).collect()
    }

    /// A pack of all objects, the one at `special` as the bytes that `write` makes from the entries before
    /// it; one that comes after all others is another one.
    pub(crate) fn pack(&self, special: usize, write: impl FnOnce(&Before<'_>) -> Vec<u8>) -> Pack {
        let mut pack = Pack::new(self.hash);
        let mut starts = Vec::new();
        let mut write = Some(write);
        for (at, (kind, content)) in self.objects.iter().enumerate() {
            let before = Before {
                starts: &starts,
                end: pack.end(),
            };
            let start = match write.take_if(|_| at == special) {
                Some(write) => pack.raw(&write(&before)),
                None => pack.place(*kind, content),
            };
            starts.push(start);
        }
        if let Some(write) = write {
            let before = Before {
                starts: &starts,
                end: pack.end(),
            };
            pack.raw(&write(&before));
        }
        pack
    }
}

/// The entries and objects that an entry may be built on.
pub(crate) struct Before<'a> {
    pub(crate) starts: &'a [u64],
    pub(crate) end: u64,
}

impl Before<'_> {
    /// A delta on an earlier entry.
    pub(crate) fn ofs_delta(&self, base: usize, delta: &[u8]) -> Vec<u8> {
        let back = distance(self.end - self.starts[base]);
        let head = size(crate::pack::OFS_DELTA, delta.len() as u64);
        [head, back, deflate(delta)].concat()
    }
}

/// A delta that makes `target` of parts of `base` as long as both begin alike, and of its own bytes.
pub(crate) fn delta_of(base: &[u8], target: &[u8]) -> Vec<u8> {
    let same = base.iter().zip(target).take_while(|(a, b)| a == b).count();
    let copied = match same {
        0 => Vec::new(),
        _ => delta::copy_all(same as u64),
    };
    let instructions = [copied, delta::insert(&target[same..])].concat();
    delta::of(base.len() as u64, target.len() as u64, &instructions)
}

/// The same number in more bytes than it takes.
pub(crate) fn padded(mut number: Vec<u8>, more: usize) -> Vec<u8> {
    for _ in 0..more {
        *number.last_mut().expect("a byte") |= 0x80;
        number.push(0);
    }
    number
}
