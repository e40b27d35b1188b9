//! Cancelling of runs.

use crate::{
    Error,
    records::{RepoId, SyncId, SyncRun, Time},
    store::{Store, Tx, db, tx::execute},
};

/// The answer to a request to cancel.
#[derive(Debug, Clone)]
pub enum Cancel {
    /// The run has ended as failed.
    Done(Box<SyncRun>),
    /// The run's worker was asked to stop.
    Requested(Box<SyncRun>),
    /// The run had ended before.
    Ended(Box<SyncRun>),
    /// There is no such run.
    Unknown,
}

impl Store {
    /// Cancels a run: one that waits has ended then, the worker of one that runs is asked to stop.
    pub async fn cancel(&self, repo: &RepoId, id: &SyncId, now: Time) -> Result<Cancel, Error> {
        loop {
            let mut tx = self.begin().await?;
            let open = tx.open_run(id.as_str()).await?;
            let Some(mut open) = open.filter(|open| open.run.repo_id == *repo) else {
                return Ok(Cancel::Unknown);
            };
            if open.run.status.is_end() {
                return Ok(Cancel::Ended(Box::new(open.run)));
            }
            let is_leased = open.more.is_leased;
            let written = if is_leased {
                tx.ask_to_stop(id).await?
            } else {
                tx.end_cancelled(&mut open, now).await?
            };
            // The run has changed since it was read.
            if !written {
                continue;
            }
            tx.commit().await?;
            return Ok(if is_leased {
                Cancel::Requested(Box::new(open.run))
            } else {
                Cancel::Done(Box::new(open.run))
            });
        }
    }
}

impl Tx {
    async fn ask_to_stop(&mut self, id: &SyncId) -> Result<bool, Error> {
        let sql = "update sync_runs set cancelled = true where id = $1 and lease_until is not null";
        let asked = execute!(self, db::query(sql).bind(id.as_str()))? > 0;
        if asked {
            self.run_is_to_stop(id);
        }
        Ok(asked)
    }

    /// Cancels all runs of a repository that have not ended.
    pub(in crate::store) async fn cancel_all(
        &mut self,
        repo: &RepoId,
        now: Time,
    ) -> Result<(), Error> {
        for mut open in self.open_runs(repo.as_str()).await? {
            if open.more.is_leased {
                self.ask_to_stop(&open.run.id).await?;
            } else {
                self.end_cancelled(&mut open, now).await?;
            }
        }
        Ok(())
    }
}
