//! Bringing a pack to disk while its objects are still looked at.

use std::{fs::File, io, thread};

/// How large a pack is that is worth it.
const LARGE: u64 = 32 * 1024 * 1024;

/// A pack that is on its way to disk.
pub(super) struct EarlySync {
    thread: Option<thread::JoinHandle<io::Result<()>>>,
}

impl EarlySync {
    /// Begins with what has been written to `file`, which is so long. A small one is left to whoever
    /// syncs it in the end.
    ///
    /// A system tells once that it couldn't write, and to whoever asks first: so
    /// [`finish`](EarlySync::finish) has to be called.
    pub(super) fn begin(file: File, length: u64) -> Self {
        let worker = thread::Builder::new();
        let sync = (length >= LARGE).then(|| worker.spawn(move || file.sync_data()).ok());
        EarlySync {
            thread: sync.flatten(),
        }
    }

    /// Waits until it is on disk.
    pub(super) fn finish(mut self) -> io::Result<()> {
        match self.thread.take().map(thread::JoinHandle::join) {
            None => Ok(()),
            Some(Ok(synced)) => synced,
            Some(Err(panic)) => std::panic::resume_unwind(panic),
        }
    }
}

/// No thread goes on after its run.
impl Drop for EarlySync {
    fn drop(&mut self) {
        if let Some(thread) = self.thread.take() {
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
