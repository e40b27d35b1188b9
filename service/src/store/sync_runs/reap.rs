//! Runs whose worker is lost.

use super::open::{End, OpenRun};
use crate::{
    Error,
    records::{Next, RetryPolicy, Time},
    store::{Store, Tx, db, tx::read},
};

/// The number of runs that are looked up at a time.
const BATCH: i64 = 100;

/// The order makes both databases search the leases in place of all runs.
pub(in crate::store) const LEASES_OF_NODE: &str = "select id, claim from sync_runs
    where lease_until is not null and node = $1 order by lease_until";

impl Store {
    /// Lets the runs wait for another attempt whose lease has ended, or ends them where attempts are used up. The
    /// number of them.
    pub async fn reap(&self, now: Time, policy: &RetryPolicy, random: f64) -> Result<u64, Error> {
        let sql =
            "select id, claim from sync_runs where lease_until is not null and lease_until < $1
            order by lease_until limit $2";
        let next = |tries| policy.after_failure(tries, true, None, now, random);
        let mut reaped = 0;
        loop {
            let query = db::query_as(sql).bind(now.0).bind(BATCH);
            let lost: Vec<(String, i64)> = read!(self, c => query.fetch_all(c))?;
            let done = self.lose_workers(&lost, Some(now), now, next).await?;
            reaped += done;
            if done == 0 {
                return Ok(reaped);
            }
        }
    }

    /// Ends all leases of a node that has just started: nobody works on them. Those runs are due at once, unless
    /// their attempts are used up. The number of them.
    pub async fn end_leases_of(
        &self,
        node: &str,
        policy: &RetryPolicy,
        now: Time,
    ) -> Result<u64, Error> {
        let query = db::query_as(LEASES_OF_NODE).bind(node);
        let lost: Vec<(String, i64)> = read!(self, c => query.fetch_all(c))?;
        // The wait is for the sake of hosts that fail; here it was the node.
        let next = |tries| match policy.after_failure(tries, true, None, now, 0.5) {
            Next::Attempt(_) => Next::Attempt(now),
            Next::Fail => Next::Fail,
        };
        self.lose_workers(&lost, None, now, next).await
    }

    async fn lose_workers(
        &self,
        lost: &[(String, i64)],
        expired_at: Option<Time>,
        now: Time,
        next: impl Fn(i64) -> Next,
    ) -> Result<u64, Error> {
        let mut done = 0;
        for (id, claim) in lost {
            let mut tx = self.begin().await?;
            tx.lock_repo_of(id).await?;
            tx.lock_run(id).await?;
            let open = tx.open_run(id).await?;
            let is_lost = |open: &OpenRun| {
                let until = open.more.lease_until.map(Time);
                let has_expired = until < expired_at.map_or(Some(Time(i64::MAX)), Some);
                until.is_some() && open.more.claim == *claim && has_expired
            };
            let Some(mut open) = open.filter(is_lost) else {
                continue;
            };
            if tx.lose_worker(&mut open, now, &next).await? {
                tx.commit().await?;
                self.metrics().worker_lost();
                done += 1;
            }
        }
        Ok(done)
    }
}

impl Tx {
    async fn lose_worker(
        &mut self,
        open: &mut OpenRun,
        now: Time,
        next: &impl Fn(i64) -> Next,
    ) -> Result<bool, Error> {
        let tries = open.more.tries + 1;
        match next(tries) {
            Next::Attempt(run_at) => self.wait_or_cancel(open, run_at, tries, now).await,
            Next::Fail if open.more.cancelled => self.end_cancelled(open, now).await,
            Next::Fail => {
                let end = End {
                    error: Some("the worker was lost, and all attempts are used up"),
                    error_code: Some("worker_lost"),
                    ..End::default()
                };
                self.end(open, end, now).await
            }
        }
    }
}
