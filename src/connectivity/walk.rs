//! The walk over commits and tags, and the decision about each object that it meets.

use gix::{ObjectId, objs::Kind};

use super::{
    Check, Fault,
    object_states::{Node, ObjectStates, State},
    reading::{self, incomplete, missing, other_kind, unparsable},
    tree_visitor::{Stop, TreeVisitor, Visit},
    trees::Trees,
};
use crate::{
    Error, Phase, SyncContext,
    object::{commit::tree_and_parents, tag::tag_target, tree_entries::MAX_COMPARED},
    stored_packs::self_contained::SelfContainedPack,
};

/// The walk from one tip after another. Between two tips `path` and `references` are empty: each tip was completed or
/// abandoned.
pub(super) struct Walk<'a> {
    check: Check<'a>,
    context: &'a SyncContext,
    states: ObjectStates<'a>,
    /// The reasons of all broken objects, by their number in [`State::Broken`].
    reasons: Vec<Fault>,
    /// The path of commits and tags from the tip.
    path: Vec<PathEntry>,
    /// The parents and targets of the commits and tags in `path`, one after the other.
    references: Vec<Node>,
    /// The path of trees below the last commit of `path`.
    trees: Trees,
    /// The commit that was completed last, and its tree. It often is a parent of the next commit.
    last: Option<(Node, ObjectId)>,
    /// The number of commits that were entered, whether their trees are checked yet or not.
    entered_commits: usize,
    pub(super) visited: u64,
}

/// A commit or a tag that was entered and not left. There may be as many as the pack has objects, so it is small.
struct PathEntry {
    node: Node,
    behind: Behind,
    /// The start of its parents or target in [`Walk::references`], and the next one to visit.
    first: u32,
    next: u32,
}

enum Behind {
    /// A commit: the parents first, then this tree, so that the parents' trees are complete when it is compared.
    Tree(Node),
    /// A tag: a target of this kind.
    Target(Kind),
}

impl<'a> Walk<'a> {
    pub(super) fn new(check: Check<'a>, context: &'a SyncContext) -> Self {
        Walk {
            context,
            states: ObjectStates::new(check.arrived, check.memory.store),
            trees: Trees::new(check.memory.trees),
            check,
            reasons: Vec::new(),
            path: Vec::new(),
            references: Vec::new(),
            last: None,
            entered_commits: 0,
            visited: 0,
        }
    }

    /// Finds the fault of a tip, if it has one.
    pub(super) fn find_fault(&mut self, tip: ObjectId) -> Result<Option<Fault>, Error> {
        match self.walk_from(tip) {
            Ok(()) => Ok(None),
            Err(Stop::Failed(err)) => Err(err),
            Err(Stop::Fault(fault)) => {
                self.abandon(&fault);
                Ok(Some(fault))
            }
        }
    }

    fn walk_from(&mut self, tip: ObjectId) -> Result<(), Stop> {
        if let Visit::Enter(node) = self.visit(tip, None)? {
            self.enter(node, None)?;
        }
        while let Some(entry) = self.path.last_mut() {
            // Later entries have left and taken their references with them, so the rest is all of this entry's.
            let Some(node) = self.references.get(entry.next as usize).copied() else {
                self.leave()?;
                continue;
            };
            entry.next += 1;
            let expected = match entry.behind {
                Behind::Tree(_) => Kind::Commit,
                Behind::Target(kind) => kind,
            };
            let id = self.states.id(node);
            if let Visit::Enter(node) = self.visit_node(node, id, Some(expected))? {
                self.enter(node, Some(expected))?;
            }
        }
        Ok(())
    }

    /// Completes the last commit or tag of the path, whose parents or target are complete; a commit's tree is checked
    /// now.
    fn leave(&mut self) -> Result<(), Stop> {
        let Some(entry) = self.path.last() else {
            return Ok(());
        };
        let (node, first) = (entry.node, entry.first as usize);
        let complete = match entry.behind {
            Behind::Target(_) => State::CompleteTag,
            Behind::Tree(tree) => {
                let tree = self.states.id(tree);
                self.check_root(tree, first)?;
                self.last = Some((node, tree));
                State::CompleteCommit
            }
        };
        self.states.set(node, complete);
        self.references.truncate(first);
        self.path.pop();
        Ok(())
    }

    /// Checks the root tree of a commit whose parents are at `first` and after it in `references`.
    fn check_root(&mut self, tree: ObjectId, first: usize) -> Result<(), Stop> {
        let Visit::Enter(node) = self.visit(tree, Some(Kind::Tree))? else {
            return Ok(());
        };
        if self.kind_in_self_contained_pack(&tree)? == Some(Kind::Tree) {
            self.states.set(node, State::of_complete(Kind::Tree));
            return Ok(());
        }
        let parents = self.references[first..].iter().take(MAX_COMPARED);
        let others: Vec<_> = parents.filter_map(|parent| self.tree_of(*parent)).collect();
        self.check_tree(node, others)
    }

