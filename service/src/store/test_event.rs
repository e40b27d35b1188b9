//! Events that show a target's owner what an event looks like.

use super::{
    Store, cells, db,
    deliveries::delivery_record,
    events::push_data,
    tx::{execute, on},
};
use crate::{
    Error, ids,
    records::{
        Delivery, DeliveryId, EventId, EventType, Globs, RepoId, SyncId, TargetId, Time,
        name_asked_for,
    },
};

impl Store {
    /// Writes a made-up event of the first type that the target asked for, about no repository, and its delivery.
    /// `None` if the target is gone or disabled, or sees more than the repositories `seen`.
    pub async fn emit_test(
        &self,
        target: &TargetId,
        seen: Option<&[RepoId]>,
        now: Time,
    ) -> Result<Option<Delivery>, Error> {
        let mut tx = self.begin().await?;
        if tx.target_within(target, seen).await?.is_none() {
            return Ok(None);
        }
        let sql = "select org, events from targets where id = $1 and enabled";
        let query = db::query_as(sql).bind(target.as_str());
        let found: Option<(String, String)> = on!(tx, c => query.fetch_optional(c))?;
        let Some((org, events)) = found else {
            return Ok(None);
        };
        let events: Vec<String> = cells::of_json(&events)?;
        let Some((kind, name)) = first_type(&events) else {
            return Ok(None);
        };
        let event: EventId = ids::new();
        let sql = "insert into events (id, org, subject, type, data, at)
            values ($1, $2, $1, $3, $4, $5) returning sequence";
        let query = db::query_scalar(sql).bind(event.as_str()).bind(org);
        let query = query.bind(kind.as_str()).bind(made_up(kind, now)?);
        let sequence: i64 = on!(tx, c => query.bind(now.0).fetch_one(c))?;
        let id: DeliveryId = ids::new();
        let sql = "insert into deliveries
            (id, event, sequence, target, subject, type, state, attempt, next_at, created_at)
            values ($1, $2, $3, $4, $2, $5, 'pending', 0, $6, $6)";
        let query = db::query(sql).bind(id.as_str()).bind(event.as_str());
        let query = query.bind(sequence).bind(target.as_str()).bind(name);
        execute!(tx, query.bind(now.0))?;
        let delivery = delivery_record(&mut tx, &id).await?;
        tx.deliveries_change();
        tx.commit().await?;
        Ok(Some(delivery))
    }
}

/// The first type that was asked for, and the name under which it was.
fn first_type(events: &[String]) -> Option<(EventType, &'static str)> {
    let name = |kind| Some((kind, name_asked_for(events, None, kind, None)?));
    EventType::ALL.iter().copied().rev().find_map(name)
}

fn made_up(kind: EventType, now: Time) -> Result<String, Error> {
    let (status, has_started, error) = match kind {
        EventType::Push => return push_data(&[]),
        EventType::SyncQueued => ("queued", false, None),
        EventType::SyncInProgress => ("in_progress", true, None),
        EventType::SyncCompleted => ("completed", true, None),
        EventType::SyncFailed => ("failed", true, Some("this is a test")),
    };
    let has_ended = matches!(kind, EventType::SyncCompleted | EventType::SyncFailed);
    let stats = (kind == EventType::SyncCompleted).then(|| serde_json::json!({ "refs": [] }));
    cells::to_json(&serde_json::json!({ "sync": {
        "id": SyncId::from_bits(0),
        "repo_id": RepoId::from_bits(0),
        "direction": "pull",
        "status": status,
        "attempt": i32::from(has_started),
        "ref_globs": Globs::default(),
        "stats": stats,
        "error": error,
        "error_code": error.map(|_| "test"),
        "dry_run": false,
        "source": "api",
        "next_attempt_at": null,
        "messages": [],
        "created_at": now,
        "started_at": has_started.then_some(now),
        "finished_at": has_ended.then_some(now),
    }}))
}
