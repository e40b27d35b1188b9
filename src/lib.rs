//! refsync keeps the branches and tags of a Git repository in step with those of another one,
//! in-process and without a `git` executable.
//!
//! It is conservative: refs are created and fast-forwarded, never deleted and never forced. Each end
//! is a local repository or a remote over smart HTTP. From remote to local a sync is a pull, from local
//! to remote a push; any other pair of ends works the same way.
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
//! # Tasks
//! | to | see |
//! |---|---|
//! | run a sync | [`sync()`], [`SyncOptions`] |
//! | select branches and tags | [`RefGlobs`] |
//! | show the effect without a change | [`SyncOptions::dry_run`] |
//! | read the result of each ref | [`SyncRunStats`], [`SyncRunRef`], [`Outcome`], [`Reason`], [`FilterReason`] |
//! | store the result as JSON | the feature `serde`: [`SyncRunStats`] has the shape of the upstream-sync API |
//! | avoid repeated work in the next run | [`SyncOptions::previous`], `ServerProfile` |
//! | handle the failure of a run | [`Error::kind`], [`Error::is_retryable`], [`Error::retry_after`], [`Error::stats`] |
//! | bound time, traffic, memory and disk | [`Limits`], `Timeouts` |
//! | cancel a run, show its progress | [`SyncOptions::cancel`], [`Progress`] |
//! | open or make a local repository | [`LocalStore`] |
//! | connect to a remote | `SmartHttp`, `Credentials` (both with the feature `http`, on by default) |
//! | restrict the addresses of remotes, or redirects | `NetworkPolicy`, `IpNetwork`, `Redirects` |
//! | choose the checks of received objects | [`FsckRules`], [`FsckLevel`], [`FsckMessage`] |
//! | choose whether tags may move | [`TagPolicy`] |
//! | sync objects that are not in a `.git` folder | [`RefSource`], [`Objects`], [`Quarantine`] or [`Push`], [`RefList`], [`SyncContext`] |
//! | relate two commits | [`ancestry::compare`] |
//!
//! # The run
//! [`sync()`] takes two ends, each a [`RefSource`], and goes through these steps:
//!
//! 1. **List** the refs of both ends, limited to the prefixes that the [`RefGlobs`] can select. A run ends here
//!    if a listing [through upload-pack](RefSource::list_for_fetch) shows that no ref has to move.
//! 2. **Plan** each selected ref from the two listings alone: the ref is unchanged, filtered, rejected,
//!    to create, or to compare.
//!
//! A destination with a [`Quarantine`], such as a local one, continues with
//!
//! 3. **Move objects**: request the objects that the open refs need and the destination lacks, if there are
//!    any. Received objects are in the quarantine, which nobody else sees.
//! 4. **Verify** that every object reachable from each tip exists. An incomplete tip is rejected, and the others
//!    are fetched without it.
//! 5. **Compare** ancestry: a fast-forward, or the reason why not. Unknown is never yes.
//! 6. **Apply**: the objects become part of the store, then each ref moves by compare-and-swap. A
//!    dry run stops before this step.
//!
//! A destination that takes a [`Push`], such as a remote, continues with
//!
//! 3. **Compare** ancestry with the source's [`Objects`]. A ref that is rejected here costs no byte. If
//!    neither end has its objects at hand, they are fetched into a temporary repository first.
//! 4. **Push** the refs that may move in one request, with one pack of the objects that the destination
//!    lacks. A dry run stops before this step. If the remote declines the whole push, which may be due to
//!    one ref, the refs are pushed again in parts.
//! 5. **Settle** the remote's report. If the report is lost, the refs are listed again, and the listing
//!    decides.
//!
//! The result, [`SyncRunStats`], has an [`Outcome`] for every selected ref of the source, with a
//! [`Reason`] if the ref was rejected. The failure of one ref is that ref's outcome and stops none of the
//! others. An [`Error`] means that the run could not do its work at all. No ref has moved then, except if the
//! error has [`stats`](Error::stats) that say otherwise.
//!
//! # Types of other crates
//! The public API contains [`BStr`] and [`BString`] of bstr 1, for names that need not be UTF-8, and the cryptography
//! provider of rustls 0.23 (`SmartHttp::with_crypto_provider`). The features add the traits of serde 1, and
//! conversions between [`ObjectId`] and the one of gix 0.90. New major versions of other crates do not affect callers.

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
mod memory_plan;
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
mod tuning;

pub use bstr::{BStr, BString};

pub use fsck_rules::{FsckLevel, FsckMessage, FsckRules};
pub use globs::RefGlobs;
pub use limits::Limits;
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
    FilterReason, Outcome, Reason, Refusal, SyncRunRef, SyncRunRefs, SyncRunRefsIter, SyncRunStats,
    Traffic,
};

pub use context::SyncContext;
pub use history::ancestry;
pub use object_id::{InvalidObjectId, ObjectFormat, ObjectId};
pub use ref_source::{
    Objects, PackAnswer, PackFeatures, PackReceiver, PackRequest, Push, PushAnswer, PushReport,
    Quarantine, ReceivePack, RefSource, RefUpdate, Relation, Service, TipKind,
};
pub use refs::{AdvertisedRef, Namespace, RefList};

/// Compiles the README's example.
#[cfg(all(doctest, feature = "http"))]
#[doc = include_str!("../README.md")]
struct Readme;
