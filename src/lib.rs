//! refsync keeps the branches and tags of two Git repositories in step, in-process.
pub mod ancestry;
mod classify;
mod error;
mod globs;
mod options;
mod pack;
mod plan;
#[cfg(feature = "http")]
mod protocol;
mod refs;
mod run;
mod source;
mod stats;
mod sync;
#[cfg(feature = "http")]
mod transport;

pub use ancestry::Relation;
pub use classify::TipKind;
pub use error::{Error, ErrorKind};
pub use gix::{ObjectId, oid};
pub use globs::RefGlobs;
pub use options::{SyncOptions, TagPolicy};
pub use refs::{AdvertisedRef, Namespace, ObjectFormat, RefList};
pub use run::{Phase, Progress, Run};
#[cfg(feature = "http")]
pub use source::SmartHttp;
pub use source::{
    LocalStore, PackAnswer, PackReceiver, PackRequest, Quarantine, RefSource, RefUpdate,
};
pub use stats::{Outcome, Reason, SyncRunRef, SyncRunStats, Traffic};
pub use sync::sync;
#[cfg(feature = "http")]
pub use transport::{Credentials, NetworkPolicy, Origin, RemoteUrl, Timeouts};
