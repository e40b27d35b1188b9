//! Schedules and globs in a body, and the health of an upstream as the API shows it.

use serde::{Deserialize, Serialize};

use super::body::{Object, present};
use super::error::ApiError;
use crate::records::{Direction, Globs, Health, HealthState, Schedule, Time};

/// The globs that a body asks for; one that is left out matches nothing.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct GlobsBody {
    #[serde(default, deserialize_with = "present")]
    branches: Option<String>,
    #[serde(default, deserialize_with = "present")]
    tags: Option<String>,
}

/// The globs of a body, in which they may be left out: then all branches and tags are meant.
pub(super) fn checked_globs(body: Option<Object<GlobsBody>>) -> Result<Globs, ApiError> {
    let Some(Object(wanted)) = body else {
        return Ok(Globs::default());
    };
    let globs = Globs::of_request(wanted.branches, wanted.tags);
    globs.map_err(|message| ApiError::bad("INVALID_GLOB", message))
}

/// The schedule that a body asks for.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ScheduleBody {
    direction: Direction,
    interval_seconds: u32,
    #[serde(default, deserialize_with = "present")]
    ref_globs: Option<Object<GlobsBody>>,
}

impl ScheduleBody {
    /// The schedule, if its interval and its globs can be used.
    pub(super) fn checked(self) -> Result<Schedule, ApiError> {
        if !Schedule::INTERVALS.contains(&self.interval_seconds) {
            return Err(ApiError::bad(
                "INVALID_SCHEDULE",
                "upstream.schedule: interval_seconds is 60 to 86,400",
            ));
        }
        Ok(Schedule {
            direction: self.direction,
            interval_seconds: self.interval_seconds,
            ref_globs: checked_globs(self.ref_globs)?,
        })
    }
}

/// The health of an upstream.
#[derive(Serialize)]
pub(super) struct HealthView<'a> {
    state: HealthState,
    failures: i64,
    reason: Option<&'a str>,
    next_run_at: Option<Time>,
}

impl<'a> HealthView<'a> {
    pub(super) fn of(health: &'a Health) -> Self {
        HealthView {
            state: health.state(),
            failures: health.failures,
            reason: health.reason.as_deref(),
            next_run_at: health.next_run_at,
        }
    }
}
