//! What is in the trees of all commits, where the receiver has nothing.
//!
//! Nearly every tree of the largest pack is needed then. They are read in the order of its deltas,
//! each once, and of each only what it has and the tree that it is a delta of hasn't. Then what is
//! behind the commits is marked, newest first: a tree whose base is marked, too, leads to that and
//! to its own entries. Should the base turn out not to be needed, the tree is read in full.

use std::collections::{HashMap, HashSet, VecDeque};

use gix::{ObjectId, objs::Kind};

use super::{
    NoPack,
    object_selection::Selected,
    tree_walk::{MAX_LATEST, tree_content},
};
use crate::{
    Phase, SyncContext,
    object::tree_entries::{each_new, kind_of},
    pack::{name_hash::name_hash, resolve::NO_BASE},
    stored_packs::odb::Odb,
    stored_packs::{
        rev_index::{PackOrder, Survey},
        tree_graph::{Link, Memory, OWN, Read, Target, TreeLinks},
    },
};

/// The trees and blobs behind `roots`, each once. `None` if some tree in the pack can't be read that
/// way, wherever it is needed.
pub(super) fn find(
    odb: &Odb,
    survey: &Survey<'_>,
    roots: &[(ObjectId, Kind)],
    run: &SyncContext,
) -> Result<Option<Vec<Selected>>, NoPack> {
    let memory = Memory {
        links: run.limits().memory,
        ..OWN
    };
    let Some(links) = TreeLinks::read(survey, &memory, Phase::Count, run)? else {
        return Ok(None);
    };
    let none = vec![false; survey.order.len()];
    let (found, _) = find_beyond(odb, survey.order, &links, none, roots, run)?;
    Ok(Some(found))
}

/// What is behind `roots` beyond the objects at the places that are `marked`, which have everything
/// behind them among them; and the places that are marked then.
pub(super) fn find_beyond(
    odb: &Odb,
    order: PackOrder<'_>,
    links: &TreeLinks,
    marked: Vec<bool>,
    roots: &[(ObjectId, Kind)],
    run: &SyncContext,
) -> Result<(Vec<Selected>, Vec<bool>), NoPack> {
    let mut marking = Marking {
        odb,
        order,
        links,
        run,
        is_marked: marked,
        marked_elsewhere: HashSet::new(),
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

/// What is needed is marked, and what it needs after it.
struct Marking<'a> {
    odb: &'a Odb,
    order: PackOrder<'a>,
    links: &'a TreeLinks,
    run: &'a SyncContext,
    is_marked: Vec<bool>,
    marked_elsewhere: HashSet<ObjectId>,
    /// Trees that are marked and not followed yet, with the hash of their path.
    pending: Vec<(Tree, u32)>,
    /// Trees whose own entries were followed, and whose base was not marked by then.
    unsettled: Vec<(u32, u32)>,
    /// The last tree of each path that was read in full.
    latest: HashMap<u32, Vec<u8>>,
    found: Vec<Selected>,
}

enum Tree {
    Here(u32),
    Elsewhere(ObjectId),
}

impl Marking<'_> {
    fn mark_id(&mut self, id: ObjectId, kind: Kind, name_hash: u32) -> Result<(), NoPack> {
        if let Some(place) = self.order.find(&id) {
            return self.mark(place, kind, name_hash);
        }
        if self.marked_elsewhere.insert(id) {
            self.found.push(Selected {
                id,
                kind,
                name_hash,
                place: None,
            });
            if kind == Kind::Tree {
                self.pending.push((Tree::Elsewhere(id), name_hash));
            }
        }
        Ok(())
    }

    fn mark(&mut self, place: u32, kind: Kind, name_hash: u32) -> Result<(), NoPack> {
        let id = || self.order.id(place);
        let known = self.links.kinds.get(place as usize).copied().flatten();
        if known.is_some_and(|known| known != kind) {
            return Err(NoPack::unfit(id()));
        }
        if !std::mem::replace(&mut self.is_marked[place as usize], true) {
            self.found.push(Selected {
                id: id(),
                kind,
                name_hash,
                place: Some(place),
            });
            if kind == Kind::Tree {
                self.pending.push((Tree::Here(place), name_hash));
            }
        }
        Ok(())
    }

    fn follow(&mut self) -> Result<(), NoPack> {
        while let Some((tree, path)) = self.pending.pop() {
            self.run.check()?;
            match tree {
                Tree::Elsewhere(id) => self.read_in_full(id, path)?,
                Tree::Here(place) => match self.links.of(place) {
                    Some((read, links)) => {
                        self.follow_links(read, links, path)?;
                        let base = self.links.bases[place as usize];
                        if base != NO_BASE && !self.is_marked[base as usize] {
                            self.unsettled.push((place, path));
                        }
                    }
                    None => self.read_in_full(self.order.id(place), path)?,
                },
            }
        }
        Ok(())
    }

    fn follow_links(&mut self, read: &Read, links: &[Link], path: u32) -> Result<(), NoPack> {
        for link in links {
            let hash = path_hash(path, link.name_hash, link.name_length);
            match link.to {
                Target::Here(place) => self.mark(place, link.kind, hash)?,
                Target::Elsewhere(at) => {
                    self.mark_id(read.elsewhere[at as usize], link.kind, hash)?;
                }
            }
        }
        Ok(())
    }

    fn settle(&mut self) -> Result<(), NoPack> {
        let mut unsettled = VecDeque::from(std::mem::take(&mut self.unsettled));
        while let Some((place, path)) = unsettled.pop_front() {
            let base = self.links.bases[place as usize];
            if !self.is_marked[base as usize] {
                self.read_in_full(self.order.id(place), path)?;
                self.follow()?;
                unsettled.extend(self.unsettled.drain(..));
            }
        }
        Ok(())
    }

    fn read_in_full(&mut self, tree: ObjectId, path: u32) -> Result<(), NoPack> {
        let content = tree_content(self.odb, &tree)?;
        let mut entries = Vec::new();
        // What that one has was marked.
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

/// The hash of a path by that of its folder's: only the last 16 characters count, the last ones
/// most (see [`name_hash()`]).
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
        let run = SyncContext::new(&SyncOptions::default());
        let survey = packs
            .survey_largest(&run)
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
            let found = match find(&odb, &survey, &roots, &run) {
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
