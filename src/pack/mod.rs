//! The pack format (gitformat-pack(5)): entry headers, deltas and the search for them, zlib streams, bitmaps, and
//! writing the index.

pub(crate) mod bitmap;
pub(crate) mod deflate;
pub(crate) mod delta_apply;
pub(crate) mod delta_encode;
pub(crate) mod delta_search;
pub(crate) mod delta_tree;
pub(crate) mod entry_header;
pub(crate) mod fan_out;
pub(crate) mod index_file;
pub(crate) mod inflate;
pub(crate) mod name_hash;
pub(crate) mod tree_depths;
