//! The check without a walk: whether the objects outside a pack that its objects reference are complete.
//!
//! An object that new trees share with older ones is found in the older trees. A pull needs few of those: the root
//! trees of the parents of the new commits, and below them the subtrees that the new commits have changed. Reading
//! them is much cheaper than walking over all new trees, which were already read when they arrived.
//!
//! The answer "complete" needs no trust in the pack: each object was found in the tree of a commit that is reachable from
//! a ref. Any other answer means that a walk has to decide.

use std::collections::{HashMap, HashSet, VecDeque};

use gix::{ObjectId, objs::Kind};

use super::{levels::CountedTrees, object_states::MAX_LEVELS, reading};
use crate::{
    Error, SyncContext,
    history::CompleteHistory,
    object::lookup::ObjectLookup,
    object::tree_entries::{each_new, kind_of},
};

/// The objects outside a pack that its objects reference.
#[derive(Debug, Default)]
pub(crate) struct Outside {
    /// The objects with the kind that the references expect, each once.
    pub(crate) needed: Vec<(Kind, ObjectId)>,
    /// Trees that a tree of the pack replaces by another one: the changed subtrees of older commits.
    pub(crate) replaced: HashSet<ObjectId>,
    /// A bound of the depth below a root tree of each tree in `needed`: it is no deeper. `None` if the pack's trees may
    /// be nested deeper than git reads.
    pub(crate) depths: Option<HashMap<ObjectId, u16>>,
}

/// The number of trees that may be read and queued, in addition to one for each object outside the pack.
const MIN_TREES: usize = 64;

/// Whether all objects outside the pack are found to be complete, and nothing is nested deeper than git reads. `false`
/// means that a walk has to decide.
pub(crate) fn are_complete(
    outside: &Outside,
    objects: &dyn ObjectLookup,
    complete: &mut dyn CompleteHistory,
    context: &SyncContext,
) -> Result<bool, Error> {
    let Some(depths) = &outside.depths else {
        return Ok(false);
    };
    if outside.needed.is_empty() {
        return Ok(true);
    }
    let mut search = TreeSearch::default();
    for (kind, id) in &outside.needed {
        context.check()?;
        match kind {
            Kind::Commit if complete.has_commit(id, context)? => {
                match reading::tree_of(objects, id) {
                    Some(tree) => search.ahead.push_back((tree, 0)),
                    None => return Ok(false),
                }
            }
            Kind::Tag if complete.is_tip(id) && reading::kind(objects, id) == Some(Kind::Tag) => {}
            Kind::Commit | Kind::Tag => return Ok(false),
            Kind::Tree | Kind::Blob => {
                let depth = depths.get(id).copied().unwrap_or_default();
                search.missing.insert((*kind, *id), depth);
            }
        }
    }
    for (root, depth) in search.ahead.clone() {
        search.meet(Kind::Tree, root, depth);
    }
    search.find_all(outside, objects, context)
}

/// The search in the trees of complete commits.
#[derive(Default)]
struct TreeSearch {
    /// Trees and blobs that were not found yet, with their depths in the pack's trees.
    missing: HashMap<(Kind, ObjectId), u16>,
    /// Trees that were found at a smaller depth than they have in the pack's trees: their levels have to be counted.
    moved_down: Vec<(ObjectId, u16)>,
    seen: HashSet<ObjectId>,
    /// Trees to read with their depths: replaced ones first (`ahead`), any others if these do not suffice (`later`).
    ahead: VecDeque<(ObjectId, u16)>,
    later: VecDeque<(ObjectId, u16)>,
}

