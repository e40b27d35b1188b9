//! The branches that the worktrees of a repository have checked out.

use std::{
    fs,
    path::{Path, PathBuf},
};

use bstr::{BStr, BString, ByteSlice};

use super::{
    config::{is_bare, object_format},
    loose_refs::{self, MAX_SYMBOLIC, Target},
};
use crate::{ObjectFormat, refs};

/// The branches that must not move because a worktree uses them, as in git's `branch.c:prepare_checked_out_branches()`:
/// the branches of `HEAD`, of a rebase or bisection in progress, and those that a rebase will update at its end. Some
/// may be unborn.
pub(crate) struct CheckedOut {
    /// Full names.
    pub(crate) branches: Vec<BString>,
    folds_case: bool,
}

impl CheckedOut {
    pub(crate) fn of(repo: &gix::Repository) -> Self {
        let common_dir = repo.common_dir();
        let config = repo.config_snapshot();
        let linked = fs::read_dir(common_dir.join("worktrees"));
        let linked = linked.into_iter().flatten();
        let linked = linked.filter_map(|entry| Some(entry.ok()?.path()));
        let main = (!is_bare(repo)).then(|| common_dir.to_owned());
        let branches = main
            .into_iter()
            .chain(linked)
            .flat_map(|git_dir| Worktree::of(repo, &git_dir).branches());
        CheckedOut {
            branches: branches.collect(),
            folds_case: config.boolean("core.ignoreCase").unwrap_or(false),
        }
    }

    pub(crate) fn has(&self, name: &BStr) -> bool {
        let fold = |name| refs::fold(name, self.folds_case);
        self.branches
            .iter()
            .any(|branch| fold(branch) == fold(name))
    }
}

/// A worktree of a repository, the main one or a linked one.
pub(super) struct Worktree<'a> {
    git_dir: &'a Path,
    common_dir: &'a Path,
    format: ObjectFormat,
}

impl<'a> Worktree<'a> {
    pub(super) fn of(repo: &'a gix::Repository, git_dir: &'a Path) -> Self {
        Worktree {
            git_dir,
            common_dir: repo.common_dir(),
            format: object_format(repo),
        }
    }

    fn branches(&self) -> Vec<BString> {
        let read = |name: &str| fs::read(self.git_dir.join(name)).ok();
        let rebased = ["rebase-merge/head-name", "rebase-apply/head-name"]
            .into_iter()
            .filter_map(read);
        // Three lines for each ref: its name, its old tip and its new tip.
        let updated = read("rebase-merge/update-refs").unwrap_or_default();
        let updated = updated.lines().step_by(3).map(<[u8]>::to_vec);
        let bisected = read("BISECT_START").map(|name| {
            let name = name.trim();
            let short = name.strip_prefix(b"refs/heads/").unwrap_or(name);
            [b"refs/heads/", short].concat()
        });
        let found = rebased.chain(bisected).chain(updated);
        let found = found.map(|name| BString::from(name.trim()));
        let all = self.behind_head().into_iter().chain(found);
        all.filter(|name| name.starts_with(b"refs/heads/"))
            .collect()
    }

    /// The symbolic refs from `HEAD` on, and the branch at their end. Only loose refs are read, because packed refs are
    /// never symbolic.
    pub(super) fn behind_head(&self) -> Vec<BString> {
        let mut names: Vec<BString> = Vec::new();
        while names.len() < MAX_SYMBOLIC {
            let path = match names.last() {
                Some(name) => self.path_of(name.as_bstr()),
                None => self.git_dir.join("HEAD"),
            };
            let Ok(Some(Target::Symbolic(name))) = loose_refs::read(&path, self.format) else {
                break;
            };
            names.push(name);
        }
        names
    }

    /// The path of a ref's file: some refs are per worktree.
    fn path_of(&self, name: &BStr) -> PathBuf {
        let of_worktree: [&[u8]; 3] = [b"refs/bisect/", b"refs/rewritten/", b"refs/worktree/"];
        let is_own = of_worktree.iter().any(|prefix| name.starts_with(prefix));
        let git_dir = if is_own {
            self.git_dir
        } else {
            self.common_dir
        };
        git_dir.join(gix::path::from_bstr(name).unwrap_or_default())
    }
}
