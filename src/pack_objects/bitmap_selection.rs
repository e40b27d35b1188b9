//! The objects behind some commits by git's [bitmaps](crate::pack::bitmap) of the largest pack, for a receiver
//! that has nothing.
//!
//! The newest commits come first. A commit with a bitmap is done with; one without leads to its parents, and its
//! tree is read. The commits that bitmaps name are compared with a walk over parents: bitmaps that were written
//! in a shallow repository, or with grafts, name others than there are. Their trees and blobs are believed, as
//! git does.

use std::{
    collections::{BinaryHeap, HashSet},
    mem,
};

use gix::{ObjectId, objs::Kind};

use super::{
    NoPack,
    commit_frontier::{WalkOrder, peel_wants, walk_order},
    full_clone,
    selection::{SelectedObject, Selection},
};
use crate::{
    Error, ErrorKind, PackRequest, Phase, SyncContext,
    history::store_commits::StoreCommits,
    pack::bitmap::{Bitmaps, Decoded},
    stored_packs::{
        StoredPacks,
        pack_scan::bases_and_kinds,
        rev_index::RevIndex,
        tree_graph::{MANY_COMMITS, MIN_SHARE, TreeGraph},
    },
};

/// Limit of the commits without a bitmap: one in so many objects of the pack. A tree that is read by itself takes
/// about as long as ten in a pass over the pack, and about one object in five is a commit.
const MIN_SHARE_OF_READ: usize = 50;

/// The objects behind the wants. Those of the pack are still without their ids, which take most of the memory.
pub(super) struct BitmapSelection {
    in_pack: Vec<PackObject>,
    outside: Vec<SelectedObject>,
}

struct PackObject {
    pack_pos: u32,
    kind: Kind,
    name_hash: u32,
}

impl BitmapSelection {
    pub(super) fn into_selection(
        self,
        packs: &StoredPacks,
        context: &SyncContext,
    ) -> Result<Selection, NoPack> {
        let scan = packs.scan_largest(context)?;
        let unreadable = || Error::new(ErrorKind::Corrupt, "the pack can't be read any more");
        let rev_index = scan.ok_or_else(unreadable)?.rev_index;
        let with_id = |object: &PackObject| SelectedObject {
            id: rev_index.id(object.pack_pos),
            kind: object.kind,
            name_hash: object.name_hash,
            pack_pos: Some(object.pack_pos),
        };
        let mut objects = Vec::with_capacity(self.in_pack.len() + self.outside.len());
        objects.extend(self.in_pack.iter().map(with_id));
        objects.extend(self.outside);
        context.advance(Phase::Count, objects.len() as u64, None);
        Ok(Selection {
            objects,
            ..Selection::default()
        })
    }
}

