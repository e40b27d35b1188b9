//! The service beside the engine that it runs and the database that it writes, as figures:
//!
//! ```sh
//! cargo bench -p refsync-service --bench queue [-- SECTION...]
//! ```
//! - `no-ops`: syncs without changes, eight at a time, by a `refsyncd` through its API, by the bare engine and by
//!   `git fetch`: each in a process of its own, in turn, against one server on loopback. Then one at a time, from POST
//!   to `completed`, beside the bare engine.
//! - `statements`: runs through workers whose engine does nothing, beside a tight loop of the same statements on the
//!   same file of SQLite.
//! - `postgres`: the same on a server of PostgreSQL that the bench starts, beside as many bare connections as workers
//!   with the same statements in the same transactions.
//! - `million`: claims of a store with 1,000,000 upstreams and 100,000 queued runs, beside one with 1,000 and 100, for
//!   queues of several shapes, and the search for due schedules, on both databases. `--plans` prints the plans of the
//!   searches, `REFSYNC_UPSTREAMS` is another number of upstreams.
//! - `rest`: the memory of a `refsyncd` with as many upstreams, none of which is due, beside one with none.
//! - `many-refs`: runs of 50,000 refs, their list and one of them.
//!
//! Without a section, all of them. Figures are medians of rounds in turn. The databases are on the disk of the target
//! folder, and the time of an `fsync` there is printed beside what depends on it.

#![allow(missing_docs, clippy::print_stdout, unreachable_pub)]

#[path = "../../tests/support/engine.rs"]
mod engine;
#[path = "../../tests/support/postgres.rs"]
#[allow(dead_code, reason = "the tests use more of it")]
mod postgres;

mod bare;
mod daemon;
mod figures;
mod filled;
mod many_refs;
mod million;
mod no_ops;
mod peers;
mod place;
mod record;
mod rest;
mod roles;
mod statements;
mod tight_loop;
mod upstreams;

fn main() {
    if roles::plays_one() {
        return;
    }
    let wanted: Vec<_> = std::env::args()
        .skip(1)
        // Cargo adds `--bench`.
        .filter(|argument| !argument.starts_with('-'))
        .collect();
    let sections: [(&str, fn()); 6] = [
        ("no-ops", no_ops::bench),
        ("statements", statements::sqlite),
        ("postgres", statements::postgres),
        ("million", million::bench),
        ("rest", rest::bench),
        ("many-refs", many_refs::bench),
    ];
    for name in &wanted {
        let is_known = sections.iter().any(|(section, _)| section == name);
        assert!(is_known, "no section is called {name}");
    }
    for (name, section) in sections {
        if wanted.is_empty() || wanted.iter().any(|wanted| wanted == name) {
            println!("\n## {name}");
            section();
        }
    }
}
