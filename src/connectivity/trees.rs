//! The part of the walk that visits a root tree and all trees below it, without recursion.

use gix::{ObjectId, objs::Kind};

use super::{
    Fault,
    object_states::{Levels, MAX_LEVELS, Node, State},
    reading::{incomplete, unparsable},
    tree_cache::TreeCache,
    tree_visitor::{Stop, TreeVisitor, Visit},
};
use crate::object::tree_entries::{Entries, decode, kind_of};

/// The longest path of trees. The upper half of such a path has more levels than git reads, so it is at fault. The trees
/// in the lower half may be within the limit; they stay unknown, and are walked again if another tree has them.
const MAX_PATH: usize = 2 * MAX_LEVELS;

/// The path from a root tree to the current one: the trees that were entered and not left.
///
/// Each is a position in a content. Contents beyond the memory are dropped, from the root down, and read again when the
/// trees below are done. Such a second read is paid for by the size of the trees below that caused it, so it does
/// not make the walk quadratic.
pub(super) struct Trees {
    path: Vec<Tree>,
    /// The number of trees at the start of the path whose contents were dropped.
    without: usize,
    /// Bytes of the contents on the path.
    held: usize,
    memory: usize,
    cache: TreeCache,
}

struct Tree {
    node: Node,
    id: ObjectId,
    at: usize,
    /// The most levels below this tree, as far as they were counted.
    levels_below: usize,
    /// Whether some subtrees were not counted, because a complete tree has them at the same depth or deeper: there they
    /// do not exceed the limit, so neither do they here.
    has_uncounted: bool,
    /// Whether the levels of all subtrees have to be counted.
    must_count: bool,
    others: Vec<Other>,
    content: Option<Vec<u8>>,
}

/// The tree that a complete commit has at the same path.
struct Other {
    id: ObjectId,
    at: usize,
    content: Vec<u8>,
}

/// A tree to enter, with the trees that complete commits have at the same path.
struct Subtree {
    node: Node,
    id: ObjectId,
    must_count: bool,
    others: Vec<ObjectId>,
}

impl Trees {
    pub(super) fn new(memory: usize) -> Self {
        Trees {
            path: Vec::new(),
            without: 0,
            held: 0,
            memory: memory / 4 * 3,
            cache: TreeCache::new(memory / 4),
        }
    }

    /// Visits all objects below a root tree. After a fault [`abandon`](Trees::abandon) has to be called.
    pub(super) fn walk(
        &mut self,
        node: Node,
        id: ObjectId,
        others: Vec<ObjectId>,
        visitor: &mut impl TreeVisitor,
    ) -> Result<(), Stop> {
        let root = Subtree {
            node,
            id,
            must_count: false,
            others,
        };
        self.enter(root, visitor)?;
        loop {
            let depth = self.path.len();
            let Some(tree) = self.path.last_mut() else {
                return Ok(());
            };
            if tree.content.is_none() {
                self.bring_back(visitor)?;
                continue;
            }
            match tree.next(depth, visitor)? {
                Some(subtree) => self.enter(subtree, visitor)?,
                None => self.leave(visitor)?,
            }
        }
    }

    /// Clears the path after a fault. Returns its trees, each with whether it is known to be at fault.
    pub(super) fn abandon(&mut self) -> impl Iterator<Item = (Node, bool)> {
        (self.without, self.held) = (0, 0);
        let known = if self.path.len() < MAX_PATH {
            self.path.len()
        } else {
            MAX_LEVELS
        };
        let path = self.path.drain(..).enumerate();
        path.map(move |(depth, tree)| (tree.node, depth < known))
    }

    fn enter(&mut self, subtree: Subtree, visitor: &mut impl TreeVisitor) -> Result<(), Fault> {
        let Subtree {
            node,
            id,
            must_count,
            others,
        } = subtree;
        if self.path.len() >= MAX_PATH {
            return Err(too_deep(&self.path[0].id));
        }
        let content = self.cache.read(&id, visitor)?;
        visitor.set(node, State::Entered);
        let others = others.into_iter().map(|id| Other {
            id,
            at: 0,
            content: Vec::new(),
        });
        let mut tree = Tree {
            node,
            id,
            at: 0,
            levels_below: 0,
            has_uncounted: false,
            must_count,
            others: others.collect(),
            content: Some(content),
        };
        tree.read_others(self.memory / 2, &mut self.cache, visitor);
        self.held += tree.size();
        self.path.push(tree);
        self.make_room();
        Ok(())
    }

    /// Drops contents from the root down while they exceed the memory. The current tree keeps its content.
    fn make_room(&mut self) {
        while self.held > self.memory && self.without + 1 < self.path.len() {
            let tree = &mut self.path[self.without];
            self.held -= tree.size();
            tree.content = None;
            tree.others
                .iter_mut()
                .for_each(|other| other.content = Vec::new());
            self.without += 1;
        }
    }

    fn bring_back(&mut self, visitor: &mut impl TreeVisitor) -> Result<(), Fault> {
        let Some(tree) = self.path.last_mut() else {
            return Ok(());
        };
        tree.content = Some(self.cache.read(&tree.id, visitor)?);
        tree.read_others(self.memory / 2, &mut self.cache, visitor);
        self.held += tree.size();
        self.without = self.without.min(self.path.len() - 1);
        Ok(())
    }

