//! The limits of a run, whatever the other side sends: plain data.

use std::time::Duration;

/// The limits of a run. A run that exceeds one fails with
/// [`ErrorKind::BudgetExceeded`](crate::ErrorKind::BudgetExceeded), and the error's text has the name of the
/// field.
///
/// The defaults suffice for all but the largest public repositories, and bound the harm that a hostile
/// remote can do to this process. They do not bound a single wait: for HTTP see `Timeouts`.
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
    /// A run that has begun to move refs is not interrupted: a run into a local repository completes, and a
    /// remote that has received a whole push has one more minute to report on it.
    pub total_time: Option<Duration>,
    /// Bytes received from remotes in the whole run, with the framing of TLS and HTTP. 8 GiB by default: the
    /// pack of Linux, one of the largest repositories that are mirrored, has some 5 GiB.
    pub received_bytes: u64,
    /// Refs in one listing of a remote, refs that the globs exclude included. 1,000,000 by default.
    pub refs: usize,
    /// Bytes of all ref names in one listing of a remote. 64 MiB by default: 67 bytes for each of a million
    /// refs. A single name is limited by the pkt-line only, to 65,516 bytes (gitprotocol-common(5)).
    pub ref_names: usize,
    /// Bytes of a remote's answer up to the end of its capabilities. 64 KiB by default; git sends less than
    /// 1 KiB.
    pub capabilities: usize,
    /// Bytes of accompanying text in one answer of a remote: progress messages, the output of its hooks, option
    /// lines and long reasons in its report on a push. 4 MiB by default; git prints some KiB.
    pub noise: u64,
    /// Objects in one received pack. 10,000,000 by default, about as many as Linux has.
    pub objects: u64,
    /// Bytes of one received object, inflated. 256 MiB by default; forges refuse files over 100 MiB. A larger
    /// object does not fail the run: the refs that need it are rejected
    /// ([`Reason::TooLarge`](crate::Reason::TooLarge)).
    pub object_size: u64,
    /// Bytes of all objects in one received pack, inflated and with their deltas applied. 128 GiB by
    /// default: it bounds the time for hashing them.
    pub inflated_bytes: u64,
    /// Deltas in one delta chain of a received pack. 4095 by default, the maximum of git's `pack.depth`
    /// (git-config(1)), whose own default is 50.
    pub delta_depth: u32,
    /// Bytes of all objects in the delta chain of a tree, commit or tag in a received pack. 1 GiB by default, more than 50
    /// deltas of 16 MiB each. Whoever reads the last object, git included, reconstructs all of them, without a look at
    /// anything else.
    pub delta_chain_bytes: u64,
    /// Bytes of the bases that are appended to a thin pack to complete it: objects of the destination that
    /// the remote's deltas name. 256 MiB by default. If they exceed it, the pack is requested once more
    /// without `thin-pack`.
    pub thin_bases: u64,
    /// Bytes on disk in the quarantine: received packs, and object contents beyond [`memory`](Limits::memory)
    /// while deltas are applied to them. The pack's index comes on top, with some 30 bytes for each object.
    /// 12 GiB by default. The same limit holds for the temporary file of a pack that is sent to a remote which
    /// has to know its length.
    pub quarantine_bytes: u64,
    /// Bytes of memory for resolving and verifying a received pack, in addition to the largest one of its
    /// objects; and, for a pack that is made to be sent, for the search for deltas and for caches. 256 MiB by
    /// default.
    ///
    /// Five eighths of it are for the table of a pack's objects, with some 170 bytes each: the default
    /// suffices for a million objects, Linux with its ten million takes 2.7 GiB. A tree, commit or tag may have a
    /// sixteenth of it; refs that need a larger one are rejected as with [`object_size`](Limits::object_size).
    pub memory: u64,
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
            delta_chain_bytes: GIB,
            thin_bases: 256 * MIB,
            quarantine_bytes: 12 * GIB,
            memory: 256 * MIB,
        }
    }
}
