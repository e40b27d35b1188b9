//! Which branches the worktrees of a repository have checked out.

use std::{fs, path::Path};

use bstr::{BString, ByteSlice};

/// The full names of branches that must not move under a worktree's feet, as in git's
/// `branch.c:prepare_checked_out_branches()`: `HEAD`, a rebase or a bisection under way, and what a
/// rebase will update at its end.
pub(super) fn branches(common_dir: &Path, main_is_bare: bool) -> Vec<BString> {
    let linked = fs::read_dir(common_dir.join("worktrees"))
        .into_iter()
        .flatten();
    let linked = linked.filter_map(|entry| Some(entry.ok()?.path()));
    let main = (!main_is_bare).then(|| common_dir.to_owned());
    main.into_iter()
        .chain(linked)
        .flat_map(|git_dir| of_worktree(&git_dir))
        .collect()
}

fn of_worktree(git_dir: &Path) -> Vec<BString> {
    let read = |name: &str| fs::read(git_dir.join(name)).ok();
    let symbolic = read("HEAD").and_then(|head| Some(head.strip_prefix(b"ref:")?.to_vec()));
    let rebased = ["rebase-merge/head-name", "rebase-apply/head-name"]
        .into_iter()
        .filter_map(read);
    // Three lines for each ref: its name, where it was and where it goes.
    let updated = read("rebase-merge/update-refs").unwrap_or_default();
    let updated = updated.lines().step_by(3).map(<[u8]>::to_vec);
    let bisected = read("BISECT_START").map(|short| [b"refs/heads/", short.trim()].concat());
    let found = symbolic
        .into_iter()
        .chain(rebased)
        .chain(bisected)
        .chain(updated);
    found
        .map(|name| BString::from(name.trim()))
        .filter(|name| name.starts_with(b"refs/heads/"))
        .collect()
}
