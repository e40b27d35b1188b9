//! Queueing of runs.

use super::open::sync_data;
use crate::{
    Error, clock, ids,
    records::{Direction, EventType, Globs, Priority, Repo, RepoId, Status, SyncId, SyncRun, Time},
    store::{
        Store, Tx, db,
        events::{NewEvent, has_targets},
        repos::is_there,
        schedules::{HealthRow, health_columns},
        tx::{Wake, execute, on},
    },
};

/// A wanted run.
#[derive(Debug, Clone)]
pub struct NewRun<'a> {
    /// The repository.
    pub repo: &'a Repo,
    /// The direction.
    pub direction: Direction,
    /// The globs.
    pub globs: Globs,
    /// Whether the run shows what it would do.
    pub dry_run: bool,
    /// The source of the run.
    pub priority: Priority,
}

/// The limits on runs that wait for a worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RunLimits {
    /// The runs of one repository. 16 by default.
    pub per_repo: i64,
    /// The runs of one organization. 1,000 by default.
    pub per_org: i64,
}

impl Default for RunLimits {
    fn default() -> Self {
        RunLimits {
            per_repo: 16,
            per_org: 1_000,
        }
    }
}

/// The reason why a run is not queued.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// The repository has no upstream, or is gone.
    NoUpstream,
    /// Too many runs of the repository wait.
    RepoFull,
    /// Too many runs of the organization wait.
    OrgFull,
    /// The upstream is parked: only a caller may ask for a run.
    Parked,
}

/// A wanted run of a repository.
pub(in crate::store) struct Wanted<'a> {
    pub(in crate::store) repo: &'a RepoId,
    pub(in crate::store) direction: Direction,
    pub(in crate::store) globs: &'a Globs,
    pub(in crate::store) dry_run: bool,
    pub(in crate::store) priority: Priority,
    /// The time at which it is due.
    pub(in crate::store) run_at: Time,
}

/// The state that a request for a run finds.
#[derive(sqlx::FromRow)]
struct Found {
    host: String,
    home: String,
    org: String,
    repo_name: String,
    equal: Option<String>,
    of_repo: i64,
    of_org: i64,
    has_targets: bool,
    #[sqlx(flatten)]
    health: HealthRow,
}

pub(in crate::store) const FIND: &str = concat!(
    "select u.host, p.home, p.org, p.name as repo_name,
        (select e.id from sync_runs e where e.repo = p.id and e.status = 'queued' and e.direction = $2
            and e.branches = $3 and e.tags = $4 and e.dry_run = $5) as equal,
        (select count(*) from sync_runs q where q.repo = p.id and coalesce(q.run_at, -1) >= 0) as of_repo,
        (select cast(coalesce(sum(w.queued), 0) as bigint) from work w where w.org = p.org) as of_org, ",
    has_targets!("p.org"),
    ", ",
    health_columns!(),
    " from repos p join upstreams u on u.repo = p.id where p.id = $1 and ",
    is_there!()
);

impl Store {
    /// Queues a run. An equal run that is still queued is returned instead; it takes the higher priority of the two
    /// and is due at once. A caller who asks for a run resumes an upstream that is parked, but for a dry run. On a
    /// database with many writers the limit of an organization may be exceeded by those that ask in the same moment,
    /// that of a repository is exact.
    pub async fn enqueue(
        &self,
        new: NewRun<'_>,
        limits: RunLimits,
        now: Time,
    ) -> Result<Result<SyncRun, Refused>, Error> {
        let wanted = Wanted {
            repo: &new.repo.id,
            direction: new.direction,
            globs: &new.globs,
            dry_run: new.dry_run,
            priority: new.priority,
            run_at: now,
        };
        loop {
            let mut tx = self.begin().await?;
            tx.lock_repo(new.repo.id.as_str()).await?;
            match tx.queue_run(&wanted, limits, now).await? {
                Some(Ok(run)) => {
                    tx.wake(Wake::One);
                    tx.commit().await?;
                    return Ok(Ok(run));
                }
                Some(Err(refused)) => return Ok(Err(refused)),
                None => {}
            }
        }
    }
}

