//! A store's commits, for walks over its history.

use std::{collections::HashSet, thread};

use gix::{
    ObjectId,
    objs::{CommitRefIter, Find, FindHeader, Kind},
    oid,
};

use super::{
    by_position::ByPosition,
    commits_ahead::{CommitsAhead, Step},
    peeled::Peeled,
};
use crate::{
    ancestry::{Commit, CommitGraph, Hole},
    object::commit::tree_and_parents,
    stored_packs::odb::Odb,
};

/// Commits from an object database and, where there are any, its commit-graph files.
pub(crate) struct StoreCommits<'a> {
    pub odb: &'a Odb,
    graph: Option<&'a gix::commitgraph::Graph>,
    by_position: Option<ByPosition<'a>>,
    pub shallow: &'a HashSet<ObjectId>,
    pub(super) peeled: Peeled,
    pub(super) buffer: Vec<u8>,
    /// How many are read before another thread joins in; `None` if none does.
    until_ahead: Option<u32>,
    ahead: Option<CommitsAhead>,
}

/// So many commits are no short walk any more, which would be over before a thread has begun.
#[cfg(not(any(test, fuzzing)))]
const MANY: u32 = 512;
#[cfg(any(test, fuzzing))]
const MANY: u32 = 8;

impl<'a> StoreCommits<'a> {
    pub(crate) fn new(
        odb: &'a Odb,
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
            peeled: Peeled::default(),
            buffer: Vec::new(),
            until_ahead: None,
            ahead: None,
        }
    }

    /// Lets a second thread read along on long walks without a commit-graph. It takes as much memory
    /// as the walk does for reading.
    pub(crate) fn reading_ahead(mut self) -> Self {
        self.until_ahead = self.graph.is_none().then_some(MANY);
        self
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
            None => self.read_in_turn(id, parents),
        }
        .ok_or(Hole::Unreadable)
    }

    fn read_in_turn(
        &mut self,
        id: &oid,
        parents: &mut Vec<ObjectId>,
    ) -> Option<(Commit, ObjectId)> {
        self.begin_ahead_if_due();
        let Some(ahead) = &self.ahead else {
            return read_into(self.odb, id, &mut self.buffer, parents);
        };
        loop {
            match ahead.ask(&id.to_owned()) {
                Step::Take(mut read) => {
                    parents.append(&mut read.parents);
                    return read.found;
                }
                Step::ReadAnother(other) => {
                    let read = read_commit(self.odb, other, &mut self.buffer);
                    ahead.put(Box::new(read));
                }
                Step::ReadIt => {
                    let found = read_into(self.odb, id, &mut self.buffer, parents);
                    if let Some((commit, _)) = found {
                        ahead.know(commit.date, parents);
                    }
                    return found;
                }
            }
        }
    }

    #[cfg(test)]
    pub(super) fn is_helped(&self) -> bool {
        self.ahead.is_some()
    }

    fn begin_ahead_if_due(&mut self) {
        self.until_ahead = match self.until_ahead {
            Some(0) => {
                let cores = thread::available_parallelism().map_or(1, |cores| cores.get());
                let ahead =
                    (cores > 1).then(|| CommitsAhead::start(self.odb.clone(), self.shallow));
                self.ahead = ahead.flatten();
                None
            }
            left => left.map(|left| left - 1),
        };
    }
}

/// A commit as it was read.
pub(super) struct ReadCommit {
    pub(super) id: ObjectId,
    /// With its tree; `None` if it can't be read.
    pub(super) found: Option<(Commit, ObjectId)>,
    pub(super) parents: Vec<ObjectId>,
}

pub(super) fn read_commit(odb: &Odb, id: ObjectId, buffer: &mut Vec<u8>) -> ReadCommit {
    let mut parents = Vec::new();
    let found = read_into(odb, &id, buffer, &mut parents);
    ReadCommit { id, found, parents }
}

fn read_into(
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
    let mut tokens = CommitRefIter::from_bytes(object.data, id.kind());
    // The date only orders a walk, so a malformed one is as good as any.
    let date = tokens.find_map(committer_date).unwrap_or_default();
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
    /// When the commit was committed, in seconds, if that can be had without reading an object.
    pub(crate) fn date_in_graph(&self, id: &oid) -> Option<i64> {
        let commit = self.graph?.commit_by_id(id)?;
        i64::try_from(commit.committer_timestamp()).ok()
    }

    /// Also of a commit whose parents are cut off.
    pub(crate) fn tree_of(&mut self, id: &oid) -> Option<ObjectId> {
        let read = read_into(self.odb, id, &mut self.buffer, &mut Vec::new());
        read.map(|(_, tree)| tree)
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
}

fn committer_date(token: gix::Result<gix::objs::commit::ref_iter::Token<'_>>) -> Option<i64> {
    match token.ok()? {
        gix::objs::commit::ref_iter::Token::Committer { signature } => Some(signature.seconds()),
        _ => None,
    }
}
