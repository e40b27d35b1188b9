//! Moving the refs of a local repository, each by compare-and-swap.
//!
//! A ref that exists is moved as git moves it: lock the loose ref, compare, write, rename. Many new
//! refs are written in one go into `packed-refs`, as `git clone` does: one file for each would cost
//! a lock, a write and a rename for every one of them.

use std::{
    ffi::OsString,
    fs, io,
    path::PathBuf,
    time::{Duration, Instant},
};

use bstr::{BStr, ByteSlice};
use gix::{
    ObjectId,
    lock::acquire::Fail,
    refs::{
        FullName, Target,
        transaction::{Change, LogChange, PreviousValue, RefEdit},
    },
};

use super::{RefUpdate, local::LOCK_SUFFIX, packed_refs};
use crate::{Phase, Reason, Run, pack::incoming::sync_directory};

/// From how many new refs on they go into `packed-refs` together.
const PACKED_FROM: usize = 64;
/// How long to wait for somebody else's lock: git's `core.filesRefLockTimeout` and
/// `core.packedRefsTimeout` wait 100 ms and 1 s.
const LOCK_WAIT: Duration = Duration::from_secs(1);

const REFLOG_MESSAGE: &str = "refsync: fast-forward";
const COMMITTER: &str = "refsync";

pub(super) fn apply(
    repo: &gix::Repository,
    odb: &gix::odb::Handle,
    updates: &[RefUpdate],
    run: &Run,
) -> Vec<Result<(), Reason>> {
    // Objects alone go into a scratch store: no ref of the run is being written.
    if updates.is_empty() {
        return Vec::new();
    }
    let new = updates.iter().filter(|update| update.expected.is_none());
    let bulk = new.clone().count() >= PACKED_FROM;
    let mut created = match bulk {
        true => packed_refs::create(repo, odb, &new.collect::<Vec<_>>(), LOCK_WAIT),
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
            _ => move_one(repo, update, &mut patience),
        });
    }
    run.advance(Phase::Apply, updates.len() as u64, total);
    answers
}

/// `patience` is what is left of the time that the run waits for other people's locks: a lock that
/// nobody will ever release costs it once, and not for every ref.
fn move_one(
    repo: &gix::Repository,
    update: &RefUpdate,
    patience: &mut Duration,
) -> Result<(), Reason> {
    let start = Instant::now();
    let Err(err) = commit(repo, update, *patience) else {
        make_durable(repo, update.name.as_bstr());
        return Ok(());
    };
    *patience = patience.saturating_sub(start.elapsed());
    match current(repo, update.name.as_bstr()) {
        Ok(found) if found != update.expected => Err(Reason::Raced),
        _ => Err(not_written(&err)),
    }
}

fn commit(repo: &gix::Repository, update: &RefUpdate, patience: Duration) -> gix::Result<()> {
    let name = FullName::try_from(update.name.as_bstr()).map_err(gix::Error::from_error)?;
    let edit = RefEdit {
        change: Change::Update {
            log: LogChange {
                message: REFLOG_MESSAGE.into(),
                ..LogChange::default()
            },
            expected: match update.expected {
                Some(tip) => PreviousValue::MustExistAndMatch(Target::Object(tip)),
                None => PreviousValue::MustNotExist,
            },
            new: Target::Object(update.new),
        },
        name,
        deref: false,
    };
    let wait = match patience.is_zero() {
        true => Fail::Immediately,
        false => Fail::AfterDurationWithBackoff(patience),
    };
    let mut time = gix::date::parse::TimeBuf::default();
    let committer = gix::actor::Signature {
        name: COMMITTER.into(),
        email: COMMITTER.into(),
        time: gix::date::Time::now_utc(),
    };
    let transaction = repo.refs.transaction().prepare([edit], wait, wait)?;
    // gix compares with a copy of packed-refs that it may have read before it had the locks.
    if current(repo, update.name.as_bstr())? != update.expected {
        return Err(gix::error::message("the ref has moved").into());
    }
    // It also renames what it hasn't synced: after a crash, the ref could be an empty file.
    let lock = loose(repo, update.name.as_bstr()).into_os_string();
    let lock = [lock, LOCK_SUFFIX.into()].into_iter().collect::<OsString>();
    let synced = fs::File::open(lock).and_then(|lock| lock.sync_all());
    synced.map_err(gix::Error::from_error)?;
    transaction.commit(committer.to_ref(&mut time))?;
    Ok(())
}

/// What the ref points to at this moment, past any cache.
pub(super) fn current(repo: &gix::Repository, name: &BStr) -> gix::Result<Option<ObjectId>> {
    let packed = repo.refs.open_packed_buffer()?;
    let found = repo.refs.try_find_packed(name, packed.as_ref())?;
    Ok(found.and_then(|found| found.target.try_into_id().ok()))
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
