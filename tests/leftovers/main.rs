//! Leftovers of a killed run, which the next one removes; files of others stay.
#![cfg(all(feature = "http", unix))]

mod keeps;
mod killed;
mod odd_places;

#[path = "../support/mod.rs"]
mod support;
