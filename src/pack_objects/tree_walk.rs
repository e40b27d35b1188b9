//! The objects of a tree that other versions of the tree lack.
//!
//! The tree of a commit is read side by side with those of its parents, and entries that any of them has under
//! the same path are passed over: a parent is either the receiver's, with everything in it, or it is sent, and
//! its own visit selects the entry. So a tree may have to be read against several sets of versions (a revert
//! brings back what an older commit had), and only a tree that was read against the same set is done.
//!
//! Each tree is read once if the receiver has nothing: against the version under the same path that was read
//! before it, whose entries were all selected.
//!
//! Newest first: packs keep the newest version of a tree whole and the older ones as deltas of it,
//! so each step back is one delta to apply.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use gix::{
    ObjectId,
    objs::{Find, Kind},
};

use super::{NoPack, selection::SelectedObject, tree_cache::TreeCache};
use crate::{
    Phase, SyncContext,
    object::tree_entries::{Entries, decode, kind_of},
    pack::name_hash::name_hash,
    stored_packs::loose_objects::{LooseObjects, built_in},
    stored_packs::odb::Odb,
};

/// Number of paths whose last version is kept.
pub(super) const MAX_LATEST: usize = 4096;

/// A walk over the trees of commits.
pub(super) struct TreeWalk<'a> {
    odb: Odb,
    loose: LooseObjects,
    context: &'a SyncContext,
    /// Whether the receiver has anything that a delta could build on.
    has_boundary: bool,
    sent: HashSet<ObjectId>,
    /// Trees that were read, each with the versions that it was read against. There may be as many sets of versions of one
    /// tree as there are commits.
    read: HashSet<(ObjectId, Vec<ObjectId>)>,
    pending: Vec<PendingTree>,
    /// The last version of each path. Empty where the receiver has something.
    latest: HashMap<Vec<u8>, Arc<[u8]>>,
    /// Empty where the receiver has nothing: no tree is read twice there.
    pub(super) cache: TreeCache,
    pub(super) found: WalkedObjects,
}

/// The objects that a walk has selected.
#[derive(Default)]
pub(super) struct WalkedObjects {
    /// Each object once, in the order of the walk.
    pub(super) objects: Vec<SelectedObject>,
    /// Other versions of these, sent or the receiver's, with their kind and name hash.
    pub(super) others: HashMap<ObjectId, (Kind, u32)>,
}

/// A tree to read against other versions of it.
struct PendingTree {
    tree: ObjectId,
    path: Vec<u8>,
    others: Vec<ObjectId>,
}

impl<'a> TreeWalk<'a> {
    /// One of `threads` walks.
    pub(super) fn new(
        odb: &Odb,
        has_boundary: bool,
        threads: usize,
        context: &'a SyncContext,
    ) -> Self {
        let plan = context.memory_plan();
        TreeWalk {
            odb: odb.with_delta_bases(plan.tree_walks / threads),
            loose: odb.loose_objects(),
            context,
            has_boundary,
            sent: HashSet::new(),
            read: HashSet::new(),
            pending: Vec::new(),
            latest: HashMap::new(),
            cache: TreeCache::new(plan.recent_trees / threads),
            found: WalkedObjects::default(),
        }
    }

    /// Reads a wanted tree, or selects a wanted blob.
    pub(super) fn read_wanted(&mut self, id: ObjectId, kind: Kind) -> Result<(), NoPack> {
        if kind == Kind::Tree {
            return self.read_root(id, Vec::new());
        }
        self.send(id, kind, 0);
        Ok(())
    }

    /// Reads the tree of a commit whose parents have the trees `others`.
    pub(super) fn read_root(
        &mut self,
        tree: ObjectId,
        others: Vec<ObjectId>,
    ) -> Result<(), NoPack> {
        if others.contains(&tree) {
            return Ok(());
        }
        let root = name_hash(b"");
        self.note_others(&others, Kind::Tree, root);
        self.send(tree, Kind::Tree, root);
        self.pend(tree, &[], others);
        while let Some(pending) = self.pending.pop() {
            self.context.check()?;
            self.read(pending)?;
        }
        Ok(())
    }

