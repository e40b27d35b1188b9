//! HEAD of a local repository, and the branch that it names.

use std::{
    io::{self, Write},
    time::Duration,
};

use bstr::{BStr, BString, ByteSlice};

use super::{
    checked_out::Worktree, loose_refs::Target, packed_refs::LatestSnapshot, ref_lock::RefLocks,
    ref_state::current,
};
use crate::{files::sharing::Sharing, refs};

/// The wait for a lock of HEAD that another process holds: git waits 100 ms.
const LOCK_WAIT: Duration = Duration::from_millis(100);

/// The branch that HEAD names, directly or through symbolic refs, born or not; `None` if HEAD is detached or names
/// another ref.
pub(crate) fn branch(repo: &gix::Repository) -> Option<BString> {
    let worktree = Worktree::of(repo, repo.git_dir());
    let last = worktree.behind_head().pop();
    last.filter(|name| refs::is_branch(name.as_bstr()))
}

/// Sets HEAD to `branch` if `branch` exists and the branch that HEAD names does not.
pub(crate) fn set_unborn(repo: &gix::Repository, branch: &BStr) -> io::Result<()> {
    if !is_to_be_set(repo, branch)? {
        return Ok(());
    }
    let sharing = Sharing::of(&repo.config_snapshot()).unwrap_or_default();
    let mut locks = RefLocks::open(repo.common_dir(), sharing)?;
    let head = repo.common_dir().join("HEAD");
    let mut lock = locks.lock(head, LOCK_WAIT)?;
    // Checked again under the lock: another process may have set HEAD in the meantime.
    if !is_to_be_set(repo, branch)? {
        return Ok(());
    }
    lock.write(|file| writeln!(file, "ref: {branch}"))
        .and_then(|()| lock.commit())
}

fn is_to_be_set(repo: &gix::Repository, branch: &BStr) -> io::Result<bool> {
    let mut packed = LatestSnapshot::of(repo);
    let Some(Target::Symbolic(named)) = current(&mut packed, "HEAD".into())? else {
        return Ok(false);
    };
    let mut is_there = |name: &BStr| Ok::<_, io::Error>(current(&mut packed, name)?.is_some());
    Ok(refs::is_branch(named.as_bstr()) && !is_there(named.as_bstr())? && is_there(branch)?)
}
