//! The tips of the next request to a source that has given up on a pack, because it cannot send some of the tips.

use std::{cmp::Reverse, ops::Range};

/// The bisection of tips, which are in the order of their ref names. Neighbours are often at fault together, so tips
/// between sound ones are requested first, and tips between faulty ones last.
pub(super) struct TipBisection {
    tips: Vec<Tip>,
    parts: Vec<Part>,
    families: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Tip {
    Open,
    Sound,
    /// The source does not send the tip even alone.
    Faulty,
}

struct Part {
    tips: Range<usize>,
    /// The number that the two halves of a group share.
    family: Option<u32>,
    /// Whether a tip of the group is known to be at fault, because the other half is sound: it is halved without a
    /// request.
    is_faulty: bool,
}

impl TipBisection {
    pub(super) fn new(tips: usize) -> Self {
        let all = Part {
            tips: 0..tips,
            family: None,
            is_faulty: false,
        };
        TipBisection {
            tips: vec![Tip::Open; tips],
            parts: vec![all],
            families: 0,
        }
    }

    /// The tips of the next request.
    pub(super) fn next(&mut self) -> Option<Range<usize>> {
        loop {
            let parts = self.parts.iter().enumerate();
            let (at, _) = parts.min_by_key(|(_, part)| self.rank(&part.tips))?;
            let part = &self.parts[at];
            if !part.is_faulty {
                return Some(part.tips.clone());
            }
            let part = self.parts.swap_remove(at);
            self.halve(part.tips);
        }
    }

    /// Records that these tips were received; with `is_partial`, that a part of them was and the others were at fault.
    pub(super) fn arrived(&mut self, tips: &Range<usize>, is_partial: bool) {
        let family = self.take(tips);
        self.tips[tips.clone()].fill(Tip::Sound);
        for part in &mut self.parts {
            if family.is_some() && part.family == family {
                part.family = None;
                part.is_faulty = !is_partial;
            }
        }
    }

    /// Records that the source gave up on these tips.
    pub(super) fn gave_up(&mut self, tips: &Range<usize>) {
        let family = self.take(tips);
        let others = self.parts.iter_mut().filter(|part| part.family == family);
        others.for_each(|part| part.family = None);
        self.halve(tips.clone());
    }

    /// Whether the source gave up on this tip alone.
    pub(super) fn is_faulty(&self, tip: usize) -> bool {
        self.tips[tip] == Tip::Faulty
    }

    pub(super) fn is_sound(&self, tip: usize) -> bool {
        self.tips[tip] == Tip::Sound
    }

    fn take(&mut self, tips: &Range<usize>) -> Option<u32> {
        let at = self.parts.iter().position(|part| part.tips == *tips)?;
        self.parts.swap_remove(at).family
    }

    fn halve(&mut self, tips: Range<usize>) {
        if tips.len() < 2 {
            self.tips[tips].fill(Tip::Faulty);
            return;
        }
        self.families += 1;
        let middle = tips.start + tips.len() / 2;
        for tips in [tips.start..middle, middle..tips.end] {
            self.parts.push(Part {
                tips,
                family: Some(self.families),
                is_faulty: false,
            });
        }
    }

    fn rank(&self, tips: &Range<usize>) -> (isize, Reverse<usize>, usize) {
        let before = tips.start.checked_sub(1).map(|at| self.tips[at]);
        let after = self.tips.get(tips.end).copied();
        let neighbours = [before, after].map(|tip| match tip {
            Some(Tip::Open) => 0,
            Some(Tip::Faulty) => 1,
            Some(Tip::Sound) | None => -1,
        });
        (neighbours.iter().sum(), Reverse(tips.len()), tips.start)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The number of requests until all sound tips are here.
    fn requests(tips: usize, faulty: &[Range<usize>]) -> usize {
        let is_faulty = |tip: &usize| faulty.iter().any(|range| range.contains(tip));
        let mut bisection = TipBisection::new(tips);
        let mut missing: Vec<_> = (0..tips).filter(|tip| !is_faulty(tip)).collect();
        let mut requests = 0;
        while !missing.is_empty() {
            let asked = bisection.next().expect("some are missing");
            requests += 1;
            if asked.clone().any(|tip| is_faulty(&tip)) {
                bisection.gave_up(&asked);
                continue;
            }
            missing.retain(|tip| !asked.contains(tip));
            bisection.arrived(&asked, false);
        }
        (0..tips).for_each(|tip| assert!(is_faulty(&tip) || bisection.is_sound(tip)));
        while let Some(asked) = bisection.next() {
            bisection.gave_up(&asked);
        }
        (0..tips).for_each(|tip| assert_eq!(bisection.is_faulty(tip), is_faulty(&tip)));
        requests
    }

    #[test]
    #[expect(
        clippy::single_range_in_vec_init,
        reason = "one range of faulty tips, and no list of numbers"
    )]
    fn few_requests_find_all_that_is_sound() {
        assert_eq!(requests(1, &[]), 1);
        assert_eq!(requests(130, &[]), 1);
        // The first half is sound, so the other one needs no request of its own.
        assert_eq!(requests(4, &[3..4]), 3);
        for (faulty, most) in [
            (vec![0..1], 15),
            (vec![129..130], 15),
            (vec![64..65], 16),
            (vec![10..20, 50..61, 100..110], 40),
            (vec![0..10, 60..71, 120..130], 40),
            (vec![7..18, 33..43, 90..100], 40),
        ] {
            let found = requests(130, &faulty);
            assert!(found <= most, "{faulty:?}: {found}");
        }
    }
}
