//! Conformance of the store: the same cases for each database, and random actions against a plain model.

mod aside;
mod concurrency;
mod database;
mod events;
mod fairness;
mod health;
mod history;
mod leases;
mod model;
mod nodes;
mod opening;
#[path = "../support/postgres.rs"]
#[allow(dead_code, unreachable_pub, missing_docs)]
mod postgres;
mod queue;
mod repos;
mod schedules;
mod tls;
mod upstream_hooks;
