//! Runs, which are the queue. Each transition is one transaction with its events and deliveries.

mod aside;
mod cancel;
mod claim;
mod enqueue;
mod finish;
mod open;
mod reads;
mod reap;
mod row;
mod search;
mod stats;

pub use cancel::Cancel;
pub use claim::{Claimed, Claimer, Fence, Job, StoredUpstream};
pub(in crate::store) use enqueue::Wanted;
pub use enqueue::{NewRun, Refused, RunLimits};
pub use finish::{Completed, Failure, Lease};
pub use reads::QueueLength;
pub use stats::StatsJson;

pub(in crate::store) use row::{RunRow, run_columns, run_tables};
#[cfg(test)]
pub(in crate::store) use {
    aside::{DUE, FREED, MARK, OUTLOOK, SET_ASIDE, WAIT},
    enqueue::FIND as QUEUE,
    reads::LIST,
    reap::LEASES_OF_NODE,
    search::{CANDIDATE, FIND as CLAIM},
};
