//! Cases on small and large graphs.

use super::*;
use crate::ErrorKind;

#[test]
fn small_histories() {
    use Relation::*;
    // A commit is followed by its parents, and led by `~` if shallow, by `!` if unreadable.
    let table = [
        ("a", "a", "a", Same),
        ("!a", "a", "a", Same),
        ("a, ba", "a", "b", FastForward),
        ("a, ba", "b", "a", Behind),
        ("a, ba, ca", "b", "c", Diverged),
        ("a, b", "a", "b", Diverged),
        ("a, ba, ca, dbc", "b", "d", FastForward),
        ("a, ba, ca, dbc", "d", "c", Behind),
        ("a, ba, caaa, dccbb", "a", "d", FastForward),
        // Criss-cross merges have two merge bases.
        ("a, ba, ca, dbc, ecb", "d", "e", Diverged),
        ("a, ba, ca, dbc, ecb, fe", "b", "f", FastForward),
        // A hole on one side may hide the other side.
        ("!a, ba, c", "c", "b", Unknown),
        ("!a, ba, c", "b", "c", Unknown),
        ("~a, ba, c", "b", "c", Unknown),
        // A hole that both sides reach can hide neither.
        ("!a, ba, ca", "b", "c", Diverged),
        ("~a, ba, cb, db", "c", "d", Diverged),
        // One that is behind both, and a second one behind only one of them.
        ("!a, !x, ba, cax", "b", "c", Unknown),
        // What is found in spite of a hole is found.
        ("!a, ba, cba", "b", "c", FastForward),
        // The boundary itself is a commit, and its own history is unknown.
        ("~a, ba", "a", "b", FastForward),
        ("~a, ba", "b", "a", Behind),
        ("~a, b", "a", "b", Unknown),
        ("~a, ~b", "a", "b", Unknown),
        // An end that can't be read is unknown, even where its id turns up.
        ("!a, ba", "a", "b", Unknown),
        ("!a, ba", "b", "a", Unknown),
        ("!a, b", "a", "b", Unknown),
    ];
    for (commits, old, new, expected) in table {
        let (mut graph, named) = TestGraph::parse(commits);
        let pair = (named(old), named(new));
        let relations = compare(&mut graph, &[pair], &never).expect("not cancelled");
        assert_eq!(relations, [expected], "{commits}: {old} to {new}");
    }
}

#[test]
fn nothing_asked_is_nothing_looked_up() {
    let (mut graph, named) = TestGraph::parse("a, ba");
    assert_eq!(compare(&mut graph, &[], &never).expect("not cancelled"), []);
    let same = (named("b"), named("b"));
    compare(&mut graph, &[same, same], &never).expect("not cancelled");
    assert_eq!(graph.lookups, [0, 0]);
}

#[test]
fn a_short_step_in_a_long_history_looks_at_a_handful_of_commits() {
    for generations in [false, true] {
        let mut chain = Chain::new(1_000_000, generations);
        let pairs = [(id(999_998), id(999_999)), (id(999_997), id(999_995))];
        let relations = compare(&mut chain, &pairs, &never).expect("not cancelled");
        assert_eq!(relations, [Relation::FastForward, Relation::Behind]);
        assert!(chain.lookups <= 7, "{}", chain.lookups);
    }
}

#[test]
fn diverged_branches_stop_near_their_merge_base() {
    for generations in [false, true] {
        let mut chain = Chain::new(1_000_000, generations);
        // The odd commits of the last hundred make a branch of their own.
        chain.fork_at = 999_900;
        let pair = [(id(999_998), id(999_999))];
        let relations = compare(&mut chain, &pair, &never).expect("not cancelled");
        assert_eq!(relations, [Relation::Diverged]);
        assert!(chain.lookups <= 110, "{}", chain.lookups);
    }
}

#[test]
fn generations_bound_what_dates_can_not() {
    let mut chain = Chain::new(1_000_000, true);
    chain.date = |_| 0;
    let pairs = [(id(998_990), id(999_000))];
    let relations = compare(&mut chain, &pairs, &never).expect("not cancelled");
    assert_eq!(relations, [Relation::FastForward]);
    assert!(chain.lookups <= 15, "{}", chain.lookups);
}

#[test]
fn a_long_history_is_walked_to_its_root() {
    let mut chain = Chain::new(1_000_000, false);
    let relations = compare(&mut chain, &[(id(0), id(999_999))], &never).expect("not cancelled");
    assert_eq!(relations, [Relation::FastForward]);
}

