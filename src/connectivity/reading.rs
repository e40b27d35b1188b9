//! Objects as the walk reads them, and what is wrong with those that it can't read.

use gix::{
    ObjectId,
    objs::{CommitRefIter, Find, FindHeader, Kind},
};

use super::Fault;
use crate::{Reason, stored_packs::odb::Odb};

/// Puts the content of an object into `buffer`, in place of what is there.
pub(super) fn read(
    odb: &Odb,
    id: &ObjectId,
    expected: Option<Kind>,
    buffer: &mut Vec<u8>,
) -> Result<Kind, Fault> {
    let name = expected.map_or("object".to_owned(), |kind| kind.to_string());
    let kind = match odb.try_find(id, buffer) {
        Ok(Some(object)) => object.kind,
        Ok(None) => return Err(incomplete(format!("{name} {id} is missing"))),
        Err(_) => return Err(incomplete(format!("{name} {id} can't be read"))),
    };
    match expected {
        Some(expected) if expected != kind => Err(other_kind(id, kind, expected)),
        _ => Ok(kind),
    }
}

/// A blob leads nowhere, so its header is enough. One that says something else may be damaged.
pub(super) fn blob_fault(odb: &Odb, id: &ObjectId) -> Option<Fault> {
    match odb.try_header(id) {
        Ok(Some(header)) if header.kind == Kind::Blob => None,
        _ => read(odb, id, Some(Kind::Blob), &mut Vec::new()).err(),
    }
}

/// The tree of a commit.
pub(super) fn tree_of(odb: &Odb, commit: &ObjectId) -> Option<ObjectId> {
    let mut buffer = Vec::new();
    let object = odb.try_find(commit, &mut buffer).ok()??;
    let mut commit = CommitRefIter::from_bytes(object.data, commit.kind());
    commit.tree_id().ok()
}

pub(super) fn other_kind(id: &ObjectId, kind: Kind, expected: Kind) -> Fault {
    incomplete(format!("{id} is a {kind} where a {expected} is needed"))
}

pub(super) fn incomplete(detail: String) -> Fault {
    Reason::Incomplete { detail }
}
