//! The walk over a tree and those below it.

use gix::{ObjectId, objs::Kind};

use super::{Fault, known::Node, texts::Texts};
use crate::{
    Error, Reason,
    pack::entries::{Entries, decode, is_readable, kind_of},
};

/// Git itself goes no deeper (`core.maxTreeDepth` in git-config(1)).
pub(super) const MAX_DEPTH: usize = 2048;

/// What the walk meets.
pub(super) trait Way {
    /// Puts the content of a tree into `text`, in place of what is there.
    fn read(&mut self, tree: &ObjectId, text: &mut Vec<u8>) -> Result<(), Fault>;

    /// From here on, its entries are being visited.
    fn entered(&mut self, tree: Node);

    /// All of its entries are complete.
    fn left(&mut self, tree: Node);

    /// What a tree names as an object of this kind; a node if it is a tree to enter.
    fn link(&mut self, id: ObjectId, kind: Kind) -> Result<Result<Option<Node>, Fault>, Error>;
}

/// The trees on the way from a root, as far as they were entered and not left.
///
/// Each is a place in a content. The contents themselves are kept as long as there is memory for
/// them; one that had to go, since there are larger trees below it, is read once more when those are
/// done. Their size pays for that.
pub(super) struct Trees {
    way: Vec<Tree>,
    /// How many trees at the start of the way have lost their contents.
    without: usize,
    /// Bytes of the other contents.
    held: usize,
    memory: usize,
    texts: Texts,
}

struct Tree {
    node: Node,
    id: ObjectId,
    at: usize,
    others: Vec<Other>,
    text: Option<Vec<u8>>,
}

/// The tree that a complete commit has under the same path.
struct Other {
    id: ObjectId,
    at: usize,
    text: Vec<u8>,
}

/// A tree below, with those that complete commits have in its place.
struct Below {
    node: Node,
    id: ObjectId,
    others: Vec<ObjectId>,
}

impl Trees {
    pub(super) fn new(memory: u64) -> Self {
        let memory = usize::try_from(memory).unwrap_or(usize::MAX);
        Trees {
            way: Vec::new(),
            without: 0,
            held: 0,
            memory: memory / 4 * 3,
            texts: Texts::new(memory / 4),
        }
    }

    /// Visits everything below a tree. After a fault [`abandon`](Trees::abandon) has to be called.
    pub(super) fn walk(
        &mut self,
        node: Node,
        id: ObjectId,
        others: Vec<ObjectId>,
        way: &mut impl Way,
    ) -> Result<Option<Fault>, Error> {
        let root = Below { node, id, others };
        if let Some(fault) = self.enter(root, way) {
            return Ok(Some(fault));
        }
        while let Some(tree) = self.way.last_mut() {
            if tree.text.is_none()
                && let Err(fault) = self.bring_back(way)
            {
                return Ok(Some(fault));
            }
            let Some(tree) = self.way.last_mut() else {
                break;
            };
            let fault = match tree.next(way)? {
                Ok(Some(below)) => self.enter(below, way),
                Ok(None) => {
                    self.leave(way);
                    None
                }
                Err(fault) => Some(fault),
            };
            if fault.is_some() {
                return Ok(fault);
            }
        }
        Ok(None)
    }

    /// Gives up on all that have not been left.
    pub(super) fn abandon(&mut self) -> impl Iterator<Item = Node> {
        (self.without, self.held) = (0, 0);
        self.way.drain(..).map(|tree| tree.node)
    }

    fn enter(&mut self, below: Below, way: &mut impl Way) -> Option<Fault> {
        let Below { node, id, others } = below;
        if self.way.len() >= MAX_DEPTH {
            let detail = format!("tree {id} is nested more than {MAX_DEPTH} levels deep");
            return Some(Reason::Incomplete { detail });
        }
        let text = match self.texts.read(&id, way) {
            Ok(text) => text,
            Err(fault) => return Some(fault),
        };
        way.entered(node);
        let others = others.into_iter().map(|id| Other {
            id,
            at: 0,
            text: Vec::new(),
        });
        let mut tree = Tree {
            node,
            id,
            at: 0,
            others: others.collect(),
            text: Some(text),
        };
        tree.read_others(self.memory / 2, &mut self.texts, way);
        self.held += tree.size();
        self.way.push(tree);
        self.make_room();
        None
    }

    /// The last one keeps its content, whatever it takes.
    fn make_room(&mut self) {
        while self.held > self.memory && self.without + 1 < self.way.len() {
            let tree = &mut self.way[self.without];
            self.held -= tree.size();
            tree.text = None;
            tree.others
                .iter_mut()
                .for_each(|other| other.text = Vec::new());
            self.without += 1;
        }
    }

