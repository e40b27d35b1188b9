//! Applying one delta to its base (gitformat-pack(5), "Deltified representation").

use std::io::{self, BufRead};

use crate::buffered::invalid_data;

/// The content that a delta copies from.
pub(crate) trait Base {
    /// The size in bytes.
    fn size(&self) -> u64;

    /// Appends a range of the base to `to`. The caller has checked that it is within the base.
    fn copy(&mut self, offset: u64, size: usize, to: &mut Vec<u8>) -> io::Result<()>;
}

impl Base for &[u8] {
    fn size(&self) -> u64 {
        self.len() as u64
    }

    fn copy(&mut self, offset: u64, size: usize, to: &mut Vec<u8>) -> io::Result<()> {
        to.extend_from_slice(&self[offset as usize..][..size]);
        Ok(())
    }
}

/// The sizes of the base and of the result, which a delta begins with.
pub(crate) fn sizes(delta: &mut (impl BufRead + ?Sized)) -> io::Result<(u64, u64)> {
    Ok((size(delta)?, size(delta)?))
}

/// The declared size of a delta's result. Fails if the delta declares another size than `base` for its base.
pub(crate) fn size_on(base: u64, delta: &mut (impl BufRead + ?Sized)) -> io::Result<u64> {
    let (base_size, size) = sizes(delta)?;
    if base_size != base {
        return Err(invalid_data("a delta of another base"));
    }
    Ok(size)
}

fn size(delta: &mut (impl BufRead + ?Sized)) -> io::Result<u64> {
    let mut size = 0_u64;
    for shift in (0..u64::BITS).step_by(7) {
        let byte = next(delta)?.ok_or(io::ErrorKind::UnexpectedEof)?;
        let bits = u64::from(byte & 0x7f);
        if bits > u64::MAX >> shift {
            break;
        }
        size |= bits << shift;
        if byte & 0x80 == 0 {
            return Ok(size);
        }
    }
    Err(invalid_data("a delta with an impossible size"))
}

/// Applies the instructions that follow the sizes of a delta, and replaces `to` by the result of `size` bytes.
///
/// An empty result is an error, as for git: it applies no delta of fewer than four bytes (`DELTA_SIZE_MIN`), and only
/// deltas with an empty result are that short. Git applies a longer delta with an empty result, but later takes
/// its size 0 for an error (`packfile.c:packed_object_info()`).
///
/// `may_go_on` is asked after each 64 KiB of the result, about, and after some thousand instructions: each may copy a
/// byte from another place of a base on disk.
pub(crate) fn apply(
    delta: &mut (impl BufRead + ?Sized),
    base: &mut (impl Base + ?Sized),
    size: usize,
    to: &mut Vec<u8>,
    may_go_on: impl Fn() -> bool,
) -> io::Result<()> {
    to.clear();
    to.reserve_exact(size);
    let (mut next_check, mut instructions) = (PIECE, 0_u64);
    make(delta, base, size as u64, to, |made| {
        instructions += 1;
        if made.len() < next_check && !instructions.is_multiple_of(CHECKED_INSTRUCTIONS) {
            return Ok(());
        }
        next_check = made.len() + PIECE;
        if may_go_on() {
            Ok(())
        } else {
            Err(interrupted())
        }
    })
}

/// The error of an object whose reconstruction has to end.
pub(crate) fn interrupted() -> io::Error {
    io::Error::other("there is no time to go on")
}

/// Applies a delta whose result is too large for memory: `take` is called with pieces of about 64 KiB.
pub(crate) fn apply_in_pieces(
    delta: &mut (impl BufRead + ?Sized),
    base: &mut (impl Base + ?Sized),
    size: u64,
    mut take: impl FnMut(&[u8]) -> io::Result<()>,
) -> io::Result<()> {
    let mut piece = Vec::with_capacity(2 * PIECE);
    make(delta, base, size, &mut piece, |piece| {
        if piece.len() >= PIECE {
            take(piece)?;
            piece.clear();
        }
        Ok(())
    })?;
    take(&piece)
}

