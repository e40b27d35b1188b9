//! The deltas of each entry of a pack.

/// The value in a list of bases for an entry without a base in the pack.
pub(crate) const NO_BASE: u32 = u32::MAX;

/// The deltas of each entry, the one with the largest subtree first.
pub(crate) struct Deltas {
    starts: Vec<u32>,
    list: Vec<u32>,
}

impl Deltas {
    /// `bases` has the base of each entry, which comes before it in the pack, or [`NO_BASE`].
    pub(crate) fn of_bases(bases: &[u32]) -> Self {
        let count = bases.len();
        // In reverse order an entry's deltas come before it, so the size of its subtree is known by then.
        let mut behind = vec![1_u32; count];
        let mut starts = vec![0_u32; count + 2];
        let with_base = || {
            bases
                .iter()
                .enumerate()
                .filter(|(_, base)| **base != NO_BASE)
        };
        for (entry, base) in with_base().rev() {
            behind[*base as usize] = behind[*base as usize].saturating_add(behind[entry]);
            starts[*base as usize + 2] += 1;
        }
        for at in 2..starts.len() {
            starts[at] += starts[at - 1];
        }
        let mut list = vec![0_u32; starts[count + 1] as usize];
        for (entry, base) in with_base() {
            let at = &mut starts[*base as usize + 1];
            list[*at as usize] = entry as u32;
            *at += 1;
        }
        starts.pop();
        let mut deltas = Deltas { starts, list };
        for entry in 0..count as u32 {
            let own = deltas.range(entry);
            let own = &mut deltas.list[own];
            if let Some(largest) = (0..own.len()).max_by_key(|at| behind[own[*at] as usize]) {
                own.swap(0, largest);
            }
        }
        deltas
    }

    /// The deltas of an entry; empty for one that was not in the list of bases.
    pub(crate) fn of(&self, entry: u32) -> &[u32] {
        &self.list[self.range(entry)]
    }

    fn range(&self, entry: u32) -> std::ops::Range<usize> {
        match self.starts.get(entry as usize..=entry as usize + 1) {
            Some(&[start, end]) => start as usize..end as usize,
            _ => 0..0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_entry_has_its_deltas_with_the_largest_branch_first() {
        // 0 <- 1, 3; 1 <- 2; 3 <- 4, 5; 6 is by itself.
        let bases = [NO_BASE, 0, 1, 0, 3, 3, NO_BASE];
        let deltas = Deltas::of_bases(&bases);
        let found: Vec<_> = (0..9).map(|entry| deltas.of(entry).to_vec()).collect();
        let none = Vec::new;
        let expected: [Vec<u32>; 9] = [
            vec![3, 1],
            vec![2],
            none(),
            vec![5, 4],
            none(),
            none(),
            none(),
            none(),
            none(),
        ];
        assert_eq!(found, expected);
        assert!(Deltas::of_bases(&[]).of(0).is_empty());
    }
}
