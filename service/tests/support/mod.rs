//! The service, started in the test's own process on loopback, and everything around it: a client that checks each
//! answer against `openapi.json`, upstreams of real git, and a receiver of webhooks.

#![allow(
    dead_code,
    unreachable_pub,
    missing_docs,
    unused_imports,
    reason = "each test binary uses another part of it"
)]

pub mod client;
pub mod engine;
pub mod openapi;
pub mod postgres;
pub mod receiver;
pub mod server;
pub mod signer;
pub mod upstream;

pub use client::{Answer, Client};
pub use receiver::{Received, Receiver};
pub use server::Server;
pub use signer::Signer;
pub use upstream::Upstream;
