//! The entries of all trees of a pack, by pack position.
//!
//! Trees are read in the order of the pack's deltas, each once, and of each only the entries are kept that the
//! tree's delta base lacks.

use std::{
    ops::Range,
    sync::{
        OnceLock,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

use gix::{
    ObjectId,
    objs::{Kind, tree::EntryRef},
};

use super::{
    StoredPacks,
    delta_chains::{ChainError, ChainMemory, DeltaChains},
    pack_scan::{PackScan, bases_and_kinds},
};
use crate::{
    Error, Phase, SyncContext,
    object::tree_entries::{each_new, kind_of},
    pack::{name_hash::name_hash, tree_depths::tree_depths},
};

/// The memory of an object outside of the pack beside its edge, in edges.
const EDGES_OF_OUTSIDE: usize = 3;

/// Reading all trees of a pack can pay off from `MANY_COMMITS` on, if they are more than one in `MIN_SHARE`
/// of the pack's objects.
pub(crate) const MANY_COMMITS: usize = 1000;
pub(crate) const MIN_SHARE: usize = 20;

/// Whether reading all trees of the largest pack is less work than following the trees of `commits` commits.
pub(crate) fn is_worth_it(commits: usize, packs: &StoredPacks) -> bool {
    commits >= MANY_COMMITS && commits >= packs.most_objects() / MIN_SHARE
}

/// An entry of a tree, except for a submodule.
#[derive(Clone, Copy)]
pub(crate) struct TreeEdge {
    pub(crate) to: EdgeTarget,
    pub(crate) kind: Kind,
    /// The hash of the name without its path, and the length of the name, at most 16.
    pub(crate) name_hash: u32,
    pub(crate) name_length: u8,
}

/// The object that an entry of a tree names.
#[derive(Clone, Copy)]
pub(crate) enum EdgeTarget {
    /// The object at this pack position.
    InPack(u32),
    /// An object of [`EdgeList::outside`].
    Outside(u32),
}

/// The edges from the trees of a pack to their entries. The default graph has no tree.
#[derive(Default)]
pub(crate) struct TreeGraph {
    /// The pack position of each entry's base, or [`NO_BASE`].
    pub(crate) bases: Vec<u32>,
    /// The kind of each entry's object, as far as headers tell.
    pub(crate) kinds: Vec<Option<Kind>>,
    /// By pack position: the list with the edges of a tree beyond its base's, and their range there.
    read: Vec<OnceLock<(u32, Range<u32>)>>,
    lists: Vec<EdgeList>,
}

/// The edges that one thread has read.
#[derive(Default)]
pub(crate) struct EdgeList {
    edges: Vec<TreeEdge>,
    pub(crate) outside: Vec<ObjectId>,
}

impl TreeGraph {
    /// Reads the trees of a pack. `None` if a tree can't be made from its delta, or if `memory` is too small.
    pub(crate) fn read(
        scan: &PackScan<'_>,
        memory: ChainMemory,
        phase: Phase,
        context: &SyncContext,
    ) -> Result<Option<Self>, Error> {
        let (bases, kinds) = bases_and_kinds(scan.entries);
        let read: Vec<_> = (0..scan.rev_index.len()).map(|_| OnceLock::new()).collect();
        let (count, edges) = (AtomicUsize::new(0), AtomicUsize::new(0));
        // Edges have numbers of 32 bits.
        let max_edges = memory.edges.min(u32::MAX as usize) / size_of::<TreeEdge>();
        let collector = |list| EdgeCollector {
            scan,
            read: &read,
            count: &count,
            edges: &edges,
            max_edges,
            list,
            found: EdgeList::default(),
            phase,
            context,
        };
        let chains = DeltaChains {
            scan,
            bases: &bases,
            kinds: &kinds,
            memory,
            context,
        };
        match chains.visit_all(Kind::Tree, collector, EdgeCollector::visit) {
            Ok(collectors) => Ok(Some(TreeGraph {
                bases,
                kinds,
                lists: collectors
                    .into_iter()
                    .map(|collector| collector.found)
                    .collect(),
                read,
            })),
            Err(ChainError::Stopped(err)) => Err(err),
            Err(ChainError::Unreadable) => Ok(None),
        }
    }

    /// The edges of a tree beyond its base's. `None` for a tree that was not read.
    pub(crate) fn of(&self, tree: u32) -> Option<(&EdgeList, &[TreeEdge])> {
        let (list, range) = self.read.get(tree as usize)?.get()?;
        let list = &self.lists[*list as usize];
        Some((list, &list.edges[range.start as usize..range.end as usize]))
    }

    /// Whether every tree leads only to objects of the pack, of the kind that the tree says, and trees are
    /// nested no deeper than [`tree_depths()`] finds out, which git reads.
    pub(crate) fn is_self_contained(&self, context: &SyncContext) -> Result<bool, Error> {
        let is_in_pack = |edge: &TreeEdge| match edge.to {
            EdgeTarget::InPack(pack_pos) => self.kinds[pack_pos as usize] == Some(edge.kind),
            EdgeTarget::Outside(_) => false,
        };
        let mut edges = self.lists.iter().flat_map(|list| &list.edges);
        let all_are_read = (0..)
            .zip(&self.kinds)
            .all(|(pack_pos, kind)| *kind != Some(Kind::Tree) || self.of(pack_pos).is_some());
        if !all_are_read || !edges.all(is_in_pack) {
            return Ok(false);
        }
        let depths = tree_depths(&self.bases, || self.subtrees(), context)?;
        Ok(depths.is_some())
    }

    /// Each tree with each subtree of it that its base lacks.
    fn subtrees(&self) -> impl Iterator<Item = [u32; 2]> {
        let trees = (0..self.bases.len() as u32).filter_map(|tree| Some((tree, self.of(tree)?.1)));
        trees.flat_map(|(tree, edges)| {
            let subtrees = edges.iter().filter(|edge| edge.kind == Kind::Tree);
            subtrees.filter_map(move |edge| match edge.to {
                EdgeTarget::InPack(below) => Some([tree, below]),
                EdgeTarget::Outside(_) => None,
            })
        })
    }
}

/// Collects the edges of the trees that one thread visits.
struct EdgeCollector<'a> {
    scan: &'a PackScan<'a>,
    read: &'a [OnceLock<(u32, Range<u32>)>],
    count: &'a AtomicUsize,
    /// Number of edges of all threads.
    edges: &'a AtomicUsize,
    max_edges: usize,
    /// The number of the thread's list.
    list: u32,
    found: EdgeList,
    phase: Phase,
    context: &'a SyncContext,
}

impl EdgeCollector<'_> {
    fn add(&mut self, entry: &EntryRef<'_>) {
        let Some(kind) = kind_of(entry) else {
            return;
        };
        let to = match self.scan.rev_index.find(entry.oid) {
            Some(pack_pos) => EdgeTarget::InPack(pack_pos),
            None => {
                self.found.outside.push(entry.oid.to_owned());
                EdgeTarget::Outside(self.found.outside.len() as u32 - 1)
            }
        };
        self.found.edges.push(TreeEdge {
            to,
            kind,
            name_hash: name_hash(entry.filename),
            name_length: entry.filename.len().min(16) as u8,
        });
    }

    fn visit(&mut self, entry: u32, content: &[u8], base: Option<&[u8]>) -> Result<(), ChainError> {
        let count = self.count.fetch_add(1, Relaxed) as u64;
        if count.is_multiple_of(1024) {
            self.context.advance(self.phase, count, None);
        }
        let first = self.found.edges.len() as u32;
        let first_outside = self.found.outside.len();
        let format = self.scan.rev_index.index.object_hash();
        let read = match base {
            // Without its base in memory nobody knows which entries of a delta are new.
            None if !self.scan.is_whole(entry) => None,
            base => each_new(content, base.unwrap_or_default(), format, |entry, _| {
                self.add(&entry);
            }),
        };
        let outside = self.found.outside.len() - first_outside;
        let more = self.found.edges.len() - first as usize + outside * EDGES_OF_OUTSIDE;
        if self.edges.fetch_add(more, Relaxed) + more > self.max_edges {
            return Err(ChainError::Unreadable);
        }
        // A tree that can't be parsed may not be needed.
        if read.is_some() {
            let edges = first..self.found.edges.len() as u32;
            let _ = self.read[entry as usize].set((self.list, edges));
        }
        Ok(())
    }
}
