//! Reads of runs.

use super::{RunRow, StatsJson, run_columns, run_tables};
use crate::{
    Error,
    records::{RepoId, SyncId, SyncRun, Time},
    store::{Page, Rows, Store, db, page::List, tx::read},
};

/// The length of the queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct QueueLength {
    /// Runs that wait for a worker.
    pub queued: i64,
    /// Runs that a worker has.
    pub running: i64,
    /// The time since which the first due run waits.
    pub due_since: Option<Time>,
}

/// The page of a repository's runs.
pub(in crate::store) const LIST: &str = concat!(
    "select ",
    run_columns!(),
    " from ",
    run_tables!(),
    " where r.repo = $1 and r.id < $2 order by r.id desc limit $3"
);

/// A text that is larger than every id of a run.
const AFTER_ALL: &str = "sync_~";

#[derive(sqlx::FromRow)]
struct FullRow {
    #[sqlx(flatten)]
    run: RunRow,
    full_stats: Option<Vec<u8>>,
}

impl Store {
    /// The run of the repository, its stats with at most 100 refs.
    pub async fn sync_run(&self, repo: &RepoId, id: &SyncId) -> Result<Option<SyncRun>, Error> {
        let sql = concat!(
            "select ",
            run_columns!(),
            " from ",
            run_tables!(),
            " where r.id = $1 and r.repo = $2"
        );
        let query = db::query_as(sql).bind(id.as_str()).bind(repo.as_str());
        let row: Option<RunRow> = read!(self, c => query.fetch_optional(c))?;
        row.map(RunRow::record).transpose()
    }

    /// The run of the repository without its stats, and the JSON of its stats with all refs.
    pub async fn sync_run_full(
        &self,
        repo: &RepoId,
        id: &SyncId,
    ) -> Result<Option<(SyncRun, Option<StatsJson>)>, Error> {
        let sql = concat!(
            "select ",
            run_columns!(),
            ", coalesce(r.full_stats, h.full_stats) as full_stats from ",
            run_tables!(),
            " where r.id = $1 and r.repo = $2"
        );
        let query = db::query_as(sql).bind(id.as_str()).bind(repo.as_str());
        let row: Option<FullRow> = read!(self, c => query.fetch_optional(c))?;
        let Some(mut row) = row else { return Ok(None) };
        let full = StatsJson::of(row.run.take_stats(), row.full_stats);
        Ok(Some((row.run.record()?, full)))
    }

    /// The runs of the repository, the newest first, the stats with at most 100 refs.
    pub async fn sync_runs(&self, repo: &RepoId, page: Page) -> Result<Rows<SyncRun>, Error> {
        let last = page.last::<SyncId>(List::SyncRuns)?;
        let before = last.as_ref().map_or(AFTER_ALL, SyncId::as_str);
        let query = db::query_as(LIST).bind(repo.as_str()).bind(before);
        let query = query.bind(page.fetched());
        let rows: Vec<RunRow> = read!(self, c => query.fetch_all(c))?;
        let runs: Vec<SyncRun> = rows
            .into_iter()
            .map(RunRow::record)
            .collect::<Result<_, _>>()?;
        Ok(Rows::of(runs, &page, List::SyncRuns, |run| run.id.as_str()))
    }

    /// The length of the queue of all nodes.
    pub async fn queue_length(&self) -> Result<QueueLength, Error> {
        let sql = "select cast(coalesce(sum(queued), 0) as bigint), cast(coalesce(sum(running), 0) as bigint),
            (select min(run_at) from sync_runs where run_at is not null) from work";
        let (queued, running, due_since): (i64, i64, Option<i64>) =
            read!(self, c => db::query_as(sql).fetch_one(c))?;
        Ok(QueueLength {
            queued,
            running,
            due_since: due_since.map(Time),
        })
    }
}