    fn bring_back(&mut self, way: &mut impl Way) -> Result<(), Fault> {
        let Some(tree) = self.way.last_mut() else {
            return Ok(());
        };
        tree.text = Some(self.texts.read(&tree.id, way)?);
        tree.read_others(self.memory / 2, &mut self.texts, way);
        self.held += tree.size();
        self.without = self.without.min(self.way.len() - 1);
        Ok(())
    }

    fn leave(&mut self, way: &mut impl Way) {
        if let Some(tree) = self.way.pop() {
            self.held -= tree.size();
            way.left(tree.node);
            let others = tree.others.into_iter().map(|other| (other.id, other.text));
            // The tree itself last: it is the one that is most likely to come next.
            for (id, text) in others.chain(tree.text.map(|text| (tree.id, text))) {
                self.texts.leave(id, text);
            }
        }
    }
}

impl Tree {
    /// Those that can't be read, or only in more than `memory`, have nothing to compare with.
    fn read_others(&mut self, memory: usize, texts: &mut Texts, way: &mut impl Way) {
        let mut left = memory;
        self.others.retain_mut(|other| {
            let Ok(text) = texts.read(&other.id, way) else {
                return false;
            };
            let fits = text.len() <= left && other.at <= text.len();
            if fits {
                left -= text.len();
                other.text = text;
            }
            fits
        });
    }

    fn size(&self) -> usize {
        let others = self.others.iter().map(|other| other.text.capacity());
        self.text.as_ref().map_or(0, Vec::capacity) + others.sum::<usize>()
    }

    /// Goes on up to the next tree below.
    fn next(&mut self, way: &mut impl Way) -> Result<Result<Option<Below>, Fault>, Error> {
        let format = self.id.kind();
        let text = self.text.as_deref().unwrap_or_default();
        let unparsable = || Reason::Incomplete {
            detail: format!("tree {} can't be parsed", self.id),
        };
        let mut entries = rest(text, self.at, format);
        let mut others: Vec<_> = self
            .others
            .iter()
            .map(|other| rest(&other.text, other.at, format))
            .collect();
        let mut found = None;
        while !entries.rest.is_empty() {
            let Some(raw) = entries.next_raw() else {
                return Ok(Err(unparsable()));
            };
            if others.iter_mut().any(|other| other.skip(raw)) {
                continue;
            }
            let decoded = decode(raw, format).filter(|entry| is_readable(raw, entry));
            let Some(entry) = decoded else {
                return Ok(Err(unparsable()));
            };
            let same_name: Vec<_> = others
                .iter_mut()
                .filter_map(|other| other.advance_to(&entry))
                .collect();
            let mut in_others = same_name.iter();
            if in_others.any(|other| other.oid == entry.oid && other.mode == entry.mode) {
                continue;
            }
            let Some(kind) = kind_of(&entry) else {
                continue;
            };
            let id = entry.oid.to_owned();
            let node = match way.link(id, kind)? {
                Ok(None) => continue,
                Ok(Some(node)) => node,
                Err(fault) => return Ok(Err(fault)),
            };
            let trees = same_name.iter().filter(|other| other.mode.is_tree());
            let others = trees.map(|other| other.oid.to_owned()).collect();
            found = Some(Below { node, id, others });
            break;
        }
        let at = text.len() - entries.rest.len();
        let left: Vec<_> = others.iter().map(|other| other.rest.len()).collect();
        self.at = at;
        for (other, left) in self.others.iter_mut().zip(left) {
            other.at = other.text.len() - left;
        }
        Ok(Ok(found))
    }
}

