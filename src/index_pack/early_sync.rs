//! Bringing a pack to disk while its objects are still looked at.

use std::{fs::File, io, sync::Arc, thread};

/// The size from which on a pack is worth it.
const LARGE: u64 = 32 * 1024 * 1024;

/// A pack that is on its way to disk.
pub(super) struct EarlySync {
    file: Arc<File>,
    thread: Option<thread::JoinHandle<io::Result<()>>>,
}

impl EarlySync {
    /// Begins with what has been written to `file`, which is so long. A small one is left to whoever
    /// syncs it in the end.
    ///
    /// A system tells once that it couldn't write, and to whoever asks first: so
    /// [`finish`](EarlySync::finish) has to be called.
    pub(super) fn begin(file: File, length: u64) -> Self {
        let file = Arc::new(file);
        let synced = file.clone();
        let worker = thread::Builder::new();
        let thread = (length >= LARGE).then(|| worker.spawn(move || synced.sync_data()).ok());
        EarlySync {
            file,
            thread: thread.flatten(),
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

/// No thread goes on after its run. A pack that isn't taken is cut off, so that nobody waits until all of
/// it is on disk.
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
