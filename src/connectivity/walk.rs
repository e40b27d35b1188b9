//! The walk over commits and tags, and the decision about each object that it meets.

use gix::{ObjectId, objs::Kind};

use super::{
    Fault, Objects,
    object_states::{Levels, MAX_LEVELS, Node, ObjectStates, State},
    reading::{self, incomplete, other_kind},
    tree_visitor::{Link, TreeVisitor},
    trees::Trees,
};
use crate::{
    Error, Phase, SyncContext,
    object::{commit::tree_and_parents, tag::tag_target, tree_entries::MAX_COMPARED},
    stored_packs::self_contained::{ScanDemand, SelfContainedPack},
};

pub(super) struct Walk<'a> {
    objects: Objects<'a>,
    context: &'a SyncContext,
    states: ObjectStates<'a>,
    /// The reasons of all broken objects, by their number in [`State::Broken`].
    reasons: Vec<Fault>,
    /// The path of commits and tags from the tip.
    path: Vec<Step>,
    /// The parents and targets of the commits and tags in `path`, one after the other.
    ahead: Vec<Node>,
    /// The path of trees below the last commit of `path`.
    trees: Trees,
    /// The commit that was completed last, and its tree. It often is a parent of the next commit.
    last: Option<(Node, ObjectId)>,
    /// The number of commits that were entered, whether their trees are checked yet or not.
    entered_commits: usize,
    pub(super) visited: u64,
}

/// A commit or a tag that was entered and not left. There may be as many as the pack has objects, so it is small.
struct Step {
    node: Node,
    behind: Behind,
    /// The start of its parents or target in [`Walk::ahead`], and the next one to visit.
    first: u32,
    next: u32,
}

enum Behind {
    /// A commit: the parents first, then this tree, so that the parents' trees are complete when it is compared.
    Tree(Node),
    /// A tag: a target of this kind.
    Target(Kind),
}

/// The next step for an object.
enum Visit {
    Nothing,
    /// Nothing: a complete tree with these levels.
    Complete(Node, Levels),
    Enter(Node),
    Fault(Fault),
}

impl<'a> Walk<'a> {
    pub(super) fn new(objects: Objects<'a>, context: &'a SyncContext) -> Self {
        Walk {
            context,
            states: ObjectStates::new(objects.arrived, objects.memory.store),
            trees: Trees::new(objects.memory.trees),
            objects,
            reasons: Vec::new(),
            path: Vec::new(),
            ahead: Vec::new(),
            last: None,
            entered_commits: 0,
            visited: 0,
        }
    }

    /// Finds the fault of a tip, if it has one.
    pub(super) fn check(&mut self, tip: ObjectId) -> Result<Option<Fault>, Error> {
        let fault = match self.visit(tip, None)? {
            Visit::Nothing | Visit::Complete(..) => return Ok(None),
            Visit::Fault(fault) => return Ok(Some(fault)),
            Visit::Enter(node) => match self.enter(node, None)? {
                None => self.walk_path()?,
                fault => fault,
            },
        };
        if let Some(fault) = &fault {
            self.abandon(fault);
        }
        Ok(fault)
    }

    fn walk_path(&mut self) -> Result<Option<Fault>, Error> {
        while let Some(step) = self.path.last_mut() {
            let Some(node) = self.ahead.get(step.next as usize).copied() else {
                if let Some(fault) = self.leave()? {
                    return Ok(Some(fault));
                }
                continue;
            };
            step.next += 1;
            let expected = match step.behind {
                Behind::Tree(_) => Kind::Commit,
                Behind::Target(kind) => kind,
            };
            let fault = match self.visit_node(node, self.states.id(node), Some(expected))? {
                Visit::Nothing | Visit::Complete(..) => None,
                Visit::Fault(fault) => Some(fault),
                Visit::Enter(node) => self.enter(node, Some(expected))?,
            };
            if fault.is_some() {
                return Ok(fault);
            }
        }
        Ok(None)
    }

    /// Completes the last commit or tag of the path, whose parents or target are complete; a commit's tree is checked
    /// now.
    fn leave(&mut self) -> Result<Option<Fault>, Error> {
        let Some(step) = self.path.last() else {
            return Ok(None);
        };
        let (node, first) = (step.node, step.first as usize);
        let kind = match step.behind {
            Behind::Target(_) => Kind::Tag,
            Behind::Tree(tree) => {
                let tree = self.states.id(tree);
                if let Some(fault) = self.check_root(tree, first)? {
                    return Ok(Some(fault));
                }
                self.last = Some((node, tree));
                Kind::Commit
            }
        };
        self.states.set(node, State::Complete(kind));
        self.ahead.truncate(first);
        self.path.pop();
        Ok(None)
    }

