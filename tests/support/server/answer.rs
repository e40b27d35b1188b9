//! Answers that an intercept gives in the server's place.

use super::http::RequestHead;

pub enum Answer {
    Status {
        code: u16,
        headers: Vec<(String, String)>,
        body: Vec<u8>,
    },
    /// These bytes instead of an HTTP response; then the connection is closed.
    Raw(Vec<u8>),
    /// At most this much of the real body; then the connection is cut before the body's end.
    ///
    /// The request itself takes effect in full: only its answer is lost.
    TruncateAfter(u64),
    /// Nothing, on a connection that stays open until the client or the server goes away.
    Stall,
    /// At most this much of the real body; then as `Stall`. The request takes effect in full.
    StallAfter(u64),
    /// The real body, held back until it is complete, then changed by this.
    Garble(fn(&mut Vec<u8>)),
}

impl Answer {
    pub fn status(code: u16) -> Self {
        Self::Status {
            code,
            headers: Vec::new(),
            body: Vec::new(),
        }
    }

    pub fn redirect(code: u16, location: &str) -> Self {
        let headers = vec![("Location".to_owned(), location.to_owned())];
        Self::Status {
            code,
            headers,
            body: Vec::new(),
        }
    }
}

pub(super) type Script = dyn Fn(&RequestHead) -> Option<Answer> + Send + Sync;
