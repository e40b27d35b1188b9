//! Inflating the zlib streams of a pack's entries.

use std::{
    borrow::BorrowMut,
    io::{self, BufRead, Read},
};

use gix::zlib::{Decompress, FlushDecompress, Status};

use crate::buffered::{invalid_data, read_buffered};

/// The bytes that are inflated at a time.
const CHUNK: usize = 64 * 1024;

/// An inflater of one stream after the other. It allocates when it is made, so callers keep it.
pub(crate) struct Inflater {
    state: Decompress,
    chunk: Vec<u8>,
}

impl Inflater {
    pub(crate) fn new() -> Self {
        Inflater {
            state: Decompress::new(),
            chunk: Vec::new(),
        }
    }

    /// Replaces `content` by the content of the complete `stream`, which must have `size` bytes.
    pub(crate) fn inflate(
        &mut self,
        stream: &[u8],
        size: usize,
        content: &mut Vec<u8>,
    ) -> io::Result<()> {
        self.state.reset();
        content.clear();
        // With one more byte of room, a stream that is longer than declared shows.
        content.resize(size + 1, 0);
        let status = self
            .state
            .decompress(stream, content, FlushDecompress::Finish)
            .map_err(|_| invalid_data("is no zlib stream"))?;
        content.truncate(size);
        if status == Status::StreamEnd && self.state.total_out() == size as u64 {
            Ok(())
        } else {
            Err(invalid_data("is not as long as it says"))
        }
    }

    /// Reads the content of the stream at the position of `from`, which must have `size` bytes. At its end `from` is
    /// positioned right after the stream.
    pub(crate) fn read<R: BufRead>(&mut self, from: R, size: u64) -> Inflating<&mut Inflater, R> {
        Inflating::new(self, from, size)
    }

    /// The same for a single stream; takes the inflater over.
    pub(crate) fn into_read<R: BufRead>(self, from: R, size: u64) -> Inflating<Inflater, R> {
        Inflating::new(self, from, size)
    }
}

/// A reader of one stream's content. Its end is reached only after the stream's checksum and the declared size were
/// checked.
pub(crate) struct Inflating<I, R> {
    from: R,
    inflater: I,
    ready: std::ops::Range<usize>,
    left: u64,
    has_ended: bool,
}

impl<I: BorrowMut<Inflater>, R: BufRead> Inflating<I, R> {
    fn new(mut inflater: I, from: R, size: u64) -> Self {
        let Inflater { state, chunk } = inflater.borrow_mut();
        state.reset();
        chunk.resize(CHUNK, 0);
        Inflating {
            from,
            inflater,
            ready: 0..0,
            left: size,
            has_ended: false,
        }
    }

    fn refill(&mut self) -> io::Result<()> {
        let Inflater { state, chunk } = self.inflater.borrow_mut();
        while self.ready.is_empty() && !self.has_ended {
            let input = self.from.fill_buf()?;
            let is_over = input.is_empty();
            let (read, written) = (state.total_in(), state.total_out());
            let status = state
                .decompress(input, chunk, FlushDecompress::None)
                .map_err(|_| invalid_data("is no zlib stream"))?;
            let written = state.total_out() - written;
            self.from.consume((state.total_in() - read) as usize);
            self.has_ended = status == Status::StreamEnd;
            self.left = self
                .left
                .checked_sub(written)
                .ok_or_else(|| invalid_data("is longer than it says"))?;
            self.ready = 0..written as usize;
            if self.has_ended && self.left > 0 {
                return Err(invalid_data("is shorter than it says"));
            }
            if is_over && written == 0 && !self.has_ended {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(())
    }
}

impl<I: BorrowMut<Inflater>, R: BufRead> BufRead for Inflating<I, R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.refill()?;
        Ok(&self.inflater.borrow().chunk[self.ready.clone()])
    }

    fn consume(&mut self, amount: usize) {
        self.ready.start += amount;
    }
}

impl<I: BorrowMut<Inflater>, R: BufRead> Read for Inflating<I, R> {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        read_buffered(self, to)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pack::deflate::Deflater;

    fn contents() -> [Vec<u8>; 4] {
        let lines = b"a line\n".repeat(40_000);
        [Vec::new(), vec![7], vec![0; 1 << 20], lines]
    }

    #[test]
    fn a_stream_is_read_to_its_end_and_no_further() {
        let (mut inflater, mut whole) = (Inflater::new(), Vec::new());
        for content in contents() {
            let stream = Deflater::new().deflate(&content);
            inflater
                .inflate(&stream, content.len(), &mut whole)
                .expect("inflated");
            assert!(whole == content);

            let mut from =
                io::BufReader::with_capacity(7, io::Cursor::new([&stream[..], b"next"].concat()));
            let mut read = Vec::new();
            let mut inflating = inflater.read(&mut from, content.len() as u64);
            inflating.read_to_end(&mut read).expect("inflated");
            assert!(read == content);
            let mut rest = Vec::new();
            from.read_to_end(&mut rest).expect("the rest");
            assert_eq!(rest, b"next");
        }
    }

    #[test]
    fn a_stream_that_is_not_as_long_as_it_says() {
        let (mut inflater, mut whole) = (Inflater::new(), Vec::new());
        for content in contents() {
            let stream = Deflater::new().deflate(&content);
            let size = content.len();
            for said in [size + 1, size.wrapping_sub(1)] {
                if said == usize::MAX {
                    continue;
                }
                assert!(inflater.inflate(&stream, said, &mut whole).is_err());
                let mut read = inflater.read(&stream[..], said as u64);
                assert!(read.read_to_end(&mut Vec::new()).is_err(), "{size} {said}");
            }
            let cut = &stream[..stream.len() - 1];
            assert!(inflater.inflate(cut, size, &mut whole).is_err());
            let mut read = inflater.read(cut, size as u64);
            assert!(read.read_to_end(&mut Vec::new()).is_err());
        }
    }
}
