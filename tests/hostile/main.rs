//! Inputs of a hostile source: each has its named error or reason, no ref moves, and the
//! store stays the same byte for byte.

mod deltas;
mod framing;
mod hungry;
mod links;
mod memory;
mod names;
mod objects;
mod objects_at_fault;
mod over_http;
mod pack;
mod tags_of_tags;
mod time;
mod unparsable;
mod world;

#[path = "../support/mod.rs"]
mod support;
