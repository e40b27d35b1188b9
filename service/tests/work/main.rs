//! Workers on a real database, with real repositories and `git http-backend` on loopback.

#![allow(missing_docs, unreachable_pub)]

#[path = "../support/mod.rs"]
mod support;

mod aftermath;
mod crash_points;
mod daemon;
mod faults;
mod fleet;
mod journal;
mod kills;
mod nodes;
mod panics;
mod restarts;
mod rolling;
mod runs;
mod storms;
mod throttling;
mod waking;
mod world;

use support::engine;
