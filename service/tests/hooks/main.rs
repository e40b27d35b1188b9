//! Deliveries to webhook targets, over real sockets.

mod attempts;
mod listener;
