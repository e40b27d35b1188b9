//! The objects outside a pack that its objects reference.
//!
//! If there are none, all objects of the pack are complete without a walk from the tips: that is the case in a first
//! pull. In later pulls a pack references objects of the receiver; [`connectivity`](crate::connectivity) decides
//! whether these are complete.

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    },
};

use gix::{
    ObjectId,
    hash::Kind as HashKind,
    objs::{Kind, tree::EntryRef},
    oid,
};

use super::tree_pairs::{Pair, TreePairs};
use crate::{
    Error,
    connectivity::Outside,
    object::{
        commit::tree_and_parents,
        tag::tag_target,
        tree_entries::{each_new, kind_of},
    },
    pack::fan_out::prefix,
    scoped_workers::{into_inner, lock},
};

/// A bound of the depth of each tree outside of a pack, below the root trees of the pack.
pub(super) type Depths = HashMap<ObjectId, u16>;

/// The objects that a pack's objects reference, shared by the threads that inspect them.
pub(super) struct References {
    needed: [Mutex<Needed>; SHARDS],
    /// The trees that others replace ([`Outside::replaced`]). Empty for a pack that must not reference objects outside of it.
    replaced: Mutex<HashSet<ObjectId>>,
    /// The number of both.
    count: AtomicUsize,
    most: usize,
    /// The most references to objects outside the pack.
    most_outside: usize,
    /// Whether the references are unknown: an object could not be parsed, or there are too many.
    are_unknown: AtomicBool,
    nesting: TreePairs,
}

/// The number of sets, so that threads rarely wait for each other.
const SHARDS: usize = 16;

/// A set of referenced objects. The hasher has a random key, because the remote chooses the ids in a tree.
enum Needed {
    Sha1(HashSet<(Kind, [u8; 20])>),
    Sha256(HashSet<(Kind, [u8; 32])>),
}

/// Bytes for each recorded id, in a set that has just grown.
const EACH: usize = 3 * (size_of::<(Kind, [u8; 32])>() + 1);

impl References {
    /// The references of a pack of so many objects. `memory` bounds those to objects outside the pack, in bytes.
    pub(super) fn new(hash: HashKind, objects: usize, memory: usize) -> Self {
        let needed = || match hash {
            HashKind::Sha256 => Needed::Sha256(HashSet::new()),
            _ => Needed::Sha1(HashSet::new()),
        };
        References {
            needed: std::array::from_fn(|_| Mutex::new(needed())),
            replaced: Mutex::default(),
            count: AtomicUsize::new(0),
            most: objects.saturating_add(memory / EACH),
            most_outside: memory / EACH,
            are_unknown: AtomicBool::new(false),
            nesting: TreePairs::of(objects),
        }
    }

    fn are_unknown(&self) -> bool {
        self.are_unknown.load(Relaxed)
    }

    /// Marks the references as unknown: connectivity needs a walk.
    fn stop(&self) {
        self.are_unknown.store(true, Relaxed);
    }

    fn add(&self, kind: Kind, id: &oid) {
        // Checked for each entry, because a single tree can have any number of them.
        if self.are_unknown() {
            return;
        }
        let shard = &self.needed[usize::from(id.first_byte()) % SHARDS];
        let mut shard = lock(shard);
        let is_new = match (
            &mut *shard,
            id.as_bytes().try_into(),
            id.as_bytes().try_into(),
        ) {
            (Needed::Sha1(needed), Ok(id), _) => needed.insert((kind, id)),
            (Needed::Sha256(needed), _, Ok(id)) => needed.insert((kind, id)),
            _ => return self.stop(),
        };
        if is_new {
            self.count_one();
        }
    }

    /// Records a tree of the base that another tree replaces.
    fn add_replaced(&self, id: &oid) {
        if self.most_outside == 0 || self.are_unknown() {
            return;
        }
        if lock(&self.replaced).insert(id.to_owned()) {
            self.count_one();
        }
    }

    /// Counts a reference. If there are more distinct ones than objects in the pack plus those allowed outside,
    /// the result is unknown: that bounds the memory.
    fn count_one(&self) {
        if self.count.fetch_add(1, Relaxed) >= self.most {
            self.stop();
        }
    }

    /// The referenced objects for which `kind_of`, which knows the objects of the pack, returns `None`. Returns `None`
    /// if they are unknown. Threads that call it with the same counter share the work, each with sets of its own.
    pub(super) fn outside(
        &self,
        next: &AtomicUsize,
        kind_of: impl Fn(&oid) -> Option<Kind>,
    ) -> Option<Vec<(Kind, ObjectId)>> {
        let mut outside = Vec::new();
        let mut sort = |kind, id: &[u8]| match oid::try_from_bytes(id).map(|id| (id, kind_of(id))) {
            Ok((id, None)) if outside.len() < self.most_outside => {
                outside.push((kind, id.to_owned()));
            }
            Ok((_, Some(found))) if found == kind => {}
            _ => self.stop(),
        };
        while !self.are_unknown()
            && let Some(shard) = self.needed.get(next.fetch_add(1, Relaxed))
        {
            match &*lock(shard) {
                Needed::Sha1(needed) => needed.iter().for_each(|(kind, id)| sort(*kind, id)),
                Needed::Sha256(needed) => needed.iter().for_each(|(kind, id)| sort(*kind, id)),
            }
        }
        (!self.are_unknown()).then_some(outside)
    }

    /// The result for connectivity. `found` are the objects outside the pack, `depths` computes their depths in the
    /// pack's trees.
    pub(super) fn into_outside(
        self,
        found: Option<Vec<(Kind, ObjectId)>>,
        depths: impl FnOnce(TreePairs, &[(Kind, ObjectId)]) -> Result<Option<Depths>, Error>,
    ) -> Result<Option<Outside>, Error> {
        let Some(mut needed) = found.filter(|_| !self.are_unknown.into_inner()) else {
            return Ok(None);
        };
        needed.sort_unstable();
        Ok(Some(Outside {
            depths: depths(self.nesting, &needed)?,
            needed,
            replaced: into_inner(self.replaced),
        }))
    }
}