const PIECE: usize = 64 * 1024;
/// The number of instructions after which [`apply`] asks whether to go on, however small their results are.
const CHECKED_INSTRUCTIONS: u64 = 4096;

/// Appends the result to `to`, at most [`PIECE`] bytes between two calls of `settle`, which may take them out.
fn make(
    delta: &mut (impl BufRead + ?Sized),
    base: &mut (impl Base + ?Sized),
    size: u64,
    to: &mut Vec<u8>,
    mut settle: impl FnMut(&mut Vec<u8>) -> io::Result<()>,
) -> io::Result<()> {
    let mut left = size;
    while let Some(instruction) = next(delta)? {
        match instruction {
            0 => return Err(invalid_data("a delta with an unknown instruction")),
            copy if copy & 0x80 != 0 => {
                let mut part = |bit: u8| -> io::Result<u32> {
                    match copy & (1 << bit) {
                        0 => Ok(0),
                        _ => Ok(next(delta)?.ok_or(io::ErrorKind::UnexpectedEof)?.into()),
                    }
                };
                let offset = part(0)? | part(1)? << 8 | part(2)? << 16 | part(3)? << 24;
                let length = part(4)? | part(5)? << 8 | part(6)? << 16;
                // A length of 0 stands for 0x10000.
                let length = if length == 0 { 0x10000 } else { length };
                let (mut offset, mut length) = (u64::from(offset), length as usize);
                if offset + length as u64 > base.size() {
                    return Err(invalid_data("a delta that copies from beyond its base"));
                }
                left = minus(left, length)?;
                while length > 0 {
                    let piece = length.min(PIECE);
                    base.copy(offset, piece, to)?;
                    settle(to)?;
                    (offset, length) = (offset + piece as u64, length - piece);
                }
            }
            length => {
                let length = usize::from(length);
                left = minus(left, length)?;
                insert(delta, length, to)?;
                settle(to)?;
            }
        }
    }
    if left > 0 {
        return Err(invalid_data("a delta with a shorter result than it says"));
    }
    if size == 0 {
        return Err(invalid_data("a delta with an empty result"));
    }
    Ok(())
}

fn minus(left: u64, length: usize) -> io::Result<u64> {
    let left = left.checked_sub(length as u64);
    left.ok_or_else(|| invalid_data("a delta with a longer result than it says"))
}

fn insert(delta: &mut (impl BufRead + ?Sized), length: usize, to: &mut Vec<u8>) -> io::Result<()> {
    let mut left = length;
    while left > 0 {
        let ready = delta.fill_buf()?;
        if ready.is_empty() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let taken = ready.len().min(left);
        to.extend_from_slice(&ready[..taken]);
        delta.consume(taken);
        left -= taken;
    }
    Ok(())
}

