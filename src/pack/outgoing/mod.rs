//! Making a pack: everything behind some tips that isn't behind others, as small as git makes it.
//!
//! 1. [`frontier`]: which commits the receiver lacks;
//! 2. [`selection`]: which trees and blobs those brought in;
//! 3. [`stored`]: what of it lies in packs already, in a form that can be sent as it is;
//! 4. [`search`]: which of the rest can be sent as a [`delta`];
//! 5. [`writer`]: the pack as a stream.
//!
//! Every object is found before the first byte is made, because a pack begins with their number.

use std::path::PathBuf;

use gix::ObjectId;

use super::commits::StoreCommits;
use crate::{Error, PackRequest, Run};

mod delta;
mod frontier;
mod layout;
mod search;
mod selection;
mod stored;
mod writer;
mod zlib;

pub(crate) use writer::OutgoingPack;

/// Why there is no pack: an object that the sender should have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) object: ObjectId,
    pub(crate) detail: String,
}

impl Fault {
    fn new(object: ObjectId, detail: &str) -> Self {
        let detail = format!("{object}: {detail}");
        Fault { object, detail }
    }

    fn missing(object: ObjectId) -> Self {
        Fault::new(object, "missing")
    }

    fn unreadable(object: ObjectId) -> Self {
        Fault::new(object, "can't be read")
    }
}

/// Prepares the pack that `request` asks for. `folders` are the store's `objects` folder and those of
/// its alternates.
pub(crate) fn prepare<'a>(
    mut commits: StoreCommits<'_>,
    folders: &[PathBuf],
    request: &PackRequest,
    run: &'a Run,
) -> Result<Result<OutgoingPack<'a>, Fault>, Error> {
    let odb = commits.odb;
    let hash = odb.store_ref().object_hash();
    let frontier = frontier::find(&mut commits, &request.wants, &request.haves, run)?;
    let frontier = match frontier {
        Ok(frontier) => frontier,
        Err(fault) => return Ok(Err(fault)),
    };
    let selection = match selection::select(odb, &frontier, run)? {
        Ok(selection) => selection,
        Err(fault) => return Ok(Err(fault)),
    };
    let packs = stored::StoredPacks::open(folders, hash)?;
    let items = match layout::lay_out(odb, &packs, selection, request.thin, run)? {
        Ok(items) => items,
        Err(fault) => return Ok(Err(fault)),
    };
    let odb = odb.clone();
    Ok(Ok(OutgoingPack::new(
        odb,
        packs,
        items,
        hash,
        request.ofs_delta,
        run,
    )))
}
