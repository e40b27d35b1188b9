//! Packs that have every object that their trees and commits lead to.

use gix::{ObjectId, objs::Kind, oid};

use super::{
    StoredPacks,
    delta_chains::{ChainError, ChainMemory, DeltaChains},
    odb::Odb,
    pack_scan::PackScan,
    tree_graph::{MANY_COMMITS, TreeGraph, is_worth_it},
};
use crate::{Error, Phase, SyncContext, object::commit::tree_and_parents};

/// Memory for each object of the pack in bytes: without the edges of trees, and with the usual number of
/// edges.
const EACH: usize = 64;
const EACH_WITH_EDGES: usize = 128;

/// The largest pack of a store, and whether it is self-contained. To find out, the checksums of all entries
/// are compared and all trees and commits read, once that pays off.
pub(crate) struct SelfContainedPack<'a> {
    odb: &'a Odb,
    packs: Option<StoredPacks>,
    was_read: bool,
    found: SelfContained,
}

/// The verdict on a pack. The default knows nothing.
#[derive(Default)]
struct SelfContained {
    /// By pack position; empty if its trees are not self-contained.
    kinds: Vec<Option<Kind>>,
    /// Whether its commits are, too.
    has_commits: bool,
}

impl<'a> SelfContainedPack<'a> {
    pub(crate) fn new(odb: &'a Odb) -> Self {
        SelfContainedPack {
            odb,
            packs: None,
            was_read: false,
            found: SelfContained::default(),
        }
    }

    /// Bytes that are held since the pack was read.
    pub(crate) fn memory(&self) -> usize {
        let packs = self.packs.as_ref().filter(|_| self.was_read);
        packs.map_or(0, |packs| packs.most_objects() * EACH)
    }

    /// The kind of a tree or commit of the pack, if everything behind it is in the pack, too.
    ///
    /// `commits` is the number of commits whose trees would be followed otherwise, as far as the caller knows: it decides
    /// whether reading the pack pays off, for which there are `memory` bytes.
    pub(crate) fn kind(
        &mut self,
        id: &oid,
        commits: usize,
        memory: usize,
        context: &SyncContext,
    ) -> Result<Option<Kind>, Error> {
        if commits < MANY_COMMITS || (self.was_read && self.found.kinds.is_empty()) {
            return Ok(None);
        }
        let packs = match &mut self.packs {
            Some(packs) => packs,
            none => none.insert(self.odb.open_packs()?),
        };
        let contents = memory / 4;
        let left = memory - contents;
        let objects = packs.most_objects();
        if !self.was_read
            && is_worth_it(commits, packs)
            && objects.saturating_mul(EACH_WITH_EDGES) <= left
        {
            self.was_read = true;
            let memory = ChainMemory {
                contents,
                largest: contents as u64,
                edges: left - objects * EACH,
            };
            self.found = read(packs, memory, context)?;
        }
        let scan = packs.scanned();
        let pack_pos = scan.and_then(|scan| scan.rev_index.find(id));
        let kind = pack_pos.and_then(|pack_pos| *self.found.kinds.get(pack_pos as usize)?);
        Ok(kind.filter(|kind| match kind {
            Kind::Tree => true,
            Kind::Commit => self.found.has_commits,
            Kind::Blob | Kind::Tag => false,
        }))
    }
}

fn read(
    packs: &StoredPacks,
    memory: ChainMemory,
    context: &SyncContext,
) -> Result<SelfContained, Error> {
    let Some(scan) = packs.scan_largest(context)? else {
        return Ok(SelfContained::default());
    };
    let Some(trees) = TreeGraph::read(&scan, memory, Phase::Verify, context)? else {
        return Ok(SelfContained::default());
    };
    let are_self_contained = trees.is_self_contained(context)?;
    let TreeGraph { bases, kinds, .. } = trees;
    let has_commits =
        are_self_contained && are_commits_self_contained(&scan, &bases, &kinds, memory, context)?;
    tracing::debug!(
        objects = scan.rev_index.len(),
        are_self_contained,
        has_commits,
        "read all trees and commits of a pack"
    );
    Ok(if are_self_contained {
        SelfContained { kinds, has_commits }
    } else {
        SelfContained::default()
    })
}

