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
    let kind = match objects.try_find(id, buffer) {
        Ok(Some(object)) => object.kind,
        Ok(None) => return Err(missing(id, expected)),
        Err(_) => {
            let name = name(expected);
            return Err(incomplete(format!("{name} {id} can't be read")));
        }
    };
    match expected {
        Some(expected) if expected != kind => Err(other_kind(id, kind, expected)),
        _ => Ok(kind),
    }
}

/// Checks a blob. It references nothing, so its header suffices. A header of another kind may be a damaged copy.
pub(super) fn check_blob(objects: &dyn ObjectLookup, id: &ObjectId) -> Result<(), Fault> {
    if kind(objects, id) != Some(Kind::Blob) {
        read(objects, id, Some(Kind::Blob), &mut Vec::new())?;
    }
    Ok(())
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

fn name(expected: Option<Kind>) -> String {
    expected.map_or("object".to_owned(), |kind| kind.to_string())
}

pub(super) fn missing(id: &ObjectId, expected: Option<Kind>) -> Fault {
    incomplete(format!("{} {id} is missing", name(expected)))
}

pub(super) fn unparsable(kind: Kind, id: &ObjectId) -> Fault {
    incomplete(format!("{kind} {id} can't be parsed"))
}

pub(super) fn other_kind(id: &ObjectId, kind: Kind, expected: Kind) -> Fault {
    incomplete(format!("{id} is a {kind} where a {expected} is needed"))
}

pub(super) fn incomplete(detail: String) -> Fault {
    Reason::Incomplete { detail }
}
