use std::time::Duration;

/// How long to wait for the remote end.
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
}

impl Default for Timeouts {
    fn default() -> Self {
        Timeouts {
            connect: Duration::from_secs(30),
            idle: Duration::from_secs(60),
        }
    }
}
