//! Which objects the commits of a [`Frontier`] brought in.
//!
//! Each commit's tree is read side by side with those of its parents, and what is the same under the
//! same path in any of them is passed over: a parent is either the receiver's, with everything in
//! it, or it is sent, and then its own turn deals with it. So a tree may have to be read against
//! several others (a revert brings back what an older commit had), and only a tree that was read
//! against the same ones is done with.
//!
//! Newest first: packs keep the newest version of a tree whole and the older ones as deltas of it,
//! so each step back is one delta to apply.

use gix::{
    ObjectId,
    hashtable::{HashMap, HashSet},
    objs::{CommitRefIter, Find, Kind, tree::EntryKind},
};

use super::{Fault, frontier::Frontier, search::name_hash};
use crate::{
    Error, Phase, Run,
    pack::entries::{Entries, decode, is_readable},
};

/// How many of a merge's parents are compared with. The rest would spare little.
const MAX_COMPARED: usize = 8;

/// How many of the receiver's commits and trees are read to find what they share with what is new.
const MAX_KNOWN_COMMITS: usize = 256;
const MAX_KNOWN_TREES: usize = 4096;

/// An object of the pack, or one that the receiver has and a delta can build on.
#[derive(Clone, Copy)]
pub(super) struct Selected {
    pub(super) id: ObjectId,
    pub(super) kind: Kind,
    /// Groups the versions of a file.
    pub(super) name_hash: u32,
}

#[derive(Default)]
pub(super) struct Selection {
    /// To send, each once: tags, commits, then trees and blobs, the newest first.
    pub(super) objects: Vec<Selected>,
    /// The receiver has these: other versions of what is sent.
    pub(super) bases: Vec<Selected>,
}

pub(super) fn select(
    odb: &gix::odb::Handle,
    frontier: &Frontier,
    run: &Run,
) -> Result<Result<Selection, Fault>, Error> {
    let selector = Selector {
        odb,
        run,
        sent: HashSet::default(),
        others: HashMap::default(),
        read: HashMap::default(),
        selection: Selection::default(),
        has_boundary: false,
        pending: Vec::new(),
    };
    selector.go_through(frontier)
}

struct Selector<'a> {
    odb: &'a gix::odb::Handle,
    run: &'a Run,
    sent: HashSet<ObjectId>,
    /// Other versions of what is sent: sent themselves, or the receiver's.
    others: HashMap<ObjectId, (Kind, u32)>,
    /// Trees that were read, and against which ones.
    read: HashMap<ObjectId, Vec<Vec<ObjectId>>>,
    selection: Selection,
    /// Whether the receiver has anything at all.
    has_boundary: bool,
    pending: Vec<Pending>,
}

/// A tree to read, against other versions of it.
struct Pending {
    tree: ObjectId,
    path: Vec<u8>,
    others: Vec<ObjectId>,
}

