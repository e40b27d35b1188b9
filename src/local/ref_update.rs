//! Moving the refs of a local repository, each by compare-and-swap.
//!
//! A ref that exists is moved as git moves it: lock the loose ref, compare, write, rename. Many new
//! refs are written in one go into `packed-refs`, as `git clone` does: one file for each would cost
//! a lock, a write and a rename for every one of them.

use std::{
    collections::BTreeSet,
    io::{self, Write},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use bstr::{BStr, BString, ByteSlice};

use super::{
    bulk_create::{self, is_new},
    checked_out::CheckedOut,
    loose_refs::{self, Target},
    packed_refs::Snapshot,
    ref_lock::RefLocks,
    reflog::Reflogs,
    store::object_format,
};
use crate::{
    Phase, Reason, RefUpdate, SyncContext,
    local::sharing::Sharing,
    pack::{commits::StoreCommits, incoming::sync_directory},
    refs,
};

/// From how many new refs on they go into `packed-refs` together.
const PACKED_FROM: usize = 64;
/// How long to wait for somebody else's lock: git's `core.filesRefLockTimeout` and
/// `core.packedRefsTimeout` wait 100 ms and 1 s.
const LOCK_WAIT: Duration = Duration::from_secs(1);

pub(super) fn apply(
    repo: &gix::Repository,
    commits: &mut StoreCommits<'_>,
    updates: &[RefUpdate],
    run: &SyncContext,
) -> Vec<Result<(), Reason>> {
    // Objects alone go into a scratch store: no ref of the run is being written.
    if updates.is_empty() {
        return Vec::new();
    }
    // The destination was listed before, and its modes were fine then.
    let sharing = Sharing::of(&repo.config_snapshot()).unwrap_or_default();
    let mut locks = match RefLocks::open(repo.common_dir(), sharing) {
        Ok(locks) => locks,
        Err(err) => return vec![Err(not_written(&err)); updates.len()],
    };
    let logs = Reflogs::of(repo, sharing);
    let new = updates.iter().filter(|update| is_new(update)).count();
    let created = if new >= PACKED_FROM {
        bulk_create::create(repo, commits, &mut locks, &logs, updates, LOCK_WAIT, run)
    } else {
        vec![None; updates.len()]
    };
    let total = Some(updates.len() as u64);
    let mut patience = LOCK_WAIT;
    let mut moved = Vec::new();
    let answers = created.into_iter().zip(updates).zip(0..);
    // In place of those, as there may be a million.
    let answers = answers.map(|((created, update), done)| {
        run.advance(Phase::Apply, done, total);
        created.unwrap_or_else(|| {
            move_one(repo, &mut locks, &logs, update, &mut patience)
                .inspect(|()| moved.push(update.name.as_bstr()))
        })
    });
    let answers = answers.collect();
    make_durable(repo, moved.into_iter());
    run.advance(Phase::Apply, updates.len() as u64, total);
    answers
}

/// `patience` is what is left of the time that the run waits for other people's locks: a lock that
/// nobody will ever release costs it once, and not for every ref.
fn move_one(
    repo: &gix::Repository,
    locks: &mut RefLocks,
    logs: &Reflogs<'_>,
    update: &RefUpdate,
    patience: &mut Duration,
) -> Result<(), Reason> {
    let start = Instant::now();
    commit(repo, locks, logs, update, *patience)
        .inspect_err(|_| *patience = patience.saturating_sub(start.elapsed()))
}

/// What was decided from the listing is decided again under the lock.
fn commit(
    repo: &gix::Repository,
    locks: &mut RefLocks,
    logs: &Reflogs<'_>,
    update: &RefUpdate,
    patience: Duration,
) -> Result<(), Reason> {
    let name = update.name.as_bstr();
    let failed = |err: io::Error| why_not(repo, update).unwrap_or_else(|| not_written(&err));
    let mut lock = locks.lock(loose(repo, name), patience).map_err(failed)?;
    if let Some(reason) = why_not(repo, update) {
        return Err(reason);
    }
    let write = || {
        lock.write(|file| writeln!(file, "{}", update.new))?;
        logs.append(name, update.expected, update.new)?;
        lock.commit()
    };
    write().map_err(failed)
}

/// Why a ref may not move as things are at this moment.
fn why_not(repo: &gix::Repository, update: &RefUpdate) -> Option<Reason> {
    let name = update.name.as_bstr();
    let look = || -> io::Result<Option<Reason>> {
        let packed = Snapshot::open(repo)?;
        if current_beside(repo, &packed, name)? != update.expected.map(Target::Object) {
            return Ok(Some(Reason::Raced));
        }
        if update.expected.is_none()
            && let Some(with) = in_the_way(repo, &packed, name)?
        {
            return Ok(Some(Reason::NameConflict { with }));
        }
        Ok(CheckedOut::of(repo).has(name).then_some(Reason::CheckedOut))
    };
    look().unwrap_or_else(|err| Some(not_written(&err)))
}

/// What the ref points to at this moment, past any cache.
pub(super) fn current(repo: &gix::Repository, name: &BStr) -> io::Result<Option<Target>> {
    current_beside(repo, &Snapshot::open(repo)?, name)
}

fn current_beside(
    repo: &gix::Repository,
    packed: &Snapshot,
    name: &BStr,
) -> io::Result<Option<Target>> {
    match loose_refs::read(&loose(repo, name), object_format(repo))? {
        Some(target) => Ok(Some(target)),
        None => Ok(packed.find(name)?.map(Target::Object)),
    }
}

/// A ref that can't exist beside a new one of this name.
fn in_the_way(
    repo: &gix::Repository,
    packed: &Snapshot,
    name: &BStr,
) -> io::Result<Option<BString>> {
    let above = refs::paths_of(name).map(BStr::new);
    for path in above.filter(|path| *path != name) {
        if current_beside(repo, packed, path)?.is_some() {
            return Ok(Some(path.to_owned()));
        }
    }
    let mut below = packed.find_below(name)?;
    let directory = BString::from([name.as_bytes(), b"/"].concat());
    loose_refs::walk(repo.common_dir(), directory.as_bstr(), &mut |found| {
        if below.is_none() && loose_refs::is_ref_file(found.as_bstr()) {
            below = Some(found);
        }
        Ok::<_, io::Error>(())
    })?;
    Ok(below)
}

/// Where the ref is, or would be, as a file of its own.
pub(super) fn loose(repo: &gix::Repository, name: &BStr) -> PathBuf {
    let name = gix::path::from_bstr(name).unwrap_or_default();
    repo.common_dir().join(name)
}

/// Syncs the directories that the names of these refs are in, each once: a directory of many refs takes no
/// longer than one of a few. They have moved, whatever becomes of this.
fn make_durable<'a>(repo: &gix::Repository, names: impl Iterator<Item = &'a BStr>) {
    let refs = repo.common_dir().join("refs");
    let mut directories = BTreeSet::new();
    for name in names {
        let path = loose(repo, name);
        let above = path.ancestors().skip(1);
        let new = above
            .take_while(|above| above.starts_with(&refs))
            .take_while(|above| !directories.contains(*above));
        let new: Vec<_> = new.map(Path::to_owned).collect();
        directories.extend(new);
    }
    for directory in directories {
        match sync_directory(&directory) {
            Err(err) if err.kind() != io::ErrorKind::NotFound => {
                tracing::warn!(?directory, %err, "its refs may not outlive a power failure");
            }
            _ => {}
        }
    }
}

pub(super) fn not_written(err: &dyn std::error::Error) -> Reason {
    let mut root = err;
    while let Some(source) = root.source() {
        root = source;
    }
    // gix says where; the reader of the stats may not be one to know this machine's paths.
    let text = root.to_string();
    let (what, _) = text.split_once(" at path ").unwrap_or((&text, ""));
    Reason::NotWritten {
        detail: what.to_owned(),
    }
}
