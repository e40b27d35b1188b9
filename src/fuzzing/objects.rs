//! Small repositories made from an input, and a plain walk over them.

use std::collections::{BTreeMap, BTreeSet};

use bstr::ByteSlice;
use gix::{
    ObjectId,
    hash::Kind as HashKind,
    objs::{Kind, compute_hash},
};

use super::bytes::Bytes;

pub(crate) struct Object {
    pub(crate) id: ObjectId,
    pub(crate) kind: Kind,
    pub(crate) content: Vec<u8>,
}

impl Object {
    pub(crate) fn new(kind: Kind, content: Vec<u8>, hash: HashKind) -> Self {
        let id = compute_hash(hash, kind, &content).expect("no collision");
        Object { id, kind, content }
    }
}

pub(super) type Store = BTreeMap<ObjectId, (Kind, Vec<u8>)>;

/// Objects that name each other, those before and, if `holes` says so, some that aren't there.
pub(super) struct Maker<'a> {
    pub(super) hash: HashKind,
    pub(super) holes: bool,
    /// The objects that exist before the first one is made.
    pub(super) known: &'a [Object],
    pub(super) made: Vec<Object>,
}

impl Maker<'_> {
    pub(super) fn make(&mut self, bytes: &mut Bytes<'_>) {
        let object = match bytes.byte() {
            0..80 => {
                let length = bytes.below(48);
                let times = 1 << bytes.below(8);
                (Kind::Blob, bytes.take(length).repeat(times))
            }
            80..150 => (Kind::Tree, self.tree(bytes)),
            150..230 => (Kind::Commit, self.commit(bytes)),
            230..250 => (Kind::Tag, self.tag(bytes)),
            // Another version of one that is there.
            _ => match self.pick(Kind::Blob, bytes) {
                Some(blob) => (Kind::Blob, [&blob.content[..], bytes.take(5)].concat()),
                None => (Kind::Blob, Vec::new()),
            },
        };
        self.made.push(Object::new(object.0, object.1, self.hash));
    }

    /// A tree that there is, with another object in one of its entries.
    pub(super) fn make_version_of_tree(&mut self, bytes: &mut Bytes<'_>) {
        let Some(tree) = self.pick(Kind::Tree, bytes) else {
            return;
        };
        let mut content = tree.content.clone();
        let id_length = self.hash.len_in_bytes();
        let mut ids = Vec::new();
        let mut at = 0;
        while let Some(head) = content[at..].find_byte(0) {
            let kind = if content[at..].starts_with(b"4") {
                Kind::Tree
            } else {
                Kind::Blob
            };
            at += head + 1;
            ids.push((kind, at));
            at += id_length;
        }
        let Some((kind, at)) = ids.get(bytes.below(ids.len())).copied() else {
            return;
        };
        if let Some(id) = self.id_of(kind, bytes) {
            content[at..at + id_length].copy_from_slice(id.as_bytes());
            self.made.push(Object::new(Kind::Tree, content, self.hash));
        }
    }

    fn tree(&self, bytes: &mut Bytes<'_>) -> Vec<u8> {
        let mut tree = Vec::new();
        let kinds = bytes.byte();
        for nth in 0..bytes.below(8) {
            let (mode, kind) = match kinds >> nth & 1 {
                0 => ("100644", Kind::Blob),
                _ => ("40000", Kind::Tree),
            };
            let Some(id) = self.id_of(kind, bytes) else {
                continue;
            };
            tree.extend(format!("{mode} {}\0", b"abcdefgh"[nth] as char).bytes());
            tree.extend_from_slice(id.as_bytes());
        }
        tree
    }

    fn commit(&self, bytes: &mut Bytes<'_>) -> Vec<u8> {
        let empty = compute_hash(self.hash, Kind::Tree, b"").expect("no collision");
        let has_empty = self.all().any(|object| object.id == empty);
        let tree = self.id_of(Kind::Tree, bytes);
        let Some(tree) = tree.or(has_empty.then_some(empty)) else {
            // A blob then, in effect: nothing can be committed.
            return Vec::new();
        };
        let mut text = format!("tree {tree}\n");
        for _ in 0..[1, 1, 1, 2, 0, 1, 3, 1][bytes.below(8)] {
            if let Some(parent) = self.id_of(Kind::Commit, bytes) {
                text += &format!("parent {parent}\n");
            }
        }
        let date = bytes.byte();
        text += &format!("author A <a@e> {date} +0000\ncommitter C <c@e> {date} +0000\n\nm\n");
        text.into_bytes()
    }

    fn tag(&self, bytes: &mut Bytes<'_>) -> Vec<u8> {
        let kind = [Kind::Commit, Kind::Tree, Kind::Blob, Kind::Tag][bytes.below(4)];
        match self.id_of(kind, bytes) {
            Some(id) => format!("object {id}\ntype {kind}\ntag t\ntagger T <t@e> 1 +0000\n\nm\n")
                .into_bytes(),
            None => Vec::new(),
        }
    }

    fn all(&self) -> impl Iterator<Item = &Object> {
        self.known.iter().chain(&self.made)
    }

    fn pick(&self, kind: Kind, bytes: &mut Bytes<'_>) -> Option<&Object> {
        let fit: Vec<_> = self
            .all()
            .filter(|object| object.kind == kind && is_whole(object))
            .collect();
        let back = bytes.below(fit.len());
        fit.into_iter().rev().nth(back)
    }

    /// One of another kind now and then, where there may be holes.
    fn id_of(&self, kind: Kind, bytes: &mut Bytes<'_>) -> Option<ObjectId> {
        if self.holes {
            let odd = bytes.byte();
            if odd >= 0xfc {
                return Some(ObjectId::from_bytes_or_panic(&vec![
                    odd;
                    self.hash.len_in_bytes()
                ]));
            }
            if odd >= 0xf8 {
                let any = bytes.below(self.made.len());
                return self.made.get(any).map(|object| object.id);
            }
        }
        self.pick(kind, bytes).map(|object| object.id)
    }
}

