//! Batches of entries that are resolved together: one for each window, and one for the rest of a pack.

use std::{collections::BTreeSet, ops::Range};

use super::{
    ref_deltas::RefDeltas,
    table::{Base, Table},
};
use crate::pack::delta_tree::{Deltas, NO_BASE};

/// Entries to resolve, with the bases on the way to them.
pub(super) struct DeltaBatch {
    /// The numbers of the entries, in ascending order.
    pub(super) entries: Vec<u32>,
    /// The deltas of each entry, as positions in `entries`.
    deltas: Deltas,
    /// The first entry of the window. Entries before it are only bases: they are reconstructed, not inspected again.
    pub(super) first: u32,
}

impl DeltaBatch {
    /// The batch of a window: its deltas, and its whole objects that are not inspected yet.
    ///
    /// Bases in earlier windows are added as far as the `allowance` permits. The other deltas are left for
    /// [`rest`](DeltaBatch::rest).
    pub(super) fn window(table: &Table, window: Range<u32>, allowance: &mut Allowance) -> Self {
        for entry in window.clone() {
            allowance.arrived(table, entry);
        }
        let is_wanted = |entry| table.is_delta(entry) || table.kind(entry).is_none();
        let batch = DeltaBatch::of(table, window, is_wanted, allowance);
        batch
            .reached(table)
            .for_each(|entry| allowance.made(table.size(entry)));
        batch
    }

    /// The batch of all entries of the pack that are not resolved, and of the bases that deltas name by id.
    pub(super) fn rest(table: &Table, ref_deltas: &RefDeltas) -> Self {
        let is_wanted = |entry| {
            let is_known = table.kind(entry).is_some();
            !is_known || (!ref_deltas.is_empty() && ref_deltas.has(&table.id(entry)))
        };
        let nothing_before = &mut Allowance::default();
        DeltaBatch::of(table, 0..table.len(), is_wanted, nothing_before)
    }

    fn of(
        table: &Table,
        window: Range<u32>,
        is_wanted: impl Fn(u32) -> bool,
        allowance: &mut Allowance,
    ) -> Self {
        let first = window.start;
        let mut is_needed: Vec<_> = window.clone().map(is_wanted).collect();
        let mut before = BTreeSet::new();
        for entry in window.clone().rev() {
            let Base::Entry(base) = table.base(entry) else {
                continue;
            };
            match is_needed[(entry - first) as usize] {
                true if base < first => drop(before.insert(base)),
                true => is_needed[(base - first) as usize] = true,
                false => {}
            }
        }
        let mut entries = path_to(before, table, allowance);
        entries.extend(window.filter(|entry| is_needed[(entry - first) as usize]));
        drop(is_needed);
        let position = |base| entries.binary_search(&base).map_or(NO_BASE, |at| at as u32);
        let bases = entries.iter().map(|entry| match table.base(*entry) {
            Base::Entry(base) => position(base),
            Base::None | Base::Named => NO_BASE,
        });
        DeltaBatch {
            deltas: Deltas::of_bases(&bases.collect::<Vec<_>>()),
            first,
            entries,
        }
    }

    /// The deltas of the window whose whole object is in this batch. They are reconstructed now, so their declared
    /// sizes are checked: a wrong one refuses the pack.
    fn reached<'t>(&self, table: &'t Table) -> impl Iterator<Item = u32> + use<'_, 't> {
        let mut is_reached = vec![false; self.entries.len()];
        let reached = (0..).zip(&self.entries).filter(move |(at, entry)| {
            let at = *at as usize;
            is_reached[at] |= !table.is_delta(**entry);
            if is_reached[at] {
                for delta in self.deltas.of(at as u32) {
                    is_reached[*delta as usize] = true;
                }
            }
            is_reached[at] && table.is_delta(**entry) && !self.only_leads_on(**entry)
        });
        reached.map(|(_, entry)| *entry)
    }

    pub(super) fn only_leads_on(&self, entry: u32) -> bool {
        entry < self.first
    }

    /// The deltas of an entry in this batch, the one with the largest subtree first.
    pub(super) fn deltas_of(&self, entry: u32) -> impl Iterator<Item = u32> {
        let position = self.entries.binary_search(&entry);
        let own = position.map_or(&[][..], |at| self.deltas.of(at as u32));
        own.iter().map(|at| self.entries[*at as usize])
    }
}

/// The entries `ahead` and their bases, sorted, as far as the allowance permits.
fn path_to(mut ahead: BTreeSet<u32>, table: &Table, allowance: &mut Allowance) -> Vec<u32> {
    let mut path = Vec::new();
    // A base comes before its deltas in the pack, so in this order each entry is met once.
    while let Some(entry) = ahead.pop_last() {
        if !allowance.redo(table.size(entry)) {
            break;
        }
        path.push(entry);
        if let Base::Entry(base) = table.base(entry) {
            ahead.insert(base);
        }
    }
    path.reverse();
    path
}

/// The bound on reconstructing bases of earlier windows again: a share of the cost so far. It depends on the pack
/// alone and not on the speed of its arrival, so that a pack is always resolved in the same way.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Allowance {
    /// The cost of all objects that have arrived. The declared size of a delta counts only once the delta is
    /// certain to be applied, which checks the size: a pack cannot raise its allowance by false declarations.
    pub(super) cost: u64,
    /// The cost of the bases that are reconstructed again.
    pub(super) redone: u64,
}

/// The fixed cost of an object in addition to its size, in bytes hashed.
const COST_OF_ONE: u64 = 1024;

/// The share of the cost (one in so many) that may be spent on bases again.
const REDONE_SHARE: u64 = 8;

impl Allowance {
    fn arrived(&mut self, table: &Table, entry: u32) {
        self.cost += COST_OF_ONE;
        if !table.is_delta(entry) {
            self.made(table.size(entry));
        }
    }

    fn made(&mut self, size: u64) {
        self.cost = self.cost.saturating_add(size);
    }

    fn redo(&mut self, size: u64) -> bool {
        // A size of `MAX_SIZE` is unknown: it may be any larger one.
        let redone = self.redone.saturating_add(size).saturating_add(COST_OF_ONE);
        let is_known = size < Table::MAX_SIZE;
        let is_allowed = is_known && redone <= self.cost / REDONE_SHARE;
        if is_allowed {
            self.redone = redone;
        }
        is_allowed
    }
}
