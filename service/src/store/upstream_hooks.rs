//! Addresses that upstreams call when something has changed. There is one for a repository at most, and it goes with
//! its upstream: a change of the upstream's address keeps it.

use std::time::Duration;

use super::{
    Store, Tx, cells, db,
    sync_runs::{Refused, RunLimits, Wanted},
    tx::{Wake, execute, on, read},
};
use crate::{
    Error,
    records::{Direction, Globs, HookId, Priority, Provider, Repo, RepoId, SyncId, SyncRun, Time},
};

/// A hook to store.
#[derive(Debug, Clone)]
pub struct NewHook {
    /// The identifier.
    pub id: HookId,
    /// The service that will call.
    pub provider: Provider,
    /// The SHA-256 of the token in the address.
    pub token: [u8; 32],
    /// The secret, sealed for the table `hooks`, the row of the id and the column `secret`.
    pub secret: String,
}

/// A hook that is called.
#[derive(Debug, Clone)]
pub struct CalledHook {
    /// The service that calls.
    pub provider: Provider,
    /// The sealed secret.
    pub secret: String,
    /// The repository.
    pub repo: RepoId,
    /// The globs of the pull that it starts: those of a schedule that pulls, or all.
    pub globs: Globs,
    /// Whether the upstream is parked, so that a call starts nothing.
    pub is_parked: bool,
    /// The equal run that waits with the priority of hooks and is due soon: it will see what the call is about, and
    /// nothing has to be written.
    pub queued: Option<SyncId>,
}

#[derive(sqlx::FromRow)]
struct CalledRow {
    provider: String,
    secret: String,
    repo: String,
    branches: String,
    tags: String,
    is_parked: bool,
    queued: Option<String>,
}

/// The hook `$1` with the token `$2`.
pub(super) const CALLED: &str = "select h.provider, h.secret, h.repo, h.branches, h.tags, h.is_parked,
        (select e.id from sync_runs e where e.repo = h.repo and e.status = 'queued' and e.direction = $3
            and e.branches = h.branches and e.tags = h.tags and not e.dry_run
            and e.priority <= $4 and e.run_at <= $5) as queued
    from (select k.id, k.token, k.provider, k.secret, k.repo, u.is_parked,
            case when u.schedule_direction = $3 then u.schedule_branches else '*' end as branches,
            case when u.schedule_direction = $3 then u.schedule_tags else '*' end as tags
        from hooks k join upstreams u on u.repo = k.repo) h
    where h.id = $1 and h.token = $2";

impl Store {
    /// Stores the hook of a repository in the place of the one that it had. False if the repository has no upstream.
    pub async fn put_hook(&self, repo: &Repo, new: &NewHook, now: Time) -> Result<bool, Error> {
        let (org, repo) = (repo.org.as_str(), repo.id.as_str());
        let mut tx = self.begin().await?;
        tx.lock_repo(repo).await?;
        let sql = "insert into hooks (id, repo, provider, token, secret, created_at)
            select $1, u.repo, $3, $4, $5, $6 from upstreams u where u.repo = $2
            on conflict (repo) do update set id = excluded.id, provider = excluded.provider,
                token = excluded.token, secret = excluded.secret, not_before = null,
                created_at = excluded.created_at";
        let query = db::query(sql).bind(new.id.as_str()).bind(repo);
        let query = query.bind(new.provider.as_str()).bind(&new.token[..]);
        let query = query.bind(&new.secret).bind(now.0);
        if execute!(tx, query)? == 0 {
            return Ok(false);
        }
        let provider = Some(new.provider.as_str());
        tx.audit(org, "upstream.hook", repo, provider, now).await?;
        tx.commit().await?;
        Ok(true)
    }

    /// Removes the hook of a repository; false if there is none.
    pub async fn delete_hook(&self, repo: &Repo, now: Time) -> Result<bool, Error> {
        let (org, repo) = (repo.org.as_str(), repo.id.as_str());
        let mut tx = self.begin().await?;
        tx.lock_repo(repo).await?;
        let is_gone = tx.remove_hook(org, repo, now).await?;
        tx.commit().await?;
        Ok(is_gone)
    }