#[test]
fn dates_that_run_backwards_cost_no_walk_per_pair() {
    let mut chain = Chain::new(20_000, false);
    chain.date = |number| -(number as i64);
    let pairs: Vec<_> = (1..=64).map(|pair| (id(0), id(300 * pair))).collect();
    let (relations, steps) = compare_counting_steps(&mut chain, &pairs);
    assert_eq!(relations, [Relation::FastForward; 64]);
    assert!(steps < 8 * 20_000, "{steps}");
}

#[test]
fn what_is_found_is_not_walked_on() {
    let mut chain = Chain::new(10_000, false);
    // The tip looks so old that half the history is seen from the other end before it.
    chain.date = |number| {
        if number == 9_999 {
            5_000
        } else {
            number as i64
        }
    };
    let (old, new) = (id(9_998), id(9_999));
    let (relations, steps) = compare_counting_steps(&mut chain, &[(old, new)]);
    assert_eq!(relations, [Relation::FastForward]);
    let (relations, steps_back) = compare_counting_steps(&mut chain, &[(new, old)]);
    assert_eq!(relations, [Relation::Behind]);
    // A lookup and a visit for each of that half.
    assert!(steps.max(steps_back) < 11_000, "{steps}, {steps_back}");
}

#[test]
fn levels_put_every_child_before_its_parents() {
    let (mut graph, named) = TestGraph::parse("a, ba, cb, dac, e, fed, !g, hgf");
    for (number, commit) in graph.commits.iter_mut().enumerate() {
        commit.date = -(number as i64);
    }
    graph.commits[4].generation = Some(1);
    let mut history = WalkedHistory::new(&mut graph, &Tuning::default(), &never);
    let tip = history.look_up(&named("h")).expect("not cancelled");
    history
        .rank_by_level(vec![tip, tip])
        .expect("not cancelled");
    let mut priority = |name| {
        let index = history.look_up(&named(name)).expect("not cancelled");
        history.priority(index)
    };
    for (child, parent) in
        ["ba", "cb", "da", "dc", "fe", "fd", "hg", "hf"].map(|edge| edge.split_at(1))
    {
        assert!(priority(child) > priority(parent), "{child} to {parent}");
    }
}

#[test]
fn an_octopus_with_its_parents_named_twice() {
    let mut graph = TestGraph::default();
    for number in 0..3000 {
        graph.add(&[], number);
    }
    let twice: Vec<_> = (0..3000).chain(0..3000).collect();
    let octopus = id(graph.add(&twice, 3000));
    let pairs: Vec<_> = (0..3000).map(|number| (id(number), octopus)).collect();
    let relations = compare(&mut graph, &pairs, &never).expect("not cancelled");
    assert_eq!(relations, [Relation::FastForward; 3000]);
    assert_eq!(graph.lookups, [1; 3001]);
}

#[test]
fn the_caller_can_cancel() {
    let mut chain = Chain::new(1_000_000, false);
    let checks = Cell::new(0);
    let tenth_time = || {
        checks.set(checks.get() + 1);
        checks.get() >= 10
    };
    let pair = (id(0), id(999_999));
    let err = compare(&mut chain, &[pair], &tenth_time).expect_err("cancelled");
    assert_eq!(err.kind(), ErrorKind::Cancelled);
    assert!(chain.lookups < 1000, "{}", chain.lookups);

    let mut chain = Chain::new(1_000_000, false);
    let err = compare(&mut chain, &[pair], &|| true).expect_err("cancelled");
    assert_eq!(err.kind(), ErrorKind::Cancelled);
    assert_eq!(chain.lookups, 0);
}

