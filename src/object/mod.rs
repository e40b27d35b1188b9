//! Parsing objects as git does, and comparing trees.

pub(crate) mod commit;
mod header_line;
pub(crate) mod tag;
pub(crate) mod tree_diff;
pub(crate) mod tree_entries;
