//! Workers on a real database, with real repositories and `git http-backend` on loopback.

#![allow(missing_docs, unreachable_pub)]

#[path = "../support/engine.rs"]
mod engine;

mod faults;
mod journal;
mod kills;
mod runs;
mod world;
