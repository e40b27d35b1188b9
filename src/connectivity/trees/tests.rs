use std::collections::HashMap;

use super::*;
use crate::Reason;

/// Trees by number, each a list of numbers: those from 200 on are blobs.
struct Forest {
    contents: HashMap<ObjectId, Vec<u8>>,
    reads: usize,
    done: Vec<u8>,
    levels: HashMap<u8, Levels>,
    to_freshen: Vec<u8>,
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
            levels: HashMap::new(),
            to_freshen: Vec::new(),
        }
    }

    fn walk(&mut self, trees: &mut Trees, root: u8, others: &[u8]) -> Option<Fault> {
        let others = others.iter().map(|number| id(*number)).collect();
        match trees.walk(root.into(), id(root), others, self) {
            Ok(()) => None,
            Err(Stop::Fault(fault)) => Some(fault),
            Err(Stop::Failed(err)) => panic!("{err}"),
        }
    }
}

impl TreeVisitor for Forest {
    fn read(&mut self, tree: &ObjectId, content: &mut Vec<u8>) -> Result<(), Fault> {
        self.reads += 1;
        let missing = || Reason::Incomplete {
            detail: format!("{} is missing", tree.as_bytes()[0]),
        };
        content.clone_from(self.contents.get(tree).ok_or_else(missing)?);
        Ok(())
    }

    fn set(&mut self, tree: Node, state: State) {
        if let State::CompleteTree(levels) = state {
            self.done.push(tree as u8);
            self.levels.insert(tree as u8, levels);
        }
    }

    fn visit_entry(&mut self, id: ObjectId, kind: Kind) -> Result<Visit, Stop> {
        let number = id.as_bytes()[0];
        self.to_freshen.push(number);
        Ok(match self.levels.get(&number) {
            _ if kind != Kind::Tree => Visit::Nothing,
            Some(levels) => Visit::Complete(number.into(), *levels),
            None => Visit::Enter(number.into()),
        })
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
        assert_eq!(forest.to_freshen, [2, 4, 5, 204, 203, 201, 3, 202, 200]);
        assert_eq!(forest.reads, reads);
        assert_eq!((trees.held, trees.path.len()), (0, 0));
    }
}

#[test]
fn what_others_have_is_not_met() {
    let mut all = NEST.to_vec();
    all.extend([(11, &[2, 3, 205][..]), (12, &[4, 205])]);
    let mut forest = Forest::new(&all);
    assert_eq!(forest.walk(&mut Trees::new(1 << 20), 11, &[1, 99]), None);
    assert_eq!(forest.to_freshen, [205]);
    assert_eq!(forest.walk(&mut Trees::new(0), 11, &[1]), None);
    assert_eq!(
        forest.to_freshen[1..6],
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
    let given_up: Vec<_> = trees.abandon().collect();
    assert_eq!(given_up, [1, 2, 4].map(|node| (node, true)));
    assert_eq!((trees.held, trees.without), (0, 0));
}

#[test]
fn there_is_an_end_to_nesting() {
    /// Each tree has one in it, without an end.
    struct Down(u32);
    impl TreeVisitor for Down {
        fn read(&mut self, _: &ObjectId, content: &mut Vec<u8>) -> Result<(), Fault> {
            *content = [b"40000 a\0", id(1).as_bytes()].concat();
            Ok(())
        }
        fn set(&mut self, _: Node, _: State) {}
        fn visit_entry(&mut self, _: ObjectId, _: Kind) -> Result<Visit, Stop> {
            self.0 += 1;
            Ok(Visit::Enter(self.0))
        }
    }
    let mut down = Down(0);
    let mut trees = Trees::new(1000);
    let walked = trees.walk(0, id(1), Vec::new(), &mut down);
    let Err(Stop::Fault(fault)) = walked else {
        panic!("{walked:?}");
    };
    assert!(fault.to_string().contains("2048 levels"), "{fault}");
    assert_eq!(down.0 as usize, MAX_PATH);
    let at_fault = trees.abandon().filter(|(_, is_at_fault)| *is_at_fault);
    assert_eq!(at_fault.count(), MAX_LEVELS);
}

/// A tree that another one has, too, is known to have room below where that has it, and no more.
#[test]
fn levels_are_counted_where_a_tree_comes_to_be_deeper() {
    use Levels::{Counted, FitAt};
    let all: [(u8, &[u8]); 9] = [
        (1, &[2]),
        (2, &[3, 200]),
        (3, &[4]),
        (4, &[201]),
        (11, &[2, 202]),
        // In place of 2.
        (12, &[3, 203]),
        (13, &[12]),
        (14, &[204, 13]),
        (15, &[12]),
    ];
    let mut forest = Forest::new(&all);
    let mut trees = Trees::new(1 << 20);
    assert_eq!(forest.walk(&mut trees, 1, &[]), None);
    assert_eq!(forest.levels[&1], Counted(4));
    forest.levels.clear();
    assert_eq!(forest.walk(&mut trees, 12, &[2]), None);
    assert_eq!(forest.levels[&12], FitAt(0));
    assert_eq!(forest.walk(&mut trees, 15, &[]), None);
    assert_eq!(forest.levels[&12], Counted(3));
    assert_eq!(forest.levels[&15], Counted(4));
    let done = forest.done.len();
    assert_eq!(forest.walk(&mut trees, 14, &[]), None);
    assert_eq!(forest.done[done..], [13, 14]);
    assert_eq!(forest.levels[&14], Counted(5));
}
