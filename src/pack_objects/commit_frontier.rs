//! The commits that the receiver lacks: those behind the wants that are not behind the haves.
//!
//! The walk goes from both sides at once, the highest commits first, until every queued commit is
//! known to be the receiver's. Commits are ordered by generation where a commit-graph has one and by
//! date elsewhere. A wrong date can make the walk stop too early, and then a commit is sent that the
//! receiver has. No commit that the receiver lacks is left out: the walk never ends while a commit to send is
//! queued, so every commit behind a want was visited as one to send, or is behind a commit of the receiver's.

use std::collections::{BinaryHeap, HashMap, HashSet};

use gix::{
    ObjectId,
    objs::{Exists, Find, Kind, TagRefIter},
};

use super::{
    NoPack,
    commit_table::{CommitNumber, CommitTable, Painted, Side},
};
use crate::{
    Error, PackRequest, SyncContext,
    history::ancestry::{Commit, Hole},
    history::store_commits::StoreCommits,
    object_id::to_gix,
    stored_packs::loose_objects::built_in,
    stored_packs::odb::Odb,
};

/// Number of the receiver's commits that the walk visits beyond the first at which it could stop if all dates
/// were right. Git does the same with 5 (`revision.c`, `SLOP`).
const SLOP: usize = 64;

/// Number of the receiver's tips whose trees are compared with the new ones.
const MAX_KNOWN: usize = 32;

/// The tags and commits that the receiver lacks, down to the commits that it has.
#[derive(Default)]
pub(super) struct CommitFrontier {
    /// Annotated tags, outermost first.
    pub(super) tags: Vec<ObjectId>,
    /// Children before their parents as far as their dates say.
    pub(super) commits: Vec<CommitNumber>,
    /// Wanted trees and blobs.
    pub(super) others: Vec<(ObjectId, Kind)>,
    /// Commits that the receiver has: its newest tips, and wants that it has.
    pub(super) known: Vec<CommitNumber>,
    /// All commits that the walk met, on both sides.
    pub(super) met: CommitTable,
}

/// Finds the commits that the receiver lacks. `peeled` has the targets of some tags, which spares reading them.
pub(super) fn find(
    commits: &mut StoreCommits<'_>,
    request: &PackRequest,
    peeled: &HashMap<ObjectId, ObjectId>,
    context: &SyncContext,
) -> Result<CommitFrontier, NoPack> {
    let mut frontier = CommitFrontier::default();
    let PackRequest { wants, haves, .. } = request;
    let mut has: HashSet<ObjectId> = haves.iter().map(|have| have.0).collect();
    if wants.iter().all(|want| has.contains(&want.0)) {
        return Ok(frontier);
    }
    let mut walk = FrontierWalk::new(commits, to_gix(&request.shallow));
    for have in haves {
        context.check()?;
        walk.paint_have(have.0, peeled.get(&have.0), &mut has, context)?;
    }
    let reached = peel_wants(walk.commits.odb, wants, &mut has, context)?;
    (frontier.tags, frontier.others) = (reached.tags, reached.others);
    let mut wanted = Vec::with_capacity(reached.commits.len());
    for commit in &reached.commits {
        context.check()?;
        wanted.push(walk.paint(commit, Side::Sender));
    }
    frontier.known = walk.newest_known();
    walk.run(&mut frontier, context)?;
    let FrontierWalk { commits, met, .. } = walk;
    // A hole in the receiver's history only makes the pack larger. In the history to send it makes it incomplete.
    if let Some((id, hole)) = met.hole() {
        return Err(fault_of(id, hole, commits.odb));
    }
    // A commit may have turned out to be the receiver's after it was visited as one to send.
    frontier.commits.retain(|commit| met.is_sent(*commit));
    let known = wanted.into_iter().filter(|commit| !met.is_sent(*commit));
    frontier.known.extend(known);
    frontier.met = met.into_numbered();
    Ok(frontier)
}

/// The objects that wants lead to without the histories of commits.
#[derive(Default)]
pub(super) struct PeeledWants {
    pub(super) commits: Vec<ObjectId>,
    /// Trees and blobs.
    pub(super) others: Vec<(ObjectId, Kind)>,
    /// The tags on the way to all of them, outermost first.
    pub(super) tags: Vec<ObjectId>,
}

