//! Packs of the objects behind some tips that are not behind others, as small as git makes them.
//!
//! 1. [`commit_frontier`]: the commits that the receiver lacks;
//! 2. [`object_selection`]: the trees and blobs that those brought in. [`tree_walk`] reads trees side by side with
//!    those of parents, and [`same_path_reuse`] leaves out objects that the receiver has in another commit. For a
//!    receiver that has nothing it is [`full_clone`], or [`bitmap_selection`] for commits and objects alike;
//! 3. [`pack_plan`]: the encoding of each object. Stored deltas are reused, and
//!    [`delta_search`](crate::pack::delta_search) finds new ones;
//! 4. [`pack_writer`]: the pack as a stream.
//!
//! A pack begins with the number of its objects, so every object is found before the first byte is made, and
//! unreadable ones are known by then.

use std::collections::HashMap;

use gix::ObjectId;

use crate::{
    Error, PackRequest, SyncContext,
    history::store_commits::StoreCommits,
    stored_packs::{StoredPacks, odb::Odb},
};

mod bitmap_selection;
mod commit_frontier;
mod commit_table;
mod full_clone;
mod object_selection;
mod pack_plan;
mod pack_writer;
mod planned_objects;
mod same_path_reuse;
mod selection;
mod tree_cache;
mod tree_walk;

use bitmap_selection::BitmapSelection;
use commit_frontier::CommitFrontier;
pub(crate) use pack_writer::OutgoingPack;

/// The reason why there is no pack.
pub(crate) enum NoPack {
    /// A fault of an object that the sender should have.
    Fault(Fault),
    /// Any other failure.
    Failed(Error),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) object: ObjectId,
    pub(crate) detail: String,
}

impl NoPack {
    fn fault(object: ObjectId, what: &str) -> Self {
        let detail = format!("{object} {what}");
        NoPack::Fault(Fault { object, detail })
    }

    fn missing(object: ObjectId) -> Self {
        NoPack::fault(object, "is missing")
    }

    fn unreadable(object: ObjectId) -> Self {
        NoPack::fault(object, "can't be read")
    }

    fn unfit(object: ObjectId) -> Self {
        NoPack::fault(object, "is of another kind than it should be")
    }
}

impl From<Error> for NoPack {
    fn from(err: Error) -> Self {
        NoPack::Failed(err)
    }
}

/// The history that a pack is about, and the packs of the store.
pub(crate) struct History {
    walked: WalkedHistory,
    packs: StoredPacks,
}

enum WalkedHistory {
    /// The commits that the receiver lacks.
    Commits(CommitFrontier),
    /// All objects that the receiver lacks, of which bitmaps told most.
    Bitmaps(BitmapSelection),
}

/// Walks over the history that `request` asks for.
///
/// `peeled` has the targets of tags, as far as the refs of the store tell.
pub(crate) fn walk_history(
    mut commits: StoreCommits<'_>,
    peeled: HashMap<ObjectId, ObjectId>,
    request: &PackRequest,
    context: &SyncContext,
) -> Result<History, NoPack> {
    let packs = commits.odb.open_packs()?;
    let may_use_bitmaps = request.haves.is_empty() && commits.shallow.is_empty();
    let walked = if may_use_bitmaps
        && let Some(selection) = bitmap_selection::select(&mut commits, &packs, request, context)?
    {
        WalkedHistory::Bitmaps(selection)
    } else {
        WalkedHistory::Commits(commit_frontier::find(
            &mut commits,
            request,
            &peeled,
            context,
        )?)
    };
    Ok(History { walked, packs })
}

/// Prepares the pack that `request` asks for.
pub(crate) fn prepare<'a>(
    history: History,
    odb: &Odb,
    request: &PackRequest,
    context: &'a SyncContext,
) -> Result<OutgoingPack<'a>, NoPack> {
    let History { walked, packs } = history;
    let selection = match walked {
        WalkedHistory::Commits(frontier) => {
            object_selection::select(odb, &packs, &frontier, context)?
        }
        WalkedHistory::Bitmaps(found) => found.into_selection(&packs, context)?,
    };
    let planned = pack_plan::plan_entries(odb, &packs, selection, request.thin, context)?;
    let odb = odb.clone();
    Ok(OutgoingPack::new(
        odb,
        packs,
        planned,
        request.ofs_delta,
        context,
    ))
}
