//! Every row of the outcome table that a push can meet, between a real source and a real remote. In
//! each run a second branch goes through, whatever becomes of the one in question.
#![cfg(feature = "http")]

mod branches;
mod checked_out;
mod filtered;
mod name_conflicts;
mod raced;
mod tags;
mod unobtainable;

#[path = "../support/mod.rs"]
mod support;
