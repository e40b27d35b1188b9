//! Real git, a smart HTTP server in front of it, and the repositories to try it on.

#![allow(
    dead_code,
    unreachable_pub,
    unused_imports,
    reason = "every test, example and bench that includes this module uses another part of it"
)]

pub mod fast_import;
pub mod git;
pub mod listing;
pub mod mirror;
pub mod pack;
#[cfg(feature = "http")]
pub mod pull;
#[cfg(feature = "http")]
pub mod push;
pub mod server;
#[cfg(unix)]
pub mod strace;
pub mod wire;

pub use fast_import::{FastImport, Imported, Mark};
pub use git::{ObjectFormat, Repo, Sandbox};
pub use listing::FileEntry;
pub use mirror::ref_heavy;
pub use server::{Answer, GitServer, Request, RequestHead};
