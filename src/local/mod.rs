//! A Git repository on disk as an end of a sync.

mod alternates;
mod bulk_create;
mod checked_out;
mod haves;
mod head;
mod init;
mod listing;
mod loose_refs;
mod object_dirs;
mod objects;
mod packed_lines;
mod packed_refs;
mod quarantine;
mod ref_lock;
mod ref_state;
mod ref_transaction;
mod reflog;
mod repository;
mod scratch;
mod stale;
mod store;
pub(crate) mod temp_dirs;

#[cfg(any(test, fuzzing))]
pub(crate) use quarantine::LocalQuarantine;
pub(crate) use scratch::Scratch;
pub use store::LocalStore;
