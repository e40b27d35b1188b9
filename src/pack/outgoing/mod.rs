//! A pack to be sent: what is in it, and how little of it has to be said.

// To be removed with the first caller.
#![allow(dead_code)]

pub(crate) mod delta;
pub(crate) mod search;
pub(crate) mod zlib;
