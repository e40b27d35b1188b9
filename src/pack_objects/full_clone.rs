//! The trees and blobs of all commits, for a receiver that has nothing.
//!
//! Such a receiver needs nearly every tree of the largest pack, so the whole [`TreeGraph`] is read first. Then
//! the objects behind the commits are marked, the newest first. A tree of the graph leads to its own edges and
//! those of its delta base; if the base turns out not to be marked, the tree is read in full.

use std::collections::{HashMap, HashSet, VecDeque};

use gix::{ObjectId, objs::Kind};

use super::{
    NoPack,
    selection::SelectedObject,
    tree_walk::{MAX_LATEST, tree_content},
};
use crate::{
    Phase, SyncContext,
    object::tree_entries::{each_new, kind_of},
    pack::{delta_tree::NO_BASE, name_hash::name_hash},
    stored_packs::odb::Odb,
    stored_packs::{
        delta_chains::ChainMemory,
        pack_scan::PackScan,
        rev_index::RevIndex,
        tree_graph::{EdgeList, EdgeTarget, TreeEdge, TreeGraph},
    },
};

/// The trees and blobs behind `roots`, each once. `None` if the trees of the pack make no graph.
pub(super) fn find(
    odb: &Odb,
    scan: &PackScan<'_>,
    roots: &[(ObjectId, Kind)],
    context: &SyncContext,
) -> Result<Option<Vec<SelectedObject>>, NoPack> {
    let plan = context.memory_plan();
    let memory = ChainMemory {
        contents: plan.graph_contents,
        // No remote chose the objects of the store.
        largest: u64::MAX,
        edges: plan.graph_edges,
    };
    let Some(graph) = TreeGraph::read(scan, memory, Phase::Count, context)? else {
        return Ok(None);
    };
    let none = vec![false; scan.rev_index.len()];
    let (found, _) = find_beyond(odb, scan.rev_index, &graph, none, roots, context)?;
    Ok(Some(found))
}

/// The objects behind `roots` beyond those at the `marked` pack positions, and the positions that are marked
/// afterwards. The marked objects have to be closed: everything behind them is marked, too.
pub(super) fn find_beyond(
    odb: &Odb,
    rev_index: RevIndex<'_>,
    graph: &TreeGraph,
    marked: Vec<bool>,
    roots: &[(ObjectId, Kind)],
    context: &SyncContext,
) -> Result<(Vec<SelectedObject>, Vec<bool>), NoPack> {
    let mut marking = Marking {
        odb,
        rev_index,
        graph,
        context,
        is_marked: marked,
        marked_outside: HashSet::new(),
        pending: Vec::new(),
        unsettled: Vec::new(),
        latest: HashMap::new(),
        found: Vec::new(),
    };
    for (root, kind) in roots {
        marking.mark_id(*root, *kind, name_hash(b""))?;
        marking.follow()?;
    }
    marking.settle()?;
    Ok((marking.found, marking.is_marked))
}

/// A walk that marks the needed objects.
struct Marking<'a> {
    odb: &'a Odb,
    rev_index: RevIndex<'a>,
    graph: &'a TreeGraph,
    context: &'a SyncContext,
    /// By pack position.
    is_marked: Vec<bool>,
    /// Marked objects outside of the pack.
    marked_outside: HashSet<ObjectId>,
    /// Marked trees whose entries are not marked yet, with the hash of their path.
    pending: Vec<(MarkedTree, u32)>,
    /// Trees whose own edges were followed while their base was not marked, with the hash of their path.
    unsettled: Vec<(u32, u32)>,
    /// The last tree of each path that was read in full, by the hash of the path.
    latest: HashMap<u32, Vec<u8>>,
    found: Vec<SelectedObject>,
}

/// A tree of the pack by position, or another one.
enum MarkedTree {
    InPack(u32),
    Outside(ObjectId),
}

