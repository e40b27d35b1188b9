//! The cost of repeated pushes, and its limits.

/// The most bytes of all repeated pushes, which send many objects again: this number, or twice the bytes of the first
/// push. Twice, because parts of a pack can use fewer deltas than the whole.
const MOST_REPEATED_BYTES: u64 = 32 * 1024 * 1024;

/// The cost of the pushes of a run so far.
#[derive(Debug)]
pub(super) struct RepeatBudget {
    most_repeated: usize,
    pushes: usize,
    first_bytes: u64,
    repeated_bytes: u64,
}

impl RepeatBudget {
    pub(super) fn new(most_repeated: usize) -> Self {
        RepeatBudget {
            most_repeated,
            pushes: 0,
            first_bytes: 0,
            repeated_bytes: 0,
        }
    }

    /// Whether no push was made yet.
    pub(super) fn is_untouched(&self) -> bool {
        self.pushes == 0
    }

    /// Whether one more push is allowed. The second push may have any size, so that at least one ref is judged by
    /// itself.
    pub(super) fn allows_another(&self) -> bool {
        let most_bytes = MOST_REPEATED_BYTES.max(self.first_bytes.saturating_mul(2));
        self.pushes <= self.most_repeated && self.repeated_bytes <= most_bytes
    }

    /// Counts a push of so many bytes.
    pub(super) fn take(&mut self, bytes: u64) {
        if self.is_untouched() {
            self.first_bytes = bytes;
        } else {
            self.repeated_bytes += bytes;
        }
        self.pushes += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pushes_end_by_their_number_or_their_bytes() {
        const MIB: u64 = 1024 * 1024;
        let cases: [(usize, &[u64], bool); 9] = [
            (0, &[], true),
            (0, &[10], false),
            (2, &[10, 10], true),
            (2, &[10, 10, 10], false),
            (9, &[10, 32 * MIB], true),
            (9, &[10, 32 * MIB, 1], false),
            (9, &[30 * MIB, 30 * MIB, 30 * MIB], true),
            (9, &[30 * MIB, 60 * MIB, 1], false),
            (9, &[u64::MAX, 1, 1], true),
        ];
        for (most, pushes, allowed) in cases {
            let mut budget = RepeatBudget::new(most);
            pushes.iter().for_each(|bytes| budget.take(*bytes));
            assert_eq!(budget.allows_another(), allowed, "{most} {pushes:?}");
        }
    }
}
