//! Removal of old history, and of repositories that were removed, in small transactions.

use std::time::Duration;

use super::{
    Store, Tx, cells, db,
    tx::{execute, on, read},
};
use crate::{
    Error,
    config::Retention,
    records::{RepoId, Time},
};

/// The number of rows that one transaction removes.
const BATCH: i64 = 200;

/// The old runs of the repository `$1`: neither its last `$2` nor younger than `$3`, or not of its last `$4`.
/// A run stays that has not ended, that is the last one, that the next run starts from, or whose stats another run has.
macro_rules! old_runs {
    () => {
        "select r.id from sync_runs r where r.repo = $1 and r.finished_at is not null
            and r.id <= (select k.id from sync_runs k where k.repo = $1 order by k.id desc limit 1 offset $2)
            and (r.finished_at < $3
                or r.id <= (select k.id from sync_runs k where k.repo = $1 order by k.id desc limit 1 offset $4))
            and r.id <> coalesce((select k.id from sync_runs k where k.repo = $1 and not k.dry_run
                order by k.id desc limit 1), '')
            and not exists (select 1 from upstreams u where u.repo = $1 and (u.last_pull = r.id or u.last_push = r.id))
            and not exists (select 1 from sync_runs k where k.stats_of = r.id)"
    };
}

/// The next repositories of the node `$2` after `$1`, and whether each has more than the last `$3` runs: most have not,
/// which must not take a statement of its own. More is not asked here, where SQLite would look up the bounds of a
/// repository again for each of its runs.
pub(super) const NEXT_REPOS: &str =
    "select p.id, exists (select 1 from sync_runs k where k.repo = p.id order by k.id desc limit 1 offset $3)
    from repos p where p.home = $2 and p.id > $1 order by p.id limit $4";

/// Whether a repository has old runs, which is asked before they are removed: that takes the writer.
pub(super) const HAS_OLD_RUNS: &str = concat!("select exists (", old_runs!(), ")");

const REMOVE_RUNS: &str = concat!(
    "delete from sync_runs where id in (",
    old_runs!(),
    " order by r.id limit $5)"
);

/// The events before `$1` that no delivery needs.
const OLD_EVENTS: &str = "delete from events where sequence in (
    select e.sequence from events e where e.at < $1
        and (select d.id from deliveries d where d.event = e.id and d.state = 'pending' limit 1) is null
    order by e.at limit $2)";

const OLD_DELIVERIES: &str = "delete from deliveries where id in (
    select d.id from deliveries d where d.created_at < $1 order by d.created_at limit $2)";

const OLD_AUDIT: &str = "delete from audit where sequence in (
    select a.sequence from audit a where a.at < $1 order by a.at limit $2)";

/// The hosts that may be asked again.
const OLD_HOSTS: &str = "delete from hosts where host in (
    select h.host from hosts h where h.not_before < $1 limit $2)";

impl Store {
    /// Removes the history that is older than what is kept, until `is_stopping` says so: what is left goes another
    /// time. The runs are those of the node's repositories, all else is of the whole service. The number of removed
    /// rows.
    pub async fn retain(
        &self,
        node: &str,
        keep: &Retention,
        now: Time,
        is_stopping: impl Fn() -> bool,
    ) -> Result<u64, Error> {
        let mut removed = 0;
        let mut last = String::new();
        loop {
            let repos = self.next_repos(node, &last, keep).await?;
            for (repo, has_many_runs) in &repos {
                if is_stopping() {
                    return Ok(removed);
                }
                if *has_many_runs && self.has_old_runs(repo, keep, now).await? {
                    removed += self.remove_runs(repo, keep, now).await?;
                }
            }
            let Some((repo, _)) = repos.into_iter().next_back() else {
                break;
            };
            last = repo;
        }
        // Events come last: those that pending deliveries need are kept.
        for (sql, age) in [
            (OLD_DELIVERIES, keep.delivery_age),
            (OLD_EVENTS, keep.event_age),
            (OLD_AUDIT, keep.audit_age),
            (OLD_HOSTS, Duration::ZERO),
        ] {
            removed += self
                .remove_before(sql, before(now, age), &is_stopping)
                .await?;
        }
        Ok(removed)
    }

