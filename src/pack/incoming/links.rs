//! Is everything that the objects of a pack need in that pack, too?
//!
//! Then all of them are complete, and nobody has to walk from the tips to find out. It is so for a
//! first pull. After that a pack leads to what the receiver has, and only a walk can tell whether
//! that is complete (see [`closure`](crate::pack::closure)).

use std::{
    collections::HashSet,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    },
};

use gix::{
    ObjectId,
    hash::Kind as HashKind,
    objs::{Kind, tree::EntryKind},
    oid,
};

use crate::pack::{
    commits::{tag_target, tree_and_parents},
    entries::each_new,
};

/// What the objects of a pack need. Shared by the threads that look at them.
pub(super) struct Links {
    needed: [Mutex<Needed>; SHARDS],
    count: AtomicUsize,
    most: AtomicUsize,
    /// Whether some object leads out of the pack, or nowhere.
    leads_out: AtomicBool,
}

/// So that threads rarely wait for each other.
const SHARDS: usize = 16;

/// The hasher is keyed: the ids in a tree are whatever the remote likes.
enum Needed {
    Sha1(HashSet<(Kind, [u8; 20])>),
    Sha256(HashSet<(Kind, [u8; 32])>),
}

impl Links {
    pub(super) fn new(hash: HashKind) -> Self {
        let needed = || match hash {
            HashKind::Sha256 => Needed::Sha256(HashSet::new()),
            _ => Needed::Sha1(HashSet::new()),
        };
        Links {
            needed: std::array::from_fn(|_| Mutex::new(needed())),
            count: AtomicUsize::new(0),
            most: AtomicUsize::new(0),
            leads_out: AtomicBool::new(false),
        }
    }

    /// The pack has so many objects.
    pub(super) fn expect(&self, objects: usize) {
        self.most.store(objects, Relaxed);
    }

    pub(super) fn lead_out(&self) -> bool {
        self.leads_out.load(Relaxed)
    }

    /// Some object needs what isn't in the pack, or nobody has looked at what it needs.
    pub(super) fn stop(&self) {
        self.leads_out.store(true, Relaxed);
    }

    fn add(&self, kind: Kind, id: &oid) {
        // A single tree can have any number of entries.
        if self.lead_out() {
            return;
        }
        let shard = &self.needed[usize::from(id.first_byte()) % SHARDS];
        let mut shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
        let is_new = match (
            &mut *shard,
            id.as_bytes().try_into(),
            id.as_bytes().try_into(),
        ) {
            (Needed::Sha1(needed), Ok(id), _) => needed.insert((kind, id)),
            (Needed::Sha256(needed), _, Ok(id)) => needed.insert((kind, id)),
            _ => return self.stop(),
        };
        // More than there are objects can't all be among them.
        if is_new && self.count.fetch_add(1, Relaxed) >= self.most.load(Relaxed) {
            self.stop();
        }
    }

    /// Whether all that is needed is in the pack: `kind_of` knows what is. Threads that ask with the
    /// same counter share the work: each looks at what no other has taken, and is told of that.
    pub(super) fn are_within(
        &self,
        next: &AtomicUsize,
        kind_of: impl Fn(&oid) -> Option<Kind>,
    ) -> bool {
        let is_within = |kind, id: &[u8]| {
            let id = oid::try_from_bytes(id).ok();
            id.and_then(&kind_of) == Some(kind)
        };
        while !self.lead_out()
            && let Some(shard) = self.needed.get(next.fetch_add(1, Relaxed))
        {
            let are_within = match &*shard.lock().unwrap_or_else(PoisonError::into_inner) {
                Needed::Sha1(needed) => needed.iter().all(|(kind, id)| is_within(*kind, id)),
                Needed::Sha256(needed) => needed.iter().all(|(kind, id)| is_within(*kind, id)),
            };
            if !are_within {
                self.stop();
            }
        }
        !self.lead_out()
    }
}

/// One thread's way to [`Links`]: most of what it meets it has just met.
pub(super) struct Linker<'a> {
    links: &'a Links,
    recent: Vec<Option<(Kind, ObjectId)>>,
}

/// A power of two.
const RECENT: usize = 1 << 14;

impl<'a> Linker<'a> {
    pub(super) fn new(links: &'a Links) -> Self {
        Linker {
            links,
            recent: Vec::new(),
        }
    }

    /// Notes what an object needs. What the `base` of a tree needs was noted with that.
    pub(super) fn note(&mut self, kind: Kind, id: &oid, content: &[u8], base: Option<&[u8]>) {
        if self.links.lead_out() {
            return;
        }
        let noted = match kind {
            Kind::Blob => Some(()),
            Kind::Tree => self.note_entries(content, base.unwrap_or_default(), id.kind()),
            Kind::Commit => self.note_commit(content, id.kind()),
            Kind::Tag => self.note_tag(content, id.kind()),
        };
        // A walk will tell which tips need it.
        if noted.is_none() {
            self.links.stop();
        }
    }

    /// Notes what some entries of a tree need. What the others need was noted with another one.
    pub(super) fn note_changed(&mut self, entries: &[&[u8]], format: HashKind) {
        if self.links.lead_out() {
            return;
        }
        for raw in entries {
            match self.note_entries(raw, &[], format) {
                Some(()) => {}
                None => self.links.stop(),
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
            self.links.add(kind, id);
        }
    }

    fn note_entries(&mut self, tree: &[u8], base: &[u8], format: HashKind) -> Option<()> {
        each_new(tree, base, format, |entry| match entry.mode.kind() {
            EntryKind::Commit => {}
            EntryKind::Tree => self.need(Kind::Tree, entry.oid),
            EntryKind::Blob | EntryKind::BlobExecutable | EntryKind::Link => {
                self.need(Kind::Blob, entry.oid);
            }
        })
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
        let links = Links::new(HashKind::Sha1);
        links.expect(10);
        let entry = |number: u32| {
            let mut entry = b"100644 a\0".to_vec();
            entry.extend([number.to_be_bytes(); 5].concat());
            entry
        };
        let tree: Vec<_> = (0..1000).flat_map(entry).collect();
        let id = ObjectId::null(HashKind::Sha1);
        Linker::new(&links).note(Kind::Tree, &id, &tree, None);
        assert!(links.lead_out());
        let noted = links
            .needed
            .iter()
            .map(|shard| match &*shard.lock().expect("sound") {
                Needed::Sha1(needed) => needed.len(),
                Needed::Sha256(needed) => needed.len(),
            });
        assert_eq!(noted.sum::<usize>(), 11);
    }
}
