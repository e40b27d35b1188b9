//! Webhook targets.

use serde::Serialize;

use super::{EventType, RepoId, TargetId, Time};

/// A webhook target, without its secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Target {
    /// The identifier.
    pub id: TargetId,
    /// The address.
    pub url: String,
    /// The name that its maker gave it.
    pub name: Option<String>,
    /// The names of the types that it asked for; `repo.push` is another name of `push`.
    pub events: Vec<String>,
    /// The repositories that it is limited to; `None` for all of the organization.
    pub repo_ids: Option<Vec<RepoId>>,
    /// Whether events are delivered to it.
    pub enabled: bool,
    /// The time of its making.
    pub created_at: Time,
    /// The time of its last change.
    pub updated_at: Time,
}

impl Target {
    /// The name under which the target asked for events of this type about this repository, or `None` if it did
    /// not.
    pub fn asked_for(&self, kind: EventType, repo: Option<&RepoId>) -> Option<&'static str> {
        let asked = || name_asked_for(&self.events, self.repo_ids.as_deref(), kind, repo);
        self.enabled.then(asked).flatten()
    }
}

/// The name under which a target with these `events` and `repo_ids` asked for events of a type. One that asked for
/// both names of `push` gets it once, as `push`.
pub fn name_asked_for(
    events: &[String],
    repo_ids: Option<&[RepoId]>,
    kind: EventType,
    repo: Option<&RepoId>,
) -> Option<&'static str> {
    let sees = repo_ids.is_none_or(|ids| repo.is_some_and(|repo| ids.contains(repo)));
    if !sees {
        return None;
    }
    let names = [kind.as_str(), "repo.push"];
    let number = if kind == EventType::Push { 2 } else { 1 };
    let is_asked = |name: &&str| events.iter().any(|asked| asked == name);
    names.into_iter().take(number).find(is_asked)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_gets_what_it_asked_for() {
        let target = |events: &[&str], repo_ids| Target {
            id: TargetId::from_bits(1),
            url: String::new(),
            name: None,
            events: events.iter().map(|name| (*name).to_owned()).collect(),
            repo_ids,
            enabled: true,
            created_at: Time(0),
            updated_at: Time(0),
        };
        let (one, two) = (RepoId::from_bits(1), RepoId::from_bits(2));
        for (events, kind, name) in [
            (&["push"][..], EventType::Push, Some("push")),
            (&["repo.push"], EventType::Push, Some("repo.push")),
            (&["repo.push", "push"], EventType::Push, Some("push")),
            (&["repo.push"], EventType::SyncFailed, None),
            (&["sync.failed"], EventType::SyncFailed, Some("sync.failed")),
        ] {
            assert_eq!(
                target(events, None).asked_for(kind, Some(&one)),
                name,
                "{events:?}"
            );
        }
        let limited = target(&["push"], Some(vec![one.clone()]));
        assert_eq!(limited.asked_for(EventType::Push, Some(&one)), Some("push"));
        assert_eq!(limited.asked_for(EventType::Push, Some(&two)), None);
        assert_eq!(limited.asked_for(EventType::Push, None), None);
        let disabled = Target {
            enabled: false,
            ..limited
        };
        assert_eq!(disabled.asked_for(EventType::Push, Some(&one)), None);
    }
}
