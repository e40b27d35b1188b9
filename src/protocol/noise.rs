use crate::Error;

/// What is left of [`Limits::noise`](crate::Limits::noise) in one answer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Noise {
    limit: u64,
    heard: u64,
}

impl Noise {
    pub(crate) fn up_to(limit: u64) -> Self {
        Noise { limit, heard: 0 }
    }

    /// Takes a packet with this many bytes beside the matter off the budget.
    pub(crate) fn hear(&mut self, bytes: usize) -> Result<(), Error> {
        const PACKET_HEAD: u64 = 4;
        self.heard += bytes as u64 + PACKET_HEAD;
        if self.heard <= self.limit {
            return Ok(());
        }
        Err(Error::over_budget(
            "noise",
            format_args!("{} bytes beside the matter", self.limit),
        ))
    }
}
