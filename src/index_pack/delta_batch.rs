//! The parts of a pack that are resolved one after the other.

use std::{collections::BTreeSet, ops::Range};

use super::{
    ref_deltas::RefDeltas,
    table::{Base, Table},
};
use crate::pack::delta_tree::{Deltas, NO_BASE};

/// Entries whose objects are to be found out, and all that lead to them.
pub(super) struct DeltaBatch {
    /// Sorted.
    entries: Vec<u32>,
    /// By the places of the entries in that list.
    deltas: Deltas,
    /// The first entry of the part. Entries before it only lead to others, and are left alone.
    first: u32,
}

impl DeltaBatch {
    /// The deltas among these entries, which have arrived since the last ones, and the objects that nobody
    /// has looked at.
    ///
    /// What is before them leads to them as long as it is allowed. Other deltas are left for later.
    pub(super) fn window(table: &Table, window: Range<u32>, allowance: &mut Allowance) -> Self {
        for entry in window.clone() {
            allowance.arrived(table, entry);
        }
        let is_wanted = |entry| table.is_delta(entry) || table.kind(entry).is_none();
        let part = DeltaBatch::of(table, window, is_wanted, allowance);
        part.reached(table)
            .for_each(|entry| allowance.made(table.size(entry)));
        part
    }

    /// Whatever isn't known of the whole pack.
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
        let mut entries = way_to(before, table, allowance);
        entries.extend(window.filter(|entry| is_needed[(entry - first) as usize]));
        drop(is_needed);
        let place = |base| entries.binary_search(&base).map_or(NO_BASE, |at| at as u32);
        let bases = entries.iter().map(|entry| match table.base(*entry) {
            Base::Entry(base) => place(base),
            Base::None | Base::Named => NO_BASE,
        });
        DeltaBatch {
            deltas: Deltas::of_bases(&bases.collect::<Vec<_>>()),
            first,
            entries,
        }
    }

    /// Those of its own deltas that are built on what is in this part: they are made now, and are of
    /// the size that they claim, or the pack is refused.
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

    pub(super) fn entries(&self) -> &[u32] {
        &self.entries
    }

    /// The start of its own entries.
    pub(super) fn first(&self) -> u32 {
        self.first
    }

    pub(super) fn only_leads_on(&self, entry: u32) -> bool {
        entry < self.first
    }

    /// Those of its deltas that are in this part, that with the most behind it first.
    pub(super) fn deltas_of(&self, entry: u32) -> impl Iterator<Item = u32> {
        let place = self.entries.binary_search(&entry);
        let own = place.map_or(&[][..], |at| self.deltas.of(at as u32));
        own.iter().map(|at| self.entries[*at as usize])
    }
}

/// These entries and what they are built on, sorted.
fn way_to(mut ahead: BTreeSet<u32>, table: &Table, allowance: &mut Allowance) -> Vec<u32> {
    let mut way = Vec::new();
    // A base comes before its deltas, so that each is met once.
    while let Some(entry) = ahead.pop_last() {
        if !allowance.redo(table.size(entry)) {
            break;
        }
        way.push(entry);
        if let Base::Entry(base) = table.base(entry) {
            ahead.insert(base);
        }
    }
    way.reverse();
    way
}

/// The work that may be done once more for objects that are built on others. It depends on the pack alone,
/// and not on how fast the pack comes in.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Allowance {
    /// The cost of all objects that have arrived. The size that a delta claims counts once it is sure to be
    /// checked.
    pub(super) cost: u64,
    /// The cost of the objects that are made once more.
    pub(super) redone: u64,
}

/// The cost of making an object, beside its size: that of hashing so many bytes.
const COST_OF_ONE: u64 = 1024;

/// This share of that cost may be spent once more while a pack arrives.
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
        // The size may be any: it is what a delta claims.
        let redone = self.redone.saturating_add(size).saturating_add(COST_OF_ONE);
        let is_known = size < Table::MAX_SIZE;
        let is_allowed = is_known && redone <= self.cost / REDONE_SHARE;
        if is_allowed {
            self.redone = redone;
        }
        is_allowed
    }
}