/// Whether every commit of the pack has its tree and its parents there.
fn are_commits_self_contained(
    scan: &PackScan<'_>,
    bases: &[u32],
    kinds: &[Option<Kind>],
    memory: ChainMemory,
    context: &SyncContext,
) -> Result<bool, Error> {
    let chains = DeltaChains {
        scan,
        bases,
        kinds,
        memory,
        context,
    };
    let format = scan.rev_index.index.object_hash();
    let is_in_pack = |id: &oid, kind| {
        let pack_pos = scan.rev_index.find(id);
        pack_pos.is_some_and(|pack_pos| kinds[pack_pos as usize] == Some(kind))
    };
    let visit = |parents: &mut Vec<ObjectId>, _, content: &[u8], _: Option<&[u8]>| {
        parents.clear();
        let tree = tree_and_parents(content, format, parents).ok_or(ChainError::Unreadable)?;
        let all_are_in_pack = is_in_pack(&tree, Kind::Tree)
            && parents
                .iter()
                .all(|parent| is_in_pack(parent, Kind::Commit));
        all_are_in_pack.then_some(()).ok_or(ChainError::Unreadable)
    };
    match chains.visit_all(Kind::Commit, |_| Vec::new(), visit) {
        Ok(_) => Ok(true),
        Err(ChainError::Unreadable) => Ok(false),
        Err(ChainError::Stopped(err)) => Err(err),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        SyncOptions,
        pack::tree_depths::MAX_PASSES,
        test_support::test_store::{TestStore, commit, tree},
    };

    const MEMORY: ChainMemory = ChainMemory {
        contents: 1 << 20,
        largest: 1 << 20,
        edges: 1 << 20,
    };

    /// Makes the content of an object from the ids of the two files, the newer tree and the newer commit.
    type Content = fn([ObjectId; 4]) -> Vec<u8>;

    /// Two files, two versions of a tree with them, and a commit of each, beside what is added to that.
    fn are_self_contained(add: impl FnOnce(&mut TestStore, [ObjectId; 4])) -> (bool, bool) {
        let mut store = TestStore::default();
        let [one, two] = [b"1", b"2"].map(|text| store.add(Kind::Blob, text));
        let old = tree(&[("100644", "a", one), ("100644", "b", one)]);
        let old = store.add(Kind::Tree, &old);
        let new = tree(&[("100644", "a", one), ("100644", "b", two)]);
        let new = store.add_on(old, Kind::Tree, &new);
        let first = store.add(Kind::Commit, &commit(old, &[]));
        let second = store.add_on(first, Kind::Commit, &commit(new, &[first]));
        add(&mut store, [one, two, new, second]);
        let (_dir, packs, _) = store.write();
        let context = SyncContext::new(&SyncOptions::default());
        let found = read(&packs, MEMORY, &context).expect("readable");
        (!found.kinds.is_empty(), found.has_commits)
    }

    fn nowhere() -> ObjectId {
        ObjectId::from_bytes_or_panic(&[7; 20])
    }

    #[test]
    fn a_pack_lacks_nothing_if_all_its_trees_and_commits_find_what_they_name() {
        assert_eq!(are_self_contained(|_, _| {}), (true, true));
        let with = |kind, content: Content| {
            are_self_contained(|store, made| {
                store.add(kind, &content(made));
            })
        };
        // Trees: what they name is missing, is something else, or can't be read.
        let file = |mode, id| tree(&[(mode, "x", id)]);
        let trees: [Content; 3] = [
            |_| tree(&[("100644", "x", nowhere())]),
            |[.., commit]| tree(&[("40000", "x", commit)]),
            |[one, ..]| tree(&[("100644", "", one)]),
        ];
        for content in trees {
            assert_eq!(with(Kind::Tree, content), (false, false));
        }
        // They go as deep as they may, and deeper.
        for (levels, expected) in [(MAX_PASSES - 1, true), (MAX_PASSES, false)] {
            let found = are_self_contained(|store, [_, _, new, _]| {
                let mut below = new;
                for _ in 0..levels {
                    below = store.add(Kind::Tree, &file("40000", below));
                }
            });
            assert_eq!(found, (expected, expected), "{levels}");
        }
        let commits: [Content; 5] = [
            |_| commit(nowhere(), &[]),
            |[one, ..]| commit(one, &[]),
            |[_, _, new, second]| commit(new, &[second, nowhere()]),
            |[_, _, new, _]| commit(new, &[new]),
            |_| b"tree of something\n".to_vec(),
        ];
        for content in commits {
            assert_eq!(with(Kind::Commit, content), (true, false));
        }
        // What a submodule or a tag is about may be elsewhere.
        let others: [(Kind, Content); 2] = [
            (Kind::Tree, |_| tree(&[("160000", "x", nowhere())])),
            (Kind::Tag, |_| {
                format!("object {}\ntype commit\ntag x\n", nowhere()).into_bytes()
            }),
        ];
        for (kind, content) in others {
            assert_eq!(with(kind, content), (true, true));
        }
    }

    /// No entry ends before it begins, so that the pack can't be looked at as a whole.
    #[test]
    fn no_pack_is_closed_by_a_reverse_index_that_lies() {
        let mut store = TestStore::default();
        let file = store.add(Kind::Blob, b"1");
        let tree = store.add(Kind::Tree, &tree(&[("100644", "a", file)]));
        store.add(Kind::Commit, &commit(tree, &[]));
        let (dir, _, _) = store.write();
        let packs = dir.path().join("objects/pack");
        let files = std::fs::read_dir(&packs).expect("a folder");
        let mut paths = files.map(|file| file.expect("a file").path());
        let reverse = paths.find(|path| path.extension().is_some_and(|name| name == "rev"));
        let reverse = reverse.expect("git writes one");
        let mut lie = std::fs::read(&reverse).expect("readable");
        let (first, last) = (12..16, 20..24);
        let end: [u8; 4] = lie[last.clone()].try_into().expect("a number");
        lie.copy_within(first.clone(), last.start);
        lie[first].copy_from_slice(&end);
        std::fs::remove_file(&reverse).expect("ours");
        std::fs::write(&reverse, lie).expect("written");
        let folders = [dir.path().join("objects")];
        let packs = StoredPacks::at(&folders, gix::hash::Kind::Sha1).expect("a pack");
        let context = SyncContext::new(&SyncOptions::default());
        let found = read(&packs, MEMORY, &context).expect("no failure");
        assert!(found.kinds.is_empty());
        assert!(packs.scanned().is_none());
    }

    #[test]
    fn no_version_hides_that_its_base_is_unreadable() {
        let found = are_self_contained(|store, [one, two, ..]| {
            let version = |id| tree(&[("100644", "", one), ("100644", "x", id)]);
            let base = store.add(Kind::Tree, &version(one));
            store.add_on(base, Kind::Tree, &version(two));
        });
        assert_eq!(found, (false, false));
    }
}
