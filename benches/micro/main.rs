//! Single parts by themselves, with inputs of growing size.
//!
//! ```sh
//! cargo bench --bench micro [-- FILTER]
//! ```
//! With `REFSYNC_MIRRORS`, which holds a bare `git+git/repo`, ancestry in its history too.

#![allow(missing_docs, reason = "a program that prints figures")]

mod history;
mod packs;
mod refs;

#[path = "../support/mod.rs"]
mod support;

/// Refs, or commits.
const SIZES: [usize; 3] = [10, 1000, 50_000];

fn main() {
    divan::main();
    packs::remove_project();
}

/// One of many, each another one.
fn id(number: usize) -> refsync::ObjectId {
    let mut bytes = [0; 20];
    // Scattered, as ids are.
    let scattered = (number as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    bytes[..8].copy_from_slice(&scattered.to_be_bytes());
    // The first one is not the null id.
    bytes[8] = 1;
    bytes[12..].copy_from_slice(&(number as u64).to_be_bytes());
    refsync::ObjectId::from(bytes)
}
