//! Writing the index of a pack (gitformat-pack(5), version 2).

use std::{
    fs::File,
    io::{self, BufWriter, Write},
    path::Path,
};

use gix::{
    ObjectId,
    hash::{self, io::Write as HashingWriter},
};

/// An entry of a pack, as the index has it.
pub(crate) struct IndexEntry {
    pub(crate) id: ObjectId,
    /// The CRC-32 of the entry's bytes in the pack.
    pub(crate) checksum: u32,
    pub(crate) offset: u64,
}

/// Writes the index of the pack with the checksum `pack` to a new file. The entries are sorted by id.
pub(crate) fn write_index<E: Iterator<Item = IndexEntry>>(
    path: &Path,
    hash: hash::Kind,
    entries: impl Fn() -> E,
    pack: &ObjectId,
) -> io::Result<()> {
    let file = File::options().write(true).create_new(true).open(path)?;
    let hashing = HashingWriter::new(file, hash);
    let mut out = BufWriter::with_capacity(64 * 1024, hashing);
    write_tables(entries, &mut out)?;
    out.write_all(pack.as_bytes())?;
    let HashingWriter { mut inner, hash } = out.into_inner()?;
    let checksum = hash.try_finalize().map_err(io::Error::other)?;
    inner.write_all(checksum.as_bytes())
}

/// The bit that marks an offset in the table of 64-bit offsets.
const FAR: u32 = 1 << 31;

fn write_tables<E: Iterator<Item = IndexEntry>>(
    entries: impl Fn() -> E,
    out: &mut impl Write,
) -> io::Result<()> {
    out.write_all(b"\xfftOc\0\0\0\x02")?;
    let mut fan = [0_u32; 256];
    for entry in entries() {
        fan[usize::from(entry.id.first_byte())] += 1;
    }
    let mut total = 0;
    for count in fan {
        total += count;
        out.write_all(&u32::to_be_bytes(total))?;
    }
    for entry in entries() {
        out.write_all(entry.id.as_bytes())?;
    }
    for entry in entries() {
        out.write_all(&entry.checksum.to_be_bytes())?;
    }
    let mut far = Vec::new();
    for IndexEntry { offset, .. } in entries() {
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
