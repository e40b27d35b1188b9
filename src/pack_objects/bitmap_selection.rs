//! Everything behind some commits, by what git's [`bitmap`](crate::pack::bitmap) of the largest pack says
//! of them, where the receiver has nothing.
//!
//! Newest first, each commit that has a bitmap is done with; one that has none leads to its parents,
//! and its tree is read. Which commits are behind others is seen once more by their parents: a bitmap
//! that was written in a shallow repository, or with grafts, has others in it than there are. What it
//! says of trees and blobs is believed, as git does.
//!
//! Where that comes to all of the pack, the pack is sent as it is.

use std::collections::{BinaryHeap, HashSet};

use gix::{ObjectId, objs::Kind};

use super::{
    NoPack,
    commit_frontier::peel,
    full_clone,
    object_selection::{Selected, Selection},
};
use crate::{
    Error, PackRequest, Phase, SyncContext,
    history::store_commits::StoreCommits,
    pack::bitmap::{Bitmaps, Decoded},
    ref_source::CommitGraph,
    stored_packs::{
        StoredPacks,
        pack_scan::bases_and_kinds,
        rev_index::PackOrder,
        tree_graph::{MANY_COMMITS, MIN_SHARE, TreeLinks},
    },
};

/// A commit whose tree is read by itself takes about as long as ten of those that are read with all
/// others, and about one object in five is a commit.
const MIN_SHARE_OF_READ: usize = 50;

/// The objects behind the wants. `None` where no bitmap can say that, or others are as fast.
pub(super) fn select(
    commits: &mut StoreCommits<'_>,
    packs: &StoredPacks,
    request: &PackRequest,
    run: &SyncContext,
) -> Result<Option<Selection>, NoPack> {
    let Some((order, file)) = packs.largest_with_bitmap() else {
        return Ok(None);
    };
    let pack = order.index.pack_checksum();
    let Some(bitmaps) = Bitmaps::parse(&file, &pack, order.len() as u32) else {
        tracing::warn!(pack = %order.index.path().display(), "a bitmap is damaged, or of another pack");
        return Ok(None);
    };
    let mut has = HashSet::new();
    let mut tags = Vec::new();
    let mut wanted = Vec::new();
    let mut roots = Vec::new();
    for want in &request.wants {
        run.check()?;
        match peel(commits.odb, *want, &mut has, &mut tags, run)? {
            Some((commit, Kind::Commit)) => wanted.push(commit),
            Some(other) => roots.push(other),
            None => {}
        }
    }
    let Some(reached) = reach(commits, order, &bitmaps, &wanted, run)? else {
        return Ok(None);
    };
    roots.extend(tags.into_iter().map(|tag| (tag, Kind::Tag)));
    for (commit, tree) in &reached.read {
        roots.extend([(*commit, Kind::Commit), (*tree, Kind::Tree)]);
    }
    let no_links = TreeLinks::default();
    let (found, marked) =
        full_clone::find_beyond(commits.odb, order, &no_links, reached.places, &roots, run)?;
    let in_pack = marked.iter().filter(|is_marked| **is_marked).count();
    tracing::debug!(in_pack, found = found.len(), "a bitmap tells what to send");
    if in_pack < order.len() / MIN_SHARE {
        return Ok(None);
    }
    let Some(survey) = packs.survey_largest(run)? else {
        return Ok(None);
    };
    let (_, kinds) = bases_and_kinds(survey.entries);
    let is_unfit = |object: &Selected| {
        let place = object.place.map(|place| kinds[place as usize]);
        place.is_some_and(|kind| kind != Some(object.kind))
    };
    if found.iter().any(is_unfit) {
        return Ok(None);
    }
    let is_commit = |place: u32| kinds[place as usize] == Some(Kind::Commit);
    let expected = Expected {
        order: survey.order,
        places: (0..)
            .zip(&marked)
            .map(|(place, is_marked)| *is_marked && is_commit(place))
            .collect(),
        read: reached.read.iter().map(|(commit, _)| *commit).collect(),
    };
    if !expected.are_behind(&wanted, commits, run)? {
        tracing::warn!(pack = %order.index.path().display(), "a bitmap is of other parents");
        return Ok(None);
    }
    let elsewhere = found.into_iter().filter(|object| object.place.is_none());
    // Bases are there with their deltas, and as far from them as they were.
    let is_with_pack =
        in_pack == order.len() && request.ofs_delta && kinds.iter().all(Option::is_some);
    if is_with_pack {
        return Ok(Some(Selection {
            objects: elsewhere.collect(),
            is_with_pack,
            ..Selection::default()
        }));
    }
    let mut objects = Vec::with_capacity(in_pack);
    for (place, _) in (0..).zip(&marked).filter(|(_, is_marked)| **is_marked) {
        // What is damaged may be fine elsewhere.
        let Some(kind) = kinds[place as usize] else {
            return Ok(None);
        };
        objects.push(Selected {
            id: order.id(place),
            kind,
            name_hash: bitmaps.name_hash(order.by_offset[place as usize]),
            place: Some(place),
        });
    }
    objects.extend(elsewhere);
    run.advance(Phase::Count, objects.len() as u64, None);
    Ok(Some(Selection {
        objects,
        is_with_pack,
        ..Selection::default()
    }))
}

