//! Real git, a smart HTTP server in front of it, and the repositories to try it on.

#![allow(
    dead_code,
    unreachable_pub,
    unused_imports,
    reason = "every test, example and bench that includes this module uses another part of it"
)]

#[cfg(feature = "http")]
pub mod canary;
#[cfg(feature = "http")]
pub mod ends;
pub mod fast_import;
pub mod git;
pub mod listing;
pub mod mirror;
pub mod pack;
#[cfg(feature = "http")]
pub mod pull;
#[cfg(feature = "http")]
pub mod push;
#[cfg(feature = "http")]
pub mod remote;
pub mod server;
#[cfg(unix)]
pub mod strace;
pub mod verdict;
pub mod wire;

pub use fast_import::{FastImport, Imported, Mark};
pub use git::{ObjectFormat, Repo, Sandbox};
pub use listing::FileEntry;
pub use mirror::ref_heavy;
#[cfg(feature = "http")]
pub use remote::{remote, sync};
pub use server::{Answer, GitServer, Request, RequestHead};
