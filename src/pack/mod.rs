//! Objects on the move: the quarantine that a pack is received into, and what makes it complete.

pub(crate) mod closure;
pub(crate) mod commits;
mod entries;
#[cfg_attr(
    not(test),
    expect(dead_code, reason = "nothing that receives a pack asks it yet")
)]
pub(crate) mod fsck;
pub(crate) mod incoming;
pub(crate) mod leftovers;
pub(crate) mod outgoing;
mod resolve;
