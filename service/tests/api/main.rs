//! The REST API as its clients see it. Each answer of each test is checked against `openapi.json` by the client.

#![cfg(feature = "server")]

#[path = "../support/mod.rs"]
mod support;

mod authorization;
mod bad_input;
mod bad_inputs;
mod keys;
mod keys_and_scopes;
mod openapi;
mod reference;
mod repos;
mod repositories;
mod schemathesis;
mod syncs;
mod targets;
mod upstreams;
