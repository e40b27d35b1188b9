//! Writing the index of a pack (gitformat-pack(5), version 2).

use std::{
    fs::File,
    io::{self, BufWriter, Write},
    path::Path,
};

use gix::{ObjectId, objs::Kind, oid};

use super::table::Table;
use crate::{
    Error, ErrorKind,
    pack::fan_out::{FanOut, prefix},
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

    /// Writes the index (gitformat-pack(5), version 2).
    pub(super) fn write_index(&self, path: &Path, pack: &ObjectId) -> Result<(), Error> {
        let write = || -> io::Result<()> {
            let file = File::options().write(true).create_new(true).open(path)?;
            let hashed = Hashed {
                inner: file,
                hasher: gix::hash::hasher(self.table.hash),
            };
            let mut out = BufWriter::with_capacity(64 * 1024, hashed);
            self.write_tables(&mut out)?;
            out.write_all(pack.as_bytes())?;
            let Hashed { mut inner, hasher } = out.into_inner()?;
            let checksum = hasher.try_finalize().map_err(io::Error::other)?;
            inner.write_all(checksum.as_bytes())
        };
        write().map_err(|err| Error::io("writing the index of the pack", err))
    }

    fn write_tables(&self, out: &mut impl Write) -> io::Result<()> {
        out.write_all(b"\xfftOc\0\0\0\x02")?;
        let mut fan = [0_u32; 256];
        for entry in &self.entries {
            fan[usize::from(self.table.id(*entry).first_byte())] += 1;
        }
        let mut total = 0;
        for count in fan {
            total += count;
            out.write_all(&u32::to_be_bytes(total))?;
        }
        for entry in &self.entries {
            out.write_all(self.table.id(*entry).as_bytes())?;
        }
        for entry in &self.entries {
            out.write_all(&self.table.checksum(*entry).to_be_bytes())?;
        }
        let mut far = Vec::new();
        for entry in &self.entries {
            let offset = self.table.place(*entry).start;
            let near = u32::try_from(offset).ok().filter(|near| near & FAR == 0);
            let field = near.unwrap_or_else(|| {
                far.push(offset);
                FAR | (far.len() as u32 - 1)
            });
            out.write_all(&field.to_be_bytes())?;
        }
        for offset in far {
            out.write_all(&offset.to_be_bytes())?;
        }
        Ok(())
    }
}

/// The bit that marks an offset in the table of 64-bit offsets.
const FAR: u32 = 1 << 31;

struct Hashed<W> {
    inner: W,
    hasher: gix::hash::Hasher,
}

impl<W: Write> Write for Hashed<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.hasher.update(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}
