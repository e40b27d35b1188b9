//! Helpers for readers of data that somebody else made.

use std::io::{self, BufRead, Read as _};

/// [`Read::read`](io::Read::read) by way of the reader's own buffer.
pub(crate) fn read_buffered(reader: &mut impl BufRead, to: &mut [u8]) -> io::Result<usize> {
    let read = reader.fill_buf()?.read(to)?;
    reader.consume(read);
    Ok(read)
}

/// Calls `take` with each piece of a reader's content, as they come.
pub(crate) fn each_piece(
    mut reader: impl BufRead,
    mut take: impl FnMut(&[u8]) -> io::Result<()>,
) -> io::Result<()> {
    loop {
        let piece = reader.fill_buf()?;
        if piece.is_empty() {
            return Ok(());
        }
        take(piece)?;
        let length = piece.len();
        reader.consume(length);
    }
}

/// The error for malformed data.
pub(crate) fn invalid_data(fault: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, fault)
}