impl TreeSearch {
    fn find_all(
        &mut self,
        outside: &Outside,
        objects: &dyn ObjectLookup,
        context: &SyncContext,
    ) -> Result<bool, Error> {
        let mut buffer = Vec::new();
        let most = MIN_TREES + outside.needed.len();
        while !self.missing.is_empty()
            && self.seen.len() < most
            && let Some((next, depth)) = self.ahead.pop_front().or_else(|| self.later.pop_front())
        {
            context.check()?;
            if !self.seen.insert(next) {
                continue;
            }
            match objects.try_find(&next, &mut buffer) {
                Ok(Some(tree)) if tree.kind == Kind::Tree => {}
                _ => return Ok(false),
            }
            let entry_depth = depth.saturating_add(1);
            let read = each_new(&buffer, &[], next.kind(), |entry, _| {
                let Some(kind) = kind_of(&entry) else {
                    return;
                };
                let id = entry.oid.to_owned();
                let is_needed = self.meet(kind, id, entry_depth);
                let has_room = self.ahead.len() + self.later.len() < most;
                match kind == Kind::Tree && has_room {
                    true if outside.replaced.contains(&id) => {
                        self.ahead.push_back((id, entry_depth))
                    }
                    true if !is_needed => self.later.push_back((id, entry_depth)),
                    _ => {}
                }
            });
            if read.is_none() {
                return Ok(false);
            }
        }
        Ok(self.missing.is_empty() && self.have_room_below(objects, context)?)
    }

    /// Marks an object as found at `depth` below the root tree of a complete commit. Returns whether it was looked for.
    /// If it is no deeper in the pack's trees than here, the trees below it are within git's limit there as well.
    fn meet(&mut self, kind: Kind, id: ObjectId, depth: u16) -> bool {
        let Some(in_pack) = self.missing.remove(&(kind, id)) else {
            return false;
        };
        if in_pack > depth {
            self.moved_down.push((id, in_pack));
        }
        true
    }

