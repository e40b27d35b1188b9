//! Every row of the outcome table, between real repositories. In each run a second branch goes through,
//! whatever becomes of the one in question.
//!
//! Rows that hold of every pair of ends are in `matrix`. Outcomes of a push alone are in `push`: a remote with
//! settings of its own, and the objects of a source on this machine. The others are about pulls: the files of
//! a destination on this machine, and what arrives there.
#![cfg(feature = "http")]

mod checked_out;
mod damaged_copies;
mod damaged_packs;
mod damaged_sources;
mod faulty;
mod filtered;
mod links;
mod matrix;
mod name_conflicts;
mod nesting;
mod new_mirrors;
mod on_disk;
mod own_process;
mod packed_refs;
mod partly_broken;
mod push;
mod raced;
mod shared;
mod too_large;
mod unknown_history;
mod unobtainable;

#[path = "../support/mod.rs"]
mod support;
