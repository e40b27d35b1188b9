use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

/// The outcome of pushes to a destination that declines each one with any of some refs in it.
#[derive(Debug, Default, PartialEq)]
struct Outcome {
    /// The number of refs in each push.
    sizes: Vec<usize>,
    through: BTreeSet<usize>,
    /// The refs that were declined alone.
    refused: BTreeSet<usize>,
}

/// A run that pushes these refs, and again so many times at most.
fn push(
    refs: &[usize],
    last: &[usize],
    most: usize,
    is_at_fault: impl Fn(usize) -> bool,
) -> Outcome {
    let mut batches = PushBatches::new(refs.to_vec(), last.to_vec());
    let mut outcome = Outcome::default();
    while outcome.sizes.len() <= most
        && let Some(batch) = batches.next()
    {
        outcome.sizes.push(batch.len());
        let is_declined = batch.iter().any(|at| is_at_fault(*at));
        match (is_declined, &*batch) {
            (false, _) => {
                outcome.through.extend(&batch);
                batches.learn(Verdict::Judged);
            }
            (true, [alone]) => {
                outcome.refused.insert(*alone);
                batches.learn(Verdict::RefusedAlone);
            }
            (true, _) if outcome.sizes.len() == 1 => batches.start_over(&batch),
            (true, _) => batches.learn(Verdict::Declined(batch)),
        }
    }
    outcome
}

fn all(count: usize) -> Vec<usize> {
    (0..count).collect()
}

#[test]
fn how_many_refs_each_push_has() {
    type Case = (&'static str, usize, fn(usize) -> bool, &'static [usize]);
    let cases: [Case; 9] = [
        ("none", 5, |_| false, &[5]),
        ("one, alone", 1, |_| true, &[1]),
        ("the first of eight", 8, |at| at == 0, &[8, 1, 1, 2, 4]),
        ("the last of eight", 8, |at| at == 7, &[8, 1, 2, 4, 1]),
        (
            "the third of eight",
            8,
            |at| at == 2,
            &[8, 1, 2, 1, 1, 1, 2, 2],
        ),
        ("all of four", 4, |_| true, &[4, 1, 1, 1, 1]),
        ("all but the last of four", 4, |at| at < 3, &[4, 1, 1, 1, 1]),
        (
            "one of 21",
            21,
            |at| at == 8,
            &[21, 1, 2, 4, 8, 4, 2, 1, 1, 4, 8],
        ),
        (
            "two of 12",
            12,
            |at| at == 4 || at == 5,
            &[12, 1, 2, 4, 2, 1, 1, 2, 1, 1, 2, 3],
        ),
    ];
    for (what, count, is_at_fault, sizes) in cases {
        assert_eq!(
            push(&all(count), &[], 100, is_at_fault).sizes,
            sizes,
            "{what}"
        );
    }
}

#[test]
fn a_group_that_is_only_too_much_at_once() {
    let mut batches = PushBatches::new(all(6), Vec::new());
    let mut sizes = Vec::new();
    while let Some(batch) = batches.next() {
        sizes.push(batch.len());
        match batch.len() {
            6 => batches.start_over(&batch),
            3.. => batches.learn(Verdict::Declined(batch)),
            _ => batches.learn(Verdict::Judged),
        }
    }
    assert_eq!(sizes, [6, 1, 2, 3, 1, 1, 1]);
}

/// A destination that dies of a ref has moved those before it.
#[test]
fn what_is_left_of_a_push_is_tried_again() {
    let mut batches = PushBatches::new(all(5), Vec::new());
    assert_eq!(batches.next(), Some(all(5)));
    batches.start_over(&[3, 4]);
    assert_eq!(batches.next(), Some(vec![3]));
    batches.learn(Verdict::Judged);
    assert_eq!(batches.next(), Some(vec![4]));
    // None of several moved but one, which says nothing of that one.
    batches.learn(Verdict::Declined(vec![4]));
    assert_eq!(batches.next(), Some(vec![4]));
    batches.learn(Verdict::RefusedAlone);
    assert_eq!(batches.next(), None);
}

