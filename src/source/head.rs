//! HEAD of a local repository, and the branch that it names.

use std::{
    io::{self, Write},
    time::Duration,
};

use bstr::{BStr, BString, ByteSlice};
use gix::refs::{FullName, Target};

use super::{ref_lock::RefLocks, ref_update};
use crate::refs;

/// How many symbolic refs git follows from one to the next (`refs.c`, `SYMREF_MAXDEPTH`).
const MAX_DEPTH: usize = 5;
/// How long to wait for somebody else's lock: git waits 100 ms.
const LOCK_WAIT: Duration = Duration::from_millis(100);

/// The branch that HEAD leads to, born or not; `None` if it is detached or leads elsewhere.
pub(super) fn branch(repo: &gix::Repository) -> Option<BString> {
    let mut name = symbolic(repo, "HEAD".into())?;
    for _ in 1..MAX_DEPTH {
        match symbolic(repo, name.as_bstr()) {
            Some(next) => name = next,
            None => break,
        }
    }
    let name = BString::from(name);
    refs::is_branch(name.as_bstr()).then_some(name)
}

/// Packed refs are never symbolic.
fn symbolic(repo: &gix::Repository, name: &BStr) -> Option<FullName> {
    match repo.refs.try_find_packed(name, None).ok()??.target {
        Target::Symbolic(next) => Some(next),
        Target::Object(_) => None,
    }
}

/// Has HEAD name `branch`, which is there, if it names a branch that isn't.
pub(super) fn set_unborn(repo: &gix::Repository, branch: &BStr) -> gix::Result<()> {
    if !is_to_be_set(repo, branch)? {
        return Ok(());
    }
    let from_io = |err: io::Error| gix::Error::from_error(err);
    let mut locks = RefLocks::open(repo.common_dir()).map_err(from_io)?;
    let head = repo.common_dir().join("HEAD");
    let mut lock = locks.lock(head, LOCK_WAIT).map_err(from_io)?;
    // Once more: somebody may have set it while it was not locked.
    if !is_to_be_set(repo, branch)? {
        return Ok(());
    }
    lock.write(|file| writeln!(file, "ref: {branch}"))
        .and_then(|()| lock.commit())
        .map_err(from_io)
}

fn is_to_be_set(repo: &gix::Repository, branch: &BStr) -> gix::Result<bool> {
    let Some(Target::Symbolic(named)) = ref_update::current(repo, "HEAD".into())? else {
        return Ok(false);
    };
    let is_there = |name: &BStr| Ok::<_, gix::Error>(ref_update::current(repo, name)?.is_some());
    Ok(refs::is_branch(named.as_bstr()) && !is_there(named.as_bstr())? && is_there(branch)?)
}
