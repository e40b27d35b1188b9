//! Creating many refs at once, in the `packed-refs` file.
//!
//! The file is read, merged and replaced under its lock, which `git pack-refs` takes as well. A process that creates a
//! loose ref holds the lock of that ref until its file exists, and looks the name up in `packed-refs` under that lock. So
//! a conflicting lock or loose ref shows either before `packed-refs` is replaced or right after it. New refs that lost
//! such a race are removed from the file again; a ref that is locked is left to [`ref_transaction`](super::ref_transaction),
//! which creates it by itself.

use std::{
    io::{self, Write},
    time::Duration,
};

use bstr::{BStr, BString, ByteSlice};

use super::{
    checked_out::CheckedOut,
    config::object_format,
    loose_refs::{self, Target},
    packed_refs::{self, LatestSnapshot, Line, PackedRefs},
    ref_lock::{LOCK_SUFFIX, RefLock, RefLocks},
    ref_state::{current, loose, not_written},
    reflog::Reflogs,
};
use crate::{
    Namespace, ObjectId, Phase, Reason, RefUpdate, SyncContext, files::sync_directory,
    history::store_commits::StoreCommits, refs,
};

/// The answer to an update; `None` if the ref has to be created by itself.
pub(crate) type Answer = Option<Result<(), Reason>>;

/// Creates the refs of those updates that are creations. One answer per update, in order.
pub(crate) fn create(
    repo: &gix::Repository,
    commits: &StoreCommits<'_>,
    locks: &mut RefLocks,
    logs: &Reflogs<'_>,
    updates: &[RefUpdate],
    wait: Duration,
    context: &SyncContext,
) -> Vec<Answer> {
    // Usually a no-op: a run plans refs in the order of their names.
    if !updates.is_sorted_by_key(|update| update.name) {
        return vec![None; updates.len()];
    }
    let mut answers = match add(repo, commits, locks, updates, wait) {
        Ok(answers) => answers,
        // The lock is stale, or git packs refs just now. Loose refs do not need it.
        Err(err) if err.kind() == io::ErrorKind::AlreadyExists => return vec![None; updates.len()],
        Err(err) => {
            let failed =
                |update: &RefUpdate<'_>| update.is_creation().then(|| Err(not_written(&err)));
            return updates.iter().map(failed).collect();
        }
    };
    if let Err(err) = sync_file_name(repo) {
        tracing::warn!(%err, "the new refs may not outlive a power failure");
    }
    let added = answers.iter().filter(|answer| is_done(answer)).count();
    context.advance(Phase::Apply, added as u64, Some(updates.len() as u64));
    if let Err(err) = look_again(repo, commits, locks, updates, &mut answers, wait) {
        tracing::warn!(%err, "a new ref may be in conflict with another one");
    }
    if !logs.are_off() {
        log(logs, updates, &answers);
    }
    answers
}

fn log(logs: &Reflogs<'_>, updates: &[RefUpdate], answers: &[Answer]) {
    for (update, _) in updates
        .iter()
        .zip(answers)
        .filter(|(_, answer)| is_done(answer))
    {
        let name = update.name;
        if let Err(err) = logs.append(name, None, update.new) {
            tracing::warn!(?name, %err, "the log of a new ref misses its creation");
        }
    }
}

fn is_done(answer: &Answer) -> bool {
    matches!(answer, Some(Ok(())))
}

fn sync_file_name(repo: &gix::Repository) -> io::Result<()> {
    let path = packed_refs::path(repo.common_dir());
    path.parent().map_or(Ok(()), sync_directory)
}

/// Adds the refs that may be added. An error means that nothing has changed.
fn add(
    repo: &gix::Repository,
    commits: &StoreCommits<'_>,
    locks: &mut RefLocks,
    updates: &[RefUpdate],
    wait: Duration,
) -> io::Result<Vec<Answer>> {
    let path = packed_refs::path(repo.common_dir());
    let lock = locks.lock(path.clone(), wait)?;
    let file = packed_refs::read(&path)?;
    let packed = parse(repo, &file)?;
    let files = LooseRefs::list(repo)?;
    let checked_out = CheckedOut::of(repo);
    let mut free = BStr::new("");
    let judged = updates.iter().map(|update| {
        if !update.is_creation() {
            return None;
        }
        match may_create(&packed, &files, update.name, &mut free) {
            Some(Ok(())) if checked_out.has(update.name) => Some(Err(Reason::CheckedOut)),
            answer => answer,
        }
    });
    let answers: Vec<_> = judged.collect();
    if answers.iter().any(is_done) {
        let allowed = updates.iter().zip(&answers);
        let allowed = allowed.filter(|(_, answer)| is_done(answer));
        // Lines are written one by one, because there may be a million.
        replace(
            lock,
            &packed,
            allowed.map(|(update, _)| line(update, commits)),
        )?;
    }
    Ok(answers)
}

