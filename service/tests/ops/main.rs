//! The program `refsyncd` as its operator sees it.

mod commands;
mod daemon;
mod starts;
mod stops;
