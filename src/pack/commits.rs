//! A store's commits, for walks over its history.

use std::collections::{BinaryHeap, HashSet};

use bstr::ByteSlice;
use gix::{
    ObjectId,
    objs::{CommitRefIter, Find, FindHeader, Kind, TagRefIter},
    oid,
};

use super::by_position::ByPosition;
use crate::{
    Error, Run,
    ancestry::{Commit, CommitGraph, Hole},
};

/// Commits from an object database and, where there are any, its commit-graph files.
pub(crate) struct StoreCommits<'a> {
    pub odb: &'a gix::odb::Handle,
    graph: Option<&'a gix::commitgraph::Graph>,
    by_position: Option<ByPosition<'a>>,
    pub shallow: &'a HashSet<ObjectId>,
    buffer: Vec<u8>,
}

impl<'a> StoreCommits<'a> {
    pub(crate) fn new(
        odb: &'a gix::odb::Handle,
        graph: Option<&'a gix::commitgraph::Graph>,
        shallow: &'a HashSet<ObjectId>,
    ) -> Self {
        // Its parents and positions lead across a boundary.
        let graph = graph.filter(|_| shallow.is_empty());
        StoreCommits {
            odb,
            graph,
            by_position: graph.map(ByPosition::new),
            shallow,
            buffer: Vec::new(),
        }
    }
}

/// A generation above this one is git's way to say "not computed" (gitformat-commit-graph).
const GENERATION_MAX: u32 = 0x3fff_ffff;

impl CommitGraph for StoreCommits<'_> {
    fn commit(&mut self, id: &oid, parents: &mut Vec<ObjectId>) -> Result<Commit, Hole> {
        self.commit_and_tree(id, parents).map(|(commit, _)| commit)
    }

    fn position(&mut self, id: &oid) -> Option<u32> {
        self.by_position.as_mut()?.position(id)
    }

    fn renumber(&mut self) -> Option<&[u32]> {
        self.by_position.as_mut()?.sort_if_many()
    }

    fn commit_at(&mut self, position: u32, parents: &mut Vec<u32>) -> Result<Commit, Hole> {
        let by_position = self.by_position.as_mut().ok_or(Hole::Unreadable)?;
        by_position.commit(position, parents)
    }
}

impl StoreCommits<'_> {
    pub(crate) fn commit_and_tree(
        &mut self,
        id: &oid,
        parents: &mut Vec<ObjectId>,
    ) -> Result<(Commit, ObjectId), Hole> {
        if self.shallow.contains(id) {
            return Err(Hole::Shallow);
        }
        match self
            .graph
            .and_then(|graph| Some((graph, graph.commit_by_id(id)?)))
        {
            Some((graph, commit)) => from_graph(graph, commit, parents),
            None => self.read(id, parents),
        }
        .ok_or(Hole::Unreadable)
    }
}

fn from_graph(
    graph: &gix::commitgraph::Graph,
    commit: gix::commitgraph::file::Commit<'_>,
    parents: &mut Vec<ObjectId>,
) -> Option<(Commit, ObjectId)> {
    for parent in commit.iter_parents() {
        let position = parent.ok()?;
        if position.0 >= graph.num_commits() {
            return None;
        }
        parents.push(graph.id_at(position).to_owned());
    }
    let found = as_in_graph(commit.generation(), commit.committer_timestamp());
    Some((found, commit.root_tree_id().to_owned()))
}

/// The generation and the date as a commit-graph has them.
pub(super) fn as_in_graph(generation: u32, date: u64) -> Commit {
    let is_known = (1..GENERATION_MAX).contains(&generation);
    Commit {
        generation: is_known.then_some(generation),
        date: date.try_into().unwrap_or(i64::MAX),
    }
}

