//! The refs of each push of a run, decided from the pushes that were declined as a whole.

use std::collections::VecDeque;

/// The verdict of a push on its refs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Each ref was judged for itself.
    Judged,
    /// The only ref is at fault.
    RefusedAlone,
    /// One of these is at fault.
    Declined(Vec<usize>),
}

/// The pushes of a run, each a list of places in the plan.
///
/// The first one has all refs. If it is declined as a whole, they are tried anew: one ref, and twice as
/// many each time that a push goes through. A group that is declined is halved until one of its refs is
/// declined alone, and the rest goes back to the others. So each push but the first tells
/// something new: a single ref at fault among many costs two pushes for each time that they can be
/// halved, and where most are at fault each one costs one push, with its own objects and no others.
#[derive(Debug)]
pub(super) struct PushBatches {
    /// The refs that are still to be sent, in order.
    queue: VecDeque<usize>,
    /// At least one of this many refs at the front of the queue is at fault.
    suspects: usize,
    /// The size of a push of refs that nothing is known of.
    size: usize,
    /// The number of refs that the last push took off the queue.
    taken: usize,
    /// Refs that are sent behind all others, and each by itself.
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

    /// The refs of the next push; `None` if there is nothing left to find out.
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

    /// Takes in the verdict on the last push.
    pub(super) fn learn(&mut self, verdict: Verdict) {
        match verdict {
            Verdict::Judged if self.suspects > 0 => {
                self.suspects -= self.suspects.min(self.taken);
            }
            Verdict::Judged => self.size = self.size.saturating_mul(2),
            // What else is in its group may be fine.
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

    /// Takes in that the first push was declined, of which these refs are tried again in this order.
    pub(super) fn start_over(&mut self, refs: &[usize]) {
        self.size = 1;
        self.put_back(refs);
    }

    fn put_back(&mut self, refs: &[usize]) {
        refs.iter().rev().for_each(|at| self.queue.push_front(*at));
    }
}

/// The order in which the refs of a declined push are tried: the default branch of the source, then
/// the others from the one at `start` on.
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
