//! Upstream syncs as a service around refsync: an upstream per repository, syncs as records that workers carry
//! through, webhooks, and REST. The program is `refsyncd`.
//!
//! `records` has the data and the rules, and needs none of the rest.

#[cfg(feature = "server")]
pub mod api;
#[cfg(feature = "server")]
mod authentication;
#[cfg(feature = "server")]
pub mod clock;
#[cfg(feature = "server")]
pub mod commands;
#[cfg(feature = "server")]
pub mod config;
#[cfg(feature = "server")]
mod data_folder;
#[cfg(feature = "server")]
pub mod doctor;
#[cfg(feature = "server")]
mod error;
#[cfg(feature = "server")]
mod files;
#[cfg(feature = "server")]
pub mod git;
#[cfg(feature = "server")]
pub mod hooks;
#[cfg(feature = "server")]
pub mod ids;
#[cfg(feature = "server")]
mod json;
#[cfg(feature = "server")]
pub mod log;
#[cfg(feature = "server")]
pub mod metrics;
#[cfg(feature = "server")]
mod node;
pub mod records;
#[cfg(feature = "server")]
pub mod secrets;
#[cfg(feature = "server")]
pub mod server;
#[cfg(feature = "server")]
mod service;
#[cfg(feature = "server")]
mod stalling;
#[cfg(feature = "server")]
pub mod store;
#[cfg(feature = "server")]
mod tasks;
#[cfg(feature = "server")]
pub mod work;

#[cfg(feature = "server")]
pub use error::{Error, ErrorKind};
#[cfg(feature = "server")]
pub use log::chain;
#[cfg(feature = "server")]
pub use service::Service;
