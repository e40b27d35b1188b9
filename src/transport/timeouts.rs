//! [`Timeouts`]: the longest waits for a remote.

use std::time::Duration;

/// The longest waits for the remote end.
///
/// They do not bound a whole run: [`Limits::total_time`](crate::Limits::total_time) does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Timeouts {
    /// The time for one connection, from name resolution to the end of the TLS handshake. 30 seconds by default.
    pub connect: Duration,
    /// The time until the next byte moves on an established connection, in either direction. It includes the time
    /// that the server takes before it answers. 60 seconds by default.
    pub idle: Duration,
    /// The minimum rate in bytes per second, both directions together; 0 disables it. 100 by default. Like curl's
    /// `--speed-limit`, it ends a connection on which a server sends a byte now and then.
    pub min_rate: u64,
    /// The time over which the rate may be below [`min_rate`](Timeouts::min_rate) while this side waits for the
    /// remote. 5 minutes by default: git sends only a few bytes every 5 seconds while it prepares a pack.
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
