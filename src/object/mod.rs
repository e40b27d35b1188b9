//! Parsing objects as git does, and comparing trees, and git's fsck.

pub(crate) mod commit;
pub(crate) mod fsck;
mod header_line;
pub(crate) mod lookup;
pub(crate) mod special_blobs;
pub(crate) mod tag;
pub(crate) mod tree_entries;
