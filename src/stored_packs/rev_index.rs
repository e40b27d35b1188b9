//! The reverse index of a pack: the order of its entries by offset (gitformat-pack, "pack-*.rev files").
//!
//! Git's two numbers of an entry are its *index position*, which counts by id, and its *pack position*,
//! which counts by offset. Everything that looks at a pack as a whole uses pack positions.

use gix::{ObjectId, oid};
use gix_pack::{data, index};

use crate::pack::fan_out::{FanOut, prefix};

/// The pack positions of a pack's entries.
#[derive(Clone, Copy)]
pub(crate) struct RevIndex<'a> {
    pub(crate) index: &'a index::File,
    /// Present once the pack was [scanned](super::StoredPacks::scan_largest).
    pub(crate) fan_out: Option<&'a FanOut>,
    /// The index position of each pack position.
    pub(crate) by_offset: &'a [index::EntryIndex],
    /// The pack position of each index position.
    pub(crate) pack_positions: &'a [u32],
    /// The offset at which the last entry ends.
    pub(crate) end: data::Offset,
}

impl RevIndex<'_> {
    pub(crate) fn len(&self) -> usize {
        self.by_offset.len()
    }

    /// Whether the entries are in the order of their offsets. A damaged `.rev` file can have another order.
    pub(crate) fn is_sorted(&self) -> bool {
        let positions = 0..self.len() as u32 + 1;
        let offsets = positions.map(|pack_pos| self.offset(pack_pos));
        offsets.is_sorted_by(|one, next| one < next)
    }

    /// The offset at which an entry begins; behind the last entry, the offset at which that one ends.
    pub(crate) fn offset(&self, pack_pos: u32) -> data::Offset {
        let entry = self.by_offset.get(pack_pos as usize);
        entry.map_or(self.end, |entry| self.index.pack_offset_at_index(*entry))
    }

    /// The pack position of an object.
    pub(crate) fn find(&self, id: &oid) -> Option<u32> {
        let index_pos = match self.fan_out {
            Some(fan_out) => fan_out.find(prefix(id), |at| self.index.oid_at_index(at).cmp(id)),
            None => self.index.lookup(id),
        };
        Some(self.pack_positions[index_pos? as usize])
    }

    pub(crate) fn id(&self, pack_pos: u32) -> ObjectId {
        let index_pos = self.by_offset[pack_pos as usize];
        self.index.oid_at_index(index_pos).to_owned()
    }
}

/// The index positions by offset, as a `.rev` file of a pack of `count` objects has them.
///
/// The order is not checked here: in a wrong order entries don't match the checksums of the index, and
/// count as damaged.
pub(super) fn parse(file: &[u8], count: u32) -> Option<Vec<index::EntryIndex>> {
    let rest = file.strip_prefix(b"RIDX\0\0\0\x01")?.get(4..)?;
    let (table, _) = rest.split_at_checked(count as usize * 4)?;
    let numbers = table.as_chunks::<4>().0.iter();
    let entries: Vec<_> = numbers.map(|number| u32::from_be_bytes(*number)).collect();
    let all_exist = entries.iter().all(|entry| *entry < count);
    all_exist.then_some(entries)
}