fn next(delta: &mut (impl BufRead + ?Sized)) -> io::Result<Option<u8>> {
    let byte = delta.fill_buf()?.first().copied();
    if byte.is_some() {
        delta.consume(1);
    }
    Ok(byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn applied(base: &[u8], delta: &[u8]) -> io::Result<Vec<u8>> {
        let mut delta = delta;
        let (base_size, size) = sizes(&mut delta)?;
        assert_eq!(base_size, base.len() as u64);
        let mut out = vec![1, 2, 3];
        let made = apply(
            &mut { delta },
            &mut &base[..],
            size as usize,
            &mut out,
            || true,
        );
        let mut pieces = Vec::new();
        let in_pieces = apply_in_pieces(&mut delta, &mut &base[..], size, |piece| {
            pieces.extend_from_slice(piece);
            Ok(())
        });
        assert_eq!(made.is_ok(), in_pieces.is_ok());
        made?;
        assert_eq!(pieces, out);
        Ok(out)
    }

    #[test]
    fn instructions() {
        let base = b"0123456789";
        let table: [(&[u8], Option<&[u8]>); 16] = [
            (&[10, 3, 3, b'a', b'b', b'c'], Some(b"abc")),
            (&[10, 4, 0x91, 2, 4], Some(b"2345")),
            (&[10, 6, 0x90, 2, 1, b'-', 0x91, 7, 3], Some(b"01-789")),
            (&[10, 10, 0x90, 10], Some(base)),
            // More, less, or something else than it says.
            (&[10, 2, 0x90, 3], None),
            (&[10, 4, 0x90, 3], None),
            (&[10, 2, 3, b'a', b'b', b'c'], None),
            (&[10, 3, 3, b'a', b'b'], None),
            (&[10, 4, 0x91, 2], None),
            (&[10, 4, 0x91, 7, 4], None),
            (&[10, 1, 0], None),
            // Nothing, in two to four bytes.
            (&[10, 0], None),
            (&[10, 0x80, 0], None),
            (&[0x8a, 0, 0], None),
            (&[0x8a, 0, 0x80, 0], None),
            // 64 KiB, of which the base has ten bytes.
            (&[10, 0x80, 0x80, 4, 0x80], None),
        ];
        for (delta, expected) in table {
            assert_eq!(applied(base, delta).ok().as_deref(), expected, "{delta:?}");
        }
        // The shortest that there is, on an empty base, too.
        assert_eq!(
            applied(b"", &[0, 1, 1, b'x']).ok().as_deref(),
            Some(&b"x"[..])
        );
    }

    #[test]
    fn sizes_are_read_as_far_as_they_fit() {
        let table: [(&[u8], Option<u64>); 6] = [
            (&[0x7f], Some(127)),
            (&[0x80, 1], Some(128)),
            (
                &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1],
                Some(u64::MAX),
            ),
            (
                &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2],
                None,
            ),
            (&[0x80; 20], None),
            (&[0x80], None),
        ];
        for (mut bytes, expected) in table {
            assert_eq!(size(&mut bytes).ok(), expected);
        }
    }

    #[test]
    fn many_small_instructions_are_interrupted() {
        let copies = 2 * CHECKED_INSTRUCTIONS as usize;
        let delta = [0x90, 1].repeat(copies);
        let (mut out, mut asked) = (Vec::new(), std::cell::Cell::new(0));
        let may_go_on = || {
            asked.set(asked.get() + 1);
            asked.get() < 2
        };
        let base = &mut &b"a"[..];
        let made = apply(&mut &delta[..], base, copies, &mut out, may_go_on);
        assert!(made.is_err());
        assert_eq!((out.len(), *asked.get_mut()), (copies, 2));
    }

    #[test]
    fn a_long_result_is_interrupted() {
        let base = vec![7; 5 * PIECE];
        let delta = &[0xf0, 0, 0, 0x05][..];
        for goes_on in [true, false] {
            let mut out = Vec::new();
            let made = apply(&mut { delta }, &mut &base[..], base.len(), &mut out, || {
                goes_on
            });
            assert_eq!(made.is_ok(), goes_on);
            assert_eq!(out.len(), if goes_on { base.len() } else { PIECE });
        }
    }

    #[test]
    fn what_is_handed_on_comes_in_pieces() {
        let base = vec![7; 5 * PIECE];
        // All of it but for a byte, 40 bytes again and again, and five more.
        let mut delta = vec![0xf0, 0xff, 0xff, 0x04];
        (0..5000).for_each(|_| delta.extend([0x90, 40]));
        delta.extend(b"\x05other");
        let size = (5 * PIECE - 1 + 5000 * 40 + 5) as u64;
        let (mut lengths, mut last) = (Vec::new(), 0);
        apply_in_pieces(&mut &delta[..], &mut &base[..], size, |piece| {
            lengths.push(piece.len());
            last = piece.last().copied().unwrap_or_default();
            Ok(())
        })
        .expect("applied");
        assert_eq!(lengths.iter().sum::<usize>() as u64, size);
        assert!(
            lengths.iter().all(|length| *length < 2 * PIECE),
            "{lengths:?}"
        );
        assert_eq!(last, b'r');
        let full = |_: &[u8]| Err(io::ErrorKind::StorageFull.into());
        let failed = apply_in_pieces(&mut &delta[..], &mut &base[..], size, full);
        assert_eq!(
            failed.map_err(|err| err.kind()),
            Err(io::ErrorKind::StorageFull)
        );
    }
}
