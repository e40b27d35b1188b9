//! The points at which a process can be made to die, for the tests of what a killed process leaves. A release build has
//! none.

/// Ends the process without any cleanup if this is the point with the number in `REFSYNCD_CRASH_AT`. Each statement of
/// a transaction is one, and each commit has one before and one after it.
#[cfg(debug_assertions)]
pub(super) fn point() {
    use std::sync::{
        LazyLock,
        atomic::{AtomicU64, Ordering},
    };
    static AT: LazyLock<Option<u64>> = LazyLock::new(|| {
        let at = std::env::var("REFSYNCD_CRASH_AT").ok()?;
        at.parse().ok()
    });
    static PASSED: AtomicU64 = AtomicU64::new(0);
    if AT.is_some_and(|at| PASSED.fetch_add(1, Ordering::Relaxed) + 1 == at) {
        std::process::abort();
    }
}

#[cfg(not(debug_assertions))]
pub(super) fn point() {}
