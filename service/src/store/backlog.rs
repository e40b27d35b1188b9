//! [`Backlog`], what waits beside the runs.

use super::{Store, db, tx::read};
use crate::{Error, metrics::Metrics, records::Time};

/// The things that wait beside the runs, on all nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Backlog {
    /// Deliveries that are to be made, now or later.
    pub deliveries: i64,
    /// Hosts that have asked to wait.
    pub hosts: i64,
}

impl Store {
    /// The numbers of what this process has committed, and of what others count beside.
    pub fn metrics(&self) -> &Metrics {
        &self.inner.metrics
    }

    /// Counts the things that wait beside the runs.
    pub async fn backlog(&self, now: Time) -> Result<Backlog, Error> {
        let sql = "select (select count(*) from deliveries where state = 'pending'),
            (select count(*) from hosts where not_before > $1)";
        let (deliveries, hosts) = read!(self, c => db::query_as(sql).bind(now.0).fetch_one(c))?;
        Ok(Backlog { deliveries, hosts })
    }
}
