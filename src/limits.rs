//! The limits of a run, whatever the other side sends: plain data.

use std::time::Duration;

/// The limits of a run. A run that goes beyond one fails with
/// [`ErrorKind::BudgetExceeded`](crate::ErrorKind::BudgetExceeded), and the text calls the limit as
/// its field is called.
///
/// The defaults leave room for all but the largest public repositories and keep what a hostile
/// remote can do to this process small. How long a single wait may last is up to the end: see
/// `Timeouts` for the one over HTTP.
///
/// ```
/// let mut options = refsync::SyncOptions::default();
/// options.limits.refs = 50_000;
/// options.limits.total_time = Some(std::time::Duration::from_secs(300));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// The time of the whole run; `None` for no limit. One hour by default.
    ///
    /// A run that has begun to move refs is not interrupted: into a local repository it ends by
    /// itself, and a remote that has received all of a push gets a minute more to say what became
    /// of it.
    pub total_time: Option<Duration>,
    /// Bytes that are received from remotes, with the framing of TLS and HTTP. 8 GiB by default:
    /// Linux, with a pack of some 5 GiB, is among the largest that are mirrored at all.
    pub received_bytes: u64,
    /// Refs in one listing of a remote, those that the globs exclude included. 1,000,000 by default.
    pub refs: usize,
    /// Bytes of all names in one listing of a remote. 64 MiB by default: 67 for each of a million
    /// refs. A single name has no limit but that of a pkt-line, 65,516 bytes
    /// (gitprotocol-common(5)).
    pub ref_names: usize,
    /// Bytes of a remote's answer up to the end of its capabilities. 64 KiB by default; git sends
    /// less than one.
    pub capabilities: usize,
    /// Bytes of what a remote says beside the matter in one answer: progress messages, what its hooks
    /// print, options in its report on a push. 4 MiB by default; git prints some KiB.
    pub noise: u64,
    /// Objects in one pack that is received. 10,000,000 by default, about as many as Linux has.
    pub objects: u64,
    /// Bytes of one object that is received, inflated. 256 MiB by default; forges refuse files over
    /// 100 MiB. The run goes on without the refs that need a larger one
    /// ([`Reason::TooLarge`](crate::Reason::TooLarge)).
    pub object_size: u64,
    /// Bytes of all objects in one pack that is received, inflated and with their deltas applied.
    /// 128 GiB by default: a bound on the time that it takes to hash them.
    pub inflated_bytes: u64,
    /// Deltas in one chain of a pack that is received. 4095 by default, the most that git makes
    /// (`pack.depth` in git-config(1)); it makes 50 unless told otherwise.
    pub delta_depth: u32,
    /// Bytes of the objects that complete a thin pack, as they are added to it: those of this side
    /// that the remote names as bases. 256 MiB by default. Beyond it the pack is asked for once more,
    /// without such bases.
    pub thin_bases: u64,
    /// Bytes on disk for what has been received and is not part of the repository yet: the pack, and
    /// contents that memory has no room for while the deltas of them are applied. The index of the
    /// pack comes on top, with some 30 bytes for each object. 12 GiB by default. A pack that is sent
    /// to a remote which has to know its length beforehand may take as much.
    pub quarantine_bytes: u64,
    /// Bytes of memory for holding, resolving and verifying a pack that is received, beside the
    /// largest one of its objects; and for seeking deltas and for caches where one is made to be sent.
    /// 256 MiB by default.
    ///
    /// Each object of a pack takes some 170 bytes of five eighths of it, so that this is enough for
    /// a million. Linux with its ten million takes 2.7 GiB. A single tree, commit or tag
    /// may be of a sixteenth of it, and refs that need a larger one stay out as with
    /// [`object_size`](Limits::object_size).
    pub memory: u64,
}

impl Limits {
    /// The largest size of a tree, a commit or a tag: it is read as a whole, more than once.
    pub(crate) fn parsed_object_size(&self) -> u64 {
        self.memory / 16
    }
}

const MIB: u64 = 1024 * 1024;
const GIB: u64 = 1024 * MIB;

impl Default for Limits {
    fn default() -> Self {
        Limits {
            total_time: Some(Duration::from_secs(60 * 60)),
            received_bytes: 8 * GIB,
            refs: 1_000_000,
            ref_names: 64 * 1024 * 1024,
            capabilities: 64 * 1024,
            noise: 4 * MIB,
            objects: 10_000_000,
            object_size: 256 * MIB,
            inflated_bytes: 128 * GIB,
            delta_depth: 4095,
            thin_bases: 256 * MIB,
            quarantine_bytes: 12 * GIB,
            memory: 256 * MIB,
        }
    }
}
