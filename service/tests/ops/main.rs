//! The program `refsyncd` as its operator sees it.

mod commands;
mod daemon;
mod doctor;
mod metrics;
mod operations;
mod readme;
mod starts;
mod stops;

#[path = "../support/mod.rs"]
mod support;