impl Tx {
    /// Queues a run of a repository that is locked. `None` if somebody else has queued or started the equal run since
    /// it was looked up; then everything is to be looked up again.
    pub(in crate::store) async fn queue_run(
        &mut self,
        new: &Wanted<'_>,
        limits: RunLimits,
        now: Time,
    ) -> Result<Option<Result<SyncRun, Refused>>, Error> {
        let query = db::query_as(FIND).bind(new.repo.as_str());
        let query = query.bind(new.direction.as_str()).bind(&new.globs.branches);
        let query = query.bind(&new.globs.tags).bind(new.dry_run);
        let found: Option<Found> = on!(self, c => query.fetch_optional(c))?;
        let Some(found) = found else {
            return Ok(Some(Err(Refused::NoUpstream)));
        };
        let is_asked_for = new.priority == Priority::Api;
        let run = if found.health.is_parked() && !is_asked_for {
            return Ok(Some(Err(Refused::Parked)));
        } else if let Some(equal) = &found.equal {
            self.raise(equal, new, &found).await?
        } else if found.of_repo >= limits.per_repo {
            return Ok(Some(Err(Refused::RepoFull)));
        } else if found.of_org >= limits.per_org {
            return Ok(Some(Err(Refused::OrgFull)));
        } else {
            self.insert_run(new, &found, now).await?
        };
        if run.is_some() && found.health.is_parked() && !new.dry_run {
            let (schedule, health) = (found.health.schedule()?, found.health.health());
            let health = health.resumed(schedule.as_ref(), now, clock::random());
            self.put_health(new.repo, &health).await?;
        }
        Ok(run.map(Ok))
    }

    async fn raise(
        &mut self,
        id: &str,
        new: &Wanted<'_>,
        found: &Found,
    ) -> Result<Option<SyncRun>, Error> {
        let sql =
            "update sync_runs set priority = case when priority > $2 then $2 else priority end,
                run_at = case when run_at > $3 then $3 else run_at end
            where id = $1 and attempt = 0 and finished_at is null";
        let query = db::query(sql).bind(id).bind(new.priority.number());
        if execute!(self, query.bind(new.run_at.0))? == 0 {
            return Ok(None);
        }
        self.look_again(&found.home, &found.org).await?;
        Ok(self.open_run(id).await?.map(|open| open.run))
    }

    async fn insert_run(
        &mut self,
        new: &Wanted<'_>,
        found: &Found,
        now: Time,
    ) -> Result<Option<SyncRun>, Error> {
        let id: SyncId = ids::new();
        let sql = "insert into sync_runs (id, repo, org, home, host, direction, branches, tags, dry_run, priority,
                status, attempt, tries, claim, cancelled, run_at, created_at)
            values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, 'queued', 0, 0, 0, false, $11, $12)
            on conflict (repo, direction, branches, tags, dry_run) where status = 'queued' do nothing";
        let query = db::query(sql).bind(id.as_str()).bind(new.repo.as_str());
        let query = query.bind(&found.org).bind(&found.home).bind(&found.host);
        let query = query.bind(new.direction.as_str()).bind(&new.globs.branches);
        let query = query.bind(&new.globs.tags).bind(new.dry_run);
        let query = query.bind(new.priority.number()).bind(new.run_at.0);
        if execute!(self, query.bind(now.0))? == 0 {
            return Ok(None);
        }
        let sql =
            "insert into work (home, org, queued, running, served_at) values ($1, $2, 1, 0, 0)
            on conflict (home, org) do update set queued = work.queued + 1, look_at = 0";
        execute!(self, db::query(sql).bind(&found.home).bind(&found.org))?;
        let run = queued(id, new, now);
        if !run.dry_run {
            let event = NewEvent {
                id: ids::new(),
                kind: EventType::SyncQueued,
                org: &found.org,
                repo: &run.repo_id,
                repo_name: &found.repo_name,
                subject: run.id.as_str(),
                has_targets: found.has_targets,
            };
            self.emit(event, || sync_data(&run, None), now).await?;
        }
        Ok(Some(run))
    }
}

fn queued(id: SyncId, new: &Wanted<'_>, now: Time) -> SyncRun {
    SyncRun {
        id,
        repo_id: new.repo.clone(),
        direction: new.direction,
        status: Status::Queued,
        attempt: 0,
        ref_globs: new.globs.clone(),
        stats: None,
        error: None,
        error_code: None,
        dry_run: new.dry_run,
        source: new.priority.as_str(),
        next_attempt_at: None,
        messages: Vec::new(),
        created_at: now,
        started_at: None,
        finished_at: None,
    }
}
