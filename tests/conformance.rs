//! One suite for every pair of ends: see `support/conformance`.
#![cfg(feature = "http")]

#[path = "support/conformance/mod.rs"]
mod conformance;
mod support;

use conformance::{Destination, Setup};
use support::ObjectFormat::Sha256;

conforms! {
    http_v2 => Setup::default();
    http_v1 => Setup { protocol: 1, ..Setup::default() };
    http_v0 => Setup { protocol: 0, ..Setup::default() };
    https_with_auth => Setup { tls: true, auth: true, ..Setup::default() };
    https_v0_with_auth => Setup { tls: true, auth: true, protocol: 0, ..Setup::default() };
    into_a_worktree => Setup { destination: Destination::Worktree, ..Setup::default() };
    with_alternates => Setup { destination: Destination::Alternates, ..Setup::default() };
    into_a_linked_worktree_sha256 => Setup {
        destination: Destination::LinkedWorktree,
        format: Sha256,
        ..Setup::default()
    };
    all_packed_sha256_v0 => Setup {
        destination: Destination::Packed,
        format: Sha256,
        protocol: 0,
        ..Setup::default()
    };
}
