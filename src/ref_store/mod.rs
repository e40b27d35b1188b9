//! The refs of a repository on disk, as git's "files" backend keeps them: a file for each loose ref, and
//! `packed-refs` for the others (`refs/files-backend.c`, `refs/packed-backend.c`).

mod bulk_create;
pub(crate) mod checked_out;
pub(crate) mod config;
pub(crate) mod head;
pub(crate) mod listing;
pub(crate) mod loose_refs;
pub(crate) mod packed_lines;
pub(crate) mod packed_refs;
pub(crate) mod ref_lock;
mod ref_state;
pub(crate) mod ref_transaction;
mod reflog;
