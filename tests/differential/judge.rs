//! What real git makes of the same pair.

use crate::stores::Stores;
use crate::support::{Repo, git};
use gix::ObjectId;
use std::collections::BTreeMap;
use std::path::Path;

/// The first column of `git fetch --porcelain`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flag {
    FastForward,
    New,
    Rejected,
    UpToDate,
    /// No line at all: the destination has a symbolic ref, and the refspec is a pattern.
    Silent,
}

pub(crate) struct Verdict {
    pub(crate) flags: BTreeMap<String, Flag>,
    /// Every ref of the destination afterwards.
    pub(crate) after: BTreeMap<String, ObjectId>,
}

/// Fetches all branches and tags, unforced, into the judge's copy of the destination.
pub(crate) fn fetch(stores: &Stores) -> Result<Verdict, String> {
    let source = stores.source.path.to_str().expect("a path in UTF-8");
    let output = stores.judged.try_git(&[
        "-c",
        "core.fsync=none",
        "fetch",
        "--verbose",
        "--porcelain",
        "--no-tags",
        "--no-write-fetch-head",
        "--no-auto-maintenance",
        source,
        "refs/heads/*:refs/heads/*",
        "refs/tags/*:refs/tags/*",
    ]);
    let said = String::from_utf8_lossy(&output.stderr);
    // 1 is for refs that were rejected.
    if !matches!(output.status.code(), Some(0 | 1)) {
        return Err(format!("git fetch: {}\n{said}", output.status));
    }
    let listed = String::from_utf8_lossy(&output.stdout);
    let flags: Option<_> = listed.lines().map(parse).collect();
    Ok(Verdict {
        flags: flags.ok_or(format!("git fetch said:\n{listed}{said}"))?,
        after: refs_of(&stores.judged),
    })
}

/// `<flag> <old> <new> <local ref>`
fn parse(line: &str) -> Option<(String, Flag)> {
    let flag = match line.get(..2)? {
        "  " => Flag::FastForward,
        "* " => Flag::New,
        "! " => Flag::Rejected,
        "= " => Flag::UpToDate,
        _ => return None,
    };
    Some((line.get(2..)?.split(' ').nth(2)?.to_owned(), flag))
}

/// Pushes all branches and tags, unforced, into the judge's copy of the destination.
///
/// The source has the commit-graph that refsync may use.
pub(crate) fn push(stores: &Stores) -> Result<Verdict, String> {
    let destination = stores.judged.path.to_str().expect("a path in UTF-8");
    let output = stores.source.try_git(&[
        "-c",
        "core.commitGraph=false",
        "push",
        "--porcelain",
        destination,
        "refs/heads/*:refs/heads/*",
        "refs/tags/*:refs/tags/*",
    ]);
    let said = String::from_utf8_lossy(&output.stderr);
    // 1 is for refs that were rejected.
    if !matches!(output.status.code(), Some(0 | 1)) {
        return Err(format!("git push: {}\n{said}", output.status));
    }
    let listed = String::from_utf8_lossy(&output.stdout);
    let lines = listed.lines().filter(|line| line.contains('\t'));
    let flags: Option<_> = lines.map(parse_pushed).collect();
    Ok(Verdict {
        flags: flags.ok_or(format!("git push said:\n{listed}{said}"))?,
        after: refs_of(&stores.judged),
    })
}

/// `<flag> <from>:<to> <summary>`, with tabs between them.
fn parse_pushed(line: &str) -> Option<(String, Flag)> {
    let mut columns = line.split('\t');
    let flag = match columns.next()? {
        " " => Flag::FastForward,
        "*" => Flag::New,
        "!" => Flag::Rejected,
        "=" => Flag::UpToDate,
        _ => return None,
    };
    let (_, to) = columns.next()?.split_once(':')?;
    Some((to.to_owned(), flag))
}

pub(crate) fn refs_of(repo: &Repo) -> BTreeMap<String, ObjectId> {
    let id = |hex: String| ObjectId::from_hex(hex.as_bytes()).expect("an id");
    let refs = repo.for_each_ref().into_iter();
    refs.map(|(name, hex)| (name, id(hex))).collect()
}

/// Over the objects of both ends, which the judge's copy has once it has fetched.
///
/// Not `for-each-ref --format='%(ahead-behind:...)'`, which would answer for all refs at once: git
/// 2.47 gets that wrong where a commit is older than its parent and a date has more than 32 bits.
pub(crate) fn is_ancestor(stores: &Stores, old: &ObjectId, new: &ObjectId) -> Result<bool, String> {
    let (old, new) = (old.to_string(), new.to_string());
    let output = stores
        .judged
        .try_git(&["merge-base", "--is-ancestor", &old, &new]);
    match output.status.code() {
        Some(0) => Ok(true),
        Some(1) => Ok(false),
        _ => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
    }
}

/// Everything behind the refs is there and sound. Debris makes `fsck` complain about what no ref
/// needs, and so does a branch that never was a commit. Commit-graph files are not refsync's, and
/// git 2.47 finds its own ones faulty if their dates differ by more than 32 bits.
pub(crate) fn check_objects(destination: &Path, thorough: bool) -> Result<(), String> {
    let mut git = git::command(destination);
    match thorough {
        true => git.args([
            "-c",
            "core.commitGraph=false",
            "fsck",
            "--strict",
            "--full",
            "--no-progress",
        ]),
        false => git
            .args(["-c", "core.commitGraph=false", "rev-list", "--objects"])
            .args(["--all", "--quiet"]),
    };
    let output = git.output().expect("git runs");
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    let is_harmless = |line: &str| line.starts_with("dangling ") || line.starts_with("notice: ");
    if output.status.success() && said.lines().all(is_harmless) {
        return Ok(());
    }
    Err(format!("{}: {said}", output.status))
}
