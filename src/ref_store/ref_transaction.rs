//! Moving the refs of a local repository, each by compare-and-swap.
//!
//! An existing ref is moved as git does it: lock the loose ref, compare, write, rename. Many new refs are written to
//! `packed-refs` at once, as by `git clone`, which saves a lock, a write and a rename for each of them.

use std::{
    collections::BTreeSet,
    io::{self, Write},
    path::Path,
    time::{Duration, Instant},
};

use bstr::{BStr, ByteSlice};

use super::{
    bulk_create,
    packed_refs::LatestSnapshot,
    ref_lock::RefLocks,
    ref_state::{loose, not_written, obstacle},
    reflog::Reflogs,
};
use crate::{
    Phase, Reason, RefUpdate, SyncContext,
    files::{sharing::Sharing, sync_directory},
    history::store_commits::StoreCommits,
};

/// The number of new refs from which on they are written to `packed-refs`.
const PACKED_FROM: usize = 64;
/// The wait for the locks of other processes, for all refs together. Git's `core.filesRefLockTimeout` and
/// `core.packedRefsTimeout` are 100 ms and 1 s.
const LOCK_WAIT: Duration = Duration::from_secs(1);

pub(crate) fn apply(
    repo: &gix::Repository,
    commits: &mut StoreCommits<'_>,
    updates: &[RefUpdate],
    context: &SyncContext,
) -> Vec<Result<(), Reason>> {
    // A scratch store receives objects without refs.
    if updates.is_empty() {
        return Vec::new();
    }
    // The listing has checked the setting already.
    let sharing = Sharing::of(&repo.config_snapshot()).unwrap_or_default();
    let mut locks = match RefLocks::open(repo.common_dir(), sharing) {
        Ok(locks) => locks,
        Err(err) => return vec![Err(not_written(&err)); updates.len()],
    };
    let logs = Reflogs::of(repo, sharing);
    let new = updates.iter().filter(|update| update.is_creation()).count();
    let created = if new >= PACKED_FROM {
        bulk_create::create(
            repo, commits, &mut locks, &logs, updates, LOCK_WAIT, context,
        )
    } else {
        vec![None; updates.len()]
    };
    let total = Some(updates.len() as u64);
    let mut patience = LOCK_WAIT;
    let mut packed = LatestSnapshot::of(repo);
    let mut moved = Vec::new();
    let answers = created.into_iter().zip(updates).zip(0..);
    // Mapped in place, because there may be a million answers.
    let answers = answers.map(|((created, update), done)| {
        context.advance(Phase::Apply, done, total);
        created.unwrap_or_else(|| {
            move_one(&mut packed, &mut locks, &logs, update, &mut patience)
                .inspect(|()| moved.push(update.name.as_bstr()))
        })
    });
    let answers = answers.collect();
    make_durable(repo, moved.into_iter());
    context.advance(Phase::Apply, updates.len() as u64, total);
    answers
}

/// Moves one ref. `patience` is the remaining time that the run waits for locks of other processes: stale locks cost this
/// time once, not for every ref.
fn move_one(
    packed: &mut LatestSnapshot<'_>,
    locks: &mut RefLocks,
    logs: &Reflogs<'_>,
    update: &RefUpdate,
    patience: &mut Duration,
) -> Result<(), Reason> {
    let start = Instant::now();
    commit(packed, locks, logs, update, *patience)
        .inspect_err(|_| *patience = patience.saturating_sub(start.elapsed()))
}

/// Moves a ref under its lock, after checking again what the listing showed: its tip, conflicts and worktrees.
fn commit(
    packed: &mut LatestSnapshot<'_>,
    locks: &mut RefLocks,
    logs: &Reflogs<'_>,
    update: &RefUpdate,
    patience: Duration,
) -> Result<(), Reason> {
    let name = update.name.as_bstr();
    let lock = locks.lock(loose(packed.repo, name), patience);
    let mut lock = lock.map_err(|err| not_moved(packed, update, &err))?;
    if let Some(reason) = obstacle(packed, update) {
        return Err(reason);
    }
    let write = || {
        lock.write(|file| writeln!(file, "{}", update.new))?;
        logs.append(name, update.expected, update.new)?;
        lock.commit()
    };
    write().map_err(|err| not_moved(packed, update, &err))
}

/// The reason of a ref whose update failed.
fn not_moved(packed: &mut LatestSnapshot<'_>, update: &RefUpdate, err: &io::Error) -> Reason {
    obstacle(packed, update).unwrap_or_else(|| not_written(err))
}

/// Syncs the directories of these refs, each once. The refs have moved, so a failure is not an error of theirs.
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
