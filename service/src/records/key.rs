//! Organizations and API keys.

use serde::{Deserialize, Serialize};

use super::{KeyId, OrgId, RepoId, Time};

/// An organization.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Org {
    /// The identifier.
    pub id: OrgId,
    /// The name in paths.
    pub slug: String,
    /// The name to show.
    pub name: String,
}

/// The scope of a key. Each one includes those before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// Repositories and their runs can be read.
    Read,
    /// Repositories can be made and changed, runs triggered.
    Write,
    /// Keys and webhook targets can be managed.
    Admin,
}

/// An API key, without its secret; or a public key, whose holder signs tokens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Key {
    /// The identifier.
    pub id: KeyId,
    /// The name that its maker gave it.
    pub name: Option<String>,
    /// The public key in base64url, if it is one.
    pub public_key: Option<String>,
    /// The scopes that were given.
    pub scopes: Vec<Scope>,
    /// The repositories that the key is limited to; `None` for all of the organization.
    pub repo_ids: Option<Vec<RepoId>>,
    /// The repositories of `repo_ids` that can only be read, whatever the scopes: a token says that of each.
    #[serde(skip)]
    pub read_only: Vec<RepoId>,
    /// The time of its making.
    pub created_at: Time,
    /// The time from which it is refused.
    pub expires_at: Option<Time>,
}

impl Key {
    /// Whether the key has `scope`, by itself or in a larger one.
    pub fn may(&self, scope: Scope) -> bool {
        self.scopes.iter().any(|had| *had >= scope)
    }

    /// Whether the key may know of the repository.
    pub fn sees(&self, repo: &RepoId) -> bool {
        self.repo_ids.as_ref().is_none_or(|ids| ids.contains(repo))
    }

    /// Whether the key has `scope` on a repository that it sees.
    pub fn may_on(&self, repo: &RepoId, scope: Scope) -> bool {
        self.may(scope) && (scope == Scope::Read || !self.read_only.contains(repo))
    }

    /// Whether the key sees all that something with the limit `repo_ids` does.
    pub fn covers(&self, repo_ids: Option<&[RepoId]>) -> bool {
        covers(self.repo_ids.as_deref(), repo_ids)
    }

    /// Whether the key is refused at `now`.
    pub fn has_expired(&self, now: Time) -> bool {
        self.expires_at.is_some_and(|end| end <= now)
    }
}

/// Whether the repositories `outer` have all of `inner`; `None` stands for all of the organization.
pub fn covers(outer: Option<&[RepoId]>, inner: Option<&[RepoId]>) -> bool {
    let Some(outer) = outer else { return true };
    inner.is_some_and(|inner| inner.iter().all(|id| outer.contains(id)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_covers_what_is_within_it() {
        let ids = [RepoId::from_bits(1), RepoId::from_bits(2)];
        for (outer, inner, expected) in [
            (None, None, true),
            (None, Some(&ids[..]), true),
            (Some(&ids[..]), None, false),
            (Some(&ids[..]), Some(&ids[..1]), true),
            (Some(&ids[..1]), Some(&ids[..]), false),
            (Some(&ids[..1]), Some(&ids[1..]), false),
        ] {
            assert_eq!(covers(outer, inner), expected, "{outer:?} {inner:?}");
        }
    }
}
