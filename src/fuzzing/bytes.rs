//! Reading inputs: as decisions, and as streams that come in pieces.

use std::io::{self, BufRead, Read};

use crate::buffered::read_buffered;

/// Takes decisions off an input. Past its end all of them are zero.
#[derive(Clone, Copy)]
pub(super) struct Bytes<'a>(pub(super) &'a [u8]);

impl<'a> Bytes<'a> {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else {
            return 0;
        };
        self.0 = rest;
        *first
    }

    pub(super) fn bit(&mut self) -> bool {
        self.byte() & 1 == 1
    }

    /// Zero if there is nothing to choose from.
    pub(super) fn below(&mut self, end: usize) -> usize {
        usize::from(self.byte()) % end.max(1)
    }

    pub(super) fn take(&mut self, length: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(length.min(self.0.len()));
        self.0 = rest;
        taken
    }
}

/// A stream whose every piece is as long as chance has it, the same each time.
pub(super) struct Pieces<'a> {
    pub(super) rest: &'a [u8],
    ready: usize,
    state: u32,
}

impl<'a> Pieces<'a> {
    pub(super) fn new(whole: &'a [u8], seed: u8) -> Self {
        Pieces {
            rest: whole,
            ready: 0,
            state: seed.into(),
        }
    }
}

impl BufRead for Pieces<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.ready == 0 {
            self.state = self
                .state
                .wrapping_mul(1_664_525)
                .wrapping_add(1_013_904_223);
            let longest = [1, 3, 20, 300][(self.state >> 16) as usize % 4];
            let length = 1 + (self.state >> 20) as usize % longest;
            self.ready = length.min(self.rest.len());
        }
        Ok(&self.rest[..self.ready])
    }

    fn consume(&mut self, amount: usize) {
        self.rest = &self.rest[amount..];
        self.ready -= amount;
    }
}

impl Read for Pieces<'_> {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        read_buffered(self, to)
    }
}
