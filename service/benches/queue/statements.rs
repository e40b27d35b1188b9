//! The queue alone: workers whose engine does nothing, beside the transactions of such runs on bare connections to the
//! same database.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::task::JoinSet;

use super::{
    figures::{fsync_time, median, millis, per_second, verdict},
    filled::{Filled, WORKERS},
    peers::REPOS,
    place::Place,
    record::Texts,
    tight_loop::TightLoop,
};

/// Short rounds, and many: the time of an `fsync` changes with whatever else writes to the disk.
const ROUNDS: usize = 9;
const RUNS: usize = 500;

/// SQLite has one writer, so one connection is the fastest.
pub fn sqlite() {
    compare(&Place::sqlite(), 1, 0.4);
}

/// As many connections as there are workers.
pub fn postgres() {
    if let Some(place) = Place::postgres() {
        compare(&place, WORKERS, 0.5);
    }
}

/// `bar` is the least rate of the workers, as a part of that of the loops.
fn compare(place: &Place, connections: usize, bar: f64) {
    let texts = Texts::of(&place.database("record"), &place.folder("record"));
    let (database, folder) = (place.database("runs"), place.folder("runs"));
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let filled = Filled::open(&database, &folder, REPOS).await;
        // Each repository gets the first of its runs, which stores more than the later ones.
        filled.worked(REPOS).await;
        let mut loops = Vec::new();
        for _ in 0..connections {
            loops.push(TightLoop::open(&database, &texts).await);
        }
        // Both sides keep their connections, and have made their plans on the same small tables.
        filled.queue(REPOS).await;
        (_, loops) = through(loops, REPOS).await;
        println!(
            "{}: {RUNS} runs of {REPOS} repositories, an engine that does nothing; {} and {} statements in two transactions\n",
            place.name(),
            texts.claim.len(),
            texts.complete.len()
        );
        println!("| {connections} bare, runs/s | {WORKERS} workers, runs/s | part | fsync, ms |\n|---|---|---|---|");
        let mut parts = Vec::new();
        for _ in 0..ROUNDS {
            filled.queue(RUNS).await;
            let time;
            (time, loops) = through(loops, RUNS).await;
            let alone = per_second(RUNS, time);
            let worked = per_second(RUNS, filled.worked(RUNS).await);
            let fsync = millis(fsync_time(&folder));
            println!("| {alone:.0} | {worked:.0} | {:.2} | {fsync:.2} |", worked / alone);
            parts.push(worked / alone);
        }
        let part = median(&parts);
        println!("\n{part:.2} of the bare rate, at least {bar}: {}", verdict(part >= bar));
    });
}

/// Carries all queued runs through, in parallel.
async fn through(loops: Vec<TightLoop>, runs: usize) -> (Duration, Vec<TightLoop>) {
    let (next, began) = (Arc::new(AtomicUsize::new(0)), Instant::now());
    let mut tasks = JoinSet::new();
    for mut tight in loops {
        let next = Arc::clone(&next);
        tasks.spawn(async move {
            while next.fetch_add(1, Ordering::Relaxed) < runs {
                assert!(tight.run().await, "as many as were queued");
            }
            tight
        });
    }
    let loops = tasks.join_all().await;
    (began.elapsed(), loops)
}
