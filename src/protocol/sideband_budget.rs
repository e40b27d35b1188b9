//! [`SidebandBudget`]: the limit on messages, progress and keep-alive packets in one answer.

use crate::Error;

/// The remaining bytes of [`Limits::noise`](crate::Limits::noise) in one answer, for progress, messages and keep-alive
/// packets.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SidebandBudget {
    limit: u64,
    taken: u64,
}

impl SidebandBudget {
    pub(crate) fn up_to(limit: u64) -> Self {
        SidebandBudget { limit, taken: 0 }
    }

    /// Counts a packet with so many bytes of such text.
    pub(crate) fn take(&mut self, bytes: usize) -> Result<(), TooMuchNoise> {
        const PACKET_HEAD: u64 = 4;
        self.taken += bytes as u64 + PACKET_HEAD;
        if self.taken <= self.limit {
            return Ok(());
        }
        Err(TooMuchNoise { limit: self.limit })
    }
}

/// The error that the budget is exceeded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TooMuchNoise {
    limit: u64,
}

impl From<TooMuchNoise> for Error {
    fn from(TooMuchNoise { limit }: TooMuchNoise) -> Self {
        let limit = format_args!("{limit} bytes of messages");
        Error::over_budget("noise", limit)
    }
}
