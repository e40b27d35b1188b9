//! [`PushBatches`]: the refs of each push of a run, decided from the verdicts on the pushes before.

use std::collections::VecDeque;

/// The verdict of the destination on the refs of a push.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Each ref was judged by itself.
    Judged,
    /// The only ref of the push is at fault.
    RefusedAlone,
    /// The push was declined as a whole: at least one of these refs is at fault.
    Declined(Vec<usize>),
}

/// The pushes of a run, each a list of positions in the plan.
///
/// The first push has all refs. If it is declined as a whole, the refs are pushed again: one ref, and twice as many
/// after each push that is judged. A batch that is declined is halved until one of its refs is declined alone; the other
/// refs of the batch go back to the queue. So each push after the first settles at least one ref or halves the
/// suspects. With one ref at fault among n, about 2·log2(n) pushes are needed. If most refs are at fault, each one
/// costs one push with its own objects only.
#[derive(Debug)]
pub(super) struct PushBatches {
    /// The refs that are still to be sent, in order.
    queue: VecDeque<usize>,
    /// The number of refs at the front of the queue of which at least one is at fault; 0 if that is not known.
    suspects: usize,
    /// The size of the next push without suspects.
    size: usize,
    /// The number of refs that the last push took off the queue.
    taken: usize,
    /// Refs that are pushed after all others, each by itself.
    last: VecDeque<usize>,
}

impl PushBatches {
    /// All of `refs` go into the first push.
    pub(super) fn new(refs: Vec<usize>, last: Vec<usize>) -> Self {
        PushBatches {
            suspects: 0,
            size: refs.len(),
            taken: 0,
            queue: refs.into(),
            last: last.into(),
        }
    }

    /// The refs of the next push; `None` if all refs are settled.
    pub(super) fn next(&mut self) -> Option<Vec<usize>> {
        let size = match self.suspects {
            0 => self.size,
            1 => 1,
            suspects => suspects / 2,
        };
        self.taken = size.min(self.queue.len());
        if self.taken > 0 {
            return Some(self.queue.drain(..self.taken).collect());
        }
        self.last.pop_front().map(|alone| vec![alone])
    }

    /// Records the verdict on the last push.
    pub(super) fn learn(&mut self, verdict: Verdict) {
        match verdict {
            Verdict::Judged if self.suspects > 0 => {
                self.suspects -= self.suspects.min(self.taken);
            }
            Verdict::Judged => self.size = self.size.saturating_mul(2),
            // The other suspects may be sound.
            Verdict::RefusedAlone => {
                self.suspects = 0;
                self.size = (self.size / 2).max(1);
            }
            Verdict::Declined(refs) => {
                self.suspects = refs.len();
                self.put_back(&refs);
            }
        }
    }

    /// Starts again after the first push was declined, with these refs in this order.
    pub(super) fn start_over(&mut self, refs: &[usize]) {
        self.size = 1;
        self.put_back(refs);
    }

    fn put_back(&mut self, refs: &[usize]) {
        refs.iter().rev().for_each(|at| self.queue.push_front(*at));
    }
}

/// The order in which the refs of a declined push are pushed again: the source's default branch, then the others,
/// beginning with the one at `start`.
pub(super) fn in_order(refs: &[usize], default_branch: Option<usize>, start: usize) -> Vec<usize> {
    let mut refs = refs.to_vec();
    if !refs.is_empty() {
        let start = start % refs.len();
        refs.rotate_left(start);
    }
    if let Some(at) = refs.iter().position(|at| Some(*at) == default_branch) {
        refs[..=at].rotate_right(1);
    }
    refs
}

#[cfg(test)]
mod tests;
