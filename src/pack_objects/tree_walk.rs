//! What is in a tree and not in other versions of it.
//!
//! Each commit's tree is read side by side with those of its parents, and what is the same under the
//! same path in any of them is passed over: a parent is either the receiver's, with everything in
//! it, or it is sent, and then its own turn deals with it. So a tree may have to be read against
//! several others (a revert brings back what an older commit had), and only a tree that was read
//! against the same ones is done with.
//!
//! Where the receiver has nothing, everything is sent, and each tree is read just once: against the
//! version under the same path that was read before it, because what that one has was dealt with.
//!
//! Newest first: packs keep the newest version of a tree whole and the older ones as deltas of it,
//! so each step back is one delta to apply.

use std::{
    collections::{HashMap, HashSet},
    path::PathBuf,
    sync::Arc,
};

use gix::{
    ObjectId,
    objs::{Find, Kind},
};

use gix_pack::cache::lru;

use super::{NoPack, object_selection::Selected, tree_cache::TreeTexts};
use crate::{
    Phase, SyncContext,
    object::tree_entries::{Entries, decode, is_readable, kind_of},
    pack::name_hash::name_hash,
    stored_packs::loose_objects::{LooseObjects, built_in},
    stored_packs::odb::Odb,
};

/// How many paths have their last version kept.
pub(super) const MAX_LATEST: usize = 4096;

pub(super) struct TreeWalk<'a> {
    odb: Odb,
    loose: LooseObjects,
    run: &'a SyncContext,
    /// Whether the receiver has anything that a delta could build on.
    has_boundary: bool,
    sent: HashSet<ObjectId>,
    /// Trees that were read, and against which ones.
    read: HashMap<ObjectId, Vec<Vec<ObjectId>>>,
    pending: Vec<Pending>,
    /// The last version read of each path, where the receiver has nothing.
    latest: HashMap<Vec<u8>, Arc<[u8]>>,
    /// On the way from the newest to the oldest. No tree is read twice where the receiver has nothing.
    pub(super) texts: TreeTexts,
    pub(super) found: Found,
}

#[derive(Default)]
pub(super) struct Found {
    /// In the order in which they were met, each once.
    pub(super) objects: Vec<Selected>,
    /// Other versions of these: sent themselves, or the receiver's.
    pub(super) others: HashMap<ObjectId, (Kind, u32)>,
}

/// A tree to read, against other versions of it.
struct Pending {
    tree: ObjectId,
    path: Vec<u8>,
    others: Vec<ObjectId>,
}

impl<'a> TreeWalk<'a> {
    /// `folders` are those of the store's objects.
    pub(super) fn new(
        mut odb: Odb,
        folders: &[PathBuf],
        has_boundary: bool,
        run: &'a SyncContext,
    ) -> Self {
        let delta_bases = usize::try_from(run.limits().memory / 4).unwrap_or(usize::MAX);
        odb.set_pack_cache(move || Box::new(lru::MemoryCappedHashmap::new(delta_bases)));
        TreeWalk {
            odb,
            loose: LooseObjects::at(folders),
            run,
            has_boundary,
            sent: HashSet::new(),
            read: HashMap::new(),
            pending: Vec::new(),
            latest: HashMap::new(),
            texts: TreeTexts::default(),
            found: Found::default(),
        }
    }

    /// A tree or a blob that is wanted for itself.
    pub(super) fn read_wanted(&mut self, id: ObjectId, kind: Kind) -> Result<(), NoPack> {
        match kind {
            Kind::Tree => self.read_root(id, Vec::new()),
            _ => {
                self.send(id, kind, 0);
                Ok(())
            }
        }
    }

    /// The tree of a commit whose parents have the `others`.
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
            self.run.check()?;
            self.read(pending)?;
        }
        Ok(())
    }

    fn send(&mut self, id: ObjectId, kind: Kind, name_hash: u32) {
        if self.sent.insert(id) {
            self.found.objects.push(Selected {
                id,
                kind,
                name_hash,
                place: None,
            });
            let count = self.found.objects.len() as u64;
            if count.is_multiple_of(1024) {
                self.run.advance(Phase::Count, count, None);
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
        let before = self.read.entry(tree).or_default();
        // Read against nothing it was read in full.
        if before.iter().any(|seen| seen.is_empty() || *seen == others) {
            return;
        }
        before.push(others.clone());
        self.pending.push(Pending {
            tree,
            path: path.to_owned(),
            others,
        });
    }

    fn read(&mut self, pending: Pending) -> Result<(), NoPack> {
        let Pending {
            tree,
            mut path,
            others,
        } = pending;
        let format = tree.kind();
        let data = self.content(&tree)?;
        // What can't be read of the others can't be compared with.
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
            let entry = decode(raw, format)
                .filter(|entry| is_readable(raw, entry))
                .ok_or_else(|| NoPack::unreadable(tree))?;
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
        if let Some(text) = self.texts.get(tree) {
            return Ok(Arc::clone(text));
        }
        let mut buffer = Vec::new();
        // What was committed last is loose, and there may be much of it.
        let text: Arc<[u8]> = match self.loose.read_sound(tree, &mut buffer) {
            Some(Kind::Tree) => buffer.into(),
            Some(_) | None => tree_content(&self.odb, tree)?.into(),
        };
        if self.has_boundary {
            self.texts.keep(*tree, &text);
        }
        Ok(text)
    }
}

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
