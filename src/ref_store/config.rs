//! The facts about its refs that a repository's configuration states.

use crate::ObjectFormat;

/// The format of a repository that was opened as a [`LocalStore`](crate::LocalStore).
pub(crate) fn object_format(repo: &gix::Repository) -> ObjectFormat {
    match repo.object_hash() {
        gix::hash::Kind::Sha256 => ObjectFormat::Sha256,
        _ => ObjectFormat::Sha1,
    }
}

/// Whether nothing is checked out beside the repository, linked worktrees left aside.
pub(crate) fn is_bare(repo: &gix::Repository) -> bool {
    let is_bare = repo.config_snapshot().boolean("core.bare");
    is_bare.unwrap_or_else(|| !repo.common_dir().ends_with(".git"))
}