impl Marking<'_> {
    fn mark_id(&mut self, id: ObjectId, kind: Kind, name_hash: u32) -> Result<(), NoPack> {
        if let Some(pack_pos) = self.rev_index.find(&id) {
            return self.mark(pack_pos, kind, name_hash);
        }
        if self.marked_outside.insert(id) {
            self.found.push(SelectedObject::new(id, kind, name_hash));
            if kind == Kind::Tree {
                self.pending.push((MarkedTree::Outside(id), name_hash));
            }
        }
        Ok(())
    }

    fn mark(&mut self, pack_pos: u32, kind: Kind, name_hash: u32) -> Result<(), NoPack> {
        let id = || self.rev_index.id(pack_pos);
        let known = self.graph.kinds.get(pack_pos as usize).copied().flatten();
        if known.is_some_and(|known| known != kind) {
            return Err(NoPack::unfit(id()));
        }
        if !std::mem::replace(&mut self.is_marked[pack_pos as usize], true) {
            self.found.push(SelectedObject {
                id: id(),
                kind,
                name_hash,
                pack_pos: Some(pack_pos),
            });
            if kind == Kind::Tree {
                self.pending.push((MarkedTree::InPack(pack_pos), name_hash));
            }
        }
        Ok(())
    }

    fn follow(&mut self) -> Result<(), NoPack> {
        while let Some((tree, path)) = self.pending.pop() {
            self.context.check()?;
            match tree {
                MarkedTree::Outside(id) => self.read_in_full(id, path)?,
                MarkedTree::InPack(pack_pos) => match self.graph.of(pack_pos) {
                    Some((list, edges)) => {
                        self.follow_edges(list, edges, path)?;
                        let base = self.graph.bases[pack_pos as usize];
                        if base != NO_BASE && !self.is_marked[base as usize] {
                            self.unsettled.push((pack_pos, path));
                        }
                    }
                    None => self.read_in_full(self.rev_index.id(pack_pos), path)?,
                },
            }
        }
        Ok(())
    }

    fn follow_edges(
        &mut self,
        list: &EdgeList,
        edges: &[TreeEdge],
        path: u32,
    ) -> Result<(), NoPack> {
        for edge in edges {
            let hash = path_hash(path, edge.name_hash, edge.name_length);
            match edge.to {
                EdgeTarget::InPack(pack_pos) => self.mark(pack_pos, edge.kind, hash)?,
                EdgeTarget::Outside(at) => {
                    self.mark_id(list.outside[at as usize], edge.kind, hash)?;
                }
            }
        }
        Ok(())
    }

    /// Reads the trees in full whose base was not marked in the end.
    fn settle(&mut self) -> Result<(), NoPack> {
        let mut unsettled = VecDeque::from(std::mem::take(&mut self.unsettled));
        while let Some((pack_pos, path)) = unsettled.pop_front() {
            self.context.check()?;
            let base = self.graph.bases[pack_pos as usize];
            if !self.is_marked[base as usize] {
                self.read_in_full(self.rev_index.id(pack_pos), path)?;
                self.follow()?;
                unsettled.extend(self.unsettled.drain(..));
            }
        }
        Ok(())
    }

    fn read_in_full(&mut self, tree: ObjectId, path: u32) -> Result<(), NoPack> {
        let content = tree_content(self.odb, &tree)?;
        let mut entries = Vec::new();
        // The entries of that one are marked.
        let latest = self.latest.remove(&path).unwrap_or_default();
        each_new(&content, &latest, tree.kind(), |entry, _| {
            let Some(kind) = kind_of(&entry) else {
                return;
            };
            let length = entry.filename.len().min(16) as u8;
            let hash = path_hash(path, name_hash(entry.filename), length);
            entries.push((entry.oid.to_owned(), kind, hash));
        })
        .ok_or_else(|| NoPack::unreadable(tree))?;
        for (id, kind, hash) in entries {
            self.mark_id(id, kind, hash)?;
        }
        if self.latest.len() < MAX_LATEST {
            self.latest.insert(path, content);
        }
        Ok(())
    }
}

/// The hash of a path from the hashes of its folder and its name. Only the last 16 characters count, the last
/// ones most (see [`name_hash()`]).
fn path_hash(folder: u32, name_hash: u32, name_length: u8) -> u32 {
    let shift = 2 * u32::from(name_length);
    name_hash.wrapping_add(folder.checked_shr(shift).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        SyncOptions,
        test_support::test_store::{TestStore, tree},
    };

    #[test]
    fn a_tree_with_an_entry_that_cannot_be_read_is_at_fault_itself_and_in_its_versions() {
        let mut store = TestStore::default();
        let [one, two] = [b"1", b"2"].map(|text| store.add(Kind::Blob, text));
        let mut versions = |name| {
            let version = |id| tree(&[("100644", name, one), ("100644", "x", id)]);
            let base = store.add(Kind::Tree, &version(one));
            [base, store.add_on(base, Kind::Tree, &version(two))]
        };
        let ([base, version], [bad_base, bad_version]) = (versions("a"), versions(""));
        let (_dir, packs, odb) = store.write();
        let context = SyncContext::new(&SyncOptions::default());
        let scan = packs
            .scan_largest(&context)
            .expect("readable")
            .expect("a pack");
        let table = [
            (vec![version], Some(3)),
            (vec![base], Some(2)),
            (vec![version, base], Some(4)),
            (vec![bad_version], None),
            (vec![bad_base], None),
            (vec![bad_version, bad_base], None),
            (vec![bad_base, bad_version], None),
            (vec![version, bad_version], None),
        ];
        for (wanted, expected) in table {
            let roots: Vec<_> = wanted.iter().map(|tree| (*tree, Kind::Tree)).collect();
            let found = match find(&odb, &scan, &roots, &context) {
                Ok(found) => Some(found.expect("read in full").len()),
                Err(NoPack::Fault(fault)) => {
                    assert!(fault.detail.contains("can't be read"), "{}", fault.detail);
                    None
                }
                Err(NoPack::Failed(err)) => panic!("{err}"),
            };
            assert_eq!(found, expected, "{wanted:?}");
        }
    }
}
