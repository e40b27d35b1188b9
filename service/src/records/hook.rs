//! Calls by which an upstream says that something changed.

use super::sync_run::words;

words! {
    /// The kind of the service that calls, which decides how it signs and names its events.
    Provider {
        /// GitHub.
        Github = "github",
        /// GitLab.
        Gitlab = "gitlab",
        /// Gitea and Forgejo.
        Gitea = "gitea",
        /// Bitbucket, in the cloud and not.
        Bitbucket = "bitbucket",
    }
}

impl Provider {
    /// The header that names the event.
    pub fn event_header(self) -> &'static str {
        match self {
            Provider::Github => "x-github-event",
            Provider::Gitlab => "x-gitlab-event",
            Provider::Gitea => "x-gitea-event",
            Provider::Bitbucket => "x-event-key",
        }
    }

    /// Whether an event with this name may have made or moved a branch or a tag. Removals are not synced, and a call
    /// without a name is believed: it is signed, and a pull too many moves nothing.
    pub fn may_move_refs(self, event: Option<&str>) -> bool {
        let Some(event) = event else { return true };
        let moving: &[&str] = match self {
            Provider::Github | Provider::Gitea => &["push", "create"],
            // A hook of the whole system names no event outside of its body.
            Provider::Gitlab => &["Push Hook", "Tag Push Hook", "System Hook"],
            Provider::Bitbucket => &["repo:push", "repo:refs_changed", "mirror:repo_synchronized"],
        };
        moving.contains(&event)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_that_may_move_refs() {
        for (provider, event, moves) in [
            (Provider::Github, "push", true),
            (Provider::Github, "create", true),
            (Provider::Github, "ping", false),
            (Provider::Github, "delete", false),
            (Provider::Github, "issues", false),
            (Provider::Github, "star", false),
            (Provider::Gitlab, "Push Hook", true),
            (Provider::Gitlab, "Tag Push Hook", true),
            (Provider::Gitlab, "System Hook", true),
            (Provider::Gitlab, "Issue Hook", false),
            (Provider::Gitea, "push", true),
            (Provider::Gitea, "create", true),
            (Provider::Gitea, "issues", false),
            (Provider::Bitbucket, "repo:push", true),
            (Provider::Bitbucket, "repo:refs_changed", true),
            (Provider::Bitbucket, "diagnostics:ping", false),
            (Provider::Bitbucket, "issue:created", false),
        ] {
            assert_eq!(provider.may_move_refs(Some(event)), moves, "{event}");
        }
        assert!(Provider::Github.may_move_refs(None));
    }
}