impl StoreCommits<'_> {
    fn read(&mut self, id: &oid, parents: &mut Vec<ObjectId>) -> Option<(Commit, ObjectId)> {
        let object = self.odb.try_find(id, &mut self.buffer).ok()??;
        if object.kind != Kind::Commit {
            return None;
        }
        let tree = tree_and_parents(object.data, id.kind(), parents)?;
        let mut tokens = CommitRefIter::from_bytes(object.data, id.kind());
        // The date only orders a walk, so a malformed one is as good as any.
        let date = tokens.find_map(committer_date).unwrap_or_default();
        let read = Commit {
            generation: None,
            date,
        };
        Some((read, tree))
    }

    /// When the commit was committed, in seconds, if that can be had without reading an object.
    pub(crate) fn date_in_graph(&self, id: &oid) -> Option<i64> {
        let commit = self.graph?.commit_by_id(id)?;
        i64::try_from(commit.committer_timestamp()).ok()
    }

    /// Also of a commit whose parents are cut off.
    pub(crate) fn tree_of(&mut self, id: &oid) -> Option<ObjectId> {
        self.read(id, &mut Vec::new()).map(|(_, tree)| tree)
    }

    /// What an object is that is there; `None` if it is unreadable. What the commit-graph knows is a
    /// commit, and needs no way down a chain of deltas to find that out.
    pub(crate) fn kind(&self, id: &oid) -> Option<Kind> {
        if self.graph.is_some_and(|graph| graph.lookup(id).is_some()) {
            return Some(Kind::Commit);
        }
        let header = self.odb.try_header(id).ok().flatten();
        header.map(|header| header.kind)
    }

    /// Follows tags to what they are about; to another tag if there are very many of them.
    pub(crate) fn peel(&mut self, id: ObjectId) -> ObjectId {
        let mut id = id;
        for _ in 0..MAX_PEELED {
            if self.kind(&id) != Some(Kind::Tag) {
                break;
            }
            let Ok(Some(tag)) = self.odb.try_find(&id, &mut self.buffer) else {
                break;
            };
            let Ok(target) = TagRefIter::from_bytes(tag.data, id.kind()).target_id() else {
                break;
            };
            id = target;
        }
        id
    }
}

/// How many tags are followed from one to the next. People tag a tag by mistake, once.
const MAX_PEELED: usize = 1024;

/// The tree of a commit; its parents go into `parents`, which is empty at the call.
///
/// `None` where git would not read them (`commit.c:parse_commit_buffer()`): gix stops without a
/// word at a parent line that makes no sense, and what it leaves out, nobody would verify.
pub(super) fn tree_and_parents(
    commit: &[u8],
    format: gix::hash::Kind,
    parents: &mut Vec<ObjectId>,
) -> Option<ObjectId> {
    let mut tokens = CommitRefIter::from_bytes(commit, format);
    let tree = tokens.tree_id().ok()?;
    parents.extend(tokens.parent_ids());
    let lines = commit.lines().skip(1);
    let named = lines.take_while(|line| line.starts_with(b"parent "));
    (named.count() == parents.len()).then_some(tree)
}

/// What a tag is about, if git can read the tag.
pub(super) fn tag_target(tag: &[u8], format: gix::hash::Kind) -> Option<(ObjectId, Kind)> {
    let mut tokens = TagRefIter::from_bytes(tag, format);
    let target = tokens.target_id().ok()?;
    let kind = tokens.find_map(|token| match token.ok()? {
        gix::objs::tag::ref_iter::Token::TargetKind(kind) => Some(kind),
        _ => None,
    })?;
    // Without a name git can't read the tag at all (`tag.c:parse_tag_buffer()`).
    let name = tag.lines().nth(2)?;
    name.starts_with(b"tag ").then_some((target, kind))
}

fn committer_date(token: gix::Result<gix::objs::commit::ref_iter::Token<'_>>) -> Option<i64> {
    match token.ok()? {
        gix::objs::commit::ref_iter::Token::Committer { signature } => Some(signature.seconds()),
        _ => None,
    }
}

/// The history behind a store's refs, explored only as far as it is asked about.
///
/// Refs are what vouches for completeness: git never lets one point to something that isn't all
/// there, while an object that merely exists may be the debris of a fetch that was cut off.
pub(crate) struct VerifiedHistory {
    tips: HashSet<ObjectId>,
    seen: HashSet<ObjectId>,
    /// Commits that are in `seen` while their parents may not be. `None` until it is needed.
    frontier: Option<BinaryHeap<Explored>>,
}