/// Checks again for conflicts with the refs that were added, and removes those that lost.
fn look_again(
    repo: &gix::Repository,
    commits: &StoreCommits<'_>,
    locks: &mut RefLocks,
    updates: &[RefUpdate],
    answers: &mut [Answer],
    wait: Duration,
) -> io::Result<()> {
    let files = LooseRefs::list(repo)?;
    let mut free = BStr::new("");
    let mut latest = LatestSnapshot::of(repo);
    let mut lost = Vec::new();
    for (update, answer) in updates.iter().zip(answers) {
        let name = update.name;
        if !is_done(answer) {
            continue;
        }
        let again = match may_create(&PackedRefs::default(), &files, name, &mut free) {
            // A loose ref with the same tip is no conflict.
            Some(Err(Reason::Raced))
                if current(&mut latest, name)? == Some(Target::Object(update.new)) =>
            {
                continue;
            }
            again => again,
        };
        if !is_done(&again) {
            *answer = again;
            lost.push(line(update, commits));
        }
    }
    if lost.is_empty() {
        return Ok(());
    }
    let path = packed_refs::path(repo.common_dir());
    let lock = locks.lock(path.clone(), wait)?;
    let file = packed_refs::read(&path)?;
    let mut packed = parse(repo, &file)?;
    packed.remove(&lost);
    replace(lock, &packed, [])
}

/// The line of a new ref. The target of a tag was looked up before the lock was taken.
fn line<'a>(update: &RefUpdate<'a>, commits: &StoreCommits<'_>) -> Line<'a> {
    let peeled = commits.peeled(&update.new.0).map(ObjectId);
    Line::new(update.name, update.new, peeled)
}

fn parse<'f>(repo: &gix::Repository, file: &'f [u8]) -> io::Result<PackedRefs<'f>> {
    let parsed = PackedRefs::parse(file, object_format(repo));
    parsed.map_err(|bad| packed_refs::refused_line(&bad))
}

fn replace<'l>(
    mut lock: RefLock<'_>,
    packed: &PackedRefs<'_>,
    added: impl IntoIterator<Item = Line<'l>>,
) -> io::Result<()> {
    lock.write(|file| {
        let mut out = io::BufWriter::new(file);
        packed.write_with(added, &mut out)?;
        out.flush()
    })?;
    lock.commit()
}

/// Whether a ref may be created. Name conflicts were checked at the listing, and are checked again under the lock. `free`
/// is the directory of the previous name if it has no conflict: names come in order, so most share it.
fn may_create<'n>(
    packed: &PackedRefs<'_>,
    files: &LooseRefs<'_>,
    name: &'n BStr,
    free: &mut &'n BStr,
) -> Answer {
    if packed.has(name) || files.has(name) {
        return Some(Err(Reason::Raced));
    }
    if files.has_lock(name) {
        return None;
    }
    let directory = name[..name.rfind_byte(b'/').unwrap_or_default()].as_bstr();
    if directory != *free {
        for path in refs::paths_of(name).map(BStr::new) {
            if packed.has(path) || files.has(path) {
                return conflict(path);
            }
            if files.has_lock(path) {
                return None;
            }
        }
        *free = directory;
    }
    match packed.find_below(name).or_else(|| files.find_below(name)) {
        Some(with) if loose_refs::is_ref_file(with) => conflict(with),
        Some(_) => None,
        None => Some(Ok(())),
    }
}

fn conflict(with: &BStr) -> Answer {
    Some(Err(Reason::NameConflict { with: with.into() }))
}

/// The loose branches and tags, with their locks. Empty directories, which git leaves behind, are no conflict.
struct LooseRefs<'a> {
    repo: &'a gix::Repository,
    /// Full names, sorted.
    names: Vec<BString>,
    /// Whether the file system may take two different names for one.
    may_look_alike: bool,
}

impl<'a> LooseRefs<'a> {
    fn list(repo: &'a gix::Repository) -> io::Result<Self> {
        let mut names = Vec::new();
        for namespace in Namespace::ALL {
            loose_refs::walk(repo.common_dir(), namespace.prefix().into(), &mut |name| {
                names.push(name);
                Ok(())
            })?;
        }
        names.sort_unstable();
        let folds_case = repo.config_snapshot().boolean("core.ignoreCase");
        Ok(LooseRefs {
            repo,
            names,
            may_look_alike: folds_case == Some(true) || cfg!(any(windows, target_os = "macos")),
        })
    }

    fn has(&self, name: &BStr) -> bool {
        let found = self
            .names
            .binary_search_by_key(&name, |loose| loose.as_bstr());
        found.is_ok() || self.may_look_alike && loose(self.repo, name).is_file()
    }

    fn has_lock(&self, name: &BStr) -> bool {
        if self.names.is_empty() {
            return false;
        }
        let lock = [name.as_bytes(), LOCK_SUFFIX.as_bytes()].concat();
        self.has(lock.as_bstr())
    }

    fn find_below(&self, name: &BStr) -> Option<&BStr> {
        let directory = [name.as_bytes(), b"/"].concat();
        let at = self
            .names
            .partition_point(|loose| loose.as_slice() < &*directory);
        let next = self.names.get(at)?.as_bstr();
        next.starts_with(&directory).then_some(next)
    }
}