/// Selects the objects behind the wants. `None` if the bitmaps can't tell them, or if other ways are as fast.
pub(super) fn select(
    commits: &mut StoreCommits<'_>,
    packs: &StoredPacks,
    request: &PackRequest,
    context: &SyncContext,
) -> Result<Option<BitmapSelection>, NoPack> {
    let Some((rev_index, file)) = packs.largest_with_bitmap() else {
        return Ok(None);
    };
    let pack = rev_index.index.pack_checksum();
    let Some(bitmaps) = Bitmaps::parse(&file, &pack, rev_index.len() as u32) else {
        let pack = rev_index.index.path().display();
        tracing::warn!(%pack, "a bitmap is damaged, or of another pack");
        return Ok(None);
    };
    let peeled = peel_wants(commits.odb, &request.wants, &mut HashSet::new(), context)?;
    let wanted = peeled.commits;
    let tags = peeled.tags.into_iter().map(|tag| (tag, Kind::Tag));
    let mut roots: Vec<_> = peeled.others.into_iter().chain(tags).collect();
    let Some(reached) = reach(commits, rev_index, &bitmaps, &wanted, context)? else {
        return Ok(None);
    };
    for (commit, tree) in &reached.read {
        roots.extend([(*commit, Kind::Commit), (*tree, Kind::Tree)]);
    }
    let (found, marked) = full_clone::find_beyond(
        commits.odb,
        rev_index,
        // Bitmaps mark most trees. The few beyond them are read one by one.
        &TreeGraph::default(),
        reached.in_pack,
        &roots,
        context,
    )?;
    let count = marked.iter().filter(|is_marked| **is_marked).count();
    tracing::debug!(
        in_pack = count,
        found = found.len(),
        "a bitmap tells what to send"
    );
    // The scan reads all of the pack, which does not pay off for few of its objects.
    if count < rev_index.len() / MIN_SHARE {
        return Ok(None);
    }
    let Some(scan) = packs.scan_largest(context)? else {
        return Ok(None);
    };
    let (_, kinds) = bases_and_kinds(scan.entries);
    let is_unfit = |object: &SelectedObject| {
        let kind = object.pack_pos.map(|pack_pos| kinds[pack_pos as usize]);
        kind.is_some_and(|kind| kind != Some(object.kind))
    };
    // The walk over commits finds a sound copy, or names the object at fault.
    if found.iter().any(is_unfit) {
        return Ok(None);
    }
    // The parents are compared last: that takes all marks, also those of commits that were read, and the scanned kinds.
    let commits_in_pack = kinds.iter().zip(&marked);
    let commits_in_pack: Vec<_> = commits_in_pack
        .map(|(kind, is_marked)| *is_marked && *kind == Some(Kind::Commit))
        .collect();
    let read = reached.read.iter().map(|(commit, _)| *commit).collect();
    if !are_behind(
        &wanted,
        commits,
        scan.rev_index,
        &commits_in_pack,
        &read,
        context,
    )? {
        tracing::warn!(pack = %rev_index.index.path().display(), "a bitmap is of other parents");
        return Ok(None);
    }
    let in_pack = objects_in_pack(rev_index, &bitmaps, &marked, &kinds, count);
    let outside = found.into_iter().filter(|object| object.pack_pos.is_none());
    Ok(in_pack.map(|in_pack| BitmapSelection {
        in_pack,
        outside: outside.collect(),
    }))
}

/// The marked objects of the pack. `None` if the kind of one is unknown: its entry is damaged, and another copy may
/// be sound.
fn objects_in_pack(
    rev_index: RevIndex<'_>,
    bitmaps: &Bitmaps<'_>,
    marked: &[bool],
    kinds: &[Option<Kind>],
    count: usize,
) -> Option<Vec<PackObject>> {
    let mut objects = Vec::with_capacity(count);
    for (pack_pos, _) in (0..).zip(marked).filter(|(_, is_marked)| **is_marked) {
        objects.push(PackObject {
            pack_pos,
            kind: kinds[pack_pos as usize]?,
            name_hash: bitmaps.name_hash(rev_index.by_offset[pack_pos as usize]),
        });
    }
    Some(objects)
}

/// The history behind some commits.
struct Reached {
    /// By pack position: whether a bitmap has the object.
    in_pack: Vec<bool>,
    /// The commits that no bitmap has, with their trees.
    read: Vec<(ObjectId, ObjectId)>,
}

