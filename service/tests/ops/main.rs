//! The program `refsyncd` as its operator sees it.

mod commands;
mod daemon;
mod readme;
mod starts;
mod stops;

#[allow(unused_imports, reason = "only the upstream is used here")]
#[path = "../support/mod.rs"]
mod support;
