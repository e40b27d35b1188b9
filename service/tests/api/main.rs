//! The API as a client meets it: who may do what, and what is refused.

#![cfg(feature = "server")]

mod bad_inputs;
mod keys_and_scopes;
mod reference;
mod repos;

#[path = "../support/mod.rs"]
mod support;
