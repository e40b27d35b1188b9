//! refsync keeps the branches and tags of a Git repository in step with those of another one,
//! in-process and without a `git` executable.
//!
//! It is conservative: refs are created and fast-forwarded, never deleted and never forced. Each end
//! is a local repository or a remote over smart HTTP: from remote to local it is a pull, from local to
//! remote a push, and any other pair of ends works the same way.
//!
//! # The run
//! [`sync()`] takes two ends, each a [`RefSource`], and goes through these steps:
//!
//! 1. **List** the refs of both ends, as far as the [`RefGlobs`] can select them. A run ends here if
//!    a listing [for a fetch](RefSource::list_for_fetch) shows that the destination has it all.
//! 2. **Plan** each selected ref from the two listings alone: it is unchanged, filtered, rejected
//!    already, to create, or to compare.
//!
//! A destination that keeps what it receives in a [`Quarantine`], as a local one does, goes on with
//!
//! 3. **Move objects**: ask the source for what the open refs need and the destination lacks, if
//!    that is anything. Nobody else sees it yet.
//! 4. **Verify** that everything behind each tip is there. A tip that isn't complete is rejected,
//!    and the others are fetched without it.
//! 5. **Compare** ancestry: a fast-forward, or why not. Unknown is never yes.
//! 6. **Apply**: the objects become part of the store, then each ref moves by compare-and-swap. A
//!    dry run stops before this step.
//!
//! and one that wants to be told what to do, as a remote does, with
//!
//! 3. **Compare** ancestry among the source's [`Objects`]. What is rejected here costs no byte; where
//!    neither end has its objects at hand they come by way of a temporary repository.
//! 4. **Push** the refs that may move in one request, with one pack of just what the destination
//!    lacks. A dry run stops before this step. If the remote declines all of them for what may be the
//!    fault of one, they are tried again in parts.
//! 5. **Settle** what was answered. Where the answer was lost the refs are listed again, and what is
//!    there decides.
//!
//! Its result, [`SyncRunStats`], has an [`Outcome`] for every selected ref of the source, with a
//! [`Reason`] where it was rejected. One ref's failure is that ref's outcome and stops
//! none of the others. An [`Error`] means that the run could not do its work at all; its
//! [`ErrorKind`] says what to do about it. No ref has moved then, unless the error has
//! [`stats`](Error::stats) that say otherwise.
//!
//! # Example
#![cfg_attr(feature = "http", doc = "```no_run")]
#![cfg_attr(not(feature = "http"), doc = "```ignore")]
//! use refsync::{LocalStore, Outcome, RefGlobs, SmartHttp, SyncOptions};
//!
//! let upstream = SmartHttp::new("https://git.example.com/acme/app.git")?;
//! let local = LocalStore::open("/srv/app.git")?;
//! let mut options = SyncOptions::default();
//! options.globs = RefGlobs::new(Some("{main,release/*}"), Some("v*"))?;
//!
//! let stats = refsync::sync(&upstream, &local, &options)?;
//! println!("{} refs were updated", stats.count(Outcome::is_updated));
//! // Rejections that still hold cost no fetch the next time.
//! options.previous = Some(stats);
//! # Ok::<_, refsync::Error>(())
//! ```
//!
//! # Where to look
//! - To run: [`sync()`], [`SyncOptions`], [`RefGlobs`], [`TagPolicy`], [`Limits`], [`FsckRules`],
//!   [`Progress`].
//! - The ends: [`LocalStore`], and with the feature `http` (on by default) `SmartHttp` with its
//!   `Credentials`, `NetworkPolicy`, `IpNetwork`, `Redirects`, `Timeouts` and `ServerProfile`.
//! - What came of it: [`SyncRunStats`], [`SyncRunRefs`], [`SyncRunRef`], [`Outcome`], [`Reason`],
//!   [`FilterReason`], [`Traffic`], and [`Error`]. With the feature `serde` the stats are JSON in the shape of the upstream-sync API.
//! - To be an end: [`RefSource`], [`Objects`], [`Quarantine`] or [`Push`], [`RefList`], [`SyncContext`], and
//!   [`ancestry`] for the history behind the tips.

#[cfg(feature = "bench-internals")]
#[doc(hidden)]
pub mod bench_internals;
mod buffered;
mod connectivity;
mod context;
mod error;
mod files;
mod fsck_rules;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzzing;
mod globs;
mod history;
#[cfg(feature = "http")]
mod http;
mod index_pack;
mod limits;
mod local;
mod object;
mod object_id;
mod options;
mod outcome;
mod pack;
mod pack_objects;
mod progress;
#[cfg(feature = "http")]
mod protocol;
mod ref_source;
mod ref_store;
mod refs;
mod scoped_workers;
mod stored_packs;
mod sync;
#[cfg(test)]
mod test_support;
mod text;
#[cfg(feature = "http")]
mod transport;

pub use bstr::{BStr, BString};
pub use gix::{ObjectId, oid};

pub use fsck_rules::{FsckLevel, FsckMessage, FsckRules};
pub use globs::RefGlobs;
pub use limits::Limits;
pub use object::fsck::FsckFinding;
pub use options::{SyncOptions, TagPolicy};
pub use progress::{Phase, Progress};
pub use sync::sync;

#[cfg(feature = "http")]
pub use http::{ServerProfile, SmartHttp};
pub use local::LocalStore;
#[cfg(feature = "http")]
pub use transport::{
    Credentials, IpNetwork, NetworkPolicy, Origin, Redirects, RemoteUrl, Timeouts,
};

pub use error::{Error, ErrorKind};
pub use outcome::{
    FilterReason, Outcome, Reason, Refusal, SyncRunRef, SyncRunRefs, SyncRunStats, Traffic,
};

pub use context::SyncContext;
pub use history::ancestry::{self, Relation};
pub use object_id::ObjectFormat;
pub use ref_source::{
    Objects, PackAnswer, PackFeatures, PackReceiver, PackRequest, Push, PushAnswer, PushReport,
    Quarantine, ReceivePack, RefSource, RefUpdate, Service, TipKind,
};
pub use refs::{AdvertisedRef, Namespace, RefList};

/// Compiles the README's example.
#[cfg(all(doctest, feature = "http"))]
#[doc = include_str!("../README.md")]
struct Readme;
