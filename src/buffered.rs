//! Readers with a buffer of their own.

use std::io::{self, BufRead, Read as _};

/// [`Read::read`](io::Read::read) by way of the reader's own buffer.
pub(crate) fn read_buffered(reader: &mut impl BufRead, to: &mut [u8]) -> io::Result<usize> {
    let read = reader.fill_buf()?.read(to)?;
    reader.consume(read);
    Ok(read)
}
