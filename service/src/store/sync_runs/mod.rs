//! Runs, which are the queue. Each transition is one transaction with its events and deliveries.

mod row;

pub(in crate::store) use row::{RunRow, run_columns, run_tables};
