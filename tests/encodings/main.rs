//! Every way to write an entry of a pack, and packs that were changed at random: whatever refsync takes of
//! them git can read, and what git takes refsync refuses for a reason that is known.
//!
//! Thousands of changed packs, or others than those that are tried each time:
//!
//! ```sh
//! cargo test --test encodings -- --ignored --nocapture thousands
//! REFSYNC_TEST_SEED=7 cargo test --test encodings -- --ignored --nocapture thousands
//! ```

mod contents;
mod judge;
mod mutator;

mod sample;
mod table;
mod zlib;

#[path = "../hostile/objects.rs"]
#[allow(dead_code, reason = "other tests use the rest")]
mod objects;
#[path = "../hostile/pack.rs"]
#[allow(dead_code, reason = "other tests use the rest")]
mod pack;
#[path = "../support/mod.rs"]
mod support;
#[path = "../hostile/world.rs"]
#[allow(dead_code, reason = "other tests use the rest")]
mod world;
