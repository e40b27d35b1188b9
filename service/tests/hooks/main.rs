//! Deliveries to webhook targets, over real sockets.

mod attempts;
mod deliveries;
mod fixture;
mod listener;
