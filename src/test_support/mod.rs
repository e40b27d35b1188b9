//! Support for the tests inside the crate.

mod decoding;
pub(crate) mod git_cli;
mod noise;
pub(crate) mod test_store;

pub(crate) use decoding::{apply, inflate};
pub(crate) use noise::noise;
