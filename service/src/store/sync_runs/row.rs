//! The row of a run, and the record that it is.

use serde_json::value::RawValue;

use crate::{
    Error,
    records::{Direction, Globs, Priority, Status, SyncRun, Time},
    store::cells,
};

/// The columns of a [`RunRow`], of the table `r` and, as `h`, the run that holds its stats.
macro_rules! run_columns {
    () => {
        "r.id as run_id, r.repo as run_repo, r.direction as run_direction, r.branches as run_branches, \
         r.tags as run_tags, r.dry_run as run_dry_run, r.priority as run_priority, r.status as run_status, \
         r.attempt as run_attempt, r.run_at as run_at, coalesce(r.stats, h.stats) as run_stats, \
         r.messages as run_messages, r.error as run_error, r.error_code as run_error_code, \
         r.created_at as run_created_at, r.started_at as run_started_at, r.finished_at as run_finished_at"
    };
}
/// The tables of [`run_columns!`].
macro_rules! run_tables {
    () => {
        "sync_runs r left join sync_runs h on h.id = r.stats_of"
    };
}
pub(in crate::store) use {run_columns, run_tables};

#[derive(sqlx::FromRow)]
pub(in crate::store) struct RunRow {
    #[sqlx(rename = "run_id")]
    pub(in crate::store) id: String,
    #[sqlx(rename = "run_repo")]
    pub(in crate::store) repo: String,
    #[sqlx(rename = "run_direction")]
    direction: String,
    #[sqlx(rename = "run_branches")]
    branches: String,
    #[sqlx(rename = "run_tags")]
    tags: String,
    #[sqlx(rename = "run_dry_run")]
    dry_run: bool,
    #[sqlx(rename = "run_priority")]
    priority: i64,
    #[sqlx(rename = "run_status")]
    status: String,
    #[sqlx(rename = "run_attempt")]
    attempt: i64,
    run_at: Option<i64>,
    #[sqlx(rename = "run_stats")]
    stats: Option<String>,
    #[sqlx(rename = "run_messages")]
    messages: Option<String>,
    #[sqlx(rename = "run_error")]
    error: Option<String>,
    #[sqlx(rename = "run_error_code")]
    error_code: Option<String>,
    #[sqlx(rename = "run_created_at")]
    created_at: i64,
    #[sqlx(rename = "run_started_at")]
    started_at: Option<i64>,
    #[sqlx(rename = "run_finished_at")]
    finished_at: Option<i64>,
}

impl RunRow {
    pub(in crate::store) fn take_stats(&mut self) -> Option<String> {
        self.stats.take()
    }

    pub(in crate::store) fn record(self) -> Result<SyncRun, Error> {
        let status = cells::word(Status::of_word(&self.status), "status")?;
        let priority = cells::word(Priority::of_number(self.priority), "priority")?;
        let stats = self.stats.map(RawValue::from_string).transpose();
        let waits = status == Status::InProgress;
        Ok(SyncRun {
            id: cells::parsed(&self.id, "id of a run")?,
            repo_id: cells::parsed(&self.repo, "id of a repository")?,
            direction: cells::word(Direction::of_word(&self.direction), "direction")?,
            status,
            attempt: self.attempt,
            ref_globs: Globs {
                branches: self.branches,
                tags: self.tags,
            },
            stats: cells::word(stats.ok(), "JSON of stats")?,
            error: self.error,
            error_code: self.error_code,
            dry_run: self.dry_run,
            source: priority.as_str(),
            next_attempt_at: self.run_at.filter(|_| waits).map(Time),
            messages: cells::of_optional(self.messages.as_deref())?.unwrap_or_default(),
            created_at: Time(self.created_at),
            started_at: self.started_at.map(Time),
            finished_at: self.finished_at.map(Time),
        })
    }
}
