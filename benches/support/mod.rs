//! What the benches share: histories to work on.

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

pub use tests::{FastImport, Mark, ObjectFormat, Repo, Sandbox};
