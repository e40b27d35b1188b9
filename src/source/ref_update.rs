//! Moving the refs of a local repository, each by compare-and-swap.
//!
//! A ref that exists is moved as git moves it: lock the loose ref, compare, write, rename. Many new
//! refs are written in one go into `packed-refs`, as `git clone` does: one file for each would cost
//! a lock, a write and a rename for every one of them.

use std::{
    io::{self, Write},
    path::PathBuf,
    time::{Duration, Instant},
};

use bstr::{BStr, ByteSlice};
use gix::refs::Target;

use super::{RefUpdate, packed_refs, ref_lock::RefLocks, reflog};
use crate::{
    Phase, Reason, Run,
    pack::{commits::StoreCommits, incoming::sync_directory},
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
    run: &Run,
) -> Vec<Result<(), Reason>> {
    // Objects alone go into a scratch store: no ref of the run is being written.
    if updates.is_empty() {
        return Vec::new();
    }
    let mut locks = match RefLocks::open(repo.common_dir()) {
        Ok(locks) => locks,
        Err(err) => return vec![Err(not_written(&err)); updates.len()],
    };
    let new = updates.iter().filter(|update| update.expected.is_none());
    let bulk = new.clone().count() >= PACKED_FROM;
    let mut created = match bulk {
        true => packed_refs::create(
            repo,
            commits,
            &mut locks,
            &new.collect::<Vec<_>>(),
            LOCK_WAIT,
        ),
        false => Vec::new(),
    }
    .into_iter();
    let total = Some(updates.len() as u64);
    let mut answers = Vec::with_capacity(updates.len());
    let mut patience = LOCK_WAIT;
    for (done, update) in updates.iter().enumerate() {
        run.advance(Phase::Apply, done as u64, total);
        answers.push(match update.expected {
            None if bulk => created.next().unwrap_or(Err(Reason::Raced)),
            _ => move_one(repo, &mut locks, update, &mut patience),
        });
    }
    run.advance(Phase::Apply, updates.len() as u64, total);
    answers
}

/// `patience` is what is left of the time that the run waits for other people's locks: a lock that
/// nobody will ever release costs it once, and not for every ref.
fn move_one(
    repo: &gix::Repository,
    locks: &mut RefLocks,
    update: &RefUpdate,
    patience: &mut Duration,
) -> Result<(), Reason> {
    let start = Instant::now();
    let Err(err) = commit(repo, locks, update, *patience) else {
        make_durable(repo, update.name.as_bstr());
        return Ok(());
    };
    *patience = patience.saturating_sub(start.elapsed());
    match current(repo, update.name.as_bstr()) {
        Ok(found) if found != update.expected.map(Target::Object) => Err(Reason::Raced),
        _ => Err(not_written(&err)),
    }
}

fn commit(
    repo: &gix::Repository,
    locks: &mut RefLocks,
    update: &RefUpdate,
    patience: Duration,
) -> gix::Result<()> {
    let name = update.name.as_bstr();
    let from_io = |err: io::Error| gix::Error::from_error(err);
    let mut lock = locks.lock(loose(repo, name), patience).map_err(from_io)?;
    if current(repo, name)? != update.expected.map(Target::Object) {
        return Err(gix::error::message("the ref has moved").into());
    }
    let write = || {
        lock.write(|file| writeln!(file, "{}", update.new))?;
        reflog::append(repo, name, update.expected, update.new)?;
        lock.commit()
    };
    write().map_err(from_io)
}

/// What the ref points to at this moment, past any cache.
pub(super) fn current(repo: &gix::Repository, name: &BStr) -> gix::Result<Option<Target>> {
    let packed = repo.refs.open_packed_buffer()?;
    let found = repo.refs.try_find_packed(name, packed.as_ref())?;
    Ok(found.map(|found| found.target))
}

/// Where the ref is, or would be, as a file of its own.
pub(super) fn loose(repo: &gix::Repository, name: &BStr) -> PathBuf {
    let name = gix::path::from_bstr(name).unwrap_or_default();
    repo.common_dir().join(name)
}

/// Syncs the directories that the ref's name is in. It has moved, whatever becomes of this.
fn make_durable(repo: &gix::Repository, name: &BStr) {
    for above in loose(repo, name).ancestors().skip(1) {
        match sync_directory(above) {
            Err(err) if err.kind() != io::ErrorKind::NotFound => {
                tracing::warn!(?name, %err, "the ref may not outlive a power failure");
            }
            _ => {}
        }
        if above.ends_with("refs") {
            break;
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
