//! Parts of the engine's test support: real git, and `git http-backend` behind a server on loopback.

#![allow(
    dead_code,
    unreachable_pub,
    unexpected_cfgs,
    unused_imports,
    missing_docs,
    reason = "the engine's tests use more of it"
)]

#[path = "../../../tests/support/fast_import.rs"]
pub mod fast_import;
#[path = "../../../tests/support/git.rs"]
pub mod git;
#[path = "../../../tests/support/server/mod.rs"]
pub mod server;
