//! Parts that the benches share: histories to work on, and programs that take turns at the same work.

#![allow(
    dead_code,
    unreachable_pub,
    unused_imports,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "every bench uses another part of it, and prints figures"
)]

#[path = "../../tests/support/mod.rs"]
mod tests;

pub mod history;

#[cfg(feature = "http")]
pub mod contest;
#[cfg(feature = "http")]
pub mod measure;
#[cfg(feature = "http")]
pub mod programs;
#[cfg(feature = "http")]
pub mod report;
#[cfg(feature = "http")]
pub mod served;

pub use tests::{FastImport, GitServer, Mark, ObjectFormat, Repo, Sandbox, git, ref_heavy};
