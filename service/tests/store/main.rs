//! Conformance of the store: the same cases for each database, and random actions against a plain model.

mod database;
mod events;
mod history;
mod leases;
mod model;
mod opening;
mod queue;
mod repos;
