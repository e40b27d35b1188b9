//! Is everything there that a tip needs?
//!
//! A walk from the tips over every object that is not behind a verified ref. It goes depth-first
//! so that an object counts as complete only once everything behind it does, and each object is
//! read at most once however many tips lead to it.
//!
//! Trees are read side by side with those of the commit's parents, which are complete by then: an
//! entry that a parent has under the same name needs no second look. Without that, one new commit
//! would cost a walk over its whole tree.

use gix::{
    ObjectId,
    hashtable::HashMap,
    objs::{CommitRefIter, Exists, Find, FindHeader, Kind, tree::EntryKind},
};
use gix_pack::index;

use super::{
    commits::{StoreCommits, VerifiedHistory, tag_target, tree_and_parents},
    entries::{Entries, MAX_COMPARED, decode, is_readable},
};
use crate::{Error, Phase, Reason, Run};

/// What the walk reads from.
pub(crate) struct Objects<'a> {
    /// The store and the quarantine.
    pub commits: StoreCommits<'a>,
    /// What has just arrived: not verified, wherever else it may be.
    pub arrived: Option<&'a index::File>,
    /// Those that are there and can't be had all the same.
    pub bad: &'a std::collections::HashMap<ObjectId, Reason>,
    /// What refs vouch for.
    pub verified: &'a mut VerifiedHistory,
}

/// Those of `tips` that aren't complete, each with the first fault that was found.
pub(crate) fn faults(
    objects: Objects<'_>,
    tips: &[ObjectId],
    run: &Run,
) -> Result<Vec<(ObjectId, Reason)>, Error> {
    let mut walk = Walk {
        objects,
        run,
        states: HashMap::default(),
        reasons: Vec::new(),
        stack: Vec::new(),
        visited: 0,
    };
    let mut faults = Vec::new();
    for tip in tips {
        if let Some(fault) = walk.check(tip)? {
            faults.push((*tip, fault));
        }
    }
    run.advance(Phase::Verify, walk.visited, Some(walk.visited));
    Ok(faults)
}

struct Walk<'a> {
    objects: Objects<'a>,
    run: &'a Run,
    states: HashMap<ObjectId, State>,
    /// Why what is broken is.
    reasons: Vec<Reason>,
    stack: Vec<Visit>,
    visited: u64,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Entered,
    Complete(Kind),
    /// For the reason at this index.
    Broken(usize),
}

enum Visit {
    /// A tip.
    Any(ObjectId),
    Commit(ObjectId),
    Tag(ObjectId),
    /// The tree of a commit with these parents, among others.
    RootTree {
        tree: ObjectId,
        parents: Vec<ObjectId>,
    },
    /// A tree that a complete commit has in other versions under the same path.
    Tree {
        tree: ObjectId,
        others: Vec<ObjectId>,
    },
    Blob(ObjectId),
    /// Everything behind the object has been visited.
    Leave(ObjectId, Kind),
}

/// Why an object isn't complete.
type Fault = Reason;