fn rest(text: &[u8], at: usize, format: gix::hash::Kind) -> Entries<'_> {
    Entries {
        rest: &text[at..],
        format,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;

    /// Trees by number, each a list of numbers: those from 200 on are blobs.
    struct Forest {
        contents: HashMap<ObjectId, Vec<u8>>,
        reads: usize,
        done: Vec<u8>,
        met: Vec<u8>,
    }

    fn id(number: u8) -> ObjectId {
        ObjectId::from_bytes_or_panic(&[number; 20])
    }

    impl Forest {
        fn new(trees: &[(u8, &[u8])]) -> Self {
            let content = |below: &[u8]| {
                let mut content = Vec::new();
                for number in below {
                    let mode = if *number < 200 { "40000" } else { "100644" };
                    content.extend_from_slice(format!("{mode} {number:03}\0").as_bytes());
                    content.extend_from_slice(id(*number).as_bytes());
                }
                content
            };
            let contents = trees
                .iter()
                .map(|(tree, below)| (id(*tree), content(below)));
            Forest {
                contents: contents.collect(),
                reads: 0,
                done: Vec::new(),
                met: Vec::new(),
            }
        }

        fn walk(&mut self, trees: &mut Trees, root: u8, others: &[u8]) -> Option<Fault> {
            let others = others.iter().map(|number| id(*number)).collect();
            let walked = trees.walk(root.into(), id(root), others, self);
            walked.expect("no error")
        }
    }

    impl Way for Forest {
        fn read(&mut self, tree: &ObjectId, text: &mut Vec<u8>) -> Result<(), Fault> {
            self.reads += 1;
            let missing = || Reason::Incomplete {
                detail: format!("{} is missing", tree.as_bytes()[0]),
            };
            text.clone_from(self.contents.get(tree).ok_or_else(missing)?);
            Ok(())
        }

        fn entered(&mut self, _: Node) {}

        fn left(&mut self, tree: Node) {
            self.done.push(tree as u8);
        }

        fn link(&mut self, id: ObjectId, kind: Kind) -> Result<Result<Option<Node>, Fault>, Error> {
            let number = id.as_bytes()[0];
            self.met.push(number);
            let is_new = kind == Kind::Tree && !self.done.contains(&number);
            Ok(Ok(is_new.then_some(number.into())))
        }
    }

    const NEST: [(u8, &[u8]); 5] = [
        (1, &[2, 3, 200]),
        (2, &[4, 201]),
        (3, &[202]),
        (4, &[5, 203]),
        (5, &[204]),
    ];

    #[test]
    fn memory_changes_nothing_but_how_often_is_read() {
        for (memory, reads) in [(0, 9), (1 << 20, 5)] {
            let mut forest = Forest::new(&NEST);
            let mut trees = Trees::new(memory);
            assert_eq!(forest.walk(&mut trees, 1, &[]), None);
            assert_eq!(forest.done, [5, 4, 2, 3, 1], "from the bottom up");
            assert_eq!(forest.met, [2, 4, 5, 204, 203, 201, 3, 202, 200]);
            assert_eq!(forest.reads, reads);
            assert_eq!((trees.held, trees.way.len()), (0, 0));
        }
    }

    #[test]
    fn what_others_have_is_not_met() {
        let mut all = NEST.to_vec();
        all.extend([(11, &[2, 3, 205][..]), (12, &[4, 205])]);
        let mut forest = Forest::new(&all);
        assert_eq!(forest.walk(&mut Trees::new(1 << 20), 11, &[1, 99]), None);
        assert_eq!(forest.met, [205]);
        assert_eq!(forest.walk(&mut Trees::new(0), 11, &[1]), None);
        assert_eq!(
            forest.met[1..6],
            [2, 4, 5, 204, 203],
            "no memory to compare in"
        );
    }

    #[test]
    fn after_a_fault_those_on_the_way_are_given_up() {
        let mut forest = Forest::new(&NEST[..4]);
        let mut trees = Trees::new(1 << 20);
        let fault = forest.walk(&mut trees, 1, &[]).expect("a fault");
        assert_eq!(fault.to_string(), "incomplete: 5 is missing");
        assert_eq!(trees.abandon().collect::<Vec<_>>(), [1, 2, 4]);
        assert_eq!((trees.held, trees.without), (0, 0));
    }

    #[test]
    fn there_is_an_end_to_nesting() {
        /// Each tree has one in it, without an end.
        struct Down(u32);
        impl Way for Down {
            fn read(&mut self, _: &ObjectId, text: &mut Vec<u8>) -> Result<(), Fault> {
                *text = [b"40000 a\0", id(1).as_bytes()].concat();
                Ok(())
            }
            fn entered(&mut self, _: Node) {}
            fn left(&mut self, _: Node) {}
            fn link(&mut self, _: ObjectId, _: Kind) -> Result<Result<Option<Node>, Fault>, Error> {
                self.0 += 1;
                Ok(Ok(Some(self.0)))
            }
        }
        let mut down = Down(0);
        let walked = Trees::new(1000).walk(0, id(1), Vec::new(), &mut down);
        let fault = walked.expect("no error").expect("a fault");
        assert!(fault.to_string().contains("2048 levels"), "{fault}");
        assert_eq!(down.0, 2048);
    }
}