    /// Checks the root tree of a commit whose parents are at `first` and after it in `ahead`.
    fn check_root(&mut self, tree: ObjectId, first: usize) -> Result<Option<Fault>, Error> {
        let node = match self.visit(tree, Some(Kind::Tree))? {
            Visit::Nothing | Visit::Complete(..) => return Ok(None),
            Visit::Fault(fault) => return Ok(Some(fault)),
            Visit::Enter(node) => node,
        };
        if self.kind_in_self_contained_pack(&tree)? == Some(Kind::Tree) {
            self.states.set(node, State::complete(Kind::Tree));
            return Ok(None);
        }
        let parents = self.ahead[first..].iter().take(MAX_COMPARED);
        let others: Vec<_> = parents.filter_map(|parent| self.tree_of(*parent)).collect();
        self.check_tree(node, others)
    }

    /// The kind of a tree or a commit, if it is complete because a self-contained pack has it.
    fn kind_in_self_contained_pack(&mut self, id: &ObjectId) -> Result<Option<Kind>, Error> {
        // The shortcut is for stores: received objects have been read already, and a refused object would need a
        // walk to find the tips that need it.
        if self.objects.arrived.is_some() || !self.objects.refused.is_empty() {
            return Ok(None);
        }
        let worth = ScanDemand {
            commits: self.entered_commits,
            levels: MAX_LEVELS as u16,
            memory: self.states.room(),
        };
        let pack = self.objects.largest_pack.as_mut();
        pack.map_or(Ok(None), |pack| pack.kind(id, worth, self.context))
    }

    fn check_tree(&mut self, node: Node, others: Vec<ObjectId>) -> Result<Option<Fault>, Error> {
        let mut trees = std::mem::replace(&mut self.trees, Trees::new(0));
        let walked = trees.walk(node, self.states.id(node), others, self);
        if let Ok(Some(fault)) = &walked {
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
        let broken = self.broken(fault);
        for step in self.path.drain(..) {
            self.states.set(step.node, broken);
        }
        self.ahead.clear();
    }

    fn broken(&mut self, fault: &Fault) -> State {
        if self.reasons.last() != Some(fault) {
            self.reasons.push(fault.clone());
        }
        State::Broken(self.reasons.len() - 1)
    }

    fn visit(&mut self, id: ObjectId, expected: Option<Kind>) -> Result<Visit, Error> {
        match self.node(&id, expected) {
            Ok(node) => self.visit_node(node, id, expected),
            Err(fault) => {
                let reason = self.objects.refused.get(&id).cloned();
                Ok(Visit::Fault(reason.unwrap_or(fault)))
            }
        }
    }

    /// The node of an object. Missing objects get none, so that there are never more nodes than objects.
    fn node(&mut self, id: &ObjectId, expected: Option<Kind>) -> Result<Node, Fault> {
        if let Some(node) = self.states.find(id) {
            return Ok(node);
        }
        if !self.objects.lookup.exists(id) {
            let name = expected.map_or("object".to_owned(), |kind| kind.to_string());
            return Err(incomplete(format!("{name} {id} is missing")));
        }
        let pack = self.objects.largest_pack.as_ref();
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
    ) -> Result<Visit, Error> {
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
            return Ok(Visit::Fault(other_kind(&id, kind, expected)));
        }
        match state {
            State::Complete(_) | State::Entered => return Ok(Visit::Nothing),
            State::CompleteTree(levels) => return Ok(Visit::Complete(node, levels)),
            State::Broken(reason) => return Ok(Visit::Fault(self.reasons[reason].clone())),
            State::Unknown => {}
        }
        if let Some(reason) = self.objects.refused.get(&id) {
            return Ok(Visit::Fault(reason.clone()));
        }
        if kind == Some(Kind::Blob) {
            // A received blob has been read, and references nothing.
            return Ok(Visit::Nothing);
        }
        if kind.is_none() {
            if self.is_verified(node, &id, expected)? {
                return Ok(Visit::Nothing);
            }
            self.objects.to_freshen.push(id);
        }
        if let None | Some(Kind::Commit) = expected
            && let Some(found) = self.kind_in_self_contained_pack(&id)?
            && expected.is_none_or(|expected| expected == found)
        {
            self.states.set(node, State::complete(found));
            return Ok(Visit::Nothing);
        }
        if expected == Some(Kind::Blob) {
            if let Some(fault) = reading::blob_fault(self.objects.lookup, &id) {
                return Ok(Visit::Fault(fault));
            }
            self.states.set(node, State::Complete(Kind::Blob));
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
            None if self.objects.complete.is_tip(id) => return Ok(true),
            None | Some(Kind::Commit) => self.objects.complete.has_commit(id, self.context)?,
            Some(_) => false,
        };
        if is_verified {
            self.states.set(node, State::Complete(Kind::Commit));
        }
        Ok(is_verified)
    }

