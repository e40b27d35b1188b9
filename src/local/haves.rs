//! The have list of a fetch: the commits that a store offers to the source.
//!
//! Only commits reachable from refs are offered. An object that merely exists may be left from an aborted fetch, with a
//! part of its history missing.

use std::{
    cmp::Reverse,
    collections::HashSet,
    io,
    path::{Path, PathBuf},
};

use bstr::{BStr, ByteSlice};
use gix::{ObjectId, objs::Exists};

use super::objects::LocalObjects;
use crate::{
    Error, Namespace, ObjectFormat, SyncContext,
    history::store_commits::StoreCommits,
    ref_store::{
        config::object_format,
        listing::REFS_PER_CHECK,
        loose_refs::{self, Target},
        packed_lines::Records,
        packed_refs,
    },
};

/// The number of tips that are read for each one offered, to find the newest ones without a commit-graph.
const READ_FOR_EACH: usize = 16;
/// The number of haves that are reserved for others than the tips of the refs to move.
const ROOM_FOR_OTHERS: usize = 8;
/// The most first-parent steps back to an offered ancestor of the first tip.
const MAX_STEPS_BACK: u32 = 256;

/// The tip of a ref.
#[derive(Clone, Copy)]
pub(super) struct RefTip {
    pub(super) id: ObjectId,
    /// The peeled target of an annotated tag according to `packed-refs`, which may be wrong.
    peeled: Option<ObjectId>,
    rank: Rank,
}

/// The order in which the tips of very many refs are read.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    Head,
    Branch,
    Other,
}

/// The tips of the refs of a store and of its alternates.
pub(super) fn ref_tips(
    repo: &gix::Repository,
    alternates: &[PathBuf],
    context: &SyncContext,
) -> Result<Vec<RefTip>, Error> {
    let format = object_format(repo);
    let head = repo.head_name().ok().flatten();
    let head = head.as_ref().map(|head| head.as_bstr());
    let unread = |err| Error::own_or_io("reading the refs of the store", err);
    let mut tips = tips_of(repo.common_dir(), format, head, context).map_err(unread)?;
    for objects in alternates {
        let Some(git_dir) = objects.parent() else {
            continue;
        };
        if git_dir.join("shallow").exists() {
            continue;
        }
        // An alternate without refs, or one that does not exist, vouches for nothing.
        tips.extend(tips_of(git_dir, format, None, context).unwrap_or_default());
        context.check()?;
    }
    tips.sort_by_key(|tip| tip.rank);
    Ok(tips)
}

fn tips_of(
    git_dir: &Path,
    format: ObjectFormat,
    head: Option<&BStr>,
    context: &SyncContext,
) -> io::Result<Vec<RefTip>> {
    let check = || context.check().map_err(io::Error::other);
    let tip = |name: &BStr, id, peeled| RefTip {
        id,
        peeled,
        rank: match Namespace::split(name) {
            Some(_) if head == Some(name) => Rank::Head,
            Some((Namespace::Branch, _)) => Rank::Branch,
            _ => Rank::Other,
        },
    };
    let mut tips = Vec::new();
    // A packed ref that a loose one overrides vouches for nothing.
    let mut loose = HashSet::new();
    loose_refs::walk(git_dir, "refs/".into(), &mut |name| {
        check()?;
        let path = git_dir.join(gix::path::from_bstr(name.as_bstr()).unwrap_or_default());
        if let Ok(Some(Target::Object(id))) = loose_refs::read(&path, format) {
            tips.push(tip(name.as_bstr(), id.0, None));
        }
        loose.insert(name);
        Ok(())
    })?;
    let file = packed_refs::read(&git_dir.join("packed-refs"))?;
    let packed = Records::sound(&file, format);
    let packed = packed.filter(|found| !loose.contains(found.name));
    for (at, found) in packed.enumerate() {
        if at % REFS_PER_CHECK == 0 {
            check()?;
        }
        let peeled = found.peeled.map(|peeled| peeled.0);
        tips.push(tip(found.name, found.target.0, peeled));
    }
    Ok(tips)
}