/// Peels the wants that `has` lacks. All objects on the way are in `has` afterwards.
pub(super) fn peel_wants(
    odb: &Odb,
    wants: &[crate::ObjectId],
    has: &mut HashSet<ObjectId>,
    context: &SyncContext,
) -> Result<PeeledWants, NoPack> {
    let mut peeled = PeeledWants::default();
    for want in wants {
        match peel(odb, want.0, has, &mut peeled.tags, context)? {
            Some((commit, Kind::Commit)) => peeled.commits.push(commit),
            Some(other) => peeled.others.push(other),
            None => {}
        }
    }
    Ok(peeled)
}

/// The peeled target of a want, with its kind. `None` if `has` has one of the objects on the way, which are all
/// in it afterwards. Appends the tags on the way to `tags`.
fn peel(
    odb: &Odb,
    want: ObjectId,
    has: &mut HashSet<ObjectId>,
    tags: &mut Vec<ObjectId>,
    context: &SyncContext,
) -> Result<Option<(ObjectId, Kind)>, NoPack> {
    let mut id = want;
    let mut buffer = Vec::new();
    while has.insert(id) {
        context.check()?;
        let object = match odb.try_find(&id, &mut buffer) {
            Ok(Some(object)) => object,
            Ok(None) => {
                let kind = built_in(&id).ok_or_else(|| NoPack::missing(id))?;
                return Ok(Some((id, kind)));
            }
            Err(_) => return Err(NoPack::unreadable(id)),
        };
        if object.kind != Kind::Tag {
            return Ok(Some((id, object.kind)));
        }
        tags.push(id);
        let target = TagRefIter::from_bytes(object.data, id.kind()).target_id();
        id = target.map_err(|_| NoPack::unreadable(id))?;
    }
    Ok(None)
}

struct FrontierWalk<'a, 'b> {
    commits: &'a mut StoreCommits<'b>,
    /// Commits that the receiver has without their parents.
    shallow: HashSet<ObjectId>,
    met: CommitTable,
    queue: BinaryHeap<FrontierCommit>,
    /// Number of queued commits that are still to be sent.
    wanted_in_queue: usize,
}

/// A commit of the queue. The highest generation comes out first, then the newest date.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct FrontierCommit {
    order: WalkOrder,
    id: ObjectId,
    number: CommitNumber,
    parents: Vec<ObjectId>,
}

/// Generation and date. A commit without generation is newer than the commit-graph, and has `u32::MAX`.
pub(super) type WalkOrder = (u32, i64);

pub(super) fn walk_order(commit: &Commit) -> WalkOrder {
    (commit.generation.unwrap_or(u32::MAX), commit.date)
}

impl<'a, 'b> FrontierWalk<'a, 'b> {
    fn new(commits: &'a mut StoreCommits<'b>, shallow: Vec<ObjectId>) -> Self {
        FrontierWalk {
            commits,
            shallow: shallow.into_iter().collect(),
            met: CommitTable::default(),
            queue: BinaryHeap::new(),
            wanted_in_queue: 0,
        }
    }

    fn run(&mut self, frontier: &mut CommitFrontier, context: &SyncContext) -> Result<(), NoPack> {
        let mut lowest_sent = (u32::MAX, i64::MAX);
        let mut slop = SLOP;
        while let Some(next) = self.queue.pop() {
            context.check()?;
            let side = self.met.leave_queue(next.number);
            if side == Side::Sender {
                self.wanted_in_queue -= 1;
                lowest_sent = lowest_sent.min(next.order);
                slop = SLOP;
            } else if self.wanted_in_queue == 0 && next.order < lowest_sent {
                // A commit of the receiver's can only change those to send that are its ancestors, and these have lower
                // generations. Dates prove nothing, so without generations the walk goes on for `SLOP` commits.
                let is_certain = next.order.0 < lowest_sent.0;
                slop -= 1;
                if is_certain || slop == 0 {
                    break;
                }
            }
            // The receiver lacks the history behind its shallow boundary, so that stays to be sent.
            if side == Side::Receiver && self.shallow.contains(&next.id) {
                continue;
            }
            let parents = next.parents.iter();
            let parents: Vec<_> = parents.map(|parent| self.paint(parent, side)).collect();
            if side == Side::Sender {
                self.met.set_parents(next.number, &parents);
                frontier.commits.push(next.number);
            }
        }
        Ok(())
    }

