//! Tasks that go on after a panic.

use std::{future::Future, time::Duration};

use tokio::task::JoinError;
use tokio_util::task::AbortOnDropHandle;

use crate::metrics::Metrics;

/// The wait before a task begins anew.
const AFTER_PANIC: Duration = Duration::from_secs(1);

/// Lets a task run until it ends by itself. One that panics is logged and counted, and begins anew: the process would
/// serve without it, and nobody would notice. What it had in hand is taken up as after a kill, once its lease has ended.
pub(crate) async fn kept<F>(part: &'static str, metrics: &Metrics, begin: impl Fn() -> F)
where
    F: Future<Output = ()> + Send + 'static,
{
    loop {
        let task = AbortOnDropHandle::new(tokio::spawn(begin()));
        match task.await {
            Err(err) if err.is_panic() => panicked(part, metrics, &err),
            _ => return,
        }
        tokio::time::sleep(AFTER_PANIC).await;
    }
}

/// Logs and counts the panic of a task.
pub(crate) fn panicked(part: &'static str, metrics: &Metrics, err: &JoinError) {
    tracing::error!(part, %err, "a task has panicked");
    metrics.panicked(part);
}