/// The collector of one thread. It drops repeated references before they reach the shared [`References`]: most
/// references repeat recent ones.
pub(super) struct ReferenceCollector<'a> {
    references: &'a References,
    nesting: Vec<Pair>,
    recent: Vec<Option<(Kind, ObjectId)>>,
}

/// The object that an inspected object is a delta of.
pub(super) struct BaseObject<'a> {
    pub(super) content: &'a [u8],
    pub(super) state: BaseState,
}

/// The state of a delta base.
#[derive(PartialEq, Eq)]
pub(super) enum BaseState {
    /// The base may be an object of the receiver, which nobody inspects.
    NotInspected,
    /// The base is an entry of the same pack, whose references are recorded. It may be faulty.
    Inspected,
    /// The base is an entry of the same pack in which nothing is wrong.
    Sound,
}

/// The number of recent references, a power of two.
const RECENT: usize = 1 << 14;

impl<'a> ReferenceCollector<'a> {
    pub(super) fn new(references: &'a References) -> Self {
        ReferenceCollector {
            references,
            nesting: Vec::new(),
            recent: Vec::new(),
        }
    }

    /// Marks the references as unknown, because an object is not inspected.
    pub(super) fn stop(&self) {
        self.references.stop();
    }

    /// Records the references of an object. Entries that a tree shares with its delta base were recorded with the
    /// base, if that was inspected.
    pub(super) fn note(
        &mut self,
        kind: Kind,
        id: &oid,
        content: &[u8],
        base: Option<BaseObject<'_>>,
    ) {
        if self.references.are_unknown() {
            return;
        }
        let noted = match (kind, base) {
            (Kind::Blob, _) => Some(()),
            (Kind::Tree, Some(base)) if base.state != BaseState::NotInspected => {
                self.note_entries(id, content, base.content)
            }
            (Kind::Tree, base) => {
                self.note_replaced(content, base.map_or(&[], |base| base.content), id.kind());
                self.note_entries(id, content, &[])
            }
            (Kind::Commit, _) => self.note_commit(content, id.kind()),
            (Kind::Tag, _) => self.note_tag(content, id.kind()),
        };
        // The object cannot be parsed: a walk finds the tips that need it.
        if noted.is_none() {
            self.references.stop();
        }
    }

    /// Records the references of entries of a tree that are in place of others of its base.
    pub(super) fn note_changed(&mut self, id: &oid, changed: &[(&[u8], &[u8])]) {
        if self.references.are_unknown() {
            return;
        }
        for (entry, before) in changed {
            if self.note_entries(id, entry, before).is_none() {
                self.references.stop();
            }
        }
    }

    fn need(&mut self, kind: Kind, id: &oid) {
        self.recent.resize(RECENT, None);
        let bytes = id.as_bytes();
        let at = (usize::from(bytes[0]) << 8 | usize::from(bytes[1])) % RECENT;
        let slot = &mut self.recent[at];
        if !slot.is_some_and(|(known, recent)| known == kind && recent == id) {
            *slot = Some((kind, id.to_owned()));
            self.references.add(kind, id);
        }
    }

    fn note_entries(&mut self, id: &oid, tree: &[u8], base: &[u8]) -> Option<()> {
        let noted = each_new(tree, base, id.kind(), |entry, before| {
            if let Some(kind) = kind_of(&entry) {
                self.need(kind, entry.oid);
            }
            if entry.mode.is_tree() {
                self.nesting.push([id, entry.oid].map(prefix));
            }
            self.add_replaced(before);
        });
        self.references.nesting.take_if_many(&mut self.nesting);
        noted
    }

    /// Hands over the remaining pairs. Every collector has to end with it.
    pub(super) fn finish(mut self) {
        self.references.nesting.take(&mut self.nesting);
    }

    fn note_replaced(&self, tree: &[u8], base: &[u8], format: HashKind) {
        let _ = each_new(tree, base, format, |_, before| self.add_replaced(before));
    }

    fn add_replaced(&self, before: Option<EntryRef<'_>>) {
        if let Some(before) = before.filter(|before| before.mode.is_tree()) {
            self.references.add_replaced(before.oid);
        }
    }

    fn note_commit(&mut self, commit: &[u8], format: HashKind) -> Option<()> {
        let mut parents = Vec::new();
        let tree = tree_and_parents(commit, format, &mut parents)?;
        self.need(Kind::Tree, &tree);
        for parent in parents {
            self.need(Kind::Commit, &parent);
        }
        Some(())
    }

    fn note_tag(&mut self, tag: &[u8], format: HashKind) -> Option<()> {
        let (target, kind) = tag_target(tag, format)?;
        self.need(kind, &target);
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_is_noted_than_there_are_objects() {
        let references = References::new(HashKind::Sha1, 10, 0);
        let entry = |number: u32| {
            let mut entry = b"100644 a\0".to_vec();
            entry.extend([number.to_be_bytes(); 5].concat());
            entry
        };
        let tree: Vec<_> = (0..1000).flat_map(entry).collect();
        let id = ObjectId::null(HashKind::Sha1);
        ReferenceCollector::new(&references).note(Kind::Tree, &id, &tree, None);
        assert!(references.are_unknown());
        let noted = references.needed.iter().map(|shard| match &*lock(shard) {
            Needed::Sha1(needed) => needed.len(),
            Needed::Sha256(needed) => needed.len(),
        });
        assert_eq!(noted.sum::<usize>(), 11);
    }
}
