//! Schedules and health of upstreams. Both are in the upstream's row, with an index of the next times: an upstream that
//! waits costs no memory.

use std::slice;

use super::{
    Store, Tx, cells, db,
    sync_runs::{Refused, RunLimits, Wanted},
    tx::{Wake, execute, on, read},
};
use crate::{
    Error, ErrorKind, clock,
    records::{
        Change, Direction, Globs, Health, Priority, RepoId, Schedule, SyncRun, Time, Upstream,
    },
};

/// The number of upstreams that one transaction looks at.
const BATCH: i64 = 100;

/// The milliseconds for which an upstream is set aside whose rows can't be read or written. The next attempt may be
/// able to, so its interval, which may be a day, is too long.
const UNREAD_WAIT: i64 = 10 * 60 * 1_000;

/// The upstreams of a node whose time has come.
pub(super) const DUE: &str =
    "select u.repo from upstreams u where u.home = $1 and u.next_run_at <= $2
    order by u.next_run_at limit $3";

/// Whether a run of the upstream that has not ended does the same.
pub(super) const UNDER_WAY: &str = "select
    (select q.id from sync_runs q where q.repo = $1 and coalesce(q.run_at, -1) >= 0 and q.direction = $2
        and q.branches = $3 and q.tags = $4 and not q.dry_run order by q.run_at limit 1) is not null
    or exists (select 1 from sync_runs l where l.repo = $1 and l.lease_until is not null and l.direction = $2
        and l.branches = $3 and l.tags = $4 and not l.dry_run)";

/// The columns of a [`HealthRow`], of the table `u`.
macro_rules! health_columns {
    () => {
        "u.schedule_direction, u.schedule_seconds, u.schedule_branches, u.schedule_tags, u.failures, u.refusals, u.is_parked, u.reason, u.next_run_at"
    };
}
pub(super) use health_columns;

/// The schedule and the health of an upstream; all are null without one.
#[derive(sqlx::FromRow)]
pub(super) struct HealthRow {
    #[sqlx(flatten)]
    schedule: ScheduleRow,
    failures: Option<i64>,
    refusals: Option<i64>,
    is_parked: Option<bool>,
    reason: Option<String>,
    next_run_at: Option<i64>,
}

#[derive(sqlx::FromRow)]
struct ScheduleRow {
    schedule_direction: Option<String>,
    schedule_seconds: Option<i64>,
    schedule_branches: Option<String>,
    schedule_tags: Option<String>,
}

/// The result of one look at the schedules.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Scheduled {
    /// The number of runs that were queued.
    pub queued: u64,
    /// Whether there may be more upstreams whose time has come.
    pub has_more: bool,
}

impl HealthRow {
    pub(super) fn is_parked(&self) -> bool {
        self.is_parked == Some(true)
    }

    fn is_well(&self) -> bool {
        !self.is_parked() && self.failures.unwrap_or(0) == 0
    }

    pub(super) fn schedule(&self) -> Result<Option<Schedule>, Error> {
        let row = &self.schedule;
        let (Some(direction), Some(seconds)) = (&row.schedule_direction, row.schedule_seconds)
        else {
            return Ok(None);
        };
        let glob = |glob: &Option<String>| cells::word(glob.clone(), "glob of a schedule");
        Ok(Some(Schedule {
            direction: cells::word(Direction::of_word(direction), "direction")?,
            interval_seconds: cells::word(u32::try_from(seconds).ok(), "interval")?,
            ref_globs: Globs {
                branches: glob(&row.schedule_branches)?,
                tags: glob(&row.schedule_tags)?,
            },
        }))
    }

    pub(super) fn health(&self) -> Health {
        Health {
            failures: self.failures.unwrap_or(0),
            refusals: self.refusals.unwrap_or(0),
            is_parked: self.is_parked(),
            reason: self.reason.clone(),
            next_run_at: self.next_run_at.map(Time),
        }
    }
}

impl Store {
    /// Queues the runs of a node's upstreams whose time has come, at most a hundred, each with its next time in the
    /// same transaction. One that finds the queue full is put off, and one adds nothing to a run of its kind that is
    /// under way. Where the database refuses one or can't read it, the others get their runs one by one.
    pub async fn queue_scheduled(
        &self,
        node: &str,
        limits: RunLimits,
        now: Time,
    ) -> Result<Scheduled, Error> {
        let query = db::query_scalar(DUE).bind(node).bind(now.0).bind(BATCH);
        let mut due: Vec<String> = read!(self, c => query.fetch_all(c))?;
        if due.is_empty() {
            return Ok(Scheduled::default());
        }
        let has_more = i64::try_from(due.len()).unwrap_or(BATCH) >= BATCH;
        // All locks before anything else, in one order: whoever has one of them waits for nothing that this has.
        due.sort();
        let queued = match self.queue_all_due(&due, limits, now).await {
            Err(err) if may_be_of_one(&err) => self.queue_each_due(&due, limits, now).await,
            queued => queued,
        };
        queued.map(|queued| Scheduled { queued, has_more })
    }

