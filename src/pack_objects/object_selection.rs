//! The objects that the commits of a [`CommitFrontier`] brought in.

use std::{
    collections::{HashMap, HashSet},
    iter, mem,
    sync::atomic::{AtomicUsize, Ordering},
};

use gix::{ObjectId, objs::Kind};

use super::{
    NoPack,
    commit_frontier::CommitFrontier,
    commit_table::CommitNumber,
    full_clone, same_path_reuse,
    selection::{SelectedObject, Selection},
    tree_cache::TreeCache,
    tree_walk::{TreeWalk, WalkedObjects},
};
use crate::{
    Phase, SyncContext,
    object::tree_entries::MAX_COMPARED,
    scoped_workers::{cores, run_workers},
    stored_packs::odb::Odb,
    stored_packs::{StoredPacks, tree_graph::is_worth_it},
};

/// Number of commits that are worth a thread of their own.
const COMMITS_PER_THREAD: usize = 50;

/// Shares of each thread. Old commits have smaller trees than new ones, so the threads take turns.
const SHARES_PER_THREAD: usize = 8;

/// Selects the objects that the receiver lacks.
pub(super) fn select(
    odb: &Odb,
    packs: &StoredPacks,
    frontier: &CommitFrontier,
    context: &SyncContext,
) -> Result<Selection, NoPack> {
    let boundary = boundary(frontier);
    let named = frontier.tags.iter().map(|tag| (*tag, Kind::Tag));
    let named = named.chain(
        frontier
            .commits
            .iter()
            .map(|commit| (frontier.met.id(*commit), Kind::Commit)),
    );
    let mut objects: Vec<_> = named
        .map(|(id, kind)| SelectedObject::new(id, kind, 0))
        .collect();
    if boundary.is_empty()
        && let Some(found) = select_full_clone(odb, packs, frontier, context)?
    {
        objects.reserve_exact(found.len());
        objects.extend(found);
        return Ok(Selection {
            objects,
            ..Selection::default()
        });
    }
    let (found, trees) = read_trees(odb, frontier, !boundary.is_empty(), context)?;
    let mut sent = HashSet::new();
    let mut others = HashMap::new();
    for WalkedObjects {
        objects: more,
        others: more_others,
    } in found
    {
        objects.extend(more.into_iter().filter(|object| sent.insert(object.id)));
        others.extend(more_others);
    }
    context.advance(Phase::Count, objects.len() as u64, None);

    let known = boundary.iter().chain(&frontier.known);
    let known = known.filter_map(|commit| frontier.met.tree(*commit));
    let shared = same_path_reuse::find(odb, known, &objects, &sent, context)?;
    let (left_out, objects): (Vec<_>, _) = objects
        .into_iter()
        .partition(|object| shared.contains(&object.id));
    let bases = others.into_iter().filter(|(id, _)| !sent.contains(id));
    let bases = bases.map(|(id, (kind, name_hash))| SelectedObject::new(id, kind, name_hash));
    let mut bases: Vec<_> = bases.chain(left_out).collect();
    bases.sort_unstable_by_key(|base| base.id);
    Ok(Selection {
        objects,
        bases,
        trees,
    })
}

/// The commits of the receiver's that have a child to send, those of the newest children first.
fn boundary(frontier: &CommitFrontier) -> Vec<CommitNumber> {
    let met = &frontier.met;
    let parents = frontier.commits.iter();
    let parents = parents.flat_map(|commit| met.parents(*commit)).copied();
    let mut seen = HashSet::new();
    parents
        .filter(|parent| !met.is_sent(*parent) && seen.insert(*parent))
        .collect()
}

/// The trees and blobs for a receiver that has nothing. `None` if a pass over the largest pack doesn't pay off or
/// can't be made.
fn select_full_clone(
    odb: &Odb,
    packs: &StoredPacks,
    frontier: &CommitFrontier,
    context: &SyncContext,
) -> Result<Option<Vec<SelectedObject>>, NoPack> {
    if !is_worth_it(frontier.commits.len(), packs) {
        return Ok(None);
    }
    let Some(scan) = packs.scan_largest(context)? else {
        return Ok(None);
    };
    let mut roots = frontier.others.clone();
    for commit in &frontier.commits {
        let root = (tree_of(frontier, *commit)?, Kind::Tree);
        if roots.last() != Some(&root) {
            roots.push(root);
        }
    }
    full_clone::find(odb, &scan, &roots, context)
}

fn tree_of(frontier: &CommitFrontier, commit: CommitNumber) -> Result<ObjectId, NoPack> {
    let tree = frontier.met.tree(commit);
    tree.ok_or_else(|| NoPack::unreadable(frontier.met.id(commit)))
}

/// Walks the trees of all commits, in several threads. Neighbours stay together: their trees have the most in
/// common.
fn read_trees(
    odb: &Odb,
    frontier: &CommitFrontier,
    has_boundary: bool,
    context: &SyncContext,
) -> Result<(Vec<WalkedObjects>, TreeCache), NoPack> {
    let threads = (frontier.commits.len() / COMMITS_PER_THREAD).clamp(1, cores());
    let walk = || TreeWalk::new(odb, has_boundary, threads, context);
    let mut first = walk();
    for (id, kind) in &frontier.others {
        first.read_wanted(*id, *kind)?;
    }
    let share = frontier.commits.len().div_ceil(threads * SHARES_PER_THREAD);
    let shares: Vec<_> = frontier.commits.chunks(share.max(1)).collect();
    let next = AtomicUsize::new(0);
    let walks: Vec<_> = iter::once(first)
        .chain((1..threads).map(|_| walk()))
        .collect();
    let walked = run_workers(walks, |mut walk| -> Result<_, NoPack> {
        let mut found = Vec::new();
        loop {
            let at = next.fetch_add(1, Ordering::Relaxed);
            let Some(commits) = shares.get(at) else {
                // Wanted trees and blobs, if there are no commits.
                found.push((at, walk.found));
                return Ok((found, walk.cache));
            };
            for commit in *commits {
                let parents = frontier.met.parents(*commit).iter().take(MAX_COMPARED);
                let compared = parents.filter_map(|parent| frontier.met.tree(*parent));
                walk.read_root(tree_of(frontier, *commit)?, compared.collect())?;
            }
            found.push((at, mem::take(&mut walk.found)));
        }
    })?;
    let mut found = Vec::new();
    let mut trees = TreeCache::default();
    for (more, cache) in walked {
        found.extend(more);
        trees.merge(cache);
    }
    // The order of the shares is the order of the commits.
    found.sort_by_key(|(at, _)| *at);
    Ok((found.into_iter().map(|(_, found)| found).collect(), trees))
}
