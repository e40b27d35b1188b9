//! The settings of a repository that concern its refs.

use crate::ObjectFormat;

/// The format of a repository that was opened as a [`LocalStore`](crate::LocalStore).
pub(crate) fn object_format(repo: &gix::Repository) -> ObjectFormat {
    ObjectFormat::of(repo.object_hash())
}

/// Whether the repository is bare: it has no main worktree. Linked worktrees do not count.
pub(crate) fn is_bare(repo: &gix::Repository) -> bool {
    let is_bare = repo.config_snapshot().boolean("core.bare");
    is_bare.unwrap_or_else(|| !repo.common_dir().ends_with(".git"))
}
