//! The history behind tips: reading commits, and which of them descends from which.

pub mod ancestry;
mod commit_graph;
pub(crate) mod reachable_from_refs;
pub(crate) mod store_commits;