    /// Whether the trees that are deeper in the pack than in the store stay within git's limit.
    fn have_room_below(
        &self,
        objects: &dyn ObjectLookup,
        context: &SyncContext,
    ) -> Result<bool, Error> {
        let mut counted = CountedTrees::default();
        for (tree, depth) in &self.moved_down {
            let levels = counted.count(*tree, objects, context)?;
            if levels.is_none_or(|levels| usize::from(*depth) + levels > MAX_LEVELS) {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use gix::hash::Kind as Hash;
    use tempfile::TempDir;

    use super::*;
    use crate::{
        SyncOptions,
        history::{
            reachable_from_refs::{ReachableFromRefs, StoreHistory},
            store_commits::StoreCommits,
        },
        stored_packs::odb::Odb,
        test_support::git_cli,
    };

    fn git(directory: &Path, arguments: &[&str], input: &str) -> ObjectId {
        let said = git_cli::git(directory, arguments, input.as_bytes());
        ObjectId::from_hex(said.trim().as_bytes()).expect("an id")
    }

    /// A branch with two commits and a tag of the first one. Both change `a/b/file`, and only the first
    /// has `c/old`.
    fn history() -> TempDir {
        let dir = tempfile::tempdir().expect("a temporary directory");
        git_cli::git(dir.path(), &["init", "--quiet", "--bare"], b"");
        let stream = "commit refs/heads/main\ncommitter A <a> 1 +0000\ndata 0\n\
            M 100644 inline a/b/file\ndata 1\n1\nM 100644 inline a/b/other\ndata 5\nother\n\
            M 100644 inline a/same/file\ndata 4\nsame\nM 100644 inline c/old\ndata 3\nold\n\
            M 100644 inline d/e/deep\ndata 4\ndeep\n\
            tag one\nfrom refs/heads/main\ntagger A <a> 1 +0000\ndata 0\n\
            commit refs/heads/main\ncommitter A <a> 2 +0000\ndata 0\n\
            M 100644 inline a/b/file\ndata 1\n2\nD c/old\n";
        git_cli::git(dir.path(), &["fast-import", "--quiet"], stream.as_bytes());
        dir
    }

    #[test]
    fn what_complete_commits_have_is_complete() {
        let dir = history();
        let of = |name: &str| git(dir.path(), &["rev-parse", name], "");
        let (tip, first) = (of("main"), of("main~1"));
        let debris = git(dir.path(), &["hash-object", "-w", "--stdin"], "debris");
        let lost = ObjectId::from_bytes_or_panic(&[7; 20]);
        let as_author = ["-c", "user.name=A", "-c", "user.email=a", "commit-tree"];
        let commit = [&as_author[..], &["main^{tree}"]].concat();
        let unborn = git(dir.path(), &commit, "");

        let commit = (Kind::Commit, tip);
        let tree = |name: &str| (Kind::Tree, of(name));
        let blob = |name: &str| (Kind::Blob, of(name));
        let table = [
            (vec![commit], vec![], true),
            (vec![commit, tree("main^{tree}")], vec![], true),
            (vec![commit, tree("main:a"), tree("main:d")], vec![], true),
            // The tree that has them is needed nowhere itself, so another one has its place.
            (vec![commit, blob("main:a/b/other")], vec![], true),
            (
                vec![commit, tree("main:a/b"), blob("main:d/e/deep")],
                vec![],
                true,
            ),
            // Some trees have it, and some have another in its place.
            (
                vec![commit, tree("main:d/e"), blob("main:d/e/deep")],
                vec!["main:d/e"],
                true,
            ),
            (
                vec![commit, tree("main:d/e"), blob("main:d/e/deep")],
                vec![],
                false,
            ),
            // What another commit has had.
            (vec![commit, blob("main~1:c/old")], vec![], false),
            (
                vec![commit, (Kind::Commit, first), blob("main~1:c/old")],
                vec![],
                true,
            ),
            // Things that are there without being known to be complete.
            (vec![commit, (Kind::Blob, debris)], vec![], false),
            (vec![(Kind::Commit, unborn)], vec![], false),
            (vec![tree("main^{tree}")], vec![], false),
            // Others that aren't, or are something else.
            (vec![commit, (Kind::Blob, lost)], vec![], false),
            (vec![(Kind::Commit, lost)], vec![], false),
            (vec![(Kind::Commit, of("main^{tree}"))], vec![], false),
            (vec![commit, (Kind::Blob, of("main:a"))], vec![], false),
            (
                vec![commit, (Kind::Tree, of("main:a/b/file"))],
                vec![],
                false,
            ),
            (vec![(Kind::Tag, of("one"))], vec![], true),
            (vec![(Kind::Tag, tip)], vec![], false),
        ];
        let tips = HashSet::from([tip, of("one")]);
        for (at, (needed, replaced, expected)) in table.into_iter().enumerate() {
            let replaced = replaced.into_iter().map(of).collect();
            let outside = Outside {
                needed,
                replaced,
                depths: Some(HashMap::new()),
            };
            let odb = Odb::at(dir.path().join("objects"), Hash::Sha1).expect("a store");
            let shallow = HashSet::new();
            let complete = &mut StoreHistory {
                commits: StoreCommits::new(&odb, None, &shallow),
                reachable: &mut ReachableFromRefs::new(tips.clone()),
            };
            let context = SyncContext::new(&SyncOptions::default());
            let found = are_complete(&outside, &odb, complete, &context).expect("not cancelled");
            assert_eq!(found, expected, "{at}");
        }
    }

    #[test]
    fn there_is_an_end_to_reading() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        git_cli::git(dir.path(), &["init", "--quiet", "--bare"], b"");
        let file = |folder| format!("M 100644 inline {folder}/file\ndata 3\n{folder}\n");
        let files: String = (100..500).map(file).collect();
        let stream = format!("commit refs/heads/main\ncommitter A <a> 1 +0000\ndata 0\n{files}");
        git_cli::git(dir.path(), &["fast-import", "--quiet"], stream.as_bytes());
        let odb = Odb::at(dir.path().join("objects"), Hash::Sha1).expect("a store");
        let of = |name: &str| git(dir.path(), &["rev-parse", name], "");
        let mut search = TreeSearch::default();
        search.ahead.push_back((of("main^{tree}"), 0));
        search.missing.insert((Kind::Blob, of("main:499/file")), 0);
        let context = SyncContext::new(&SyncOptions::default());
        let found = search.find_all(&Outside::default(), &odb, &context);
        assert!(!found.expect("not cancelled"));
        assert_eq!(search.seen.len(), MIN_TREES);
        assert!(search.later.len() < MIN_TREES, "there are 400");
    }
}