/// Whether an object has content: a commit or a tag without anything to name comes out empty.
pub(super) fn is_whole(object: &Object) -> bool {
    !(matches!(object.kind, Kind::Commit | Kind::Tag) && object.content.is_empty())
}

/// The objects that an object names, with their kinds; `None` if none could be read.
fn named(kind: Kind, content: &[u8], hash: HashKind) -> Option<Vec<(ObjectId, Kind)>> {
    let id = |hex: &[u8]| ObjectId::from_hex(hex).ok().filter(|id| id.kind() == hash);
    let mut named = Vec::new();
    match kind {
        Kind::Blob => {}
        Kind::Tree => {
            let mut rest = content;
            while !rest.is_empty() {
                let (head, tail) = rest.split_once_str("\0")?;
                let (mode, _) = head.split_once_str(" ")?;
                let (raw, tail) = tail.split_at_checked(hash.len_in_bytes())?;
                rest = tail;
                let kind = match u32::from_str_radix(mode.to_str().ok()?, 8).ok()? & 0o170_000 {
                    0o040_000 => Kind::Tree,
                    0o160_000 => continue,
                    _ => Kind::Blob,
                };
                named.push((ObjectId::from_bytes_or_panic(raw), kind));
            }
        }
        Kind::Commit => {
            let mut lines = content.lines();
            named.push((id(lines.next()?.strip_prefix(b"tree ")?)?, Kind::Tree));
            for line in lines.map_while(|line| line.strip_prefix(b"parent ")) {
                named.push((id(line)?, Kind::Commit));
            }
        }
        Kind::Tag => {
            let mut lines = content.lines();
            let target = id(lines.next()?.strip_prefix(b"object ")?)?;
            let kind = Kind::from_bytes(lines.next()?.strip_prefix(b"type ")?).ok()?;
            named.push((target, kind));
        }
    }
    Some(named)
}

/// Everything behind `tip`, or `None` if some of it is missing or is of another kind.
pub(super) fn closure(tip: ObjectId, store: &Store) -> Option<BTreeSet<ObjectId>> {
    let mut seen = BTreeSet::new();
    let mut pending = vec![(tip, None)];
    while let Some((id, expected)) = pending.pop() {
        let (kind, content) = store.get(&id)?;
        if expected.is_some_and(|expected| expected != *kind) {
            return None;
        }
        if seen.insert(id) {
            let named = named(*kind, content, id.kind())?;
            pending.extend(named.into_iter().map(|(id, kind)| (id, Some(kind))));
        }
    }
    Some(seen)
}