    /// The kind of a tree or a commit, if it is complete because a self-contained pack has it.
    fn kind_in_self_contained_pack(&mut self, id: &ObjectId) -> Result<Option<Kind>, Error> {
        // The shortcut is for stores: received objects have been read already, and a refused object would need a
        // walk to find the tips that need it.
        if self.check.arrived.is_some() || !self.check.refused.is_empty() {
            return Ok(None);
        }
        let Some(pack) = &mut self.check.largest_pack else {
            return Ok(None);
        };
        let memory = self.states.room();
        pack.kind(id, self.entered_commits, memory, self.context)
    }

    fn check_tree(&mut self, node: Node, others: Vec<ObjectId>) -> Result<(), Stop> {
        // The walk over the trees calls back to `self`.
        let mut trees = std::mem::replace(&mut self.trees, Trees::new(0));
        let walked = trees.walk(node, self.states.id(node), others, self);
        if let Err(Stop::Fault(fault)) = &walked {
            let broken = self.broken(fault);
            for (node, is_at_fault) in trees.abandon() {
                let state = if is_at_fault { broken } else { State::Unknown };
                self.states.set(node, state);
            }
        }
        self.trees = trees;
        walked
    }

    /// Marks the commits and tags on the path from the tip to the fault as broken.
    fn abandon(&mut self, fault: &Fault) {
        self.references.clear();
        // A tip without a path, as each missing one is, would leave a reason that no state names.
        if self.path.is_empty() {
            return;
        }
        let broken = self.broken(fault);
        for entry in self.path.drain(..) {
            self.states.set(entry.node, broken);
        }
    }

    fn broken(&mut self, fault: &Fault) -> State {
        // After a fault below a tree, the trees and then the commits are marked for the same reason.
        if self.reasons.last() != Some(fault) {
            self.reasons.push(fault.clone());
        }
        State::Broken(self.reasons.len() - 1)
    }

    fn visit(&mut self, id: ObjectId, expected: Option<Kind>) -> Result<Visit, Stop> {
        let node = self.node(&id, expected);
        let refused = |fault| self.check.refused.get(&id).cloned().unwrap_or(fault);
        let node = node.map_err(refused)?;
        self.visit_node(node, id, expected)
    }

    /// The node of an object. Missing objects get none, so that there are never more nodes than objects.
    fn node(&mut self, id: &ObjectId, expected: Option<Kind>) -> Result<Node, Fault> {
        if let Some(node) = self.states.find(id) {
            return Ok(node);
        }
        if !self.check.lookup.exists(id) {
            return Err(missing(id, expected));
        }
        let pack = self.check.largest_pack.as_ref();
        let beside = pack.map_or(0, SelfContainedPack::memory);
        let node = self.states.add(*id, beside);
        node.ok_or_else(|| self.too_much(id, "leads to more of the store"))
    }

    fn too_much(&self, id: &ObjectId, leads_to: &str) -> Fault {
        self.context.doubt_destination();
        incomplete(format!(
            "{id} {leads_to} than there is memory to look at (limit `memory`)"
        ))
    }

    fn visit_node(
        &mut self,
        node: Node,
        id: ObjectId,
        expected: Option<Kind>,
    ) -> Result<Visit, Stop> {
        self.visited += 1;
        self.context.check()?;
        if self.visited.is_multiple_of(256) {
            self.context.advance(Phase::Verify, self.visited, None);
        }
        let state = self.states.state(node);
        let kind = state.kind().or_else(|| self.states.kind(node));
        if let (Some(kind), Some(expected)) = (kind, expected)
            && kind != expected
        {
            return Err(other_kind(&id, kind, expected).into());
        }
        match state {
            State::CompleteBlob | State::CompleteCommit | State::CompleteTag => {
                return Ok(Visit::Nothing);
            }
            // Ids are hashes, so only a damaged store leads from an object back to itself. The walk has to end there,
            // and the path visits whatever else is behind the object.
            State::Entered => return Ok(Visit::Nothing),
            State::CompleteTree(levels) => return Ok(Visit::Complete(node, levels)),
            State::Broken(reason) => return Err(self.reasons[reason].clone().into()),
            State::Unknown => {}
        }
        if let Some(reason) = self.check.refused.get(&id) {
            return Err(reason.clone().into());
        }
        if kind == Some(Kind::Blob) {
            // A received blob has been read, and references nothing.
            return Ok(Visit::Nothing);
        }
        if kind.is_none() {
            if self.is_verified(node, &id, expected)? {
                return Ok(Visit::Nothing);
            }
            self.check.to_freshen.push(id);
        }
        // Root trees are looked up by `check_root`.
        if let None | Some(Kind::Commit) = expected
            && let Some(found) = self.kind_in_self_contained_pack(&id)?
            && expected.is_none_or(|expected| expected == found)
        {
            self.states.set(node, State::of_complete(found));
            return Ok(Visit::Nothing);
        }
        if expected == Some(Kind::Blob) {
            reading::check_blob(self.check.lookup, &id)?;
            self.states.set(node, State::CompleteBlob);
            return Ok(Visit::Nothing);
        }
        Ok(Visit::Enter(node))
    }

