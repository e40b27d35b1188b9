//! A pack that is sent as it is: its entries, one behind the other.

use std::{io, mem};

use super::{
    stored::{Rest, StoredPacks},
    survey::PackOrder,
    writer::unreadable,
};

/// The largest pack on its way.
#[derive(Default)]
pub(super) struct WholePack {
    rest: Rest,
    /// The entry that is being copied, by its place, how much of it was, and the checksum of that.
    place: u32,
    copied: u64,
    checksum: crc32fast::Hasher,
}

impl WholePack {
    pub(super) fn of(packs: &StoredPacks) -> Self {
        WholePack {
            rest: packs.entries_of_largest(),
            ..WholePack::default()
        }
    }

    /// How many entries were copied.
    pub(super) fn done(&self) -> u32 {
        self.place
    }

    /// Appends the next bytes to `to`; `false` once nothing is left. Fails where they are not those that
    /// the index was made from.
    pub(super) fn copy(&mut self, packs: &StoredPacks, to: &mut Vec<u8>) -> io::Result<bool> {
        let start = to.len();
        let is_more = packs.copy(&mut self.rest, to)?;
        if let Some(order) = packs.largest_order() {
            self.check(order, &to[start..])?;
        }
        Ok(is_more)
    }

    fn check(&mut self, order: PackOrder<'_>, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let left = order.offset(self.place + 1) - order.offset(self.place) - self.copied;
            let size = usize::try_from(left).map_or(bytes.len(), |left| left.min(bytes.len()));
            let (piece, rest) = bytes.split_at(size);
            self.checksum.update(piece);
            self.copied += size as u64;
            if size as u64 == left {
                let checksum = mem::take(&mut self.checksum).finalize();
                let known = order.checksum(self.place);
                if known.is_some_and(|known| known != checksum) {
                    return Err(unreadable(&order.id(self.place)));
                }
                self.place += 1;
                self.copied = 0;
            }
            bytes = rest;
        }
        Ok(())
    }
}
