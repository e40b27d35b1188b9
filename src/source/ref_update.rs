//! Moving the refs of a local repository, each by compare-and-swap.
//!
//! A ref that exists is moved as git moves it: lock the loose ref, compare, write, rename. Many new
//! refs are written in one go into `packed-refs`, as `git clone` does: one file for each would cost
//! a lock, a write and a rename for every one of them.

use std::{fs, io, time::Duration};

use bstr::{BStr, ByteSlice};
use gix::{
    ObjectId,
    lock::acquire::Fail,
    refs::{
        FullName, Target,
        transaction::{Change, LogChange, PreviousValue, RefEdit},
    },
};

use super::{RefUpdate, packed_refs};
use crate::{Error, Phase, Reason, Run, pack::incoming::sync_directory};

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
) -> Result<Vec<Result<(), Reason>>, Error> {
    let new = updates.iter().filter(|update| update.expected.is_none());
    let bulk = new.clone().count() >= PACKED_FROM;
    let mut created = match bulk {
        true => packed_refs::create(repo, odb, &new.collect::<Vec<_>>(), LOCK_WAIT)?,
        false => Vec::new(),
    }
    .into_iter();
    let total = Some(updates.len() as u64);
    let mut answers = Vec::with_capacity(updates.len());
    for (done, update) in updates.iter().enumerate() {
        run.advance(Phase::Apply, done as u64, total);
        answers.push(match update.expected {
            None if bulk => created.next().unwrap_or(Err(Reason::Raced)),
            _ => move_one(repo, update),
        });
    }
    run.advance(Phase::Apply, updates.len() as u64, total);
    Ok(answers)
}

fn move_one(repo: &gix::Repository, update: &RefUpdate) -> Result<(), Reason> {
    let Err(err) = commit(repo, update) else {
        sync(repo, update.name.as_bstr());
        return Ok(());
    };
    match current(repo, update.name.as_bstr()) {
        found if found != update.expected => Err(Reason::Raced),
        _ => Err(not_written(&err)),
    }
}

fn commit(repo: &gix::Repository, update: &RefUpdate) -> gix::Result<()> {
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
    let wait = Fail::AfterDurationWithBackoff(LOCK_WAIT);
    let mut time = gix::date::parse::TimeBuf::default();
    let committer = gix::actor::Signature {
        name: COMMITTER.into(),
        email: COMMITTER.into(),
        time: gix::date::Time::now_utc(),
    };
    let transaction = repo.refs.transaction().prepare([edit], wait, wait)?;
    transaction.commit(committer.to_ref(&mut time))?;
    Ok(())
}

/// What the ref points to now; `None` if there is none, or it can't be told.
pub(super) fn current(repo: &gix::Repository, name: &BStr) -> Option<ObjectId> {
    let found = repo.refs.try_find(name).ok()??;
    found.target.try_into_id().ok()
}

/// The ref has moved, whatever becomes of this. Somebody may have packed it meanwhile, too.
fn sync(repo: &gix::Repository, name: &BStr) {
    let path = gix::path::from_bstr(name).unwrap_or_default();
    let path = repo.common_dir().join(path);
    let synced = fs::File::open(&path).and_then(|file| {
        file.sync_all()?;
        path.parent().map_or(Ok(()), sync_directory)
    });
    match synced {
        Err(err) if err.kind() != io::ErrorKind::NotFound => {
            tracing::warn!(%name, %err, "the ref may not outlive a power failure");
        }
        _ => {}
    }
}

pub(super) fn not_written(err: &dyn std::error::Error) -> Reason {
    let mut root = err;
    while let Some(source) = root.source() {
        root = source;
    }
    Reason::NotWritten {
        detail: root.to_string(),
    }
}
