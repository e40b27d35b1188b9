//! The objects of a pack before it is planned.

use gix::{ObjectId, objs::Kind};

use super::tree_cache::TreeCache;

/// An object of the pack, or one that the receiver has and a delta can build on.
#[derive(Clone, Copy)]
pub(super) struct SelectedObject {
    pub(super) id: ObjectId,
    pub(super) kind: Kind,
    /// Groups the versions of a file.
    pub(super) name_hash: u32,
    /// The position in the scanned pack, if that is known.
    pub(super) pack_pos: Option<u32>,
}

impl SelectedObject {
    /// An object whose position in the scanned pack is unknown.
    pub(super) fn new(id: ObjectId, kind: Kind, name_hash: u32) -> Self {
        SelectedObject {
            id,
            kind,
            name_hash,
            pack_pos: None,
        }
    }
}

/// The objects to send.
#[derive(Default)]
pub(super) struct Selection {
    /// Each object once: tags, commits, then trees and blobs, the newest first; by pack position if bitmaps
    /// selected them.
    pub(super) objects: Vec<SelectedObject>,
    /// Objects that the receiver has: other versions of those to send.
    pub(super) bases: Vec<SelectedObject>,
    /// The contents of some of these trees.
    pub(super) trees: TreeCache,
}