    /// The root tree of a complete commit.
    fn tree_of(&self, commit: Node) -> Option<ObjectId> {
        match self.last {
            Some((last, tree)) if last == commit => Some(tree),
            _ => reading::tree_of(self.objects.lookup, &self.states.id(commit)),
        }
    }

    /// Reads an object and puts it on the path, with the objects that it references.
    fn enter(&mut self, node: Node, expected: Option<Kind>) -> Result<Option<Fault>, Error> {
        let id = self.states.id(node);
        if expected == Some(Kind::Tree) {
            return self.check_tree(node, Vec::new());
        }
        // A remote can name any number of parents, over and over.
        if size_of_val(&self.path[..]) + size_of_val(&self.ahead[..]) > self.objects.memory.path {
            return Ok(Some(
                self.too_much(&id, "is behind more commits and parents"),
            ));
        }
        let mut buffer = Vec::new();
        let kind = match reading::read(self.objects.lookup, &id, expected, &mut buffer) {
            Ok(kind) => kind,
            Err(fault) => return Ok(Some(fault)),
        };
        let entered = match kind {
            Kind::Blob => {
                self.states.set(node, State::Complete(Kind::Blob));
                return Ok(None);
            }
            Kind::Tree => return self.check_tree(node, Vec::new()),
            Kind::Tag => self.enter_tag(node, &id, &buffer),
            Kind::Commit => self.enter_commit(node, &id, &buffer),
        };
        match entered {
            Ok(true) => self.states.set(node, State::Entered),
            Ok(false) => return Ok(Some(incomplete(format!("{kind} {id} can't be parsed")))),
            Err(fault) => return Ok(Some(fault)),
        }
        Ok(None)
    }

    fn enter_tag(&mut self, node: Node, id: &ObjectId, tag: &[u8]) -> Result<bool, Fault> {
        let Some((target, kind)) = tag_target(tag, id.kind()) else {
            return Ok(false);
        };
        let target = self.node(&target, Some(kind))?;
        self.step(node, Behind::Target(kind), self.ahead.len());
        self.ahead.push(target);
        Ok(true)
    }

    fn enter_commit(&mut self, node: Node, id: &ObjectId, commit: &[u8]) -> Result<bool, Fault> {
        let first = self.ahead.len();
        let mut parents = Vec::new();
        let Some(tree) = tree_and_parents(commit, id.kind(), &mut parents) else {
            return Ok(false);
        };
        if self.objects.shallow.contains(id) {
            parents.clear();
        }
        for parent in &parents {
            match self.node(parent, Some(Kind::Commit)) {
                Ok(parent) => self.ahead.push(parent),
                Err(fault) => {
                    self.ahead.truncate(first);
                    return Err(fault);
                }
            }
        }
        let tree = self.node(&tree, Some(Kind::Tree))?;
        self.entered_commits += 1;
        self.step(node, Behind::Tree(tree), first);
        Ok(true)
    }

    fn step(&mut self, node: Node, behind: Behind, first: usize) {
        let first = first as u32;
        self.path.push(Step {
            node,
            behind,
            first,
            next: first,
        });
    }
}

impl TreeVisitor for Walk<'_> {
    fn read(&mut self, tree: &ObjectId, text: &mut Vec<u8>) -> Result<(), Fault> {
        reading::read(self.objects.lookup, tree, Some(Kind::Tree), text)?;
        Ok(())
    }

    fn entered(&mut self, tree: Node) {
        self.states.set(tree, State::Entered);
    }

    fn left(&mut self, tree: Node, levels: Levels) {
        self.states.set(tree, State::CompleteTree(levels));
    }

    fn link(&mut self, id: ObjectId, kind: Kind) -> Result<Result<Link, Fault>, Error> {
        Ok(match self.visit(id, Some(kind))? {
            Visit::Nothing => Ok(Link::Done),
            Visit::Complete(node, levels) => Ok(Link::Complete(node, levels)),
            Visit::Enter(node) => Ok(Link::Tree(node)),
            Visit::Fault(fault) => Err(fault),
        })
    }
}
