//! Repair after a clock that was ahead: times that no wait of the service can lead to.

use std::time::Duration;

use super::{
    Store, Tx, db,
    tx::{Wake, execute, read},
};
use crate::{
    Error,
    records::{Schedule, Time},
};

/// The number of rows that are looked up at a time.
const BATCH: i64 = 100;

/// The runs of the node `$3` that are due after `$1`.
const FAR_RUNS: &str = "select id from sync_runs
    where home = $3 and run_at is not null and run_at > $1 order by run_at desc limit $2";
/// The runs of the node `$3` whose lease ends after `$1`.
const FAR_LEASES: &str = "select id from sync_runs
    where home = $3 and lease_until is not null and lease_until > $1 order by lease_until desc limit $2";
/// The upstreams of the node `$3` whose next run is after `$1`.
const FAR_SCHEDULES: &str = "select repo from upstreams
    where home = $3 and next_run_at is not null and next_run_at > $1 order by next_run_at desc limit $2";
/// The deliveries that are due after `$1`.
const FAR_DELIVERIES: &str = "select id from deliveries
    where state = 'pending' and next_at > $1 order by next_at desc limit $2";
/// The hosts that wait until after `$1`.
const FAR_HOSTS: &str = "select host from hosts where not_before > $1 order by host limit $2";

/// The longest waits that the service itself sets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LongestWaits {
    /// The wait for another attempt of a run or a delivery, and for a host.
    pub attempt: Duration,
    /// The lease of a run.
    pub lease: Duration,
}

/// The tolerance for the clocks of two nodes.
const SKEW: Duration = Duration::from_secs(60);

/// A time that is too far ahead, in a row of one of the tables.
#[derive(Clone, Copy)]
enum Far {
    Run,
    Lease,
    Schedule,
    Delivery,
    Host,
}

impl Store {
    /// Brings back what lies further ahead than any wait of the service: a clock was ahead when it was written, and
    /// it would stay until then. Runs, upstreams, deliveries and hosts are due now, a lease ends after its usual time (a worker
    /// that lives renews it). The number of rows.
    pub async fn mend_times(
        &self,
        node: &str,
        longest: LongestWaits,
        now: Time,
    ) -> Result<u64, Error> {
        let wait = now.plus(longest.attempt + SKEW);
        let lease = now.plus(longest.lease + SKEW);
        let schedule = now.plus(Schedule::longest_wait() + SKEW);
        let (mut mended, mut has_changed) = (0, false);
        for (far, limit, to) in [
            (Far::Run, wait, now),
            (Far::Lease, lease, now.plus(longest.lease)),
            (Far::Schedule, schedule, now),
            (Far::Delivery, wait, now),
            (Far::Host, wait, now),
        ] {
            loop {
                let found = self.far(far, node, limit).await?;
                let mut done = 0;
                for id in &found {
                    let mut tx = self.begin().await?;
                    done += tx.mend_time(far, id, limit, to).await?;
                    tx.commit().await?;
                }
                mended += done;
                has_changed |= done > 0 && matches!(far, Far::Run | Far::Host);
                if done == 0 {
                    break;
                }
            }
        }
        // Another node may have mended the host that they wait for.
        let aside_until = if has_changed { now } else { wait };
        self.mend_aside(node, aside_until).await?;
        Ok(mended)
    }

    async fn far(&self, far: Far, node: &str, limit: Time) -> Result<Vec<String>, Error> {
        let (sql, is_of_node) = match far {
            Far::Run => (FAR_RUNS, true),
            Far::Lease => (FAR_LEASES, true),
            Far::Schedule => (FAR_SCHEDULES, true),
            Far::Delivery => (FAR_DELIVERIES, false),
            Far::Host => (FAR_HOSTS, false),
        };
        let query = db::query_scalar(sql).bind(limit.0).bind(BATCH);
        let query = if is_of_node { query.bind(node) } else { query };
        Ok(read!(self, c => query.fetch_all(c))?)
    }
}

impl Tx {
    async fn mend_time(&mut self, far: Far, id: &str, limit: Time, to: Time) -> Result<u64, Error> {
        let sql = match far {
            Far::Run => {
                self.lock_repo_of(id).await?;
                self.wake(Wake::All);
                "update sync_runs set run_at = $2 where id = $1 and coalesce(run_at, 0) > $3"
            }
            Far::Lease => {
                self.lock_repo_of(id).await?;
                "update sync_runs set lease_until = $2 where id = $1 and lease_until > $3"
            }
            Far::Schedule => {
                self.lock_repo(id).await?;
                "update upstreams set next_run_at = $2 where repo = $1 and next_run_at > $3"
            }
            Far::Delivery => {
                self.lock_target_of(id).await?;
                self.deliveries_change();
                "update deliveries set next_at = $2 where id = $1 and finished_at is null and next_at > $3"
            }
            Far::Host => {
                self.wake(Wake::All);
                "update hosts set not_before = $2 where host = $1 and not_before > $3"
            }
        };
        let query = db::query(sql).bind(id).bind(to.0).bind(limit.0);
        Ok(execute!(self, query)?)
    }
}
