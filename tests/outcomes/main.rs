//! Every row of the outcome table that a pull can meet, between a real upstream and a real
//! destination. In each run a second branch goes through, whatever becomes of the one in question.
#![cfg(feature = "http")]

mod branches;
mod checked_out;
mod damaged_copies;
mod damaged_packs;
mod damaged_sources;
mod faulty;
mod filtered;
mod links;
mod name_conflicts;
mod nesting;
mod new_mirrors;
mod not_a_commit;
mod on_disk;
mod own_process;
mod packed_refs;
mod partly_broken;
mod raced;
mod shared;
mod tags;
mod too_large;
mod unknown_history;
mod unobtainable;

#[path = "../support/mod.rs"]
mod support;
