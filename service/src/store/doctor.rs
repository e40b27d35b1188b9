//! The faults that `doctor` looks for in the database.

use super::{
    DatabaseAddress, Store, cells, db, migrate,
    repos::{joined, with_ids},
    tx::read,
};
use crate::{
    Error,
    records::{RepoId, Time},
};

/// The version of a database, and the one that this program works with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Version {
    /// The database's.
    pub found: i64,
    /// The program's.
    pub known: i64,
}

/// A run that nothing will carry on by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StuckRun {
    /// The run.
    pub id: String,
    /// The repository.
    pub repo: String,
    /// The reason.
    pub reason: &'static str,
}

/// An organization whose counts of work on a node are not those of its runs, so that some are never claimed.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct Miscounted {
    /// The node.
    pub home: String,
    /// The organization.
    pub org: String,
    /// The queued runs that are counted.
    pub queued: i64,
    /// The running runs that are counted.
    pub running: i64,
    /// The queued runs that there are.
    pub real_queued: i64,
    /// The running runs that there are.
    pub real_running: i64,
}

/// The most rows of each kind.
const MOST: i64 = 1_000;

impl Store {
    /// Opens an existing database without a change to it.
    ///
    /// # Errors
    /// Those of [`open`](Store::open), but for that of a newer version.
    pub async fn open_as_it_is(
        address: impl Into<DatabaseAddress>,
    ) -> Result<(Self, Version), Error> {
        let store = Store::connect(address).await?;
        let sql = "select coalesce(max(version), 0) from refsync_schema";
        let found: i64 = read!(store, c => db::query_scalar(sql).fetch_one(c))?;
        let known = migrate::newest();
        Ok((store, Version { found, known }))
    }

    /// The runs that nobody works on although their lease has ended before `silent_since`, that are due since
    /// `waiting_since`, or that are neither leased nor due.
    pub async fn stuck_runs(
        &self,
        silent_since: Time,
        waiting_since: Time,
    ) -> Result<Vec<StuckRun>, Error> {
        let mut stuck = Vec::new();
        for (sql, before, reason) in [
            (
                "select id, repo from sync_runs where lease_until is not null and lease_until < $1
                    order by lease_until limit $2",
                silent_since,
                "its worker is lost, and nobody has taken it up",
            ),
            (
                "select id, repo from sync_runs where run_at is not null and run_at < $1 order by run_at limit $2",
                waiting_since,
                "it is due for long, and no worker has taken it",
            ),
            (
                "select id, repo from sync_runs where finished_at is null and run_at is null
                    and lease_until is null and created_at < $1 order by id limit $2",
                Time(i64::MAX),
                "it is neither due nor worked on",
            ),
        ] {
            let query = db::query_as(sql).bind(before.0).bind(MOST);
            let rows: Vec<(String, String)> = read!(self, c => query.fetch_all(c))?;
            let rows = rows.into_iter();
            stuck.extend(rows.map(|(id, repo)| StuckRun { id, repo, reason }));
        }
        Ok(stuck)
    }

    /// The organizations whose counts of work are wrong.
    pub async fn miscounted(&self) -> Result<Vec<Miscounted>, Error> {
        // Added up once for all, without a join: that would look through all counts for each organization.
        let sql = "select c.home, c.org, c.queued, c.running, c.real_queued, c.real_running
            from (select o.home, o.org,
                    cast(sum(o.queued) as bigint) as queued, cast(sum(o.running) as bigint) as running,
                    cast(sum(o.real_queued) as bigint) as real_queued, cast(sum(o.real_running) as bigint) as real_running
                from (select home, org, queued, running, 0 as real_queued, 0 as real_running from work
                    union all select home, org, 0, 0, 1, 0 from sync_runs where run_at is not null
                    union all select home, org, 0, 0, 0, 1 from sync_runs where lease_until is not null) o
                group by o.home, o.org) c
            where c.queued <> c.real_queued or c.running <> c.real_running
            order by c.home, c.org limit $1";
        Ok(read!(self, c => db::query_as(sql).bind(MOST).fetch_all(c))?)
    }

    /// Those of the repositories that are none of the node, not even removed ones; at most 1,000 may be given.
    pub async fn without_row(&self, node: &str, ids: &[RepoId]) -> Result<Vec<RepoId>, Error> {
        let sql = concat!(
            with_ids!(),
            "select ids.id from ids
            where not exists (select 1 from repos p where p.id = ids.id and p.home = $2) order by ids.id"
        );
        let ids = joined(ids.iter().map(RepoId::as_str));
        let query = db::query_scalar(sql).bind(ids).bind(node);
        let rows: Vec<String> = read!(self, c => query.fetch_all(c))?;
        let parsed = |id: &String| cells::parsed(id, "id of a repository");
        rows.iter().map(parsed).collect()
    }

    /// The repositories of a node after `after`, by id, and whether each has ever had a commit; at most 1,000.
    pub async fn repos_of_home(
        &self,
        node: &str,
        after: Option<&RepoId>,
    ) -> Result<Vec<(RepoId, bool)>, Error> {
        let sql = "select id, head is not null from repos
            where home = $1 and removed_at is null and id > $2 order by id limit $3";
        let query = db::query_as(sql).bind(node);
        let query = query.bind(after.map_or("", RepoId::as_str)).bind(MOST);
        let rows: Vec<(String, bool)> = read!(self, c => query.fetch_all(c))?;
        let parsed = |(id, has_head): (String, bool)| {
            Ok((cells::parsed(&id, "id of a repository")?, has_head))
        };
        rows.into_iter().map(parsed).collect()
    }
}