    /// Queues the runs of upstreams in one transaction. The number of runs.
    async fn queue_all_due(
        &self,
        due: &[String],
        limits: RunLimits,
        now: Time,
    ) -> Result<u64, Error> {
        let mut tx = self.begin().await?;
        for repo in due {
            tx.lock_repo(repo).await?;
        }
        let mut queued = 0;
        for repo in due {
            queued += u64::from(tx.queue_due(repo, limits, now).await?);
        }
        if queued > 0 {
            tx.wake(Wake::All);
        }
        tx.commit().await?;
        Ok(queued)
    }

    /// Queues the runs of upstreams in a transaction for each, and sets those aside that fail. The number of runs.
    ///
    /// # Errors
    /// The database is busy, full or away, or it could do nothing for any of them.
    async fn queue_each_due(
        &self,
        due: &[String],
        limits: RunLimits,
        now: Time,
    ) -> Result<u64, Error> {
        let (mut queued, mut failed, mut has_moved) = (0, None, false);
        for repo in due {
            match self.queue_all_due(slice::from_ref(repo), limits, now).await {
                Ok(more) => {
                    queued += more;
                    has_moved = true;
                }
                Err(err) if may_be_of_one(&err) => {
                    log_failed(repo, &err, "a scheduled run can't be queued");
                    let wait = err.is_retryable().then_some(UNREAD_WAIT);
                    match self.set_aside(repo, wait, now).await {
                        Ok(()) => has_moved = true,
                        Err(err) => log_failed(repo, &err, "an upstream can't be set aside"),
                    }
                    failed = Some(err);
                }
                Err(err) => return Err(err),
            }
        }
        // The next look would find the same upstreams, so there has to be a pause before it.
        match failed {
            Some(err) if !has_moved => Err(err),
            _ => Ok(queued),
        }
    }

    /// Moves the next time of an upstream by `wait`, in milliseconds, or by its interval. Nothing else of its row is
    /// read, which may be what fails.
    async fn set_aside(&self, repo: &str, wait: Option<i64>, now: Time) -> Result<(), Error> {
        let mut tx = self.begin().await?;
        tx.lock_repo(repo).await?;
        let sql = "update upstreams set next_run_at = $2 + coalesce($3, 1000 * coalesce(schedule_seconds, 86400))
            where repo = $1 and next_run_at <= $2";
        execute!(tx, db::query(sql).bind(repo).bind(now.0).bind(wait))?;
        tx.commit().await
    }
}

/// Whether an error may be due to the rows of one upstream: where the database is busy, full or away, all others fail,
/// too.
fn may_be_of_one(err: &Error) -> bool {
    !matches!(
        err.kind(),
        ErrorKind::DatabaseBusy | ErrorKind::DatabaseFull | ErrorKind::DatabaseAway
    )
}

