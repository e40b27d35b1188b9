//! The commits of a store, for walks over its history.

use std::collections::HashSet;

use gix::{
    ObjectId,
    objs::{CommitRefIter, Find, FindHeader, Kind},
    oid,
};

pub(crate) use self::peeled_tags::PeeledTags;
use super::{
    ancestry::{Commit, CommitGraph, Hole, PositionedGraph},
    commit_graph::{PositionedCommits, from_graph_data},
};
use crate::{object::commit::tree_and_parents, stored_packs::odb::Odb};

mod peeled_tags;

/// Commits from an object database and, where there are any, its commit-graph files.
pub(crate) struct StoreCommits<'a> {
    pub(crate) odb: &'a Odb,
    graph: Option<&'a gix::commitgraph::Graph>,
    positions: Option<PositionedCommits<'a>>,
    pub(crate) shallow: &'a HashSet<ObjectId>,
    peeled: PeeledTags,
    buffer: Vec<u8>,
}

impl<'a> StoreCommits<'a> {
    pub(crate) fn new(
        odb: &'a Odb,
        graph: Option<&'a gix::commitgraph::Graph>,
        shallow: &'a HashSet<ObjectId>,
    ) -> Self {
        // The parents and positions of a commit-graph lead across a shallow boundary.
        let graph = graph.filter(|_| shallow.is_empty());
        StoreCommits {
            odb,
            graph,
            positions: graph.map(PositionedCommits::new),
            shallow,
            peeled: PeeledTags::default(),
            buffer: Vec::new(),
        }
    }

    /// The commit `id` and its tree; appends its parents to `parents`, which is empty.
    pub(crate) fn commit_and_tree(
        &mut self,
        id: &oid,
        parents: &mut Vec<ObjectId>,
    ) -> Result<(Commit, ObjectId), Hole> {
        if self.shallow.contains(id) {
            return Err(Hole::Shallow);
        }
        let in_graph = |graph: &'a gix::commitgraph::Graph| Some((graph, graph.commit_by_id(id)?));
        let found = match self.graph.and_then(in_graph) {
            Some((graph, commit)) => from_graph(graph, commit, parents),
            None => read_commit(self.odb, id, &mut self.buffer, parents),
        };
        found.ok_or(Hole::Unreadable)
    }

    /// The commit with this id, without its tree.
    pub(crate) fn commit(&mut self, id: &oid, parents: &mut Vec<ObjectId>) -> Result<Commit, Hole> {
        self.commit_and_tree(id, parents).map(|(commit, _)| commit)
    }

    /// The commit date in seconds, if it can be had without reading an object.
    pub(crate) fn date_in_graph(&self, id: &oid) -> Option<i64> {
        let commit = self.graph?.commit_by_id(id)?;
        i64::try_from(commit.committer_timestamp()).ok()
    }

    /// The tree of a commit, also of one at the shallow boundary.
    pub(crate) fn tree_of(&mut self, id: &oid) -> Option<ObjectId> {
        let read = read_commit(self.odb, id, &mut self.buffer, &mut Vec::new());
        read.map(|(_, tree)| tree)
    }

    /// The kind of an object of the store; `None` if the object is missing or unreadable. An object in the
    /// commit-graph is a commit, which spares following a chain of deltas.
    pub(crate) fn kind(&self, id: &oid) -> Option<Kind> {
        if self.graph.is_some_and(|graph| graph.lookup(id).is_some()) {
            return Some(Kind::Commit);
        }
        let header = self.odb.try_header(id).ok().flatten();
        header.map(|header| header.kind)
    }
}

impl CommitGraph for StoreCommits<'_> {
    fn commit(
        &mut self,
        id: &crate::ObjectId,
        parents: &mut Vec<crate::ObjectId>,
    ) -> Result<Commit, Hole> {
        let mut found = Vec::new();
        let commit = StoreCommits::commit(self, &id.0, &mut found)?;
        parents.extend(found.into_iter().map(crate::ObjectId));
        Ok(commit)
    }
}

impl PositionedGraph for StoreCommits<'_> {
    fn position(&mut self, id: &crate::ObjectId) -> Option<u32> {
        self.positions.as_mut()?.position(&id.0)
    }

    fn commit_at(&mut self, position: u32, parents: &mut Vec<u32>) -> Result<Commit, Hole> {
        let positions = self.positions.as_mut().ok_or(Hole::Unreadable)?;
        positions.commit(position, parents)
    }
}

/// Reads a commit from the object database. `None` if git can't read it.
fn read_commit(
    odb: &Odb,
    id: &oid,
    buffer: &mut Vec<u8>,
    parents: &mut Vec<ObjectId>,
) -> Option<(Commit, ObjectId)> {
    let object = odb.try_find(id, buffer).ok()??;
    if object.kind != Kind::Commit {
        return None;
    }
    let tree = tree_and_parents(object.data, id.kind(), parents)?;
    let committer = CommitRefIter::from_bytes(object.data, id.kind()).committer();
    // A date only orders a walk, so any value does for a malformed one.
    let date = committer.map_or(0, |committer| committer.seconds());
    let read = Commit {
        generation: None,
        date,
    };
    Some((read, tree))
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
    let found = from_graph_data(commit.generation(), commit.committer_timestamp());
    Some((found, commit.root_tree_id().to_owned()))
}
