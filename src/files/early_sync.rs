//! Syncing a pack to disk (`fsync`) while its objects are still being resolved.

use std::{fs::File, io, sync::Arc, thread};

/// The size of a pack in bytes from which on it is synced early.
const LARGE: u64 = 32 * 1024 * 1024;

/// A pack that a thread syncs to disk.
pub(crate) struct EarlySync {
    file: Arc<File>,
    thread: Option<thread::JoinHandle<io::Result<()>>>,
}

impl EarlySync {
    /// Starts to sync the `length` bytes that were written to `file`. A small file is left to the final sync.
    ///
    /// The system reports a write error only once, to the first `fsync` after it: so
    /// [`finish`](EarlySync::finish) has to be called.
    pub(crate) fn begin(file: File, length: u64) -> Self {
        let file = Arc::new(file);
        let synced = file.clone();
        let worker = thread::Builder::new();
        let thread = (length >= LARGE).then(|| worker.spawn(move || synced.sync_data()).ok());
        EarlySync {
            file,
            thread: thread.flatten(),
        }
    }

    /// Waits until the bytes are on disk.
    pub(crate) fn finish(mut self) -> io::Result<()> {
        match self.thread.take().map(thread::JoinHandle::join) {
            None => Ok(()),
            Some(Ok(synced)) => synced,
            Some(Err(panic)) => std::panic::resume_unwind(panic),
        }
    }
}

/// Ends the thread with its run. A dropped pack is truncated, so that the wait for the sync is short.
impl Drop for EarlySync {
    fn drop(&mut self) {
        if let Some(thread) = self.thread.take() {
            let _ = self.file.set_len(0);
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_on_disk_and_what_is_not() {
        let file = || tempfile::tempfile().expect("a file");
        for length in [0, LARGE] {
            EarlySync::begin(file(), length).finish().expect("synced");
        }
    }

    #[test]
    fn what_is_not_taken_is_cut_off() {
        let file = tempfile::tempfile().expect("a file");
        file.set_len(100).expect("a hole");
        let same = || file.try_clone().expect("a handle");
        let length = || file.metadata().expect("a file").len();
        EarlySync::begin(same(), LARGE).finish().expect("synced");
        drop(EarlySync::begin(same(), LARGE - 1));
        assert_eq!(length(), 100);
        drop(EarlySync::begin(same(), LARGE));
        assert_eq!(length(), 0);
    }

    #[cfg(unix)]
    #[test]
    fn a_failure_is_told() {
        // There is nothing behind it that could be synced.
        let (_, pipe) = io::pipe().expect("a pipe");
        let file = || {
            File::from(std::os::fd::OwnedFd::from(
                pipe.try_clone().expect("a pipe"),
            ))
        };
        assert!(EarlySync::begin(file(), LARGE).finish().is_err());
        assert!(EarlySync::begin(file(), LARGE - 1).finish().is_ok());
    }
}
