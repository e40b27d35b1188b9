//! The location and the encoding of an object in the packs of a store.

use gix::{ObjectId, objs::Kind};
use gix_pack::{data, index};

/// The location of an object in one of the packs of a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct PackLocation {
    /// The number of the pack in its [`StoredPacks`](super::StoredPacks).
    pub(crate) pack: u32,
    pub(crate) offset: data::Offset,
    /// The position in the pack's index.
    pub(crate) index_pos: index::EntryIndex,
}

/// The encoding of an entry in a pack.
pub(crate) enum StoredEncoding {
    /// The whole object, of this kind and size.
    Whole(Kind, u64),
    /// A delta of this object.
    Delta(ObjectId),
}
