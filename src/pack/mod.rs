//! The pack format: deltas, zlib streams, bitmaps (gitformat-pack(5)).

pub(crate) mod bitmap;
pub(crate) mod deflate;
pub(crate) mod delta_encode;
pub(crate) mod delta_tree;
pub(crate) mod name_hash;
