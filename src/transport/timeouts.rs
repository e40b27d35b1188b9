use std::time::Duration;

/// The longest waits for the remote end.
///
/// Neither bounds a whole run: that is for [`Limits::total_time`](crate::Limits::total_time).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Timeouts {
    /// For one connection from name lookup to the end of the TLS handshake. Default: 30 seconds.
    pub connect: Duration,
    /// For the next byte to move on an established connection, in either direction. The time that
    /// the server thinks before it answers counts as well. Default: 60 seconds.
    pub idle: Duration,
    /// Bytes per second that have to move, in both directions together; 0 for any number. Default:
    /// 100. As curl's `--speed-limit`, against a server that keeps a connection alive for its own
    /// sake.
    pub min_rate: u64,
    /// For how long fewer bytes than that may move on average while this side waits for them. Default:
    /// 5 minutes: while it prepares a pack, git sends nothing but a few bytes every 5 seconds.
    pub rate_window: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Timeouts {
            connect: Duration::from_secs(30),
            idle: Duration::from_secs(60),
            min_rate: 100,
            rate_window: Duration::from_secs(5 * 60),
        }
    }
}
