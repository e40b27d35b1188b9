//! A Git repository on disk as an end of a sync.

mod alternates;
mod bulk_create;
mod checked_out;
mod freshen;
mod haves;
mod head;
mod init;
mod keeps;
mod listing;
mod loose_refs;
mod object_dirs;
mod objects;
mod packed_lines;
mod packed_refs;
mod quarantine;
mod quarantine_dir;
mod ref_lock;
mod ref_state;
mod ref_transaction;
mod reflog;
mod repository;
mod scratch;
mod stale;
mod store;
mod temp_dirs;

#[cfg(any(test, fuzzing))]
pub(crate) use quarantine::LocalQuarantine;
#[cfg(test)]
pub(crate) use quarantine_dir::QuarantineDir;
pub(crate) use scratch::Scratch;
pub use store::LocalStore;
