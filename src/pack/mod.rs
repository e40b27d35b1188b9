//! Objects on the move: the quarantine that a pack is received into, and what makes it complete.

mod by_position;
pub(crate) mod closure;
pub(crate) mod commits;
mod commits_ahead;
mod entries;
pub(crate) mod fsck;
pub(crate) mod incoming;
pub(crate) mod outgoing;
pub(crate) mod peeled;
#[cfg(test)]
mod real_git;
pub(crate) mod resolve;
pub(crate) mod verified;
mod versions;
