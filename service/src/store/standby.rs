//! Servers of PostgreSQL that can only be read. One that another server has replaced may keep its connections, and each
//! write on them fails for as long as the pool keeps them.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

/// The time of the last write that a server has refused because it can only be read.
#[derive(Debug, Default, Clone)]
pub(super) struct Standby(Arc<Mutex<Option<Instant>>>);

impl Standby {
    /// Notes a failure, if it is such a refusal.
    pub(super) fn see(&self, err: &sqlx::Error) {
        let code = err.as_database_error().and_then(|err| err.code());
        if code.as_deref() == Some("25006") {
            *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
        }
    }

    /// Whether a connection of this age was made before the refusal, so that it may lead to the same server.
    pub(super) fn is_suspect(&self, age: Duration) -> bool {
        let last = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        last.is_some_and(|last| last.elapsed() <= age)
    }
}
