//! refsync keeps the branches and tags of a Git repository in step with those of another one,
//! in-process and without a `git` executable.
//!
//! It is conservative: refs are created and fast-forwarded, never deleted and never forced. Today it
//! pulls: the source is a remote over smart HTTP, the destination a local repository.
//!
//! # The run
//! [`sync()`] takes two ends, each a [`RefSource`], and goes through these steps:
//!
//! 1. **List** the refs of both ends, as far as the [`RefGlobs`] can select them.
//! 2. **Plan** each selected ref from the two listings alone: it is unchanged, filtered, rejected
//!    already, to create, or to compare.
//! 3. **Move objects**: ask the source for what the open refs need and the destination lacks, if
//!    that is anything. It goes into a [`Quarantine`] that nobody else sees.
//! 4. **Verify** that everything behind each tip is there. A tip that isn't complete is rejected,
//!    and the others are fetched without it.
//! 5. **Compare** ancestry: a fast-forward, or why not. Unknown is never yes.
//! 6. **Apply**: the objects become part of the store, then each ref moves by compare-and-swap. A
//!    dry run stops before this step.
//!
//! Its result, [`SyncRunStats`], has an [`Outcome`] for every selected ref of the source and a
//! [`Reason`] for each one that was left alone. One ref's failure is that ref's outcome and stops
//! none of the others. An [`Error`] means that the run could not do its work at all; its
//! [`ErrorKind`] says what to do about it.
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
//! println!("{} refs were updated", stats.count(Outcome::Updated));
//! // Rejections that still hold cost no fetch the next time.
//! options.previous = Some(stats);
//! # Ok::<_, refsync::Error>(())
//! ```
//!
//! # Where to look
//! - To run: [`sync()`], [`SyncOptions`], [`RefGlobs`], [`TagPolicy`], [`Progress`].
//! - The ends: [`LocalStore`], and with the feature `http` (on by default) `SmartHttp` with its
//!   `Credentials`, `NetworkPolicy` and `Timeouts`.
//! - What came of it: [`SyncRunStats`], [`SyncRunRef`], [`Outcome`], [`Reason`], [`Traffic`], and
//!   [`Error`]. With the feature `serde` the stats are JSON in the shape of the upstream-sync API.
//! - To be an end: [`RefSource`], [`Quarantine`], [`RefList`], [`Run`], and [`ancestry`] for the
//!   history behind the tips.

pub mod ancestry;
mod classify;
mod error;
mod globs;
mod options;
mod pack;
mod plan;
#[cfg(feature = "http")]
mod protocol;
mod pull;
mod push;
mod refs;
mod run;
mod source;
mod stats;
mod sync;
#[cfg(feature = "http")]
mod transport;

pub use bstr::{BStr, BString};
pub use gix::{ObjectId, oid};

pub use globs::RefGlobs;
pub use options::{SyncOptions, TagPolicy};
pub use run::{Phase, Progress};
pub use sync::sync;

pub use source::LocalStore;
#[cfg(feature = "http")]
pub use source::SmartHttp;
#[cfg(feature = "http")]
pub use transport::{Credentials, NetworkPolicy, Origin, RemoteUrl, Timeouts};

pub use error::{Error, ErrorKind};
pub use stats::{Outcome, Reason, SyncRunRef, SyncRunStats, Traffic};

pub use ancestry::Relation;
pub use classify::TipKind;
pub use refs::{AdvertisedRef, Namespace, ObjectFormat, RefList};
pub use run::Run;
pub use source::{
    Objects, PackAnswer, PackFeatures, PackReceiver, PackRequest, Push, PushAnswer, Quarantine,
    ReceivePack, RefSource, RefUpdate, Service,
};

/// Compiles the README's example.
#[cfg(all(doctest, feature = "http"))]
#[doc = include_str!("../README.md")]
struct Readme;
