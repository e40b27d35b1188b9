//! Conformance of the store: the same cases for each database.

mod database;
mod events;
mod history;
mod leases;
mod opening;
mod queue;
mod repos;
