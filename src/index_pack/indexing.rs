//! The entries of a received pack by id, for its index and for lookups.

use std::path::Path;

use gix::{ObjectId, objs::Kind, oid};

use super::table::Table;
use crate::{
    Error, ErrorKind,
    pack::{
        fan_out::{FanOut, prefix},
        index_file::{IndexEntry, write_index},
    },
};

/// The entries of a pack sorted by object id, with a prefix table for lookups.
pub(super) struct ById<'a> {
    table: &'a Table,
    entries: Vec<u32>,
    fan_out: FanOut,
}

impl<'a> ById<'a> {
    pub(super) fn new(table: &'a Table) -> Self {
        let numbers = 0..table.len();
        let mut entries: Vec<_> = numbers
            .map(|entry| (table.id_prefix(entry), entry))
            .collect();
        entries.sort_unstable_by(|(a, a_entry), (b, b_entry)| {
            let ids = || table.id(*a_entry).cmp(&table.id(*b_entry));
            a.cmp(b).then_with(ids)
        });
        let prefix_at = |at: u32| entries[at as usize].0;
        let fan_out = FanOut::of(table.len(), prefix_at);
        ById {
            table,
            entries: entries.into_iter().map(|(_, entry)| entry).collect(),
            fan_out,
        }
    }

    /// The kind of an object among the first `arrived` entries: appended bases are not found.
    pub(super) fn kind_of(&self, id: &oid, arrived: u32) -> Option<Kind> {
        let entry_at = |at: u32| self.entries[at as usize];
        let compare = |at| self.table.id(entry_at(at)).as_ref().cmp(id);
        let entry = entry_at(self.fan_out.find(prefix(id), compare)?);
        (entry < arrived).then(|| self.table.kind(entry))?
    }

    /// An entry whose id has this [`prefix()`]; any of them if there are several.
    pub(super) fn find_prefix(&self, prefix: u64) -> Option<u32> {
        let entry_at = |at: u32| self.entries[at as usize];
        let compare = |at| self.table.id_prefix(entry_at(at)).cmp(&prefix);
        self.fan_out.find(prefix, compare).map(entry_at)
    }

    /// Whether two entries have ids with the same [`prefix()`].
    pub(super) fn has_a_prefix_twice(&self) -> bool {
        let prefixes = self
            .entries
            .iter()
            .map(|entry| self.table.id_prefix(*entry));
        let next = prefixes.clone().skip(1);
        prefixes.zip(next).any(|(prefix, next)| prefix == next)
    }

    /// The kinds of all objects in the order of the index.
    pub(super) fn kinds(&self) -> Vec<Kind> {
        let kinds = self
            .entries
            .iter()
            .filter_map(|entry| self.table.kind(*entry));
        kinds.collect()
    }

    /// Refuses a pack with an object twice, as `git index-pack --strict` does.
    pub(super) fn check_that_each_is_there_once(&self) -> Result<(), Error> {
        let mut pairs = self.entries.windows(2);
        match pairs.find(|pair| self.table.id(pair[0]) == self.table.id(pair[1])) {
            None => Ok(()),
            Some(pair) => {
                let text = format!("the pack has object {} twice", self.table.id(pair[0]));
                Err(Error::new(ErrorKind::Protocol, text))
            }
        }
    }

    pub(super) fn write_index(&self, path: &Path, pack: &ObjectId) -> Result<(), Error> {
        let index_entry = |entry: &u32| IndexEntry {
            id: self.table.id(*entry),
            checksum: self.table.checksum(*entry),
            offset: self.table.byte_range(*entry).start,
        };
        let entries = || self.entries.iter().map(index_entry);
        write_index(path, self.table.hash, entries, pack)
            .map_err(|err| Error::io("writing the index of the pack", err))
    }
}