impl Walk<'_> {
    fn check(&mut self, tip: &ObjectId) -> Result<Option<Fault>, Error> {
        self.stack.push(Visit::Any(*tip));
        while let Some(visit) = self.stack.pop() {
            self.visited += 1;
            self.run.check()?;
            if self.visited.is_multiple_of(256) {
                self.run.advance(Phase::Verify, self.visited, None);
            }
            if let Some(fault) = self.visit(visit)? {
                self.abandon(&fault);
                return Ok(Some(fault));
            }
        }
        Ok(None)
    }

    /// What has been entered and not left is on the way from the tip to the fault.
    fn abandon(&mut self, fault: &Fault) {
        self.reasons.push(fault.clone());
        let broken = State::Broken(self.reasons.len() - 1);
        for visit in self.stack.drain(..) {
            if let Visit::Leave(id, _) = visit {
                self.states.insert(id, broken);
            }
        }
    }

    fn visit(&mut self, visit: Visit) -> Result<Option<Fault>, Error> {
        let (id, expected) = match &visit {
            Visit::Leave(id, kind) => {
                self.states.insert(*id, State::Complete(*kind));
                return Ok(None);
            }
            Visit::Any(id) => (*id, None),
            Visit::Commit(id) => (*id, Some(Kind::Commit)),
            Visit::Tag(id) => (*id, Some(Kind::Tag)),
            Visit::RootTree { tree, .. } | Visit::Tree { tree, .. } => (*tree, Some(Kind::Tree)),
            Visit::Blob(id) => (*id, Some(Kind::Blob)),
        };
        match self.states.get(&id) {
            Some(State::Complete(kind)) if expected.is_some_and(|expected| expected != *kind) => {
                return Ok(incomplete(format!(
                    "{id} is a {kind} where a {} is needed",
                    expected.unwrap_or(*kind)
                )));
            }
            Some(State::Complete(_) | State::Entered) => return Ok(None),
            Some(State::Broken(reason)) => return Ok(self.reasons.get(*reason).cloned()),
            None => {}
        }
        if let Some(reason) = self.objects.bad.get(&id) {
            return Ok(Some(reason.clone()));
        }
        let has_arrived = self
            .objects
            .arrived
            .is_some_and(|pack| pack.lookup(id).is_some());
        if !has_arrived && self.is_verified(&id, expected)? {
            return Ok(None);
        }
        Ok(match visit {
            Visit::Blob(id) => self.enter_blob(id),
            Visit::RootTree { tree, parents } => {
                let others = parents
                    .iter()
                    .filter_map(|parent| self.tree_of(parent))
                    .collect();
                self.enter(tree, expected, others)
            }
            Visit::Tree { tree, others } => self.enter(tree, expected, others),
            _ => self.enter(id, expected, Vec::new()),
        })
    }

    fn is_verified(&mut self, id: &ObjectId, expected: Option<Kind>) -> Result<bool, Error> {
        let Objects {
            commits, verified, ..
        } = &mut self.objects;
        let is_commit = match expected {
            Some(kind) => kind == Kind::Commit && commits.odb.exists(id),
            None if verified.tips().contains(id) => return Ok(commits.odb.exists(id)),
            None => commits
                .odb
                .try_header(id)
                .is_ok_and(|header| header.is_some_and(|h| h.kind == Kind::Commit)),
        };
        Ok(is_commit && verified.contains(id, commits, self.run)?)
    }

    /// A blob leads nowhere, so its header is enough.
    fn enter_blob(&mut self, id: ObjectId) -> Option<Fault> {
        match self.objects.commits.odb.try_header(&id) {
            Ok(Some(header)) if header.kind == Kind::Blob => {
                self.states.insert(id, State::Complete(Kind::Blob));
                None
            }
            Ok(Some(header)) => {
                incomplete(format!("{id} is a {} where a blob is needed", header.kind))
            }
            Ok(None) => incomplete(format!("blob {id} is missing")),
            Err(_) => incomplete(format!("blob {id} can't be read")),
        }
    }

    fn enter(
        &mut self,
        id: ObjectId,
        expected: Option<Kind>,
        others: Vec<ObjectId>,
    ) -> Option<Fault> {
        let name = expected.map_or("object".to_owned(), |kind| kind.to_string());
        let mut buffer = Vec::new();
        let object = match self.objects.commits.odb.try_find(&id, &mut buffer) {
            Ok(Some(object)) => object,
            Ok(None) => return incomplete(format!("{name} {id} is missing")),
            Err(_) => return incomplete(format!("{name} {id} can't be read")),
        };
        if expected.is_some_and(|expected| expected != object.kind) {
            return incomplete(format!(
                "{id} is a {} where a {name} is needed",
                object.kind
            ));
        }
        self.states.insert(id, State::Entered);
        self.stack.push(Visit::Leave(id, object.kind));
        let pushed = match object.kind {
            Kind::Blob => Some(()),
            Kind::Tag => self.push_target(object.data, id),
            Kind::Commit => self.push_commit(object.data, id),
            Kind::Tree => self.push_entries(object.data, id, others),
        };
        match pushed {
            Some(()) => None,
            None => incomplete(format!("{} {id} can't be parsed", object.kind)),
        }
    }

    fn push_target(&mut self, tag: &[u8], id: ObjectId) -> Option<()> {
        let (target, kind) = tag_target(tag, id.kind())?;
        self.stack.push(match kind {
            Kind::Commit => Visit::Commit(target),
            Kind::Tree => Visit::Tree {
                tree: target,
                others: Vec::new(),
            },
            Kind::Blob => Visit::Blob(target),
            Kind::Tag => Visit::Tag(target),
        });
        Some(())
    }

    /// The parents end on top of the tree, so that they are complete when it is visited.
    fn push_commit(&mut self, commit: &[u8], id: ObjectId) -> Option<()> {
        let mut parents = Vec::new();
        let tree = tree_and_parents(commit, id.kind(), &mut parents)?;
        if self.objects.commits.shallow.contains(&id) {
            parents.clear();
        }
        self.stack.push(Visit::RootTree {
            tree,
            parents: parents.iter().take(MAX_COMPARED).copied().collect(),
        });
        self.stack.extend(parents.into_iter().map(Visit::Commit));
        Some(())
    }

    fn push_entries(&mut self, tree: &[u8], id: ObjectId, others: Vec<ObjectId>) -> Option<()> {
        let others: Vec<_> = others
            .iter()
            .filter_map(|other| self.read_tree(other))
            .collect();
        let mut others: Vec<_> = others
            .iter()
            .map(|data| Entries {
                rest: data,
                format: id.kind(),
            })
            .collect();
        let mut entries = Entries {
            rest: tree,
            format: id.kind(),
        };
        while !entries.rest.is_empty() {
            let raw = entries.next_raw()?;
            if others.iter_mut().any(|other| other.skip(raw)) {
                continue;
            }
            let entry = decode(raw, id.kind()).filter(|entry| is_readable(raw, entry))?;
            let same_name: Vec<_> = others
                .iter_mut()
                .filter_map(|other| other.advance_to(&entry))
                .collect();
            if same_name
                .iter()
                .any(|other| other.oid == entry.oid && other.mode == entry.mode)
            {
                continue;
            }
            let trees = same_name.iter().filter(|other| other.mode.is_tree());
            self.stack.push(match entry.mode.kind() {
                EntryKind::Commit => continue,
                EntryKind::Tree => Visit::Tree {
                    tree: entry.oid.to_owned(),
                    others: trees.map(|other| other.oid.to_owned()).collect(),
                },
                EntryKind::Blob | EntryKind::BlobExecutable | EntryKind::Link => {
                    Visit::Blob(entry.oid.to_owned())
                }
            });
        }
        Some(())
    }

    /// The tree of a commit that is complete.
    fn tree_of(&self, commit: &ObjectId) -> Option<ObjectId> {
        let mut buffer = Vec::new();
        let object = self
            .objects
            .commits
            .odb
            .try_find(commit, &mut buffer)
            .ok()??;
        CommitRefIter::from_bytes(object.data, commit.kind())
            .tree_id()
            .ok()
    }

    fn read_tree(&self, id: &ObjectId) -> Option<Vec<u8>> {
        let mut buffer = Vec::new();
        self.objects.commits.odb.try_find(id, &mut buffer).ok()??;
        Some(buffer)
    }
}

fn incomplete(detail: String) -> Option<Fault> {
    Some(Reason::Incomplete { detail })
}