/// Whether exactly the commits that the bitmaps select are behind the wants: those `in_pack`, by pack position, and those
/// that no bitmap has, which were `read`, some of them outside of the pack.
fn are_behind(
    wanted: &[ObjectId],
    commits: &mut StoreCommits<'_>,
    rev_index: RevIndex<'_>,
    in_pack: &[bool],
    read: &HashSet<ObjectId>,
    context: &SyncContext,
) -> Result<bool, Error> {
    let mut left = in_pack.iter().filter(|is_there| **is_there).count();
    let mut seen = vec![false; in_pack.len()];
    let mut outside = HashSet::new();
    let mut pending = wanted.to_vec();
    while let Some(commit) = pending.pop() {
        context.check()?;
        match rev_index.find(&commit).map(|pack_pos| pack_pos as usize) {
            Some(pack_pos) if mem::replace(&mut seen[pack_pos], true) => continue,
            Some(pack_pos) if !in_pack[pack_pos] => return Ok(false),
            Some(_) => left -= 1,
            None if !read.contains(&commit) => return Ok(false),
            None if !outside.insert(commit) => continue,
            None => {}
        }
        let mut parents = Vec::new();
        if commits.commit(&commit, &mut parents).is_err() {
            return Ok(false);
        }
        pending.append(&mut parents);
    }
    Ok(left == 0)
}

/// A commit of the queue. The highest generation comes out first, then the newest date, as in the
/// [`commit_frontier`](super::commit_frontier): the newest commit has the most behind it.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct BitmapCommit {
    order: WalkOrder,
    id: ObjectId,
    tree: ObjectId,
    parents: Vec<ObjectId>,
}

/// The commits whose turn comes next, each queued once.
#[derive(Default)]
struct CommitQueue {
    queue: BinaryHeap<BitmapCommit>,
    queued: HashSet<ObjectId>,
}

impl CommitQueue {
    /// Queues commits. `false` if one can't be read.
    fn extend(
        &mut self,
        ids: &[ObjectId],
        commits: &mut StoreCommits<'_>,
        context: &SyncContext,
    ) -> Result<bool, Error> {
        for id in ids.iter().filter(|id| self.queued.insert(**id)) {
            context.check()?;
            let mut parents = Vec::new();
            let Ok((commit, tree)) = commits.commit_and_tree(id, &mut parents) else {
                return Ok(false);
            };
            self.queue.push(BitmapCommit {
                order: walk_order(&commit),
                id: *id,
                tree,
                parents,
            });
        }
        Ok(true)
    }
}

/// Follows the wants to commits with bitmaps. `None` if that takes too many commits without one, or if a commit
/// or a bitmap can't be read.
fn reach(
    commits: &mut StoreCommits<'_>,
    rev_index: RevIndex<'_>,
    bitmaps: &Bitmaps<'_>,
    wanted: &[ObjectId],
    context: &SyncContext,
) -> Result<Option<Reached>, Error> {
    let max_read = MANY_COMMITS.max(rev_index.len() / MIN_SHARE_OF_READ);
    let mut behind = vec![0_u64; rev_index.len().div_ceil(64)];
    let mut decoded = Decoded::new(bitmaps);
    let mut read = Vec::new();
    let mut queue = CommitQueue::default();
    if !queue.extend(wanted, commits, context)? {
        return Ok(None);
    }
    while let Some(next) = queue.queue.pop() {
        context.check()?;
        let index_pos = rev_index.index.lookup(next.id);
        let pack_pos = index_pos.map(|at| rev_index.pack_positions[at as usize]);
        if pack_pos.is_some_and(|pack_pos| has_bit(&behind, pack_pos)) {
            continue;
        }
        if let Some(bitmap) = index_pos.and_then(|at| bitmaps.of(at)) {
            let Some(words) = decoded.turn_to(bitmap, || context.check().is_ok()) else {
                context.check()?;
                return Ok(None);
            };
            let words = behind.iter_mut().zip(words);
            words.for_each(|(all, more)| *all |= more);
            continue;
        }
        read.push((next.id, next.tree));
        if read.len() > max_read || !queue.extend(&next.parents, commits, context)? {
            return Ok(None);
        }
    }
    let positions = 0..rev_index.len() as u32;
    Ok(Some(Reached {
        in_pack: positions
            .map(|pack_pos| has_bit(&behind, pack_pos))
            .collect(),
        read,
    }))
}

fn has_bit(words: &[u64], bit: u32) -> bool {
    words[bit as usize / 64] >> (bit % 64) & 1 == 1
}
