//! A git repository on disk as an end of a sync: objects, haves, quarantine and leftovers. Its refs are in
//! [`ref_store`](crate::ref_store).

mod alternates;
mod freshen;
mod haves;
mod init;
mod keeps;
mod object_dirs;
mod objects;
mod quarantine;
mod quarantine_dir;
mod quarantine_stage;
mod repository;
mod scratch;
mod stale;
mod store;

#[cfg(any(test, fuzzing))]
pub(crate) use quarantine::LocalQuarantine;
#[cfg(test)]
pub(crate) use quarantine_dir::QuarantineDir;
pub(crate) use scratch::Scratch;
pub use store::LocalStore;