    /// Paints a have and its history. A have that the sender lacks is ignored.
    fn paint_have(
        &mut self,
        have: ObjectId,
        peeled: Option<&ObjectId>,
        has: &mut HashSet<ObjectId>,
        context: &SyncContext,
    ) -> Result<(), Error> {
        if let Some(commit) = peeled {
            self.paint(commit, Side::Receiver);
            return Ok(());
        }
        if self.commits.commit(&have, &mut Vec::new()).is_ok() {
            self.paint(&have, Side::Receiver);
            return Ok(());
        }
        has.remove(&have);
        let behind = peel(self.commits.odb, have, has, &mut Vec::new(), context);
        has.insert(have);
        match behind {
            Ok(Some((commit, Kind::Commit))) => {
                self.paint(&commit, Side::Receiver);
                Ok(())
            }
            Err(NoPack::Failed(err)) => Err(err),
            Ok(_) | Err(NoPack::Fault(_)) => Ok(()),
        }
    }

    /// Paints a commit, and queues it if its parents have to be painted, too: at its first visit, and once more
    /// when it turns out to be the receiver's.
    fn paint(&mut self, id: &ObjectId, side: Side) -> CommitNumber {
        let number = match self.met.repaint(id, side) {
            Painted::AsItWas(number) => return number,
            Painted::InQueue(number) => {
                self.wanted_in_queue -= 1;
                return number;
            }
            Painted::ToRead(number) => number,
        };
        let mut parents = Vec::new();
        match self.commits.commit_and_tree(id, &mut parents) {
            Ok((commit, tree)) => {
                self.met.set_tree(number, tree);
                self.met.enter_queue(number);
                self.wanted_in_queue += usize::from(side == Side::Sender);
                self.queue.push(FrontierCommit {
                    order: walk_order(&commit),
                    id: *id,
                    number,
                    parents,
                });
            }
            Err(hole) => {
                self.met.set_hole(number, hole);
                if hole == Hole::Shallow
                    && let Some(tree) = self.commits.tree_of(id)
                {
                    self.met.set_tree(number, tree);
                }
            }
        }
        number
    }

    fn newest_known(&self) -> Vec<CommitNumber> {
        let queued = self.queue.iter();
        let mut known: Vec<_> = queued
            .filter(|queued| !self.met.is_sent(queued.number))
            .collect();
        known.sort_unstable_by(|a, b| b.cmp(a));
        known.truncate(MAX_KNOWN);
        known.into_iter().map(|queued| queued.number).collect()
    }
}

fn fault_of(id: ObjectId, hole: Hole, odb: &Odb) -> NoPack {
    match hole {
        Hole::Shallow => NoPack::fault(id, "has lost its parents: the source is a shallow clone"),
        Hole::Unreadable if odb.exists(&id) => NoPack::unreadable(id),
        Hole::Unreadable => NoPack::missing(id),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{SyncOptions, test_support::test_store::TestStore};

    /// A remote lists whatever ids it likes: where they are looked up by their first bytes, these take
    /// minutes. No assertion is on the time: `clippy.toml` refuses such tables.
    #[test]
    fn haves_that_begin_alike_are_told_apart_at_once() {
        let mut store = TestStore::default();
        let blob = store.add(Kind::Blob, b"1");
        let (_dir, _packs, mut odb) = store.write();
        odb.refresh_never();
        let alike = (0..20_000_u32).map(|number| {
            let mut bytes = [7; 20];
            bytes[16..].copy_from_slice(&number.to_be_bytes());
            crate::ObjectId::from(bytes)
        });
        let request = PackRequest {
            wants: vec![crate::ObjectId(blob)],
            haves: alike.collect(),
            ..PackRequest::default()
        };
        let none = HashSet::new();
        let mut commits = StoreCommits::new(&odb, None, &none);
        let context = SyncContext::new(&SyncOptions::default());
        let found = find(&mut commits, &request, &HashMap::new(), &context);
        let others = found.ok().expect("a sound store").others;
        assert_eq!(others, [(blob, Kind::Blob)]);
    }
}