/// Chooses at most `limit` commits: those of `near`, the tips of the refs to move, then ancestors of the first, then the
/// newest of the other tips.
pub(super) fn choose(
    objects: &LocalObjects,
    tips: &[RefTip],
    near: &[ObjectId],
    limit: usize,
    context: &SyncContext,
) -> Result<Vec<ObjectId>, Error> {
    // A ref may point to a lost object. If it is not offered, the source may send it again.
    let is_there = |id: &ObjectId| objects.odb.exists(id);
    let peel = |tip: ObjectId| objects.commits().peel(tip, context);
    // A part of the limit is reserved for the others, in case very many refs move.
    let near = first_there(
        near.iter().map(|tip| peel(*tip)),
        limit.saturating_sub(ROOM_FOR_OTHERS),
        is_there,
    )?;
    let newest = newest(objects.commits(), tips, READ_FOR_EACH * limit, context)?;
    // The peeled target in `packed-refs` is not trusted for a commit that is offered.
    let mut newest = newest.into_iter().map(|tip| match tip.peeled {
        Some(_) => peel(tip.id),
        None => Ok(tip.id),
    });
    // The source may not know the newest tip, but it probably knows an ancestor of it.
    let newest_one = if near.is_empty() {
        newest.next().transpose()?
    } else {
        None
    };
    let first = near.first().copied().or(newest_one);
    let back = first.map(|tip| steps_back(objects.commits(), tip));
    let mut seen = HashSet::new();
    let all = near.into_iter().chain(back.unwrap_or_default());
    let all = all.chain(newest_one).map(Ok).chain(newest);
    first_there(all, limit, |id| is_there(id) && seen.insert(*id))
}

/// The first `limit` commits that are wanted. No further commits are read.
fn first_there(
    commits: impl Iterator<Item = Result<ObjectId, Error>>,
    limit: usize,
    mut is_wanted: impl FnMut(&ObjectId) -> bool,
) -> Result<Vec<ObjectId>, Error> {
    commits
        .filter(|id| id.as_ref().map_or(true, &mut is_wanted))
        .take(limit)
        .collect()
}

/// The tips, newest first. At most `read` of those that the commit-graph lacks are read.
fn newest(
    mut commits: StoreCommits<'_>,
    tips: &[RefTip],
    read: usize,
    context: &SyncContext,
) -> Result<Vec<RefTip>, Error> {
    let (mut dated, mut unread, mut seen) = (Vec::new(), Vec::new(), HashSet::new());
    for tip in tips {
        context.check()?;
        match commits.date_in_graph(&tip.peeled.unwrap_or(tip.id)) {
            Some(date) => dated.push((date, *tip)),
            None if unread.len() < read && seen.insert(tip.id) => unread.push(*tip),
            None => {}
        }
    }
    for tip in unread {
        context.check()?;
        let id = commits.peel(tip.id, context)?;
        if let Ok(read) = commits.commit(&id, &mut Vec::new()) {
            let peeled = None;
            dated.push((read.date, RefTip { id, peeled, ..tip }));
        }
    }
    dated.sort_by_key(|(date, tip)| (Reverse(*date), tip.rank, tip.id));
    Ok(dated.into_iter().map(|(_, tip)| tip).collect())
}

/// The ancestors of `tip` that are 1, 4, 16, 64, ... first-parent steps back, or the root of the history.
fn steps_back(mut commits: StoreCommits<'_>, tip: ObjectId) -> Vec<ObjectId> {
    let mut parents = Vec::new();
    let mut at = tip;
    let mut out = Vec::new();
    for step in 1..=MAX_STEPS_BACK {
        parents.clear();
        if commits.commit(&at, &mut parents).is_err() {
            break;
        }
        let Some(parent) = parents.first() else {
            out.push(at);
            break;
        };
        at = *parent;
        if step.is_power_of_two() && step.trailing_zeros().is_multiple_of(2) {
            out.push(at);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use std::{
        fs,
        sync::{Arc, atomic::AtomicBool},
    };

    use crate::{ErrorKind, LocalStore, ObjectFormat, SyncContext, SyncOptions};

    #[test]
    fn a_cancelled_run_does_not_read_all_refs() {
        let id = "a".repeat(40);
        for (file, content) in [
            ("refs/heads/main", format!("{id}\n")),
            ("packed-refs", format!("{id} refs/heads/main\n")),
        ] {
            let folder = tempfile::tempdir().expect("a folder");
            let store = LocalStore::init(folder.path(), ObjectFormat::Sha1).expect("a store");
            fs::write(folder.path().join(file), content).expect("a ref");
            let options = SyncOptions {
                cancel: Some(Arc::new(AtomicBool::new(true))),
                ..SyncOptions::default()
            };
            let opened = store.quarantine(&SyncContext::new(&options));
            let kind = opened.err().map(|err| err.kind());
            assert_eq!(kind, Some(ErrorKind::Cancelled), "{file}");
        }
    }
}
