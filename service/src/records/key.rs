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

    /// Whether the key is refused at `now`.
    pub fn has_expired(&self, now: Time) -> bool {
        self.expires_at.is_some_and(|end| end <= now)
    }
}