    /// The hook with this id, if its token has this SHA-256, and its queued run that is due at the time `by`. One
    /// statement, which writes nothing: it is all that a call costs that is one of many.
    pub async fn called_hook(
        &self,
        id: &HookId,
        token: &[u8; 32],
        by: Time,
    ) -> Result<Option<CalledHook>, Error> {
        let query = db::query_as(CALLED).bind(id.as_str()).bind(&token[..]);
        let query = query.bind(Direction::Pull.as_str());
        let query = query.bind(Priority::Hook.number()).bind(by.0);
        let row: Option<CalledRow> = read!(self, c => query.fetch_optional(c))?;
        row.map(CalledRow::record).transpose()
    }

    /// Queues the run that a call asks for. It is due at once, or at `distance` after the one that the last call has
    /// queued: calls without a pause start no more than one run in each distance. `None` if the hook is gone.
    pub async fn queue_by_hook(
        &self,
        id: &HookId,
        hook: &CalledHook,
        limits: RunLimits,
        distance: Duration,
        now: Time,
    ) -> Result<Option<Result<SyncRun, Refused>>, Error> {
        loop {
            let mut tx = self.begin().await?;
            tx.lock_repo(hook.repo.as_str()).await?;
            let Some(run_at) = tx.put_distance(id, distance, now).await? else {
                return Ok(None);
            };
            let wanted = Wanted {
                repo: &hook.repo,
                direction: Direction::Pull,
                globs: &hook.globs,
                dry_run: false,
                priority: Priority::Hook,
                run_at,
            };
            match tx.queue_run(&wanted, limits, now).await? {
                Some(Ok(run)) => {
                    tx.wake(if run_at > now { Wake::All } else { Wake::One });
                    tx.commit().await?;
                    return Ok(Some(Ok(run)));
                }
                Some(Err(refused)) => return Ok(Some(Err(refused))),
                None => {}
            }
        }
    }
}

impl Tx {
    /// Removes the hook of a repository, with a row about it; false if there is none.
    pub(super) async fn remove_hook(
        &mut self,
        org: &str,
        repo: &str,
        now: Time,
    ) -> Result<bool, Error> {
        let sql = "delete from hooks where repo = $1";
        let is_gone = execute!(self, db::query(sql).bind(repo))? > 0;
        if is_gone {
            self.audit(org, "upstream.hook", repo, Some("none"), now)
                .await?;
        }
        Ok(is_gone)
    }

    /// The time at which the run of a call is due, from which the next one keeps its distance. `None` if the hook is
    /// gone.
    async fn put_distance(
        &mut self,
        id: &HookId,
        distance: Duration,
        now: Time,
    ) -> Result<Option<Time>, Error> {
        let query = db::query_scalar("select not_before from hooks where id = $1");
        let query = query.bind(id.as_str());
        let found: Option<Option<i64>> = on!(self, c => query.fetch_optional(c))?;
        let Some(not_before) = found else {
            return Ok(None);
        };
        // No call waits for longer than the distance, even if the clock was ahead.
        let latest = now.plus(distance);
        let run_at = not_before.map_or(now, |at| Time(at).clamp(now, latest));
        let sql = "update hooks set not_before = $2 where id = $1";
        let query = db::query(sql).bind(id.as_str());
        execute!(self, query.bind(run_at.plus(distance).0))?;
        Ok(Some(run_at))
    }
}

impl CalledRow {
    fn record(self) -> Result<CalledHook, Error> {
        let queued = self.queued.as_deref();
        let queued = queued.map(|id| cells::parsed(id, "id of a run"));
        Ok(CalledHook {
            provider: cells::word(Provider::of_word(&self.provider), "provider")?,
            secret: self.secret,
            repo: cells::parsed(&self.repo, "id of a repository")?,
            is_parked: self.is_parked,
            globs: Globs {
                branches: self.branches,
                tags: self.tags,
            },
            queued: queued.transpose()?,
        })
    }
}
