//! The REST API as its clients see it. Each answer of each test is checked against `openapi.json` by the client.

#![cfg(feature = "server")]

#[path = "../support/mod.rs"]
mod support;

mod audit;
mod authorization;
mod bad_input;
mod keys;
mod openapi;
mod repositories;
mod schedules;
mod schemathesis;
mod syncs;
mod targets;
mod tokens;
mod upstream_hooks;
mod upstreams;