proptest! {
    #[test]
    fn compare_agrees_with_the_closure(drawn in drawn_graph(), has_positions: bool) {
        let mut graph = drawn.build(Generations::AsPromised);
        graph.has_positions = has_positions;
        let oracle = Oracle::new(&graph);
        let all = 0..graph.commits.len();
        let numbers: Vec<_> = all.clone().flat_map(|old| all.clone().map(move |new| (old, new))).collect();
        let pairs: Vec<_> = numbers.iter().map(|(old, new)| (id(*old), id(*new))).collect();

        let relations = compare(&mut graph, &pairs, &never).expect("not cancelled");
        prop_assert!(graph.lookups.iter().all(|lookups| *lookups <= 1));
        for ((old, new), relation) in numbers.iter().zip(&relations) {
            prop_assert_eq!(*relation, oracle.relation(*old, *new), "{} to {}", old, new);
        }
        for (pair, relation) in pairs.iter().zip(&relations).step_by(7) {
            let alone = compare(&mut graph, &[*pair], &never).expect("not cancelled");
            prop_assert_eq!(alone, [*relation], "{:?}", pair);
        }
    }

    /// Generations above a hole break the promise, and may turn a no into an unknown or back;
    /// what is said for sure is true nevertheless.
    #[test]
    fn no_hole_makes_an_answer_wrong(drawn in drawn_graph(), has_positions: bool) {
        let mut graph = drawn.build(Generations::EvenAboveHoles);
        graph.has_positions = has_positions;
        let mut whole = drawn.build(Generations::EvenAboveHoles);
        whole.commits.iter_mut().for_each(|commit| commit.hole = None);
        let (seen, truth) = (Oracle::new(&graph), Oracle::new(&whole));
        for old in 0..graph.commits.len() {
            for new in 0..graph.commits.len() {
                let relation = compare(&mut graph, &[(id(old), id(new))], &never).expect("not cancelled")[0];
                if relation != Relation::Unknown {
                    prop_assert_eq!(relation, truth.relation(old, new));
                }
                let visible = seen.relation(old, new);
                if visible == Relation::FastForward || visible == Relation::Behind {
                    prop_assert_eq!(relation, visible);
                }
            }
        }
    }

    #[test]
    fn a_graph_with_cycles_ends_too(
        commits in prop::collection::vec(
            (prop::collection::vec(any::<prop::sample::Index>(), 0..4), prop::option::of(0..9u32), 0..9i64),
            1..20,
        )
    ) {
        let mut graph = TestGraph::default();
        for (parents, generation, date) in &commits {
            let parents: Vec<_> = parents.iter().map(|parent| parent.index(commits.len())).collect();
            let number = graph.add(&parents, *date);
            graph.commits[number].generation = *generation;
        }
        let ids: Vec<_> = (0..commits.len()).map(id).collect();
        let pairs: Vec<_> = ids.iter().flat_map(|old| ids.iter().map(|new| (*old, *new))).collect();
        compare(&mut graph, &pairs, &never).expect("not cancelled");
        prop_assert!(graph.lookups.iter().all(|lookups| *lookups <= 1));
    }
}

#[test]
fn where_all_have_generations_each_commit_has_one_turn() {
    let mut chain = Chain::new(20_000, true);
    chain.date = |number| -(number as i64);
    let pairs: Vec<_> = (0..2000)
        .map(|pair| (id(pair), id(19_999 - pair)))
        .collect();
    let (relations, steps) = compare_counting_steps(&mut chain, &pairs);
    assert_eq!(relations, [Relation::FastForward; 2000]);
    // One for each lookup, and one in each of two passes.
    assert!(steps <= 3 * 20_000 + 64, "{steps}");
    assert!(chain.lookups <= 20_000, "{}", chain.lookups);
}

#[test]
fn generations_that_are_no_levels() {
    let (mut graph, named) = TestGraph::parse("a, ba, ca");
    for (commit, generation) in graph.commits.iter_mut().zip([1, u32::MAX, 2_000_000_000]) {
        commit.generation = Some(generation);
    }
    let [a, b, c] = ["a", "b", "c"].map(named);
    let relations = compare(&mut graph, &[(a, b), (b, c), (c, a)], &never);
    let expected = [Relation::FastForward, Relation::Diverged, Relation::Behind];
    assert_eq!(relations.expect("not cancelled"), expected);
}

/// Merges that all have the same very many parents: to know them all would take very much memory.
#[test]
fn there_is_an_end_to_the_parents_that_are_kept() {
    struct Merges(u32);
    fn id(number: u32) -> ObjectId {
        let mut bytes = [1; 20];
        bytes[..4].copy_from_slice(&number.to_be_bytes());
        ObjectId::from(bytes)
    }
    impl CommitGraph for Merges {
        fn commit(&mut self, of: &ObjectId, parents: &mut Vec<ObjectId>) -> Result<Commit, Hole> {
            let number = u32::from_be_bytes(of.as_bytes()[..4].try_into().expect("four bytes"));
            // The first 1,000 are roots, the others name all of those and the one before.
            if number >= 1000 {
                parents.extend((0..1000).map(id));
                parents.push(id(number - 1));
            }
            self.0 += 1;
            Ok(Commit {
                generation: None,
                date: i64::from(number),
            })
        }
    }
    let relate = |old, new| {
        let mut graph = Merges(0);
        let tuning = Tuning {
            extra_edges: 100_000,
            ..Tuning::default()
        };
        let pairs = [(id(old), id(new))];
        let relation = compare_by_position(&mut ById(&mut graph), &pairs, &tuning, &|| false);
        (relation.expect("not cancelled")[0], graph.0)
    };
    assert_eq!(relate(1000, 1050).0, Relation::FastForward, "few enough");
    let (relation, looked_up) = relate(1000, 3000);
    assert_eq!(relation, Relation::Unknown);
    assert!(looked_up < 1500, "{looked_up}");
}
