//! Objects on the move: the quarantine that a pack is received into, and what makes it complete.

pub(crate) mod bitmap;
mod by_position;
pub(crate) mod closure;
pub(crate) mod commits;
mod commits_ahead;
pub(crate) mod deflate;
pub(crate) mod delta_encode;
pub(crate) mod incoming;
pub(crate) mod name_hash;
pub(crate) mod peeled;
pub(crate) mod resolve;
pub(crate) mod verified;
