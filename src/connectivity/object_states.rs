//! The state of each object that the walk has met.

use std::collections::HashMap;

use gix::{ObjectId, objs::Kind};

use super::Arrived;
use crate::pack::tree_depths::MAX_PASSES;

/// The most levels of nested trees that git reads (`core.maxTreeDepth` in git-config(1)).
pub(crate) const MAX_LEVELS: usize = 2048;

const _: () = assert!(
    MAX_PASSES < MAX_LEVELS,
    "trees whose depths are found out in passes are within the limit"
);

/// The number of an object: for a received one its position in the pack's index, for an object of the store the next
/// number after these when the walk meets it.
pub(super) type Node = u32;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    Unknown,
    /// On the path of the walk: an object that it references is still to be visited.
    Entered,
    CompleteBlob,
    CompleteCommit,
    CompleteTag,
    CompleteTree(Levels),
    /// Not complete, for the reason with this number.
    Broken(usize),
}

/// The number of levels of a complete tree, itself included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Levels {
    Counted(u16),
    /// Not counted: at this depth below a root, the tree does not exceed [`MAX_LEVELS`].
    FitAt(u16),
}

impl State {
    /// The state of a complete object. The levels of a tree are not counted.
    pub(super) fn of_complete(kind: Kind) -> Self {
        match kind {
            Kind::Blob => State::CompleteBlob,
            Kind::Commit => State::CompleteCommit,
            Kind::Tag => State::CompleteTag,
            Kind::Tree => State::CompleteTree(Levels::FitAt(0)),
        }
    }

    /// The kind of an object that is complete.
    pub(super) fn kind(self) -> Option<Kind> {
        match self {
            State::CompleteBlob => Some(Kind::Blob),
            State::CompleteCommit => Some(Kind::Commit),
            State::CompleteTag => Some(Kind::Tag),
            State::CompleteTree(_) => Some(Kind::Tree),
            State::Unknown | State::Entered | State::Broken(_) => None,
        }
    }
}

/// The states of all objects: four bytes for each received object, and a bounded number of objects of the store.
pub(super) struct ObjectStates<'a> {
    arrived: Option<Arrived<'a>>,
    /// By node.
    states: Vec<u32>,
    /// The objects of the store. The hasher has a random key, because the remote chooses which objects these are.
    nodes: HashMap<ObjectId, Node>,
    /// The ids of the objects of the store, by node minus the number of received objects.
    ids: Vec<ObjectId>,
    /// Bytes for the objects of the store.
    memory: usize,
}

/// Bytes for each object of the store at the moment when the map grows.
const EACH: usize = 3 * (size_of::<(ObjectId, Node)>() + 1) + size_of::<ObjectId>() + 4;

impl<'a> ObjectStates<'a> {
    pub(super) fn new(arrived: Option<Arrived<'a>>, memory: usize) -> Self {
        ObjectStates {
            arrived,
            states: vec![0; arrived.map_or(0, |arrived| arrived.kinds.len())],
            nodes: HashMap::new(),
            ids: Vec::new(),
            memory,
        }
    }

    pub(super) fn find(&self, id: &ObjectId) -> Option<Node> {
        let position = self.arrived.and_then(|arrived| arrived.index.lookup(id));
        position.or_else(|| self.nodes.get(id).copied())
    }

    /// Bytes that the objects of the store leave free.
    pub(super) fn room(&self) -> usize {
        self.memory - self.ids.len() * EACH
    }

    /// Adds an object of the store; `None` if there is no memory for more, besides `beside` bytes for something else.
    pub(super) fn add(&mut self, id: ObjectId, beside: usize) -> Option<Node> {
        self.room().checked_sub(EACH + beside)?;
        let node = Node::try_from(self.states.len()).ok()?;
        self.nodes.insert(id, node);
        self.ids.push(id);
        self.states.push(0);
        Some(node)
    }

    pub(super) fn id(&self, node: Node) -> ObjectId {
        match self.arrived {
            Some(arrived) if (node as usize) < arrived.kinds.len() => {
                arrived.index.oid_at_index(node).to_owned()
            }
            arrived => self.ids[node as usize - arrived.map_or(0, |arrived| arrived.kinds.len())],
        }
    }

    /// The kind of a received object.
    pub(super) fn kind(&self, node: Node) -> Option<Kind> {
        self.arrived?.kinds.get(node as usize).copied()
    }

    pub(super) fn state(&self, node: Node) -> State {
        match self.states[node as usize] {
            0 => State::Unknown,
            1 => State::Entered,
            2 => State::CompleteBlob,
            3 => State::CompleteCommit,
            4 => State::CompleteTag,
            levels if levels < FITTING => {
                State::CompleteTree(Levels::Counted((levels - COUNTED) as u16))
            }
            depth if depth < BROKEN => State::CompleteTree(Levels::FitAt((depth - FITTING) as u16)),
            reason => State::Broken((reason - BROKEN) as usize),
        }
    }

    pub(super) fn set(&mut self, node: Node, state: State) {
        self.states[node as usize] = match state {
            State::Unknown => 0,
            State::Entered => 1,
            State::CompleteBlob => 2,
            State::CompleteCommit => 3,
            State::CompleteTag => 4,
            State::CompleteTree(Levels::Counted(levels)) => COUNTED + u32::from(levels),
            State::CompleteTree(Levels::FitAt(depth)) => FITTING + u32::from(depth),
            State::Broken(reason) => BROKEN + reason as u32,
        };
    }
}

/// The values from which on levels, depths and numbers of reasons are stored.
const COUNTED: u32 = 5;
const FITTING: u32 = COUNTED + MAX_LEVELS as u32 + 1;
const BROKEN: u32 = FITTING + MAX_LEVELS as u32 + 1;

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: u8) -> ObjectId {
        ObjectId::from_bytes_or_panic(&[number; 20])
    }

    #[test]
    fn a_state_is_what_it_was_set_to() {
        let mut known = ObjectStates::new(None, 1 << 20);
        let node = known.add(id(1), 0).expect("room");
        assert_eq!(known.state(node), State::Unknown);
        let kinds = [Kind::Tree, Kind::Blob, Kind::Commit, Kind::Tag];
        let mut states: Vec<_> = kinds.map(State::of_complete).into();
        for levels in [0, 1, MAX_LEVELS as u16] {
            let levels = [Levels::Counted(levels), Levels::FitAt(levels)];
            states.extend(levels.map(State::CompleteTree));
        }
        states.extend([
            State::Entered,
            State::Broken(0),
            State::Broken(9),
            State::Unknown,
        ]);
        for state in states {
            known.set(node, state);
            assert_eq!(known.state(node), state);
        }
    }

    #[test]
    fn there_is_an_end_to_what_is_known_of_a_store() {
        let mut known = ObjectStates::new(None, 2 * EACH);
        let nodes = [1, 2].map(|number| {
            assert_eq!(known.add(id(number), (3 - number as usize) * EACH), None);
            known.add(id(number), 0).expect("room")
        });
        assert_eq!(known.add(id(3), 0), None);
        assert_eq!(
            [1, 2].map(|number| known.find(&id(number))),
            nodes.map(Some)
        );
        assert_eq!(nodes.map(|node| known.id(node)), [id(1), id(2)]);
        assert_eq!(known.find(&id(3)), None);
    }
}