    async fn next_repos(
        &self,
        node: &str,
        last: &str,
        keep: &Retention,
    ) -> Result<Vec<(String, bool)>, Error> {
        let query = db::query_as(NEXT_REPOS).bind(last).bind(node);
        let query = query.bind(i64::from(keep.runs)).bind(BATCH);
        Ok(read!(self, c => query.fetch_all(c))?)
    }

    async fn has_old_runs(&self, repo: &str, keep: &Retention, now: Time) -> Result<bool, Error> {
        let query = db::query_scalar(HAS_OLD_RUNS).bind(repo);
        let query = query.bind(i64::from(keep.runs));
        let query = query.bind(before(now, keep.run_age).0);
        let query = query.bind(i64::from(keep.most_runs));
        Ok(read!(self, c => query.fetch_one(c))?)
    }

    async fn remove_runs(&self, repo: &str, keep: &Retention, now: Time) -> Result<u64, Error> {
        let mut removed = 0;
        loop {
            let mut tx = self.begin().await?;
            tx.lock_repo(repo).await?;
            let query = db::query(REMOVE_RUNS).bind(repo);
            let query = query.bind(i64::from(keep.runs));
            let query = query.bind(before(now, keep.run_age).0);
            let query = query.bind(i64::from(keep.most_runs)).bind(BATCH);
            let done = execute!(tx, query)?;
            tx.commit().await?;
            // A run that was removed may have kept another one, so a short batch is not the last.
            if done == 0 {
                return Ok(removed);
            }
            removed += done;
        }
    }

    async fn remove_before(
        &self,
        sql: &'static str,
        before: Time,
        is_stopping: &impl Fn() -> bool,
    ) -> Result<u64, Error> {
        let mut removed = 0;
        while !is_stopping() {
            let mut tx = self.begin().await?;
            let done = execute!(tx, db::query(sql).bind(before.0).bind(BATCH))?;
            tx.commit().await?;
            removed += done;
            if done < BATCH.unsigned_abs() {
                break;
            }
        }
        Ok(removed)
    }

    /// The removed repositories of a node whose runs have ended, so that their folders may go.
    pub async fn removed_repos(&self, node: &str) -> Result<Vec<RepoId>, Error> {
        let sql = "select p.id from repos p where p.home = $1 and p.removed_at is not null
                and (select q.id from sync_runs q where q.repo = p.id and coalesce(q.run_at, -1) >= 0
                    order by q.run_at limit 1) is null
                and (select l.id from sync_runs l where l.repo = p.id and l.lease_until is not null limit 1) is null
            order by p.id limit $2";
        let query = db::query_scalar(sql).bind(node).bind(BATCH);
        let ids: Vec<String> = read!(self, c => query.fetch_all(c))?;
        let parsed = |id: &String| cells::parsed(id, "id of a repository");
        ids.iter().map(parsed).collect()
    }

    /// Removes the rows of a removed repository, whose folder is gone. False if there is none, or a run of it has not
    /// ended.
    pub async fn forget_repo(&self, id: &RepoId) -> Result<bool, Error> {
        loop {
            let mut tx = self.begin().await?;
            tx.lock_repo(id.as_str()).await?;
            if !tx.is_forgettable(id).await? {
                return Ok(false);
            }
            let sql = "delete from sync_runs where id in (
                select r.id from sync_runs r where r.repo = $1 order by r.id desc limit $2)";
            let query = db::query(sql).bind(id.as_str()).bind(BATCH);
            let is_last = execute!(tx, query)? < BATCH.unsigned_abs();
            if is_last {
                let sql = "delete from repos where id = $1";
                execute!(tx, db::query(sql).bind(id.as_str()))?;
            }
            tx.commit().await?;
            if is_last {
                return Ok(true);
            }
        }
    }
}

impl Tx {
    async fn is_forgettable(&mut self, id: &RepoId) -> Result<bool, Error> {
        let sql =
            "select exists (select 1 from repos p where p.id = $1 and p.removed_at is not null)
            and not exists (select 1 from sync_runs r where r.repo = $1 and r.finished_at is null)";
        let query = db::query_scalar(sql).bind(id.as_str());
        Ok(on!(self, c => query.fetch_one(c))?)
    }
}

fn before(now: Time, age: Duration) -> Time {
    let millis = i64::try_from(age.as_millis()).unwrap_or(i64::MAX);
    Time(now.0.saturating_sub(millis))
}
