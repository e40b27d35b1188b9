//! The memory of a node at rest with a million upstreams, beside one with none.

use std::time::{Duration, Instant};

use tokio::time::sleep;

use super::{
    bare::Bare,
    daemon::Daemon,
    figures::{cpu_of, memory_of, verdict},
    filled::WORKERS,
    million::large,
    place::Place,
    upstreams::Upstreams,
};

/// The memory that the upstreams may take, in KiB.
const BAR: u64 = 64 << 10;
/// The time after which a node is looked at for the first time.
const STARTED: Duration = Duration::from_secs(5);
/// The longest wait for the end of the first upkeep.
const LONGEST: Duration = Duration::from_secs(10 * 60);

/// A row that the node removes as the last thing of its first upkeep, after the walk through all repositories.
const LEAVE_MARK: &str = "insert into hosts (host, not_before) values ('mark.example', 1)";
const MARKS: &str = "select count(*) from hosts";

/// A node at rest. Memory is in KiB.
struct Rest {
    started: u64,
    rested: u64,
    most: u64,
    upkeep: Option<Duration>,
    cpu: Duration,
}

pub fn bench() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    for place in Place::all() {
        runtime.block_on(compare(&place));
    }
}

async fn compare(place: &Place) {
    println!("\n{}: memory of refsyncd in MiB\n", place.name());
    println!(
        "| upstreams | {} s after its start | after the first upkeep | most so far | first upkeep | CPU so far, s |",
        STARTED.as_secs()
    );
    println!("|---|---|---|---|---|---|");
    let none = rest(place, "none", 0).await;
    println!("| 0 | {none} |");
    let size = large();
    let all = rest(place, "large", size).await;
    println!("| {size} | {all} |");
    for (what, above) in [
        ("at rest", all.rested.saturating_sub(none.rested)),
        ("at most so far", all.most.saturating_sub(none.most)),
    ] {
        let (more, bar) = (mib(above), mib(BAR));
        println!(
            "\n{more:.1} MiB more {what}, at most {bar}: {}",
            verdict(above <= BAR)
        );
    }
}

async fn rest(place: &Place, name: &str, size: i64) -> Rest {
    let (database, folder) = (place.database(name), place.folder(name));
    // Makes the keys that belong to the database.
    drop(Daemon::start_on(&database, &folder, WORKERS));
    if size > 0 {
        let mut upstreams = Upstreams::open(&database, size).await;
        upstreams.rest().await;
        upstreams.store.close().await;
    }
    let mut bare = Bare::open(&database).await;
    bare.script(LEAVE_MARK).await;
    let (daemon, began) = (Daemon::again(&database, &folder, WORKERS), Instant::now());
    sleep(STARTED).await;
    let [started, _] = memory_of(daemon.id());
    let mut upkeep = None;
    while upkeep.is_none() && began.elapsed() < LONGEST {
        let marks: Option<(i64,)> = bare.find(MARKS, &[]).await;
        upkeep = (marks == Some((0,))).then(|| began.elapsed());
        sleep(Duration::from_secs(1)).await;
    }
    let [rested, most] = memory_of(daemon.id());
    let cpu = cpu_of(daemon.id());
    Rest {
        started,
        rested,
        most,
        upkeep,
        cpu,
    }
}

impl std::fmt::Display for Rest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let [started, rested, most] = [self.started, self.rested, self.most].map(mib);
        let upkeep = self.upkeep.map_or_else(
            || format!("not in {} s", LONGEST.as_secs()),
            |time| format!("{} s", time.as_secs()),
        );
        let cpu = self.cpu.as_secs_f64();
        write!(
            f,
            "{started:.1} | {rested:.1} | {most:.1} | {upkeep} | {cpu:.1}"
        )
    }
}

fn mib(kib: u64) -> f64 {
    kib as f64 / 1024.0
}