/// What is behind some commits.
struct Reached {
    /// For each place in the pack, whether a bitmap has it.
    places: Vec<bool>,
    /// The other commits, with their trees.
    read: Vec<(ObjectId, ObjectId)>,
}

/// The commits that are to be sent.
struct Expected<'a> {
    order: PackOrder<'a>,
    /// Those in the pack: for each place, whether there is one.
    places: Vec<bool>,
    /// Those that have no bitmap, of which some are elsewhere.
    read: HashSet<ObjectId>,
}

impl Expected<'_> {
    /// Whether these, and no others, are behind the wants.
    fn are_behind(
        &self,
        wanted: &[ObjectId],
        commits: &mut StoreCommits<'_>,
        run: &SyncContext,
    ) -> Result<bool, Error> {
        let mut left = self.places.iter().filter(|is_there| **is_there).count();
        let mut seen = vec![false; self.places.len()];
        let mut elsewhere = HashSet::new();
        let mut pending = wanted.to_vec();
        while let Some(commit) = pending.pop() {
            run.check()?;
            let place = self.order.find(&commit).map(|place| place as usize);
            match place {
                Some(place) if std::mem::replace(&mut seen[place], true) => continue,
                Some(place) if !self.places[place] => return Ok(false),
                Some(_) => left -= 1,
                None if !self.read.contains(&commit) => return Ok(false),
                None if !elsewhere.insert(commit) => continue,
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
}

/// Ordered by generation first, then by date, as for a [`frontier`](super::commit_frontier): the newest has
/// the most behind it.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Queued {
    generation: u32,
    date: i64,
    id: ObjectId,
    tree: ObjectId,
    parents: Vec<ObjectId>,
}

fn reach(
    commits: &mut StoreCommits<'_>,
    order: PackOrder<'_>,
    bitmaps: &Bitmaps<'_>,
    wanted: &[ObjectId],
    run: &SyncContext,
) -> Result<Option<Reached>, Error> {
    let max_read = MANY_COMMITS.max(order.len() / MIN_SHARE_OF_READ);
    let mut behind = vec![0_u64; order.len().div_ceil(64)];
    let has = |behind: &[u64], place: u32| behind[place as usize / 64] >> (place % 64) & 1 == 1;
    let mut decoded = Decoded::new(bitmaps);
    let mut read = Vec::new();
    let mut queue = BinaryHeap::new();
    let mut queued = HashSet::new();
    let mut enqueue = |ids: &[ObjectId], queue: &mut BinaryHeap<Queued>| {
        for id in ids.iter().filter(|id| queued.insert(**id)) {
            run.check().ok()?;
            let mut parents = Vec::new();
            let (commit, tree) = commits.commit_and_tree(id, &mut parents).ok()?;
            queue.push(Queued {
                generation: commit.generation.unwrap_or(u32::MAX),
                date: commit.date,
                id: *id,
                tree,
                parents,
            });
        }
        Some(())
    };
    if enqueue(wanted, &mut queue).is_none() {
        run.check()?;
        return Ok(None);
    }
    while let Some(next) = queue.pop() {
        run.check()?;
        let entry = order.index.lookup(next.id);
        let place = entry.map(|entry| order.places[entry as usize]);
        if place.is_some_and(|place| has(&behind, place)) {
            continue;
        }
        if let Some(bitmap) = entry.and_then(|entry| bitmaps.of(entry)) {
            let Some(words) = decoded.turn_to(bitmap, || run.check().is_ok()) else {
                run.check()?;
                return Ok(None);
            };
            behind
                .iter_mut()
                .zip(words)
                .for_each(|(all, more)| *all |= more);
            continue;
        }
        read.push((next.id, next.tree));
        if read.len() > max_read || enqueue(&next.parents, &mut queue).is_none() {
            run.check()?;
            return Ok(None);
        }
    }
    let places = 0..order.len() as u32;
    Ok(Some(Reached {
        places: places.map(|place| has(&behind, place)).collect(),
        read,
    }))
}