/// Ordered by generation first, then by date: the highest comes out of the heap first.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Explored {
    /// The highest there is for a commit without one: a commit that has one can't reach it.
    generation: u32,
    date: i64,
    parents: Vec<ObjectId>,
}

impl VerifiedHistory {
    pub(crate) fn new(tips: HashSet<ObjectId>) -> Self {
        VerifiedHistory {
            tips,
            seen: HashSet::new(),
            frontier: None,
        }
    }

    pub(crate) fn tips(&self) -> &HashSet<ObjectId> {
        &self.tips
    }

    /// Whether `id`, which is there, is a commit, and a ref points to it or to a descendant of it.
    pub(crate) fn contains(
        &mut self,
        id: &ObjectId,
        commits: &mut StoreCommits<'_>,
        run: &Run,
    ) -> Result<bool, Error> {
        // A ref may as well point to a tag, and that to anything.
        Ok(commits.kind(id) == Some(Kind::Commit) && self.is_known(id, commits, run)?)
    }

    fn is_known(
        &mut self,
        id: &ObjectId,
        commits: &mut StoreCommits<'_>,
        run: &Run,
    ) -> Result<bool, Error> {
        if self.tips.contains(id) || self.seen.contains(id) {
            return Ok(true);
        }
        let frontier = match &mut self.frontier {
            Some(frontier) => frontier,
            none => {
                let mut frontier = BinaryHeap::new();
                for tip in &self.tips {
                    run.check()?;
                    let commit = commits.peel(*tip);
                    frontier.extend(commits.explore_once(commit, &mut self.seen));
                }
                none.insert(frontier)
            }
        };
        if frontier.is_empty() || self.seen.contains(id) {
            return Ok(self.seen.contains(id));
        }
        let sought = commits.explore(id);
        let lowest = sought.map_or(u32::MAX, |sought| sought.generation);
        while !self.seen.contains(id)
            && frontier
                .peek()
                .is_some_and(|highest| highest.generation >= lowest)
            && let Some(next) = frontier.pop()
        {
            run.check()?;
            for parent in next.parents {
                frontier.extend(commits.explore_once(parent, &mut self.seen));
            }
        }
        Ok(self.seen.contains(id))
    }
}

impl StoreCommits<'_> {
    fn explore_once(&mut self, id: ObjectId, seen: &mut HashSet<ObjectId>) -> Option<Explored> {
        seen.insert(id).then(|| self.explore(&id))?
    }

    /// A commit that can't be read leads nowhere.
    fn explore(&mut self, id: &oid) -> Option<Explored> {
        let mut parents = Vec::new();
        let commit = self.commit(id, &mut parents).ok()?;
        Some(Explored {
            generation: commit.generation.unwrap_or(u32::MAX),
            date: commit.date,
            parents,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_commit_with_a_parent_that_git_cannot_read_is_unreadable() {
        let (tree, one, two) = ("a".repeat(40), "b".repeat(40), "c".repeat(40));
        let rest = "author A <a> 1 +0000\ncommitter A <a> 1 +0000\n\nparent of all\n";
        let table = [
            (String::new(), Some(0)),
            (format!("parent {one}\n"), Some(1)),
            (format!("parent {one}\nparent {two}\n"), Some(2)),
            (format!("parent {one}\nparent zz\n"), None),
            (format!("parent zz\nparent {one}\n"), None),
            (format!("parent {one}0\n"), None),
            (format!("parent {}\n", &one[1..]), None),
            ("parent \n".to_owned(), None),
        ];
        for (named, expected) in table {
            let commit = format!("tree {tree}\n{named}{rest}");
            let mut parents = Vec::new();
            let found = tree_and_parents(commit.as_bytes(), gix::hash::Kind::Sha1, &mut parents);
            assert_eq!(found.map(|_| parents.len()), expected, "{named:?}");
        }
    }
}