    fn is_verified(
        &mut self,
        node: Node,
        id: &ObjectId,
        expected: Option<Kind>,
    ) -> Result<bool, Error> {
        let is_verified = match expected {
            None if self.check.complete.is_tip(id) => return Ok(true),
            None | Some(Kind::Commit) => self.check.complete.has_commit(id, self.context)?,
            Some(_) => false,
        };
        if is_verified {
            self.states.set(node, State::CompleteCommit);
        }
        Ok(is_verified)
    }

    /// The root tree of a complete commit.
    fn tree_of(&self, commit: Node) -> Option<ObjectId> {
        match self.last {
            Some((last, tree)) if last == commit => Some(tree),
            _ => reading::tree_of(self.check.lookup, &self.states.id(commit)),
        }
    }

    /// Reads an object and puts it on the path, with the objects that it references.
    fn enter(&mut self, node: Node, expected: Option<Kind>) -> Result<(), Stop> {
        let id = self.states.id(node);
        if expected == Some(Kind::Tree) {
            return self.check_tree(node, Vec::new());
        }
        // A remote can name any number of parents, over and over.
        if size_of_val(&self.path[..]) + size_of_val(&self.references[..]) > self.check.memory.path
        {
            let fault = self.too_much(&id, "is behind more commits and parents");
            return Err(fault.into());
        }
        let mut buffer = Vec::new();
        match reading::read(self.check.lookup, &id, expected, &mut buffer)? {
            Kind::Blob => {
                self.states.set(node, State::CompleteBlob);
                return Ok(());
            }
            Kind::Tree => return self.check_tree(node, Vec::new()),
            Kind::Tag => self.enter_tag(node, &id, &buffer)?,
            Kind::Commit => self.enter_commit(node, &id, &buffer)?,
        }
        self.states.set(node, State::Entered);
        Ok(())
    }

    fn enter_tag(&mut self, node: Node, id: &ObjectId, tag: &[u8]) -> Result<(), Fault> {
        let target = tag_target(tag, id.kind());
        let (target, kind) = target.ok_or_else(|| unparsable(Kind::Tag, id))?;
        let target = self.node(&target, Some(kind))?;
        self.push(node, Behind::Target(kind), self.references.len());
        self.references.push(target);
        Ok(())
    }

    fn enter_commit(&mut self, node: Node, id: &ObjectId, commit: &[u8]) -> Result<(), Fault> {
        let mut parents = Vec::new();
        let tree = tree_and_parents(commit, id.kind(), &mut parents);
        let tree = tree.ok_or_else(|| unparsable(Kind::Commit, id))?;
        if self.check.shallow.contains(id) {
            parents.clear();
        }
        let first = self.references.len();
        for parent in &parents {
            // After a fault the walk is abandoned, and all of `references` with it.
            let parent = self.node(parent, Some(Kind::Commit))?;
            self.references.push(parent);
        }
        let tree = self.node(&tree, Some(Kind::Tree))?;
        self.entered_commits += 1;
        self.push(node, Behind::Tree(tree), first);
        Ok(())
    }

    fn push(&mut self, node: Node, behind: Behind, first: usize) {
        let first = first as u32;
        self.path.push(PathEntry {
            node,
            behind,
            first,
            next: first,
        });
    }
}

impl TreeVisitor for Walk<'_> {
    fn read(&mut self, tree: &ObjectId, content: &mut Vec<u8>) -> Result<(), Fault> {
        reading::read(self.check.lookup, tree, Some(Kind::Tree), content)?;
        Ok(())
    }

    fn set(&mut self, tree: Node, state: State) {
        self.states.set(tree, state);
    }

    fn visit_entry(&mut self, id: ObjectId, kind: Kind) -> Result<Visit, Stop> {
        self.visit(id, Some(kind))
    }
}