    fn send(&mut self, id: ObjectId, kind: Kind, name_hash: u32) {
        if self.sent.insert(id) {
            self.found
                .objects
                .push(SelectedObject::new(id, kind, name_hash));
            let count = self.found.objects.len() as u64;
            if count.is_multiple_of(1024) {
                self.context.advance(Phase::Count, count, None);
            }
        }
    }

    fn note_others(&mut self, others: &[ObjectId], kind: Kind, name_hash: u32) {
        if self.has_boundary {
            for other in others {
                self.found.others.entry(*other).or_insert((kind, name_hash));
            }
        }
    }

    fn pend(&mut self, tree: ObjectId, path: &[u8], mut others: Vec<ObjectId>) {
        if !self.has_boundary {
            others.clear();
        }
        // A tree that was read against nothing was read in full.
        if self.read.contains(&(tree, Vec::new())) || !self.read.insert((tree, others.clone())) {
            return;
        }
        self.pending.push(PendingTree {
            tree,
            path: path.to_owned(),
            others,
        });
    }

    fn read(&mut self, pending: PendingTree) -> Result<(), NoPack> {
        let PendingTree {
            tree,
            mut path,
            others,
        } = pending;
        let format = tree.kind();
        let data = self.content(&tree)?;
        // A version that can't be read is no version to compare with.
        let read = others.iter();
        let read = read.filter_map(|other| self.content(other).ok());
        let mut others: Vec<_> = read.collect();
        others.extend(self.latest.remove(&path));
        let mut others: Vec<_> = others
            .iter()
            .map(|data| Entries { rest: data, format })
            .collect();
        let mut entries = Entries {
            rest: &data,
            format,
        };
        let directory = path.len();
        while !entries.rest.is_empty() {
            let raw = entries.next_raw().ok_or_else(|| NoPack::unreadable(tree))?;
            if others.iter_mut().any(|other| other.skip(raw)) {
                continue;
            }
            let entry = decode(raw, format).ok_or_else(|| NoPack::unreadable(tree))?;
            let Some(kind) = kind_of(&entry) else {
                continue;
            };
            let same_name = others
                .iter_mut()
                .filter_map(|other| other.advance_to(&entry));
            let versions = same_name.filter(|other| kind_of(other) == Some(kind));
            let versions: Vec<_> = versions.map(|other| other.oid.to_owned()).collect();
            let id = entry.oid.to_owned();
            if versions.contains(&id) {
                continue;
            }
            path.truncate(directory);
            path.extend_from_slice(entry.filename);
            let name_hash = name_hash(&path);
            self.note_others(&versions, kind, name_hash);
            self.send(id, kind, name_hash);
            if kind == Kind::Tree {
                path.push(b'/');
                self.pend(id, &path, versions);
            }
        }
        if !self.has_boundary && self.latest.len() < MAX_LATEST {
            path.truncate(directory);
            self.latest.insert(path, data);
        }
        Ok(())
    }

    fn content(&mut self, tree: &ObjectId) -> Result<Arc<[u8]>, NoPack> {
        if let Some(content) = self.cache.get(tree) {
            return Ok(Arc::clone(content));
        }
        let mut buffer = Vec::new();
        // The newest trees are loose, and there may be many of them.
        let content: Arc<[u8]> = match self.loose.read_sound(tree, &mut buffer) {
            Some(Kind::Tree) => buffer.into(),
            Some(_) | None => tree_content(&self.odb, tree)?.into(),
        };
        if self.has_boundary {
            self.cache.keep(*tree, &content);
        }
        Ok(content)
    }
}

/// The content of a tree.
pub(super) fn tree_content(odb: &Odb, id: &ObjectId) -> Result<Vec<u8>, NoPack> {
    let mut buffer = Vec::new();
    match odb.try_find(id, &mut buffer) {
        Ok(Some(object)) if object.kind == Kind::Tree => Ok(buffer),
        Ok(Some(_)) => Err(NoPack::unfit(*id)),
        Ok(None) if built_in(id).is_some() => Ok(Vec::new()),
        Ok(None) => Err(NoPack::missing(*id)),
        Err(_) => Err(NoPack::unreadable(*id)),
    }
}
