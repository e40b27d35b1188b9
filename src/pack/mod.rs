//! The pack format (gitformat-pack(5)): deltas, zlib streams, bitmaps.

pub(crate) mod bitmap;
pub(crate) mod deflate;
pub(crate) mod delta_encode;
pub(crate) mod delta_tree;
pub(crate) mod name_hash;
