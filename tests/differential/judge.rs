//! The result of real git for the same pair.

use crate::stores::Stores;
use crate::support::verdict::{self, Flags};
use crate::support::{Repo, git};
use gix::ObjectId;
use std::collections::BTreeMap;
use std::path::Path;

pub(crate) struct Verdict {
    pub(crate) flags: Flags,
    /// Every ref of the destination afterwards.
    pub(crate) after: BTreeMap<String, ObjectId>,
}

/// Fetches all branches and tags, unforced, into the judge's copy of the destination.
pub(crate) fn fetch(stores: &Stores) -> Result<Verdict, String> {
    let flags = verdict::fetch(&stores.judged, &stores.source.path)?;
    let after = refs_of(&stores.judged);
    Ok(Verdict { flags, after })
}

/// Pushes all branches and tags, unforced, into the judge's copy of the destination.
pub(crate) fn push(stores: &Stores) -> Result<Verdict, String> {
    let flags = verdict::push(&stores.source, &stores.judged.path)?;
    let after = refs_of(&stores.judged);
    Ok(Verdict { flags, after })
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
