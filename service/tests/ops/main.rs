//! The program `refsyncd` as its operator sees it.

mod commands;
mod daemon;
mod doctor;
mod metrics;
mod readme;
mod starts;
mod stops;

#[path = "../support/mod.rs"]
mod support;