    fn leave(&mut self, visitor: &mut impl TreeVisitor) -> Result<(), Fault> {
        let Some(mut tree) = self.path.pop() else {
            return Ok(());
        };
        let (depth, levels) = (self.path.len(), tree.levels_below + 1);
        if levels > MAX_LEVELS {
            let fault = too_deep(&tree.id);
            self.path.push(tree);
            return Err(fault);
        }
        if tree.has_uncounted && depth + levels > MAX_LEVELS {
            tree.count_anew();
            self.path.push(tree);
            return Ok(());
        }
        self.held -= tree.size();
        if let Some(above) = self.path.last_mut() {
            above.levels_below = above.levels_below.max(levels);
            above.has_uncounted |= tree.has_uncounted;
        }
        let levels = if tree.has_uncounted {
            Levels::FitAt(depth as u16)
        } else {
            Levels::Counted(levels as u16)
        };
        visitor.set(tree.node, State::CompleteTree(levels));
        let others = tree
            .others
            .into_iter()
            .map(|other| (other.id, other.content));
        // The tree itself goes in last, because it is the most likely one to be read next.
        for (id, content) in others.chain(tree.content.map(|content| (tree.id, content))) {
            self.cache.leave(id, content);
        }
        Ok(())
    }
}

fn too_deep(tree: &ObjectId) -> Fault {
    incomplete(format!(
        "tree {tree} has others nested more than {MAX_LEVELS} levels deep"
    ))
}

impl Tree {
    /// Reads the trees to compare with. Trees that cannot be read or exceed `memory` are left out: then more entries
    /// are visited, with the same result.
    fn read_others(
        &mut self,
        memory: usize,
        cache: &mut TreeCache,
        visitor: &mut impl TreeVisitor,
    ) {
        let mut left = memory;
        self.others.retain_mut(|other| {
            let Ok(content) = cache.read(&other.id, visitor) else {
                return false;
            };
            let fits = content.len() <= left && other.at <= content.len();
            if fits {
                left -= content.len();
                other.content = content;
            }
            fits
        });
    }

    fn size(&self) -> usize {
        let others = self.others.iter().map(|other| other.content.capacity());
        self.content.as_ref().map_or(0, Vec::capacity) + others.sum::<usize>()
    }

    /// Starts again from the first entry, to count all levels.
    fn count_anew(&mut self) {
        self.at = 0;
        self.has_uncounted = false;
        self.must_count = true;
        for other in &mut self.others {
            // An entry of a complete tree is not skipped any more, because its levels have to be counted.
            other.at = other.content.len();
        }
    }

    /// Visits entries up to the next subtree to enter, and returns that subtree. `depth` is the depth of the subtree.
    fn next(
        &mut self,
        depth: usize,
        visitor: &mut impl TreeVisitor,
    ) -> Result<Option<Subtree>, Stop> {
        let format = self.id.kind();
        let content = self.content.as_deref().unwrap_or_default();
        let unparsable = || unparsable(Kind::Tree, &self.id);
        let mut entries = rest(content, self.at, format);
        let mut others: Vec<_> = self
            .others
            .iter()
            .map(|other| rest(&other.content, other.at, format))
            .collect();
        let mut found = None;
        while !entries.rest.is_empty() {
            let raw = entries.next_raw().ok_or_else(unparsable)?;
            if others.iter_mut().any(|other| other.skip(raw)) {
                self.has_uncounted |= may_be_tree(raw);
                continue;
            }
            let entry = decode(raw, format).ok_or_else(unparsable)?;
            let same_name: Vec<_> = others
                .iter_mut()
                .filter_map(|other| other.advance_to(&entry))
                .collect();
            let mut in_others = same_name.iter();
            if in_others.any(|other| other.oid == entry.oid && other.mode == entry.mode) {
                self.has_uncounted |= may_be_tree(raw);
                continue;
            }
            let Some(kind) = kind_of(&entry) else {
                continue;
            };
            let id = entry.oid.to_owned();
            let (node, others, must_count) = match visitor.visit_entry(id, kind)? {
                Visit::Nothing => continue,
                Visit::Complete(_, Levels::Counted(levels)) => {
                    self.levels_below = self.levels_below.max(levels.into());
                    continue;
                }
                Visit::Complete(_, Levels::FitAt(known))
                    if !self.must_count && depth <= known.into() =>
                {
                    self.has_uncounted = true;
                    continue;
                }
                // It is walked again, without others, to count all of its levels.
                Visit::Complete(node, Levels::FitAt(_)) => (node, Vec::new(), true),
                Visit::Enter(node) => {
                    let trees = same_name.iter().filter(|other| other.mode.is_tree());
                    let others = trees.map(|other| other.oid.to_owned()).collect();
                    (node, others, self.must_count)
                }
            };
            found = Some(Subtree {
                node,
                id,
                must_count,
                others,
            });
            break;
        }
        let left: Vec<_> = others.iter().map(|other| other.rest.len()).collect();
        self.at = content.len() - entries.rest.len();
        for (other, left) in self.others.iter_mut().zip(left) {
            other.at = other.content.len() - left;
        }
        Ok(found)
    }
}

/// Whether an entry may be a tree: its mode begins like none of a file, a symbolic link or a submodule.
fn may_be_tree(entry: &[u8]) -> bool {
    let others = [&b"100"[..], b"120", b"160"];
    !others.iter().any(|mode| entry.starts_with(mode))
}

fn rest(content: &[u8], at: usize, format: gix::hash::Kind) -> Entries<'_> {
    Entries {
        rest: &content[at..],
        format,
    }
}

#[cfg(test)]
mod tests;
