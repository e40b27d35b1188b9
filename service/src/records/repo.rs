//! Repositories and jj's change ids.

use std::collections::BTreeMap;

use super::{Name, OrgId, RepoId, SyncRun, Time, Upstream};

/// A hosted repository.
#[derive(Debug, Clone)]
pub struct Repo {
    /// The identifier, which names the folder, too.
    pub id: RepoId,
    /// The organization.
    pub org: OrgId,
    /// The name in paths.
    pub name: Name,
    /// The branch that HEAD names.
    pub default_bookmark: String,
    /// Whether a caller chose that branch; otherwise the first pull takes the upstream's.
    pub default_given: bool,
    /// Labels of the caller.
    pub tags: BTreeMap<String, String>,
    /// The tip of the default branch as hexadecimal digits; `None` for an empty repository.
    pub head: Option<String>,
    /// The node whose disk has the repository.
    pub home: String,
    /// The address under which clients reach that node, if it is known.
    pub home_url: Option<String>,
    /// The upstream.
    pub upstream: Option<Upstream>,
    /// The last run of the upstream that was not a dry run.
    pub latest_sync: Option<SyncRun>,
    /// The time of its making.
    pub created_at: Time,
}

/// The change id of jj's virtual root commit, for an empty repository.
pub const EMPTY_CHANGE_ID: &str = "zzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzz";

/// The change id that jj gives a commit without one in its header: the last 16 bytes of the commit's id with the
/// order of bits reversed, in reverse hexadecimal (`z` for 0 to `k` for f). From `lib/src/git_backend.rs` of jj.
/// `None` if `commit` is no id in hexadecimal.
pub fn change_id(commit: &str) -> Option<String> {
    if commit.len() < 40 || !commit.bytes().all(|b| b.is_ascii_hexdigit()) {
        return None;
    }
    let last = &commit[commit.len() - 32..];
    let mut id = String::with_capacity(32);
    for at in (0..32).step_by(2).rev() {
        let byte = u8::from_str_radix(&last[at..at + 2], 16)
            .ok()?
            .reverse_bits();
        for digit in [byte >> 4, byte & 15] {
            id.push(char::from(b'z' - digit));
        }
    }
    Some(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn change_ids_are_those_of_jj() {
        // Zeros stay zeros; one bit at the very end of the commit id becomes the first one.
        assert_eq!(change_id(&"0".repeat(40)).as_deref(), Some(EMPTY_CHANGE_ID));
        let one = format!("{}1", "0".repeat(39));
        assert_eq!(change_id(&one), Some(format!("r{}", "z".repeat(31))));
        assert_eq!(change_id("12"), None);
        assert_eq!(change_id(&"g".repeat(40)), None);
    }
}
