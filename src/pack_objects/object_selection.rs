//! Which objects the commits of a [`Frontier`] brought in.

use std::{
    collections::{HashMap, HashSet},
    mem,
    path::PathBuf,
    sync::atomic::{AtomicUsize, Ordering},
    thread,
};

use gix::{ObjectId, objs::Kind};

use super::{
    NoPack,
    commit_frontier::Frontier,
    commit_table::CommitNumber,
    full_clone, same_path_reuse,
    tree_cache::TreeTexts,
    tree_walk::{Found, TreeWalk},
};
use crate::{
    Phase, SyncContext,
    object::tree_entries::MAX_COMPARED,
    stored_packs::odb::Odb,
    stored_packs::{StoredPacks, tree_graph::is_worth_it},
};

/// Commits that are worth a thread of their own.
const COMMITS_PER_THREAD: usize = 50;

/// Old commits have smaller trees than new ones, so the threads take turns.
const SHARES_PER_THREAD: usize = 8;

/// An object of the pack, or one that the receiver has and a delta can build on.
#[derive(Clone, Copy)]
pub(super) struct Selected {
    pub(super) id: ObjectId,
    pub(super) kind: Kind,
    /// Groups the versions of a file.
    pub(super) name_hash: u32,
    /// Where it is in the pack that was surveyed, if that is known.
    pub(super) place: Option<u32>,
}

#[derive(Default)]
pub(super) struct Selection {
    /// To send, each once: tags, commits, then trees and blobs, the newest first; or as a bitmap has them,
    /// by their place in the pack.
    pub(super) objects: Vec<Selected>,
    /// The receiver has these: other versions of what is sent.
    pub(super) bases: Vec<Selected>,
    /// All of the largest pack is sent, too, as it is.
    pub(super) is_with_pack: bool,
    /// Some of the trees among these, as they were read.
    pub(super) texts: TreeTexts,
}

pub(super) fn select(
    odb: &Odb,
    packs: &StoredPacks,
    folders: &[PathBuf],
    frontier: &Frontier,
    run: &SyncContext,
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
        .map(|(id, kind)| Selected {
            id,
            kind,
            name_hash: 0,
            place: None,
        })
        .collect();
    if boundary.is_empty()
        && let Some(found) = read_everything(odb, packs, frontier, run)?
    {
        objects.extend(found);
        return Ok(Selection {
            objects,
            ..Selection::default()
        });
    }
    let (found, texts) = read_trees(odb, folders, frontier, !boundary.is_empty(), run)?;
    let mut sent = HashSet::new();
    let mut others = HashMap::new();
    for Found {
        objects: more,
        others: more_others,
    } in found
    {
        objects.extend(more.into_iter().filter(|object| sent.insert(object.id)));
        others.extend(more_others);
    }
    run.advance(Phase::Count, objects.len() as u64, None);

    let known = boundary.iter().chain(&frontier.known);
    let known = known.filter_map(|commit| frontier.met.tree(*commit));
    let shared = same_path_reuse::find(odb, known, &objects, &sent, run)?;
    let (left_out, objects): (Vec<_>, _) = objects
        .into_iter()
        .partition(|object| shared.contains(&object.id));
    let bases = others.into_iter().filter(|(id, _)| !sent.contains(id));
    let bases = bases.map(|(id, (kind, name_hash))| Selected {
        id,
        kind,
        name_hash,
        place: None,
    });
    let mut bases: Vec<_> = bases.chain(left_out).collect();
    bases.sort_unstable_by_key(|base| base.id);
    Ok(Selection {
        objects,
        bases,
        is_with_pack: false,
        texts,
    })
}

/// The parents that the receiver has, those of the newest commits first.
fn boundary(frontier: &Frontier) -> Vec<CommitNumber> {
    let met = &frontier.met;
    let parents = frontier.commits.iter();
    let parents = parents.flat_map(|commit| met.parents(*commit)).copied();
    let mut seen = HashSet::new();
    parents
        .filter(|parent| !met.is_sent(*parent) && seen.insert(*parent))
        .collect()
}

/// `None` where it is not worth it, or can't be done.
fn read_everything(
    odb: &Odb,
    packs: &StoredPacks,
    frontier: &Frontier,
    run: &SyncContext,
) -> Result<Option<Vec<Selected>>, NoPack> {
    if !is_worth_it(frontier.commits.len(), packs) {
        return Ok(None);
    }
    let Some(survey) = packs.survey_largest(run)? else {
        return Ok(None);
    };
    let mut roots = frontier.others.clone();
    for commit in &frontier.commits {
        let root = (tree_of(frontier, *commit)?, Kind::Tree);
        if roots.last() != Some(&root) {
            roots.push(root);
        }
    }
    full_clone::find(odb, &survey, &roots, run)
}

fn tree_of(frontier: &Frontier, commit: CommitNumber) -> Result<ObjectId, NoPack> {
    let tree = frontier.met.tree(commit);
    tree.ok_or_else(|| NoPack::unreadable(frontier.met.id(commit)))
}

/// Commits don't depend on each other here, so that several threads can share them. Neighbours stay
/// together: their trees have the most in common.
fn read_trees(
    odb: &Odb,
    folders: &[PathBuf],
    frontier: &Frontier,
    has_boundary: bool,
    run: &SyncContext,
) -> Result<(Vec<Found>, TreeTexts), NoPack> {
    let mut first = TreeWalk::new(odb.clone(), folders, has_boundary, run);
    for (id, kind) in &frontier.others {
        first.read_wanted(*id, *kind)?;
    }
    let cores = thread::available_parallelism().map_or(1, |cores| cores.get());
    let threads = (frontier.commits.len() / COMMITS_PER_THREAD).clamp(1, cores);
    let share = frontier.commits.len().div_ceil(threads * SHARES_PER_THREAD);
    let shares: Vec<_> = frontier.commits.chunks(share.max(1)).collect();
    let next = AtomicUsize::new(0);
    let work = |mut walk: TreeWalk<'_>| -> Result<(Vec<(usize, Found)>, TreeTexts), NoPack> {
        let mut found = Vec::new();
        loop {
            let at = next.fetch_add(1, Ordering::Relaxed);
            let Some(commits) = shares.get(at) else {
                // What was wanted for itself, should there be no commits.
                found.push((at, walk.found));
                return Ok((found, walk.texts));
            };
            for commit in *commits {
                let parents = frontier.met.parents(*commit).iter().take(MAX_COMPARED);
                let compared = parents.filter_map(|parent| frontier.met.tree(*parent));
                walk.read_root(tree_of(frontier, *commit)?, compared.collect())?;
            }
            found.push((at, mem::take(&mut walk.found)));
        }
    };
    let (mut found, texts) = thread::scope(|scope| {
        let work = &work;
        let helper = |_| {
            let walk = TreeWalk::new(odb.clone(), folders, has_boundary, run);
            scope.spawn(move || work(walk))
        };
        let helpers: Vec<_> = (1..threads).map(helper).collect();
        let mut found = work(first);
        for helper in helpers {
            let helped = helper
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            found = found.and_then(|(mut found, mut texts)| {
                let (more, more_texts) = helped?;
                found.extend(more);
                texts.take_in(more_texts);
                Ok((found, texts))
            });
        }
        found
    })?;
    found.sort_by_key(|(at, _)| *at);
    Ok((found.into_iter().map(|(_, found)| found).collect(), texts))
}
