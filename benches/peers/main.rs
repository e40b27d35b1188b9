//! refsync beside the git of this machine, at the same work and in turn.
//!
//! ```sh
//! cargo bench --bench peers [-- [FILTER] [--quick] [--json]]
//! ```
//! Prints a table, in Markdown: medians, git's figure first where there are two. FILTER is a part of
//! the first column; `--quick` repeats less; `--json` prints more figures. It needs some minutes and
//! no data, and puts its files where `TMPDIR` says.
//!
//! Both are programs here, from their start to their end, and the time is theirs, not the server's;
//! memory is that of the largest of their processes. refsync verifies all that it receives and has it on
//! disk before a ref moves; git is asked for neither.

#![allow(missing_docs, reason = "a program that prints figures")]

mod ancestry;
mod pulls;
mod pushes;

#[path = "../support/mod.rs"]
mod support;

use std::{cell::LazyCell, time::Duration};

use support::{measure, programs, report::Report, served::Served};

const NEAR: Duration = Duration::ZERO;
/// The time that a server at some distance adds to each request and to each connection.
const FAR: Duration = Duration::from_millis(50);

const FEW: usize = 21;
const USUAL: usize = 9;
const SLOW: usize = 5;

fn main() {
    if measure::plays_its_role() || programs::plays_its_role() {
        return;
    }
    let mut report = Report::from_arguments();
    let few = LazyCell::new(|| Served::with_refs(10, 100));
    let many = LazyCell::new(|| Served::with_refs(50_000, 20_000));
    let project = LazyCell::new(|| Served::project(6000));
    pulls::bench(&mut report, &few, &many, &project);
    pushes::bench(&mut report, &many, &project);
    ancestry::bench(&mut report);
}
