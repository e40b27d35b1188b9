//! A reader that checks regularly whether the run goes on.

use std::io::{self, BufRead, Read};

use crate::buffered::read_buffered;

/// The bytes that are read between two checks. They are few, because a delta instruction of a few bytes may copy 16 MiB
/// from disk.
const PACE: usize = 16 * 1024;

/// A reader that ends with an error once it may not go on.
pub(super) struct Interruptible<'a, R: ?Sized, F> {
    inner: &'a mut R,
    may_go_on: F,
    left: usize,
}

impl<'a, R: BufRead + ?Sized, F: Fn() -> bool> Interruptible<'a, R, F> {
    pub(super) fn new(inner: &'a mut R, may_go_on: F) -> Self {
        Interruptible {
            inner,
            may_go_on,
            left: PACE,
        }
    }
}

impl<R: BufRead + ?Sized, F: Fn() -> bool> BufRead for Interruptible<'_, R, F> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.left == 0 {
            if !(self.may_go_on)() {
                return Err(io::Error::other("there is no time to go on"));
            }
            self.left = PACE;
        }
        let ready = self.inner.fill_buf()?;
        Ok(&ready[..ready.len().min(self.left)])
    }

    fn consume(&mut self, amount: usize) {
        self.left -= amount;
        self.inner.consume(amount);
    }
}

impl<R: BufRead + ?Sized, F: Fn() -> bool> Read for Interruptible<'_, R, F> {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        read_buffered(self, to)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    #[test]
    fn it_ends_soon_after_it_has_to() {
        let content = vec![7; 5 * PACE + 1];
        let looks = Cell::new(0);
        let mut inner = &content[..];
        let mut all = Vec::new();
        let look = |most: usize| {
            looks.set(looks.get() + 1);
            looks.get() <= most
        };
        Interruptible::new(&mut inner, || look(9))
            .read_to_end(&mut all)
            .expect("all of it");
        assert!(all == content);
        assert_eq!(looks.replace(0), 5);

        let mut inner = &content[..];
        all.clear();
        let read = Interruptible::new(&mut inner, || look(2)).read_to_end(&mut all);
        assert!(read.is_err());
        assert_eq!(all.len(), 3 * PACE);
    }
}
