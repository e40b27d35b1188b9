//! Objects on the move: the quarantine that a pack is received into, and what makes it complete.

pub(crate) mod bitmap;
pub(crate) mod closure;
pub(crate) mod deflate;
pub(crate) mod delta_encode;
pub(crate) mod incoming;
pub(crate) mod name_hash;
pub(crate) mod resolve;
