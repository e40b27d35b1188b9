//! What a killed run leaves behind goes with the next one; what belongs to others stays.
#![cfg(all(feature = "http", unix))]

mod keeps;
mod killed;
mod odd_places;

#[path = "../support/mod.rs"]
mod support;
