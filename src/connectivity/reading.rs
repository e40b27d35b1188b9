//! Reading objects for the walk, and the faults of objects that cannot be read.

use gix::{
    ObjectId,
    objs::{CommitRefIter, Kind},
};

use super::Fault;
use crate::{Reason, object::lookup::ObjectLookup};

/// Replaces `buffer` by the content of an object.
pub(super) fn read(
    objects: &dyn ObjectLookup,
    id: &ObjectId,
    expected: Option<Kind>,
    buffer: &mut Vec<u8>,
) -> Result<Kind, Fault> {
    let name = expected.map_or("object".to_owned(), |kind| kind.to_string());
    let kind = match objects.try_find(id, buffer) {
        Ok(Some(object)) => object.kind,
        Ok(None) => return Err(incomplete(format!("{name} {id} is missing"))),
        Err(_) => return Err(incomplete(format!("{name} {id} can't be read"))),
    };
    match expected {
        Some(expected) if expected != kind => Err(other_kind(id, kind, expected)),
        _ => Ok(kind),
    }
}

/// The fault of a blob. It references nothing, so its header suffices. A header of another kind may be a damaged copy.
pub(super) fn blob_fault(objects: &dyn ObjectLookup, id: &ObjectId) -> Option<Fault> {
    match kind(objects, id) {
        Some(Kind::Blob) => None,
        _ => read(objects, id, Some(Kind::Blob), &mut Vec::new()).err(),
    }
}

/// The kind that the header of an object tells; `None` if it cannot be read.
pub(super) fn kind(objects: &dyn ObjectLookup, id: &ObjectId) -> Option<Kind> {
    Some(objects.try_header(id).ok()??.kind)
}

/// The tree of a commit.
pub(super) fn tree_of(objects: &dyn ObjectLookup, commit: &ObjectId) -> Option<ObjectId> {
    let mut buffer = Vec::new();
    let object = objects.try_find(commit, &mut buffer).ok()??;
    let mut commit = CommitRefIter::from_bytes(object.data, commit.kind());
    commit.tree_id().ok()
}

pub(super) fn other_kind(id: &ObjectId, kind: Kind, expected: Kind) -> Fault {
    incomplete(format!("{id} is a {kind} where a {expected} is needed"))
}

pub(super) fn incomplete(detail: String) -> Fault {
    Reason::Incomplete { detail }
}
