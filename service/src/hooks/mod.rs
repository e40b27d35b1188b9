//! Deliveries of events to webhook targets.

pub mod client;
mod connector;
pub mod signature;
pub mod target_url;

pub use connector::{LookUp, system_look_up};
pub use target_url::TargetUrl;
