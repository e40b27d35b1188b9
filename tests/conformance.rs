//! One suite for every pair of ends: see `support/conformance`.
#![cfg(feature = "http")]

#[path = "support/conformance/mod.rs"]
mod conformance;
mod support;

use conformance::{Destination, Setup, Source};
use support::ObjectFormat::Sha256;

const PUSH: fn() -> Setup = || Setup {
    source: Source::Local,
    destination: Destination::Http,
    ..Setup::default()
};

const LOCAL: fn() -> Setup = || Setup {
    source: Source::Local,
    ..Setup::default()
};

const RELAY: fn() -> Setup = || Setup {
    destination: Destination::Http,
    ..Setup::default()
};

conforms! {
    pull {
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
    push {
        push_over_http => PUSH();
        push_over_http_sha256 => Setup { format: Sha256, ..PUSH() };
        push_over_https_with_auth => Setup { tls: true, auth: true, ..PUSH() };
    }
    local {
        local_to_local => LOCAL();
        local_to_a_worktree_sha256 => Setup {
            destination: Destination::Worktree,
            format: Sha256,
            ..LOCAL()
        };
        local_to_packed => Setup { destination: Destination::Packed, ..LOCAL() };
    }
    relay {
        http_to_http => RELAY();
        http_to_http_v0_sha256 => Setup { protocol: 0, format: Sha256, ..RELAY() };
    }
}
