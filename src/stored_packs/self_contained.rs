//! A pack that has all that its trees lead to.

use gix::{ObjectId, objs::Kind, oid};

use super::{
    StoredPacks,
    delta_chains::{Chains, GivenUp, Look},
    odb::Odb,
    rev_index::{PackOrder, Survey},
    tree_graph::{MANY_COMMITS, Memory, OWN, TreeLinks, is_worth_it},
};
use crate::{
    Error, Phase, SyncContext,
    object::commit::tree_and_parents,
    pack::resolve::{Deltas, Visited},
};

/// What it takes for each object to find that out, in bytes: without what is in trees, and with that,
/// as it mostly is.
const EACH: u64 = 64;
const EACH_WITH_LINKS: u64 = 128;

/// The largest pack of a store, and whether it lacks nothing: its checksums are compared, and all its
/// trees and commits read, once that is worth it.
#[derive(Default)]
pub(crate) struct ClosedPack {
    packs: Option<StoredPacks>,
    was_read: bool,
    found: Closed,
}

#[derive(Default)]
struct Closed {
    /// By place in the pack, if its trees lack nothing.
    kinds: Vec<Option<Kind>>,
    /// Whether its commits don't, either.
    has_commits: bool,
}

/// What is there to decide whether to read the pack.
pub(crate) struct Worth {
    /// How many commits have their trees followed otherwise, as far as that is known.
    pub(crate) commits: usize,
    /// How deep trees may be nested.
    pub(crate) levels: u16,
    /// In bytes.
    pub(crate) memory: u64,
}

impl ClosedPack {
    /// The kind of a tree or commit of the pack, if everything behind it is there, too.
    pub(crate) fn kind(
        &mut self,
        id: &oid,
        odb: &Odb,
        worth: Worth,
        run: &SyncContext,
    ) -> Result<Option<Kind>, Error> {
        if worth.commits < MANY_COMMITS || (self.was_read && self.found.kinds.is_empty()) {
            return Ok(None);
        }
        let packs = match &mut self.packs {
            Some(packs) => packs,
            none => none.insert(odb.open_packs()?),
        };
        let contents = OWN.contents.min(worth.memory / 4);
        let left = worth.memory - contents;
        let objects = packs.most_objects() as u64;
        if !self.was_read
            && is_worth_it(worth.commits, packs)
            && objects.saturating_mul(EACH_WITH_LINKS) <= left
        {
            self.was_read = true;
            let links = left - objects * EACH;
            let memory = Memory {
                contents,
                each: contents,
                links,
            };
            self.found = read(packs, worth.levels, &memory, run)?;
        }
        let survey = packs.surveyed();
        let place = survey.and_then(|survey| survey.order.find(id));
        let kind = place.and_then(|place| *self.found.kinds.get(place as usize)?);
        Ok(kind.filter(|kind| match kind {
            Kind::Tree => true,
            Kind::Commit => self.found.has_commits,
            Kind::Blob | Kind::Tag => false,
        }))
    }
}

fn read(
    packs: &StoredPacks,
    levels: u16,
    memory: &Memory,
    run: &SyncContext,
) -> Result<Closed, Error> {
    let Some(survey) = packs.survey_largest(run)? else {
        return Ok(Closed::default());
    };
    let Some(links) = TreeLinks::read(&survey, memory, Phase::Verify, run)? else {
        return Ok(Closed::default());
    };
    let are_closed = links.are_closed(levels, run)?;
    let TreeLinks { bases, kinds, .. } = links;
    let has_commits = are_closed && are_commits_closed(&survey, &bases, &kinds, memory, run)?;
    tracing::debug!(
        objects = survey.order.len(),
        are_closed,
        has_commits,
        "read all trees and commits of a pack"
    );
    Ok(match are_closed {
        true => Closed { kinds, has_commits },
        false => Closed::default(),
    })
}

/// Whether every commit has its tree and its parents in the pack, too.
fn are_commits_closed(
    survey: &Survey<'_>,
    bases: &[u32],
    kinds: &[Option<Kind>],
    memory: &Memory,
    run: &SyncContext,
) -> Result<bool, Error> {
    let chains = Chains {
        survey,
        bases,
        kinds,
        deltas: Deltas::of_bases(bases),
        run,
    };
    let commits = |_| Commits {
        order: survey.order,
        kinds,
        parents: Vec::new(),
    };
    match chains.descend(Kind::Commit, (memory.contents, memory.each), commits) {
        Ok(_) => Ok(true),
        Err(GivenUp::Unreadable) => Ok(false),
        Err(GivenUp::Stopped(err)) => Err(err),
    }
}

struct Commits<'a> {
    order: PackOrder<'a>,
    kinds: &'a [Option<Kind>],
    parents: Vec<ObjectId>,
}

impl Look for Commits<'_> {
    type Note = ();

    fn look_at(
        &mut self,
        _entry: u32,
        content: &[u8],
        _base: Option<Visited<'_, ()>>,
    ) -> Result<(), GivenUp> {
        self.parents.clear();
        let format = self.order.index.object_hash();
        let tree = tree_and_parents(content, format, &mut self.parents);
        let tree = tree.ok_or(GivenUp::Unreadable)?;
        let is_here = |id: &oid, kind| {
            let place = self.order.find(id);
            place.is_some_and(|place| self.kinds[place as usize] == Some(kind))
        };
        let mut parents = self.parents.iter();
        match is_here(&tree, Kind::Tree) && parents.all(|parent| is_here(parent, Kind::Commit)) {
            true => Ok(()),
            false => Err(GivenUp::Unreadable),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        SyncOptions,
        test_support::test_store::{TestStore, commit, tree},
    };

    /// Of an object, by what is there: the two files, the newer tree and the newer commit.
    type Content = fn([ObjectId; 4]) -> Vec<u8>;

    /// Two files, two versions of a tree with them, and a commit of each, beside what is added to that.
    fn are_closed(add: impl FnOnce(&mut TestStore, [ObjectId; 4])) -> (bool, bool) {
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
        let run = SyncContext::new(&SyncOptions::default());
        let found = read(&packs, 3, &OWN, &run).expect("readable");
        (!found.kinds.is_empty(), found.has_commits)
    }

    fn nowhere() -> ObjectId {
        ObjectId::from_bytes_or_panic(&[7; 20])
    }

    #[test]
    fn a_pack_lacks_nothing_if_all_its_trees_and_commits_find_what_they_name() {
        assert_eq!(are_closed(|_, _| {}), (true, true));
        let with = |kind, content: Content| {
            are_closed(|store, made| {
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
        for (levels, expected) in [(2, true), (3, false)] {
            let found = are_closed(|store, [_, _, new, _]| {
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
        let run = SyncContext::new(&SyncOptions::default());
        let found = read(&packs, 3, &OWN, &run).expect("no failure");
        assert!(found.kinds.is_empty());
        assert!(packs.surveyed().is_none());
    }

    #[test]
    fn no_version_hides_that_its_base_is_unreadable() {
        let found = are_closed(|store, [one, two, ..]| {
            let version = |id| tree(&[("100644", "", one), ("100644", "x", id)]);
            let base = store.add(Kind::Tree, &version(one));
            store.add_on(base, Kind::Tree, &version(two));
        });
        assert_eq!(found, (false, false));
    }
}