impl Selector<'_> {
    fn go_through(mut self, frontier: &Frontier) -> Result<Result<Selection, Fault>, Error> {
        let boundary = boundary(frontier);
        self.has_boundary = !boundary.is_empty();
        for tag in &frontier.tags {
            self.send(*tag, Kind::Tag, 0);
        }
        for (commit, _) in &frontier.commits {
            self.send(*commit, Kind::Commit, 0);
        }
        for (id, kind) in &frontier.others {
            if *kind == Kind::Tree {
                self.pend(*id, &[], Vec::new());
            }
            self.send(*id, *kind, 0);
        }
        if let Err(fault) = self.read_pending()? {
            return Ok(Err(fault));
        }
        for (commit, parents) in &frontier.commits {
            let Some(tree) = self.tree_of(commit) else {
                return Ok(Err(Fault::unreadable(*commit)));
            };
            let compared = parents.iter().take(MAX_COMPARED);
            let others: Vec<_> = compared.filter_map(|parent| self.tree_of(parent)).collect();
            if !others.contains(&tree) {
                self.note_others(&others, Kind::Tree, name_hash(b""));
                self.send(tree, Kind::Tree, name_hash(b""));
                self.pend(tree, &[], others);
            }
            if let Err(fault) = self.read_pending()? {
                return Ok(Err(fault));
            }
        }
        self.leave_out_what_is_shared(boundary.iter().chain(&frontier.known))?;
        let sent = &self.sent;
        let others = self.others.into_iter();
        self.selection.bases = others
            .filter(|(id, _)| !sent.contains(id))
            .map(|(id, (kind, name_hash))| Selected {
                id,
                kind,
                name_hash,
            })
            .collect();
        self.selection.bases.sort_unstable_by_key(|base| base.id);
        Ok(Ok(self.selection))
    }

    fn read_pending(&mut self) -> Result<Result<(), Fault>, Error> {
        while let Some(pending) = self.pending.pop() {
            self.run.check()?;
            if let Err(fault) = self.read(pending) {
                return Ok(Err(fault));
            }
        }
        Ok(Ok(()))
    }

    fn send(&mut self, id: ObjectId, kind: Kind, name_hash: u32) {
        if self.sent.insert(id) {
            self.selection.objects.push(Selected {
                id,
                kind,
                name_hash,
            });
            let count = self.selection.objects.len() as u64;
            if count.is_multiple_of(1024) {
                self.run.advance(Phase::Count, count, None);
            }
        }
    }

    fn note_others(&mut self, others: &[ObjectId], kind: Kind, name_hash: u32) {
        if self.has_boundary {
            for other in others {
                self.others.entry(*other).or_insert((kind, name_hash));
            }
        }
    }

    fn pend(&mut self, tree: ObjectId, path: &[u8], others: Vec<ObjectId>) {
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

    fn read(&mut self, pending: Pending) -> Result<(), Fault> {
        let Pending {
            tree,
            mut path,
            others,
        } = pending;
        let format = tree.kind();
        let data = self.read_tree(&tree)?;
        // What can't be read of the others can't be compared with.
        let others: Vec<_> = others
            .iter()
            .filter_map(|other| self.read_tree(other).ok())
            .collect();
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
            let raw = entries.next_raw().ok_or_else(|| Fault::unreadable(tree))?;
            if others.iter_mut().any(|other| other.skip(raw)) {
                continue;
            }
            let entry = decode(raw, format)
                .filter(|entry| is_readable(raw, entry))
                .ok_or_else(|| Fault::unreadable(tree))?;
            let kind = match entry.mode.kind() {
                EntryKind::Commit => continue,
                EntryKind::Tree => Kind::Tree,
                EntryKind::Blob | EntryKind::BlobExecutable | EntryKind::Link => Kind::Blob,
            };
            let same_name = others
                .iter_mut()
                .filter_map(|other| other.advance_to(&entry));
            let versions: Vec<_> = same_name
                .filter(|other| match kind {
                    Kind::Tree => other.mode.is_tree(),
                    _ => other.mode.is_blob_or_symlink(),
                })
                .map(|other| other.oid.to_owned())
                .collect();
            if versions.iter().any(|other| **other == *entry.oid) {
                continue;
            }
            path.truncate(directory);
            path.extend_from_slice(entry.filename);
            let name_hash = name_hash(&path);
            let id = entry.oid.to_owned();
            self.note_others(&versions, kind, name_hash);
            self.send(id, kind, name_hash);
            if kind == Kind::Tree {
                path.push(b'/');
                self.pend(id, &path, versions);
            }
        }
        Ok(())
    }

    /// Takes out what lies in the same directory in one of the `known` commits, which the receiver
    /// has: what was reverted, or picked from another branch.
    fn leave_out_what_is_shared<'c>(
        &mut self,
        known: impl Iterator<Item = &'c ObjectId>,
    ) -> Result<(), Error> {
        let directories = self.directories();
        let mut shared = HashSet::default();
        let mut seen = HashSet::default();
        let known = known.take(MAX_KNOWN_COMMITS);
        let trees = known.filter_map(|commit| self.tree_of(commit));
        let mut pending: Vec<_> = trees.map(|tree| (tree, Vec::new())).collect();
        pending.reverse();
        let mut budget = MAX_KNOWN_TREES;
        while let Some((tree, mut path)) = pending.pop() {
            self.run.check()?;
            if !seen.insert(tree) {
                continue;
            }
            if budget == 0 {
                break;
            }
            budget -= 1;
            if self.sent.contains(&tree) {
                shared.insert(tree);
            }
            let Ok(data) = self.read_tree(&tree) else {
                continue;
            };
            let mut entries = Entries {
                rest: &data,
                format: tree.kind(),
            };
            let directory = path.len();
            while let Some(entry) = entries.next_raw().and_then(|raw| decode(raw, tree.kind())) {
                let is_shared = self.sent.contains(entry.oid) && !entry.mode.is_commit();
                if is_shared {
                    shared.insert(entry.oid.to_owned());
                }
                if entry.mode.is_tree() {
                    path.truncate(directory);
                    path.extend_from_slice(entry.filename);
                    if is_shared || directories.contains(&name_hash(&path)) {
                        pending.push((entry.oid.to_owned(), [&path, &b"/"[..]].concat()));
                    }
                }
            }
        }
        for id in &shared {
            self.sent.remove(id);
        }
        let (left_out, objects) = std::mem::take(&mut self.selection.objects)
            .into_iter()
            .partition(|object| shared.contains(&object.id));
        self.selection.objects = objects;
        let left_out: Vec<Selected> = left_out;
        for base in left_out {
            self.others.insert(base.id, (base.kind, base.name_hash));
        }
        Ok(())
    }

    /// The directories in which something is sent, going by the hash of their path.
    fn directories(&self) -> std::collections::HashSet<u32> {
        let trees = self
            .selection
            .objects
            .iter()
            .filter(|object| object.kind == Kind::Tree);
        trees.map(|tree| tree.name_hash).collect()
    }

    fn tree_of(&self, commit: &ObjectId) -> Option<ObjectId> {
        let mut buffer = Vec::new();
        let object = self.odb.try_find(commit, &mut buffer).ok()??;
        CommitRefIter::from_bytes(object.data, commit.kind())
            .tree_id()
            .ok()
    }

    fn read_tree(&self, id: &ObjectId) -> Result<Vec<u8>, Fault> {
        let mut buffer = Vec::new();
        match self.odb.try_find(id, &mut buffer) {
            Ok(Some(object)) if object.kind == Kind::Tree => {}
            Ok(Some(_)) => return Err(Fault::new(*id, "is not the tree that it should be")),
            Ok(None) => return Err(Fault::missing(*id)),
            Err(_) => return Err(Fault::unreadable(*id)),
        }
        Ok(buffer)
    }
}

/// The parents that the receiver has, those of the newest commits first.
fn boundary(frontier: &Frontier) -> Vec<ObjectId> {
    let mut seen: HashSet<_> = frontier.commits.iter().map(|(id, _)| *id).collect();
    let parents = frontier.commits.iter().flat_map(|(_, parents)| parents);
    parents
        .copied()
        .filter(|parent| seen.insert(*parent))
        .collect()
}
