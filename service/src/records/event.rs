//! Events, and the form in which targets get them.

use serde::Serialize;

use super::{EventId, Org, RepoId, Time, sync_run::words};

words! {
    /// The type of an event.
    EventType {
        /// A run was queued.
        SyncQueued = "sync.queued",
        /// The first attempt of a run has started.
        SyncInProgress = "sync.in_progress",
        /// A run has ended with an outcome for each ref.
        SyncCompleted = "sync.completed",
        /// A run has failed.
        SyncFailed = "sync.failed",
        /// Refs of a repository have moved.
        Push = "push",
    }
}

/// The repository of an event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct EventRepo {
    /// The identifier.
    pub id: RepoId,
    /// The name.
    pub name: String,
    /// The address for git.
    pub url: String,
}

/// The envelope of an event, which is the body of its deliveries.
#[derive(Debug, Clone, Serialize)]
pub struct Event {
    /// The identifier, the same in all attempts to deliver the event.
    pub id: EventId,
    /// The name of the type under which the target has subscribed to it.
    #[serde(rename = "type")]
    pub kind: String,
    /// The place in the order of all events.
    pub sequence: i64,
    /// The time of what happened.
    pub occurred_at: Time,
    /// The organization.
    pub organization: Org,
    /// The repository.
    pub repository: Option<EventRepo>,
    /// The data of the type.
    pub data: Box<serde_json::value::RawValue>,
}

words! {
    /// The kind of a ref's change.
    RefAction {
        /// The ref is new.
        Created = "created",
        /// The ref has moved.
        Updated = "updated",
        /// The ref is gone.
        Deleted = "deleted",
    }
}

/// The change of one ref in the data of a `push`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PushUpdate {
    /// The full name.
    #[serde(rename = "ref")]
    pub name: String,
    /// The name of the branch or tag.
    pub bookmark: String,
    /// The id before; zeros for a new ref.
    pub before: String,
    /// The id after; zeros for a ref that is gone.
    pub after: String,
    /// The kind of the change.
    pub action: RefAction,
}

/// Six numbers without which the published clients refuse a `push`. They are always zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[allow(missing_docs)]
pub struct Reconciliation {
    pub reconciled_commit_count: u64,
    pub touched_change_count: u64,
    pub changes_created_count: u64,
    pub evolog_inserted_count: u64,
    pub invalid_change_id_header_count: u64,
    pub dirty_change_skip_count: u64,
}

/// The numbers of changes in a `push`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct PushCounts {
    /// New refs.
    pub created: u64,
    /// Refs that moved.
    pub updated: u64,
    /// Refs that are gone.
    pub deleted: u64,
}

/// The data of a `push`, with a bounded number of changes.
#[derive(Debug, Clone, Serialize)]
pub struct PushData<'a> {
    updates: &'a [PushUpdate],
    reconciliation: Reconciliation,
    counts: PushCounts,
    truncated: bool,
}

impl<'a> PushData<'a> {
    /// The largest number of changes in an event.
    pub const MOST: usize = 1_000;

    /// The data of these changes.
    pub fn of(updates: &'a [PushUpdate]) -> Self {
        let mut counts = PushCounts::default();
        for update in updates {
            match update.action {
                RefAction::Created => counts.created += 1,
                RefAction::Updated => counts.updated += 1,
                RefAction::Deleted => counts.deleted += 1,
            }
        }
        PushData {
            updates: &updates[..updates.len().min(Self::MOST)],
            reconciliation: Reconciliation::default(),
            counts,
            truncated: updates.len() > Self::MOST,
        }
    }
}
