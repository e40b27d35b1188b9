//! Deliveries of events to webhook targets.

pub mod client;
mod connector;
mod delivery;
pub mod signature;
pub mod target_url;

pub use connector::{LookUp, system_look_up};
pub use delivery::{Clock, Courier, Deliveries};
pub use target_url::TargetUrl;
