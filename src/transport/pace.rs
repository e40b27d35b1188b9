//! The minimum rate of a connection, and the bytes of HTTP framing around an answer.

use std::time::Duration;

use super::Timeouts;
use crate::{Error, ErrorKind};

/// The rate of bytes during the waits for the other side: the time of this side does not count.
#[derive(Debug, Default)]
pub(super) struct Pace {
    waited: Duration,
    moved: u64,
}

impl Pace {
    /// Adds bytes that moved after a wait. Fails if the rate in the window that ends with it is too low.
    pub(super) fn add(
        &mut self,
        waited: Duration,
        moved: usize,
        timeouts: &Timeouts,
    ) -> Result<(), Error> {
        self.waited += waited;
        self.moved += moved as u64;
        if self.waited < timeouts.rate_window {
            return Ok(());
        }
        let Pace { waited, moved } = std::mem::take(self);
        if u128::from(moved) * 1000 >= u128::from(timeouts.min_rate) * waited.as_millis() {
            return Ok(());
        }
        let text = format!(
            "the server is slower than {} bytes per second for {:?}",
            timeouts.min_rate, timeouts.rate_window
        );
        Err(Error::new(ErrorKind::Network, text))
    }
}

/// The most bytes of HTTP framing between two pieces of content: informational responses, headers, chunk sizes, trailers.
const MAX_FRAMING: u64 = 256 * 1024;

/// Bytes received since the last byte of content: framing, apart from content that is still buffered.
#[derive(Debug, Default)]
pub(super) struct Framing(u64);

impl Framing {
    pub(super) fn add(&mut self, bytes: usize) -> Result<(), Error> {
        self.0 += bytes as u64;
        if self.0 <= MAX_FRAMING {
            return Ok(());
        }
        let text = format!("more than {MAX_FRAMING} bytes of HTTP around the answer");
        Err(Error::new(ErrorKind::BudgetExceeded, text))
    }

    pub(super) fn ends(&mut self) {
        self.0 = 0;
    }

    /// Whether no byte was received since the last content.
    pub(super) fn is_untouched(&self) -> bool {
        self.0 == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn timeouts() -> Timeouts {
        Timeouts {
            min_rate: 10,
            rate_window: Duration::from_secs(2),
            ..Timeouts::default()
        }
    }

    #[test]
    fn too_few_bytes_in_a_window() {
        let second = Duration::from_secs(1);
        // Seconds waited and bytes moved, and whether that is too slow in the end.
        let table: [(&[(u32, usize)], bool); 7] = [
            (&[(1, 0)], false),
            (&[(1, 0), (1, 19)], true),
            (&[(1, 0), (1, 20)], false),
            (&[(1, 1000), (1, 0), (1, 0)], false),
            (&[(1, 1000), (1, 0), (1, 0), (1, 0)], true),
            (&[(5, 49)], true),
            (&[(5, 50)], false),
        ];
        for (steps, is_slow) in table {
            let mut pace = Pace::default();
            let mut step = steps.iter().map(|(seconds, moved)| {
                let added = pace.add(second * *seconds, *moved, &timeouts());
                added.is_err()
            });
            assert_eq!(step.any(|is_slow| is_slow), is_slow, "{steps:?}");
        }
        let err = Pace::default().add(second * 2, 1, &timeouts());
        let text = "the server is slower than 10 bytes per second for 2s";
        assert_eq!(err.expect_err("slow").to_string(), text);
    }

    #[test]
    fn framing_has_a_limit_and_ends_with_the_first_byte_of_the_body() {
        let mut framing = Framing::default();
        let most = 256 * 1024;
        assert!(framing.add(most).is_ok());
        assert!(framing.add(1).is_err());
        framing.ends();
        assert!(framing.add(most).is_ok());
    }
}