fn log_failed(repo: &str, err: &(dyn std::error::Error + 'static), what: &str) {
    tracing::error!(repo, err, "{what}");
}

impl Tx {
    /// Queues the run of an upstream whose time has come, unless that has changed since it was looked up. Whether
    /// there is another run now.
    async fn queue_due(&mut self, repo: &str, limits: RunLimits, now: Time) -> Result<bool, Error> {
        let sql = concat!(
            "select ",
            health_columns!(),
            " from upstreams u where u.repo = $1 and u.next_run_at <= $2"
        );
        let query = db::query_as(sql).bind(repo).bind(now.0);
        let row: Option<HealthRow> = on!(self, c => query.fetch_optional(c))?;
        let Some(row) = row else { return Ok(false) };
        // One damaged row does not keep all others from their runs.
        let schedule = row.schedule().unwrap_or_else(|err| {
            tracing::error!(repo, %err, "a schedule can't be read");
            None
        });
        let Some(schedule) = schedule else {
            self.put_next_run(repo, None).await?;
            return Ok(false);
        };
        let queued = self.queue_by(&schedule, repo, limits, now).await?;
        let random = clock::random();
        let next = match queued {
            Some(Err(Refused::RepoFull | Refused::OrgFull)) => schedule.put_off(now, random),
            _ => schedule.next_run(row.health().failures, now, random),
        };
        self.put_next_run(repo, Some(next)).await?;
        Ok(matches!(queued, Some(Ok(()))))
    }

    /// Queues a run by a schedule; `None` if one of its kind is under way.
    async fn queue_by(
        &mut self,
        schedule: &Schedule,
        repo: &str,
        limits: RunLimits,
        now: Time,
    ) -> Result<Option<Result<(), Refused>>, Error> {
        let globs = &schedule.ref_globs;
        let query = db::query_scalar(UNDER_WAY).bind(repo);
        let query = query.bind(schedule.direction.as_str());
        let query = query.bind(&globs.branches).bind(&globs.tags);
        if on!(self, c => query.fetch_one(c))? {
            return Ok(None);
        }
        let repo: RepoId = cells::parsed(repo, "id of a repository")?;
        let wanted = Wanted {
            repo: &repo,
            direction: schedule.direction,
            globs,
            dry_run: false,
            priority: Priority::Schedule,
            run_at: now,
        };
        let queued = self.queue_run(&wanted, limits, now).await?;
        Ok(queued.map(|queued| queued.map(|_| ())))
    }

    async fn put_next_run(&mut self, repo: &str, next_run_at: Option<Time>) -> Result<(), Error> {
        let sql = "update upstreams set next_run_at = $2 where repo = $1";
        let next_run_at = next_run_at.map(|at| at.0);
        execute!(self, db::query(sql).bind(repo).bind(next_run_at))?;
        Ok(())
    }

    /// Writes the schedule of an upstream that was set, and its health from now on. `stored` is the upstream before.
    pub(super) async fn put_schedule(
        &mut self,
        repo: &RepoId,
        change: &Change<Schedule>,
        stored: Option<&Upstream>,
        now: Time,
    ) -> Result<(Option<Schedule>, Health), Error> {
        let before = stored.and_then(|stored| stored.schedule.as_ref());
        let schedule = match change {
            Change::Keep => before,
            Change::Clear => None,
            Change::Set(schedule) => Some(schedule),
        };
        let unknown = Health::default();
        let health = stored.map_or(&unknown, |stored| &stored.health);
        let health = health.after_change(before, schedule, now, clock::random());
        if stored.is_some() || schedule.is_some() {
            let sql = "update upstreams set schedule_direction = $2, schedule_seconds = $3, schedule_branches = $4,
                    schedule_tags = $5
                where repo = $1";
            let query = db::query(sql).bind(repo.as_str());
            let query = query.bind(schedule.map(|schedule| schedule.direction.as_str()));
            let seconds = schedule.map(|schedule| i64::from(schedule.interval_seconds));
            let globs = schedule.map(|schedule| &schedule.ref_globs);
            let query = query.bind(seconds).bind(globs.map(|globs| &globs.branches));
            execute!(self, query.bind(globs.map(|globs| &globs.tags)))?;
            self.put_health(repo, &health).await?;
        }
        Ok((schedule.cloned(), health))
    }

    /// Writes the health of an upstream.
    pub(super) async fn put_health(&mut self, repo: &RepoId, health: &Health) -> Result<(), Error> {
        let sql = "update upstreams set failures = $2, refusals = $3, is_parked = $4, reason = $5, next_run_at = $6
            where repo = $1";
        let query = db::query(sql).bind(repo.as_str());
        let query = query.bind(health.failures).bind(health.refusals);
        let query = query.bind(health.is_parked).bind(health.reason.as_deref());
        execute!(self, query.bind(health.next_run_at.map(|at| at.0)))?;
        Ok(())
    }

    /// Counts the end of a run that nobody has cancelled, where it says something about its upstream.
    pub(super) async fn count_end(
        &mut self,
        run: &SyncRun,
        org: &str,
        row: &HealthRow,
        now: Time,
    ) -> Result<(), Error> {
        let error_code = run.error_code.as_deref();
        // By far the most ends: nothing is to be written.
        if error_code.is_none() && row.is_well() {
            return Ok(());
        }
        let (schedule, before) = (row.schedule()?, row.health());
        if !Health::counts(run.direction, run.dry_run, schedule.as_ref()) {
            return Ok(());
        }
        let (park_after, random) = (self.park_after(), clock::random());
        let after = before.after_run(error_code, schedule.as_ref(), park_after, now, random);
        let Some(health) = after else { return Ok(()) };
        self.put_health(&run.repo_id, &health).await?;
        if health.is_parked && !before.is_parked {
            let repo = run.repo_id.as_str();
            self.audit(org, "upstream.parked", repo, error_code, now)
                .await?;
        }
        Ok(())
    }
}
