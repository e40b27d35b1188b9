//! A pack as a whole: its entries numbered by their place in it.

use std::{ops::Range, path::Path};

use gix::{ObjectId, oid};
use gix_pack::{data, index};

use super::{Place, fan_out::FanOut, pack_scan::Scanned};

/// Which entry of the index is at which place.
#[derive(Clone, Copy)]
pub(crate) struct PackOrder<'a> {
    pub(crate) index: &'a index::File,
    /// Once the pack was [surveyed](super::StoredPacks::survey_largest).
    pub(crate) fan_out: Option<&'a FanOut>,
    pub(crate) by_offset: &'a [index::EntryIndex],
    pub(crate) places: &'a [u32],
    /// Where the last entry ends.
    pub(crate) end: data::Offset,
}

impl PackOrder<'_> {
    pub(crate) fn len(&self) -> usize {
        self.by_offset.len()
    }

    /// A damaged reverse index can have it wrong.
    pub(crate) fn is_sound(&self) -> bool {
        let places = 0..self.len() as u32 + 1;
        let offsets = places.map(|place| self.offset(place));
        offsets.is_sorted_by(|one, next| one < next)
    }

    /// Where an entry begins, or the last one ends.
    pub(crate) fn offset(&self, place: u32) -> data::Offset {
        let entry = self.by_offset.get(place as usize);
        entry.map_or(self.end, |entry| self.index.pack_offset_at_index(*entry))
    }

    pub(crate) fn find(&self, id: &oid) -> Option<u32> {
        let entry = match self.fan_out {
            Some(fan_out) => fan_out.find(id, |entry| self.index.oid_at_index(entry)),
            None => self.index.lookup(id),
        };
        Some(self.places[entry? as usize])
    }

    pub(crate) fn id(&self, place: u32) -> ObjectId {
        self.index
            .oid_at_index(self.by_offset[place as usize])
            .to_owned()
    }
}

/// What was found at each place.
pub(crate) struct Survey<'a> {
    pub(crate) pack: &'a Path,
    pub(crate) order: PackOrder<'a>,
    pub(crate) entries: &'a [Scanned],
    pub(crate) offsets: &'a [data::Offset],
    pub(crate) pack_number: u32,
}

impl Survey<'_> {
    pub(crate) fn is_whole(&self, place: u32) -> bool {
        matches!(self.entries[place as usize], Scanned::Whole(..))
    }

    pub(crate) fn stored_at(&self, place: u32) -> Place {
        Place {
            pack: self.pack_number,
            offset: self.offsets[place as usize],
            entry: self.order.by_offset[place as usize],
        }
    }

    /// Where its bytes are.
    pub(crate) fn place(&self, place: u32) -> Range<data::Offset> {
        let end = self.offsets.get(place as usize + 1);
        self.offsets[place as usize]..end.copied().unwrap_or(self.order.end)
    }
}
