//! The points at which a process can be made to die, for the tests of what a killed process leaves. A release build has
//! none.

/// Ends the process without any cleanup if this is the point with the number in `REFSYNCD_CRASH_AT`. Each statement of
/// a transaction is one, and each commit has one before and one after it. They are counted from the start or, with
/// `REFSYNCD_CRASH_AFTER`, from the time at which the file with that name is there.
#[cfg(debug_assertions)]
pub(super) fn point() {
    use std::{
        ffi::OsString,
        path::Path,
        sync::{
            LazyLock,
            atomic::{AtomicU64, Ordering},
        },
    };
    static AT: LazyLock<Option<u64>> = LazyLock::new(|| {
        let at = std::env::var("REFSYNCD_CRASH_AT").ok()?;
        at.parse().ok()
    });
    static AFTER: LazyLock<Option<OsString>> =
        LazyLock::new(|| std::env::var_os("REFSYNCD_CRASH_AFTER"));
    static PASSED: AtomicU64 = AtomicU64::new(0);
    let Some(at) = *AT else { return };
    let is_counted = AFTER.as_ref().is_none_or(|file| Path::new(file).exists());
    if is_counted && PASSED.fetch_add(1, Ordering::Relaxed) + 1 == at {
        std::process::abort();
    }
}

#[cfg(not(debug_assertions))]
pub(super) fn point() {}
