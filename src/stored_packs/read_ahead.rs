//! Piecewise reading of packs, with more read at once where pieces are neighbours.

use std::{
    io::{self, Read, Seek, SeekFrom},
    mem,
    ops::Range,
};

/// Limit of the bytes that are read at once, unless a piece is larger.
const MAX_AHEAD: u64 = 256 * 1024;

/// The bytes of the last read: a piece, and maybe some bytes behind it.
#[derive(Default)]
pub(crate) struct ReadAhead {
    pack: u32,
    start: u64,
    bytes: Vec<u8>,
}

impl ReadAhead {
    /// Appends a piece of a pack to `to`. Beyond the piece, nothing behind `end` is read.
    ///
    /// The bytes read at once double as long as each piece begins within or right behind the last read.
    pub(crate) fn read(
        &mut self,
        pack: u32,
        mut file: impl Read + Seek,
        end: u64,
        piece: Range<u64>,
        to: &mut Vec<u8>,
    ) -> io::Result<()> {
        let size = (piece.end - piece.start) as usize;
        let known = self.behind(pack, piece.start);
        if let Some(known) = known.and_then(|known| known.get(..size)) {
            to.extend_from_slice(known);
            return Ok(());
        }
        let left = end.saturating_sub(piece.start).min(MAX_AHEAD) as usize;
        let ahead = known.map_or(0, |_| left.min(2 * self.bytes.len()));
        let mut bytes = mem::take(&mut self.bytes);
        bytes.clear();
        bytes.resize(size.max(ahead), 0);
        file.seek(SeekFrom::Start(piece.start))?;
        file.read_exact(&mut bytes)?;
        to.extend_from_slice(&bytes[..size]);
        *self = ReadAhead {
            pack,
            start: piece.start,
            bytes,
        };
        Ok(())
    }

    /// The bytes of the last read from an offset on; empty for the offset right behind them. `None` for any
    /// other offset.
    fn behind(&self, pack: u32, place: u64) -> Option<&[u8]> {
        let skipped = place
            .checked_sub(self.start)
            .filter(|_| pack == self.pack)?;
        self.bytes.get(usize::try_from(skipped).ok()?..)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_support::noise;

    /// A file that records the size of each read.
    struct Watched<'a> {
        content: io::Cursor<&'a [u8]>,
        reads: &'a mut Vec<usize>,
    }

    impl Read for Watched<'_> {
        fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
            self.reads.push(to.len());
            self.content.read(to)
        }
    }

    impl Seek for Watched<'_> {
        fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
            self.content.seek(to)
        }
    }

    /// The sizes of the reads that these pieces take.
    fn reads(packs: &[Vec<u8>], pieces: &[(u32, Range<u64>)]) -> Vec<usize> {
        let mut ahead = ReadAhead::default();
        let mut reads = Vec::new();
        for (pack, piece) in pieces {
            let content = &packs[*pack as usize];
            let file = Watched {
                content: io::Cursor::new(content),
                reads: &mut reads,
            };
            let mut found = b"before".to_vec();
            let end = content.len() as u64;
            let read = ahead.read(*pack, file, end, piece.clone(), &mut found);
            read.expect("a piece of the pack");
            let expected = &content[piece.start as usize..piece.end as usize];
            assert!(found == [b"before", expected].concat(), "{piece:?}");
        }
        reads
    }

    #[test]
    fn more_and_more_is_read_of_what_is_read_in_order() {
        let packs = [noise(2_000_000, 1)];
        let pieces: Vec<_> = (0..20_000)
            .map(|at| (0, at * 100..at * 100 + 100))
            .collect();
        let sizes = reads(&packs, &pieces);
        assert_eq!(sizes[..4], [100, 200, 400, 800]);
        assert!(sizes.len() < 25, "{sizes:?}");
        assert!(sizes.iter().all(|size| *size <= MAX_AHEAD as usize));
    }

    #[test]
    fn nothing_is_read_ahead_of_what_is_read_here_and_there() {
        let packs = [noise(10_000, 1), noise(10_000, 2)];
        for pieces in [
            [(0, 0..100), (0, 101..300), (0, 5000..5001), (0, 0..100)],
            [(0, 0..100), (1, 100..300), (0, 300..301), (1, 301..400)],
            [(0, 9000..9100), (0, 8900..9000), (0, 0..4), (0, 5..9)],
        ] {
            let exactly: Vec<_> = pieces
                .iter()
                .map(|(_, piece)| piece.end - piece.start)
                .collect();
            let sizes = reads(&packs, &pieces);
            assert!(
                exactly
                    .iter()
                    .copied()
                    .eq(sizes.iter().map(|size| *size as u64)),
                "{sizes:?}"
            );
        }
    }

    #[test]
    fn a_piece_that_is_not_all_there_is_an_error_and_the_next_one_is_fine() {
        let content = noise(1000, 1);
        let mut ahead = ReadAhead::default();
        let mut read = |piece: Range<u64>| {
            let mut found = Vec::new();
            let file = io::Cursor::new(&content);
            let read = ahead.read(0, file, 1000, piece, &mut found);
            read.map(|()| found)
        };
        assert!(read(0..10).is_ok());
        assert!(read(10..1001).is_err());
        assert!(read(10..20).is_ok_and(|found| found == content[10..20]));
        assert!(read(20..1000).is_ok_and(|found| found == content[20..]));
    }
}