#[test]
fn what_comes_last_is_sent_by_itself() {
    let outcome = push(&all(3), &[3, 4, 5], 100, |at| at >= 4);
    assert_eq!(outcome.sizes, [3, 1, 1, 1]);
    assert_eq!(outcome.through, (0..4).collect());
    assert_eq!(outcome.refused, (4..6).collect());
    assert_eq!(push(&[], &[3, 4], 100, |_| true).sizes, [1, 1]);
}

#[test]
fn a_ref_that_dropped_out_of_a_push_is_no_suspect() {
    let mut batches = PushBatches::new(all(4), Vec::new());
    assert_eq!(batches.next(), Some(all(4)));
    // The source could not give the tip of the others.
    batches.start_over(&[1, 3]);
    assert_eq!(batches.next(), Some(vec![1]));
    batches.learn(Verdict::Judged);
    assert_eq!(batches.next(), Some(vec![3]));
    batches.learn(Verdict::RefusedAlone);
    assert_eq!(batches.next(), None);
}

#[test]
fn the_default_branch_comes_first() {
    type Case<'a> = (&'a [usize], Option<usize>, usize, &'a [usize]);
    let cases: [Case<'_>; 6] = [
        (&[], Some(1), 7, &[]),
        (&[2, 4, 6, 8], None, 0, &[2, 4, 6, 8]),
        (&[2, 4, 6, 8], Some(6), 0, &[6, 2, 4, 8]),
        (&[2, 4, 6, 8], Some(5), 0, &[2, 4, 6, 8]),
        (&[2, 4, 6, 8], Some(6), 3, &[6, 8, 2, 4]),
        (&[2, 4, 6, 8], None, 5, &[4, 6, 8, 2]),
    ];
    for (refs, default_branch, start, expected) in cases {
        assert_eq!(in_order(refs, default_branch, start), expected, "{start}");
    }
}

proptest! {
    /// With pushes enough, each ref ends up where it belongs, and at no great cost.
    #[test]
    fn every_ref_is_judged(count in 1_usize..200, faults in prop::collection::btree_set(0_usize..200, 0..200)) {
        let faults: BTreeSet<_> = faults.into_iter().filter(|at| *at < count).collect();
        let outcome = push(&all(count), &[], usize::MAX - 1, |at| faults.contains(&at));
        prop_assert_eq!(&outcome.refused, &faults);
        prop_assert_eq!(outcome.through.len(), count - faults.len());
        let halvings = usize::BITS - count.leading_zeros();
        let most = 2 * (faults.len() + 1) * (halvings as usize + 1);
        prop_assert!(outcome.sizes.len() <= most.min(2 * count + 1), "{:?}", outcome.sizes);
    }

    /// However few pushes a run has, it tells something of one ref at least.
    #[test]
    fn no_run_is_for_nothing(count in 2_usize..100, most in 1_usize..20, first in 0_usize..100) {
        let outcome = push(&all(count), &[], most, |at| at >= first % count);
        prop_assert!(outcome.through.len() + outcome.refused.len() > 0);
    }

    /// Refs that were declined alone go last in the next run: no number of them keeps another one out.
    #[test]
    fn no_ref_is_kept_out_for_ever(count in 2_usize..200, most in 1_usize..20) {
        let good = count - 1;
        let (mut refs, mut last) = (all(count), Vec::new());
        let mut runs = 0;
        loop {
            runs += 1;
            let outcome = push(&refs, &last, most, |at| at != good);
            if outcome.through.contains(&good) {
                break;
            }
            refs.retain(|at| !outcome.refused.contains(at));
            last.extend(outcome.refused.into_iter().filter(|at| !last.contains(at)).collect::<Vec<_>>());
        }
        prop_assert!(runs <= count / most + 1, "{} runs", runs);
    }
}
