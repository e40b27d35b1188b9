//! The faults of a remote in a push: hooks that object, settings that forbid, answers that get lost,
//! make no sense or say no. Whatever it does, the stats say what is there afterwards.
#![cfg(feature = "http")]

mod backoff;
mod cut_off;
mod garbled;
mod halves;
mod hooks;
mod list_for_fetch;
mod memory;
mod messages;
mod older_remotes;
mod overloaded;
mod refused;
mod settings;

#[path = "../support/mod.rs"]
mod support;
